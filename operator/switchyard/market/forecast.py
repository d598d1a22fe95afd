"""What a value will be, hour by hour, as far as anybody can tell. Pure: the time is always given.

Three sources of knowledge, the best that there is:

- A **curve** that somebody publishes, such as day-ahead prices. The value now differs from it, and that difference
  fades: expected(h) = curve(h) + (now - curve(0)) x 2^(-h / half-life), an autoregressive process of the first order
  around the curve.
- A **profile**: the feed's own mean by hour of the day. The same formula with the profile for the curve, mixed with
  persistence by the profile's weight, since few days teach little.
- **Persistence**: it stays as it is.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from typing import Final

from switchyard.market import quotes

HALF_LIFE_SECONDS: Final = 2 * 3600.0
"""Time in which half of the difference between the value now and the curve is gone."""
HORIZON_SECONDS: Final = 48 * 3600
"""How far ahead a path is told step by step."""

_FINE_SECONDS: Final = 600
_FINE_FOR_SECONDS: Final = 2 * 3600
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

    Steps end at multiples of ten minutes for about two hours, then at whole hours up to 48 hours ahead; each tells the
    expectation at its middle. The first is the value itself; what comes after 48 hours is one value for all time.

    A curve that does not hold `now` is passed over. Past its end, the same hours of its last day stand for it.

    Args:
        value: now.
        now: the moment, aware.
        curve: in the unit of `value`.
        profile: in the unit of `value`; where there is a curve, only for what comes after 48 hours.
        half_life_seconds: of the difference between the value and the curve (or profile).
    """
    unix = now.timestamp()
    grid = _grid(round(unix % _HOUR, 3), half_life_seconds)
    later = _by_curve(curve, value=value, unix=unix, grid=grid) if curve is not None else None
    if later is None and profile is not None and any(profile.weights):
        later = _by_profile(profile, value=value, unix=unix, grid=grid)
    if later is None:
        return Path(hours=(0.0,), values=(value,))
    return Path(hours=grid.hours, values=(value, *later, _in_the_long_run(later, profile)))


def _in_the_long_run(later: list[float], profile: quotes.Profile | None) -> float:
    """The mean of the last day that is told, drawn to the mean of the last two weeks as far as that is known.

    One day says little of the week after it, and nobody should count on the price of one hour for ever.
    """
    days_end = sum(later[-24:]) / 24
    if profile is None:
        return days_end
    known = sum(profile.weights)
    usual = sum(mean * weight for mean, weight in zip(profile.means, profile.weights, strict=True))
    return (usual + days_end * (24 - known)) / 24


def at(path: Path, hours: float) -> float:
    """The value of a path so many hours ahead."""
    found = path.values[0]
    for start, value in zip(path.hours, path.values, strict=True):
        if start > hours:
            break
        found = value
    return found


def _by_curve(curve: quotes.Curve, *, value: float, unix: float, grid: _Grid) -> list[float] | None:
    """Expectations at the middles of the grid's steps; None where the curve says nothing of the moment."""
    interval, known = curve.interval_seconds, curve.values
    since = unix - curve.start.timestamp()
    if not 0 <= since < interval * len(known):
        return None
    per_day = max(1, _DAY // interval)
    # An hour of which the curve, and its last day, say nothing: the mean of what they do say.
    told = known + (sum(known) / len(known),) * (per_day - len(known))
    while len(told) * interval < since + HORIZON_SECONDS + _HOUR:
        told += told[-per_day:]
    apart = value - known[int(since // interval)]
    return [
        told[int((since + ahead) // interval)] + apart * left
        for ahead, left in zip(grid.middles, grid.left, strict=True)
    ]


def _by_profile(profile: quotes.Profile, *, value: float, unix: float, grid: _Grid) -> list[float]:
    means, weights = profile.means, profile.weights
    here = int(unix // _HOUR) % 24
    apart, known = value - means[here], weights[here]
    later = []
    for ahead, left in zip(grid.middles, grid.left, strict=True):
        hour = int((unix + ahead) // _HOUR) % 24
        weight = min(known, weights[hour])
        later.append(value + weight * (means[hour] + apart * left - value))
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
