"""What a feed learns of its own values: the mean of each hour of the day over two weeks. Pure: the time is given."""

from __future__ import annotations

import datetime
from typing import Final

from switchyard.market import quotes

DAYS: Final = 14
"""How many days are remembered."""
PRIOR_DAYS: Final = 2.0
"""As many days of an hour are needed until its mean counts as much as the value of now."""

_HOUR: Final = 3600


class Habit:
    """Learns from readings as they come; holds at most 14 x 24 sums.

    A mean per day and hour first, then over the days: an hour that was asked more often does not weigh more.
    """

    def __init__(self) -> None:
        self._sums: list[dict[int, tuple[float, int]]] = [{} for _ in range(24)]
        self._means = [0.0] * 24
        self._weights = [0.0] * 24
        self._swept = -1

    def note(self, value: float, now: datetime.datetime) -> None:
        """Learn a value that holds at `now`."""
        day, hour = divmod(int(now.timestamp() // _HOUR), 24)
        if day != self._swept:
            self._swept = day
            for other in range(24):
                self._forget(other, before=day - DAYS)
        total, count = self._sums[hour].get(day, (0.0, 0))
        self._sums[hour][day] = (total + value, count + 1)
        self._learn(hour)

    def profile(self) -> quotes.Profile | None:
        """What is known by now; None before the first value."""
        if not any(self._weights):
            return None
        return quotes.Profile(means=tuple(self._means), weights=tuple(self._weights))

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
