"""Numbers as people write them, and what each measure means."""

from __future__ import annotations

import datetime
import math
import re
from typing import Final

NOTHING: Final = "–"
_MINUS: Final = "−"


def number(value: float | None, digits: int = 0) -> str:
    """With thousands apart; "–" where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{abs(value):,.{digits}f}"
    negative = value < 0 and any(digit in "123456789" for digit in text)
    return f"{_MINUS}{text}" if negative else text


def usd(value: float | None, *, signed: bool = False) -> str:
    """In dollars: cents below 100, none above."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{abs(value):,.{2 if abs(value) < 100 else 0}f}"
    if not any(digit in "123456789" for digit in text):
        return f"${text}"
    return f"{_MINUS if value < 0 else '+' if signed else ''}${text}"


def percent(value: float | None, digits: int = 1) -> str:
    """Of something that is in percent already."""
    return NOTHING if value is None else f"{number(value, digits)} %"


def milliseconds(seconds: float | None) -> str:
    """A short time, without its unit."""
    return NOTHING if seconds is None else number(seconds * 1000, 0 if seconds >= 0.01 else 1)


def spaced(word: str) -> str:
    """A name of a scenario file as words: "doubledHour" is a doubled hour."""
    return re.sub(r"(?<=[a-z])[A-Z]", lambda found: f" {found[0].lower()}", word)


def times(count: int) -> str:
    """How often."""
    return "once" if count == 1 else f"{number(count)} times"


def span(seconds: float) -> str:
    """A length of time in its natural unit."""
    for unit, length in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= length:
            count = seconds / length
            text = number(count, 0 if abs(count - round(count)) < 0.05 else 1)
            return f"{text} {unit}" if text == "1" else f"{text} {unit}s"
    return f"{number(seconds)} seconds"


def scale(value: float) -> str:
    """A cost scale."""
    return f"×{value:g}"


def moment(at: datetime.datetime) -> str:
    """In UTC, to the minute."""
    return at.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M")


def day(at: datetime.datetime) -> str:
    """In UTC."""
    return at.astimezone(datetime.UTC).strftime("%Y-%m-%d")


MEANINGS: Final = (
    (
        "Profit",
        "What the farm earned from mining and AI work, less power and less the cost of switching, after the warm-up.",
    ),
    ("vs best static", "Profit less that of the best policy that never switches. Below zero: switching did not pay."),
    (
        "% of clairvoyant",
        "Profit as a share of what somebody would have earned who knew all prices and all demand beforehand and paid "
        "the same for switching. Nobody can reach it; where it is called a bound, not even the clairvoyant can.",
    ),
    (
        "Capture",
        "Of what switching could have added to the best static mode, the share that was earned: 0 % is no better than "
        "never switching, 100 % is perfect foresight. Left out where the two are the same to 0.1 %.",
    ),
    ("Regret", "What the clairvoyant earned more, per GPU and year of 365 days."),
    ("Switches per GPU and day", "Changes of what a GPU does. Few is not better in itself: profit counts."),
    ("Switching cost", "What switching has cost, as a share of the profit before it was taken off."),
    ("Evictions", "GPUs that left AI work while it was still wanted, and GPUs of jobs that were preempted."),
    ("Lost work", "GPU-hours of jobs that had to be done again or came to nothing."),
    (
        "Circuit over its limit",
        "Steps in which a circuit would have drawn more than it may. Anything but 0 is a fault.",
    ),
    (
        "To decide",
        "Median and 99th percentile of the time that one decision took on the machine of this run, in milliseconds.",
    ),
    ("Cost scale", "All costs of switching times this factor: dearer switches ask for more patience."),
    (
        "Dearest decisions",
        "Decisions of the policy that cost most in hindsight: what the best choice would have earned more until the "
        "next decision. Without a forecast that is always right nobody avoids them all.",
    ),
)
"""Each measure, and what it says."""
