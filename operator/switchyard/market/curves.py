"""From rows of published prices to the curve that may be known by now. Pure: the time is always given.

A day's prices are published together, at an hour of the day before. Nothing of a day is used before: a replay, whose
file holds the whole future, would otherwise see through it. Rows that cannot be trusted are refused as a whole, and the
feed lives on without a curve.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import zoneinfo
from collections.abc import Iterable

from switchyard.market import cleaning, quotes

BACK = datetime.timedelta(hours=25)
"""How much of the past a curve keeps: a whole day, and the hour that is under way."""
AHEAD = datetime.timedelta(hours=72)
"""How far ahead rows are looked at. Nobody publishes more than the day after the next."""

_LEAST_SECONDS, _MOST_SECONDS = 60, 6 * 3600


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A day's prices are published at `hour` of the day before; days and hour are those of `zone`.

    `shift` is what a replay adds to the times of its file: days and hours are the file's.
    """

    hour: datetime.time
    zone: zoneinfo.ZoneInfo
    shift: datetime.timedelta = datetime.timedelta(0)

    def published(self, moment: datetime.datetime) -> datetime.datetime:
        """When the price of a moment becomes known."""
        eve = (moment - self.shift).astimezone(self.zone).date() - datetime.timedelta(days=1)
        return datetime.datetime.combine(eve, self.hour, tzinfo=self.zone).astimezone(datetime.UTC) + self.shift


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row as its source gave it: a moment, a value nobody has looked at yet, and where it stands."""

    moment: datetime.datetime
    value: object
    where: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Rows that make sense: equal steps, no gap, numbers within the bounds.

    Attributes:
        start: moment of the first row.
        interval_seconds: between two rows.
        values: in the canonical unit of the feed's own currency.
    """

    start: datetime.datetime
    interval_seconds: int
    values: tuple[float, ...]

    @property
    def end(self) -> datetime.datetime:
        """Where the last row ends."""
        return self.start + datetime.timedelta(seconds=self.interval_seconds * len(self.values))


def listing(rows: Iterable[Row], *, settings: cleaning.Settings, now: datetime.datetime) -> Listing | cleaning.Trouble:
    """Make sense of rows, or say why there is none.

    Args:
        rows: in any range of time; those more than a day old or three days ahead are passed over.
        settings: unit and bounds of the values.
        now: the moment of reading.
    """
    before: Row | None = None
    kept: list[tuple[datetime.datetime, float]] = []
    for row in rows:
        if before is not None and row.moment <= before.moment:
            return cleaning.Trouble(
                reason="TimesNotRising",
                message=f"{row.where}: the time {cleaning.shown_time(row.moment)} does not come after that of "
                f"{before.where}; sort the rows by time and keep one row per time",
            )
        before = row
        if not now - BACK <= row.moment <= now + AHEAD:
            continue
        value = cleaning.number(row.value)
        if value is None:
            return cleaning.Trouble(reason="NotANumber", message=f"{row.where}: the value is not a finite number")
        if not cleaning.believable(value, settings=settings):
            return cleaning.Trouble(
                reason="OutOfBounds",
                message=f"{row.where}: {value:g} {settings.unit.text} is outside the feed's bounds",
            )
        kept.append((row.moment, settings.unit.to_canonical(value)))
    return _evenly(kept, before=before, now=now)


def known(found: Listing, *, publication: Publication, now: datetime.datetime) -> quotes.Curve | None:
    """The part of a listing that has been published by `now`; None where that does not hold the present moment."""
    step = datetime.timedelta(seconds=found.interval_seconds)
    count = len(found.values)
    while count and publication.published(found.start + step * (count - 1)) > now:
        count -= 1
    if not count or not found.start <= now < found.start + step * count:
        return None
    return quotes.Curve(
        start=found.start,
        interval_seconds=found.interval_seconds,
        values=found.values[:count],
        published_at=publication.published(found.start + step * (count - 1)),
    )


def _evenly(
    kept: list[tuple[datetime.datetime, float]], *, before: Row | None, now: datetime.datetime
) -> Listing | cleaning.Trouble:
    if before is None:
        return cleaning.Trouble(reason="NoRows", message="the source has no rows")
    if len(kept) < 2:
        return cleaning.Trouble(
            reason="TooOld" if before.moment < now else "NoRows",
            message=f"no rows near {cleaning.shown_time(now)}; the last is of {cleaning.shown_time(before.moment)}",
        )
    steps = [(later - earlier).total_seconds() for (earlier, _), (later, _) in itertools.pairwise(kept)]
    step = int(min(steps))
    if not _LEAST_SECONDS <= step <= _MOST_SECONDS:
        return cleaning.Trouble(
            reason="BadSteps", message=f"rows are {step} s apart; a step of a forecast is 1 minute to 6 hours"
        )
    first = 0
    for index, width in enumerate(steps):
        if width == step:
            continue
        earlier, later = kept[index][0], kept[index + 1][0]
        if later > now:
            return cleaning.Trouble(
                reason="Gap",
                message=f"rows are {step} s apart, but none lies between {cleaning.shown_time(earlier)} and "
                f"{cleaning.shown_time(later)}",
            )
        first = index + 1
    start = kept[first][0]
    found = Listing(start=start, interval_seconds=step, values=tuple(value for _, value in kept[first:]))
    if found.end <= now:
        return cleaning.Trouble(reason="TooOld", message=f"the last row ended at {cleaning.shown_time(found.end)}")
    return found
