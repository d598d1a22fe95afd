"""Numbers and times as people say them."""

from __future__ import annotations

import datetime
from typing import Any, Final

from switchyard.status import figures

_DAY: Final = 86400.0

count = figures.count


def dollars(text: Any) -> str:
    """A decimal string of a status with four digits, `-` where there is none."""
    try:
        return f"{float(text):.4f}"
    except (TypeError, ValueError):
        return "-"


def span(seconds: float) -> str:
    """A length of time in its two largest units: `45 s`, `12 min`, `1 h 38 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    if whole < _DAY:
        hours, rest = divmod(round(whole / 60), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(round(whole / 3600), 24)
    return f"{days} d {rest} h" if rest else f"{days} d"


def when(text: Any, *, now: datetime.datetime) -> str:
    """A moment of a status, with how far it is from now: `2026-07-01 12:00:05 UTC (3 min ago)`."""
    try:
        at = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return "an unknown time"
    shown = at.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    seconds = (now - at).total_seconds()
    # A replayed farm lives in another year than its reader: how far that is helps nobody.
    if abs(seconds) > 300 * _DAY:
        return shown
    return f"{shown} ({span(seconds)} ago)" if seconds >= 0 else f"{shown} (in {span(-seconds)})"
