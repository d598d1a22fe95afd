"""What a value will be, hour by hour, as far as anybody can tell. Pure: the time is always given.

Three sources of knowledge, the best that there is:

- A **curve** that somebody publishes, such as day-ahead prices. The value now differs from it, and that difference
  fades: expected(h) = curve(h) + (now - curve(0)) x 2^(-h / half-life), an autoregressive process of the first order
  around the curve.
- A **profile**: what the feed has learned of its own hours and days of the week. Past the end of a curve, or without
  one, a day is expected to be like its weekday usually is, and as far above or below that as the last day known,
  of which 0.7 are left a day later; mixed with the last day, or persistence, by the profile's weight, since few days
  teach little.
- **Persistence**: it stays as it is.
"""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import functools
from typing import Final

from switchyard.market import quotes

HALF_LIFE_SECONDS: Final = 2 * 3600.0
"""Time in which half of the difference between the value now and the curve is gone."""
HORIZON_SECONDS: Final = 48 * 3600
"""How far ahead a path is told hour by hour; with a profile, `LONG_HORIZON_SECONDS` by blocks of hours."""
LONG_HORIZON_SECONDS: Final = 7 * 24 * 3600
LEFT_A_DAY: Final = 0.7
"""What is left, a day later, of how far a day was from usual."""

_FINE_SECONDS: Final = 600
_FINE_FOR_SECONDS: Final = 2 * 3600
_BLOCK: Final = 6 * 3600
_HOUR: Final = 3600
_DAY: Final = 24 * 3600


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Expected values: `values[i]` holds from `hours[i]` ahead until the next, the last one for all time after it."""

    hours: tuple[float, ...]
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Steps of a path. Seconds from now: `starts` of the steps but the first, and `middles` of the same."""

    hours: tuple[float, ...]
    middles: tuple[float, ...]
    left: tuple[float, ...]


def path(
    *,
    value: float,
    now: datetime.datetime,
    curve: quotes.Curve | None = None,
    profile: quotes.Profile | None = None,
    half_life_seconds: float = HALF_LIFE_SECONDS,
) -> Path:
    """The values to be expected from `now` on.

    Steps end at multiples of ten minutes for about two hours, then at whole hours up to 48 hours ahead, and with a
    profile after six hours each for a week; each tells the expectation at its middle, or its mean. The first is the
    value itself; what comes after the last is one value for all time.

    A curve that does not hold `now` is passed over.

    Args:
        value: now.
        now: the moment, aware.
        curve: in the unit of `value`.
        profile: in the unit of `value`; where there is a curve, only for what comes after its end.
        half_life_seconds: of the difference between the value and the curve (or profile).
    """
    unix = now.timestamp()
    grid = _grid(round(unix % _HOUR, 3), half_life_seconds)
    usual = _Usual(profile, curve, unix) if profile is not None and any(profile.weights) else None
    later = _by_curve(curve, value=value, unix=unix, grid=grid, usual=usual) if curve is not None else None
    if later is None and usual is not None:
        later = _by_profile(usual, value=value, unix=unix, grid=grid)
    if later is None:
        return Path(hours=(0.0,), values=(value,))
    days_end = sum(later[-24:]) / 24
    if usual is None:
        return Path(hours=grid.hours, values=(value, *later, days_end))
    end = unix + grid.hours[-1] * _HOUR
    starts = [end + ahead for ahead in range(0, LONG_HORIZON_SECONDS - HORIZON_SECONDS, _BLOCK)]
    return Path(
        hours=(*grid.hours, *((start + _BLOCK - unix) / _HOUR for start in starts)),
        values=(
            value,
            *later,
            *(usual.mixed(usual.block(start), days_end) for start in starts),
            # Nobody should count on the price of one hour or day for ever.
            usual.mixed(usual.mean, days_end),
        ),
    )


class _Usual:
    """What a profile expects, told how far the last day that is known was from usual."""

    def __init__(self, profile: quotes.Profile, curve: quotes.Curve | None, unix: float) -> None:
        self.weights = profile.weights
        self._means, self._weekdays = profile.means, profile.weekdays
        self._known = sum(self.weights)
        hourly = sum(mean * weight for mean, weight in zip(self._means, self.weights, strict=True)) / self._known
        # Two weeks follow the season, eight are not misled by one of them.
        self._shift = 0.0 if profile.weeks is None else (profile.weeks - hourly) / 2
        self.mean = hourly + self._shift
        self._middle, last = unix - _DAY / 2, profile.last_day
        if curve is not None and curve.interval_seconds * len(curve.values) >= _DAY:
            per_day = max(1, _DAY // curve.interval_seconds)
            end = curve.start.timestamp() + curve.interval_seconds * len(curve.values)
            if end > unix:
                self._middle, last = end - _DAY / 2, sum(curve.values[-per_day:]) / per_day
        self._apart = 0.0 if last is None else last - self.mean - self._weekday(self._middle)

    def _weekday(self, unix: float) -> float:
        return self._weekdays[quotes.weekday(int(unix // _DAY))]

    def at(self, unix: float) -> float:
        """The value at a moment."""
        return self._level(unix) + self._means[int(unix // _HOUR) % 24]

    def block(self, start: float) -> float:
        """The mean of six hours."""
        hour = int(start // _HOUR)
        return self._level(start + _BLOCK / 2) + sum(self._means[(hour + ahead) % 24] for ahead in range(6)) / 6

    def _level(self, unix: float) -> float:
        left: float = LEFT_A_DAY ** max(0.0, (unix - self._middle) / _DAY)
        return self._shift + self._weekday(unix) + self._apart * left

    def mixed(self, expected: float, otherwise: float) -> float:
        """As far as hours of the day are known."""
        return otherwise + (expected - otherwise) * self._known / 24


def at(path: Path, hours: float) -> float:
    """The value of a path so many hours ahead."""
    return path.values[bisect.bisect_right(path.hours, hours) - 1]


def _by_curve(
    curve: quotes.Curve, *, value: float, unix: float, grid: _Grid, usual: _Usual | None
) -> list[float] | None:
    """Expectations at the middles of the grid's steps; None where the curve says nothing of the moment."""
    interval, known = curve.interval_seconds, curve.values
    since = unix - curve.start.timestamp()
    ends = interval * len(known)
    if not 0 <= since < ends:
        return None
    per_day = max(1, _DAY // interval)
    # An hour of which the curve, and its last day, say nothing: the mean of what they do say.
    told = known + (sum(known) / len(known),) * (per_day - len(known))
    while len(told) * interval < since + HORIZON_SECONDS + _HOUR:
        told += told[-per_day:]
    apart = value - known[int(since // interval)]
    found = []
    for ahead, left in zip(grid.middles, grid.left, strict=True):
        expected = told[int((since + ahead) // interval)]
        if usual is not None and since + ahead >= ends:
            weight = usual.weights[int((unix + ahead) // _HOUR) % 24]
            expected += weight * (usual.at(unix + ahead) - expected)
        found.append(expected + apart * left)
    return found


def _by_profile(usual: _Usual, *, value: float, unix: float, grid: _Grid) -> list[float]:
    apart, known = value - usual.at(unix), usual.weights[int(unix // _HOUR) % 24]
    later = []
    for ahead, left in zip(grid.middles, grid.left, strict=True):
        weight = min(known, usual.weights[int((unix + ahead) // _HOUR) % 24])
        later.append(value + weight * (usual.at(unix + ahead) + apart * left - value))
    return later


@functools.lru_cache(maxsize=512)
def _grid(past_hour: float, half_life_seconds: float) -> _Grid:
    """The steps of a path that begins so many seconds past a whole hour."""
    starts = []
    mark = _FINE_SECONDS - past_hour % _FINE_SECONDS
    while mark < _FINE_FOR_SECONDS or (past_hour + mark) % _HOUR > 1e-3:
        starts.append(mark)
        mark += _FINE_SECONDS
    while mark + _HOUR <= HORIZON_SECONDS:
        starts.append(mark)
        mark += _HOUR
    middles = tuple((start + end) / 2 for start, end in zip(starts, [*starts[1:], mark], strict=True))
    return _Grid(
        hours=(0.0, *(start / _HOUR for start in starts), mark / _HOUR),
        middles=middles,
        left=tuple(2.0 ** (-ahead / half_life_seconds) for ahead in middles),
    )
