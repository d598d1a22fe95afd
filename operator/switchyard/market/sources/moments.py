"""Moments as files and web services write them."""

from __future__ import annotations

import datetime
import math
import re
import zoneinfo

# Beyond the year 5138 nobody quotes prices, but milliseconds since 1973 look like that.
_LARGEST_UNIX = 1e11
_UNIX = re.compile(r"-?[0-9]+([.][0-9]+)?", re.ASCII)
# Without this, `fromisoformat` would take 20260301 and 2026-W09 too: the first is a plausible Unix time as well.
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:?[0-9]{2}.*)?", re.ASCII)


class NaiveMomentError(ValueError):
    """The text has neither zone nor offset. `local` is what it says."""

    def __init__(self, local: datetime.datetime) -> None:
        super().__init__("it has no time zone: add Z or an offset such as -05:00")
        self.local = local


def parse(value: object) -> datetime.datetime:
    """Read ISO 8601 with a zone, or Unix seconds as a number or as text.

    Returns:
        The moment, in UTC.

    Raises:
        NaiveMomentError: ISO 8601 without a zone.
        ValueError: anything else; the message completes "cannot read this time: ".
    """
    if isinstance(value, str):
        text = value.strip()
        if _UNIX.fullmatch(text):
            return _of_unix(float(text))
        if not _ISO.fullmatch(text):
            raise ValueError(f"{text[:40]!r} is neither ISO 8601, such as 2026-03-01T00:00:00Z, nor Unix seconds")
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError as problem:
            raise ValueError(f"{text[:40]!r}: {problem}") from None
        if moment.tzinfo is None:
            raise NaiveMomentError(moment)
        try:
            return moment.astimezone(datetime.UTC)
        except OverflowError:
            raise ValueError(f"{text[:40]!r} is out of range") from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_unix(value)
    raise ValueError(f"neither ISO 8601 with a zone nor Unix seconds, but {type(value).__name__}")


def in_zone(
    local: datetime.datetime, *, zone: zoneinfo.ZoneInfo, after: datetime.datetime | None
) -> datetime.datetime | None:
    """The moment a local time stands for, in UTC.

    Local clocks are turned twice a year. An hour that is skipped never was: None. An hour that comes twice is its first
    pass, unless that would not lie after the row before (`after`): then it is the second.

    Raises:
        ValueError: the moment is outside the calendar.
    """
    try:
        return _in_zone(local, zone=zone, after=after)
    except OverflowError:
        raise ValueError(f"{local} is out of range") from None


def _in_zone(
    local: datetime.datetime, *, zone: zoneinfo.ZoneInfo, after: datetime.datetime | None
) -> datetime.datetime | None:
    first = local.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC)
    if first.astimezone(zone).replace(tzinfo=None) != local:
        return None
    if after is None or first > after:
        return first
    return local.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC)


def _of_unix(seconds: float) -> datetime.datetime:
    if math.inf > abs(seconds) >= _LARGEST_UNIX:
        raise ValueError("a number too large for Unix seconds; are these milliseconds?")
    try:
        return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"{seconds} is not a time in Unix seconds") from None
