"""What a feed learns of its own values: what hours and weekdays are usually like. Pure: the time is given."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any, Final

from switchyard.market import quotes

DAYS: Final = 14
"""How many days an hour's mean is taken over."""
PRIOR_DAYS: Final = 2.0
"""As many days of an hour are needed until its mean counts as much as the value of now; of a weekday likewise."""
WEEKS: Final = 8
"""How many weeks a weekday's mean is taken over."""

_HOUR: Final = 3600
_ALL_HOURS: Final = 24


class Habit:
    """Learns from readings as they come; holds at most 14 x 24 sums and the means of 8 x 7 days.

    A mean per day and hour first, then over the days: an hour that was asked more often does not weigh more. Weekdays
    learn from whole days only, in UTC.
    """

    def __init__(self) -> None:
        self._sums: list[dict[int, tuple[float, int]]] = [{} for _ in range(_ALL_HOURS)]
        self._means = [0.0] * _ALL_HOURS
        self._weights = [0.0] * _ALL_HOURS
        self._days: dict[int, float] = {}
        self._weekdays: tuple[float, ...] = (0.0,) * 7
        self._weeks: float | None = None
        self._today = -1

    def note(self, value: float, now: datetime.datetime) -> None:
        """Learn a value that holds at `now`."""
        day, hour = divmod(int(now.timestamp() // _HOUR), _ALL_HOURS)
        if day != self._today:
            self._end_of_day(self._today)
            self._today = day
            # Days to come are those of a replay that has been begun anew.
            self._days = {known: mean for known, mean in self._days.items() if known < day}
            for other in range(_ALL_HOURS):
                self._forget(other)
        total, count = self._sums[hour].get(day, (0.0, 0))
        self._sums[hour][day] = (total + value, count + 1)
        self._learn(hour)

    def profile(self) -> quotes.Profile | None:
        """What is known by now; None before the first value."""
        if not any(self._weights):
            return None
        return quotes.Profile(
            means=tuple(self._means),
            weights=tuple(self._weights),
            weekdays=self._weekdays,
            last_day=self._last_day(),
            weeks=self._weeks,
        )

    def _last_day(self) -> float | None:
        found = 0.0
        for sums in self._sums:
            last = sums.get(self._today) or sums.get(self._today - 1)
            if last is None:
                return None
            found += last[0] / last[1]
        return found / _ALL_HOURS

    def dump(self) -> dict[str, Any]:
        """As JSON: means by hour and day, and of whole days. Days are counted from the first of January 1970."""
        return {
            "hours": [
                [day, hour, _short(total / count)]
                for hour, sums in enumerate(self._sums)
                for day, (total, count) in sorted(sums.items())
            ],
            "days": [[day, _short(mean)] for day, mean in sorted(self._days.items())],
        }

    def load(self, found: Mapping[str, Any]) -> None:
        """Take up what `dump` wrote, where nothing is known yet.

        Raises:
            ValueError, TypeError or KeyError: it makes no sense; then nothing has changed.
        """
        hours = [(int(day), int(hour), float(mean)) for day, hour, mean in found["hours"]]
        days = {int(day): float(mean) for day, mean in found["days"]}
        if not all(math.isfinite(mean) for mean in (*days.values(), *(mean for _, _, mean in hours))):
            raise ValueError("means have to be finite")
        if not all(0 <= hour < _ALL_HOURS for _, hour, _ in hours):
            raise ValueError(f"hours of a day are 0 to {_ALL_HOURS - 1}")
        for day, hour, mean in hours:
            self._sums[hour].setdefault(day, (mean, 1))
        self._days = days | self._days
        self._today = max((day for day, _, _ in hours), default=-1) if self._today < 0 else self._today
        for hour in range(_ALL_HOURS):
            self._forget(hour)
            self._learn(hour)
        self._learn_days()

    def _end_of_day(self, day: int) -> None:
        sums = [found[day] for found in self._sums if day in found]
        if len(sums) == _ALL_HOURS:
            self._days[day] = sum(total / count for total, count in sums) / _ALL_HOURS
            self._learn_days()

    def _learn_days(self) -> None:
        last = max(self._days, default=0)
        self._days = {day: mean for day, mean in self._days.items() if day > last - 7 * WEEKS}
        if not self._days:
            return
        usual = self._weeks = sum(self._days.values()) / len(self._days)
        apart: list[list[float]] = [[] for _ in range(7)]
        for day, mean in self._days.items():
            apart[quotes.weekday(day)].append(mean - usual)
        self._weekdays = tuple(sum(found) / (len(found) + PRIOR_DAYS) for found in apart)

    def _forget(self, hour: int) -> None:
        sums = self._sums[hour]
        old = [day for day in sums if not self._today - DAYS < day <= self._today]
        for day in old:
            del sums[day]
        if old:
            self._learn(hour)

    def _learn(self, hour: int) -> None:
        days = self._sums[hour].values()
        known = len(days)
        self._means[hour] = sum(total / count for total, count in days) / known if known else 0.0
        self._weights[hour] = known / (known + PRIOR_DAYS)


def _short(value: float) -> float:
    """Six digits: more are noise, and take room."""
    return float(f"{value:.6g}")
