"""What a feed learns of its own values: what hours and weekdays are usually like. Pure: the time is given."""

from __future__ import annotations

import datetime
from typing import Final

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
            for other in range(_ALL_HOURS):
                self._forget(other, before=day - DAYS)
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

    def _end_of_day(self, day: int) -> None:
        sums = [found[day] for found in self._sums if day in found]
        if len(sums) < _ALL_HOURS:
            return
        self._days[day] = sum(total / count for total, count in sums) / _ALL_HOURS
        self._days = {known: mean for known, mean in self._days.items() if known > day - 7 * WEEKS}
        usual = self._weeks = sum(self._days.values()) / len(self._days)
        # The first of January 1970, day 0, was a Thursday.
        apart = [[mean - usual for known, mean in self._days.items() if (known + 3) % 7 == name] for name in range(7)]
        self._weekdays = tuple(sum(found) / (len(found) + PRIOR_DAYS) for found in apart)

    def _forget(self, hour: int, *, before: int) -> None:
        old = [day for day in self._sums[hour] if day <= before]
        for day in old:
            del self._sums[hour][day]
        if old:
            self._learn(hour)

    def _learn(self, hour: int) -> None:
        days = self._sums[hour].values()
        known = len(days)
        self._means[hour] = sum(total / count for total, count in days) / known if known else 0.0
        self._weights[hour] = known / (known + PRIOR_DAYS)
