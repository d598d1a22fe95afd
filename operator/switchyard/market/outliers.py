"""Values that are far from all that was seen lately: not believed at once, but when they persist. Pure: time is given.

A value is an outlier if it lies more than so many standard deviations (3) from the mean of the values believed in the
trailing window (4 h), from the last of them, and from what was expected of this hour: the published curve, or what the
feed has learned of the hour. So the evening peak of a real market passes, and ten times the price does not.

What stands in its place is the last good value, not the mean: a mean is a price that nobody ever quoted, and replacing
the last value by it would be one more change that a rig might move for. The last good value keeps its own time, so its
trust falls the usual way while the outlier is held back.

An outlier that persists is the truth: after `persist_seconds` in which every reading lay off on the same side it is
believed, and the readings held back become part of the window.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import math
from collections.abc import Collection
from typing import Final

from switchyard.market import quotes

_LEAST_READINGS: Final = 5
_LEAST_SPAN: Final = 0.25
_MOST_READINGS: Final = 480


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A deviation counts as no less than this share of the mean, and no less than so much in the canonical unit.

    Without it a feed that has been calm for hours would call its first move an outlier.
    """

    share: float
    least: float = 0.0


FLOORS: Final = {
    quotes.Quantity.ELECTRICITY_PRICE: Floor(share=0.25, least=0.01),
    quotes.Quantity.COIN_REVENUE: Floor(share=0.10),
    quotes.Quantity.COIN_PRICE: Floor(share=0.10),
    quotes.Quantity.NETWORK_HASHRATE: Floor(share=0.15),
    quotes.Quantity.NETWORK_DIFFICULTY: Floor(share=0.15),
    quotes.Quantity.EXCHANGE_RATE: Floor(share=0.01),
}
"""Per quantity. With 3 sigma, power may always move by 75 % or 3 cents a kWh, a coin by 30 %, a network by 45 %, a
currency by 3 %, whatever the last hours were like."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What makes an outlier, and how long it must last to be believed."""

    sigma: float
    window_seconds: float
    persist_seconds: float
    floor: Floor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Why a value is not believed yet: what it was compared with, and from when on it will be believed."""

    mean: float
    sigma: float
    since: datetime.datetime
    until: datetime.datetime


class Guard:
    """Remembers one feed's values of the window, and the outliers held back. Values are in the canonical unit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: collections.deque[tuple[datetime.datetime, float]] = collections.deque()
        self._waiting: list[tuple[datetime.datetime, float]] = []
        self._side = 0
        self._recalled = False

    def recall(self, value: float, at: datetime.datetime) -> None:
        """Begin with a value that was believed before the operator's start.

        From then on every value is compared with it, however little else has been seen.
        """
        self._seen.append((at, value))
        self._recalled = True

    def judge(self, value: float, *, now: datetime.datetime, expected: Collection[float] = ()) -> Held | None:
        """Look at a reading: None if it is to be believed, and then it is remembered.

        Args:
            value: the reading.
            now: the moment of the reading.
            expected: what this hour was expected to be, from other knowledge: a value near one of them is no outlier.
        """
        self._forget(now)
        if not self._enough(now):
            self._believe(value, now)
            return None
        mean, sigma = self._spread()
        reach = self._settings.sigma * sigma
        if any(abs(value - other) <= reach for other in (mean, self._seen[-1][1], *expected)):
            self._believe(value, now)
            return None
        side = 1 if value > mean else -1
        if side != self._side:
            self._waiting.clear()
        self._side = side
        self._waiting.append((now, value))
        since = self._waiting[0][0]
        until = since + datetime.timedelta(seconds=self._settings.persist_seconds)
        if now >= until and (len(self._waiting) > 1 or self._settings.persist_seconds <= 0):
            waited = list(self._waiting)
            self._waiting.clear()
            for at, held in waited:
                self._note(held, at)
            return None
        return Held(mean=mean, sigma=sigma, since=since, until=until)

    def _believe(self, value: float, now: datetime.datetime) -> None:
        self._waiting.clear()
        self._side = 0
        self._note(value, now)

    def _note(self, value: float, at: datetime.datetime) -> None:
        # A feed that is asked every second needs no more of them to know its mean.
        apart = self._settings.window_seconds / _MOST_READINGS
        if not self._seen or self._seen[-1][1] != value or (at - self._seen[-1][0]).total_seconds() >= apart:
            self._seen.append((at, value))
            if len(self._seen) > _MOST_READINGS:
                self._seen.popleft()

    def _forget(self, now: datetime.datetime) -> None:
        window = datetime.timedelta(seconds=self._settings.window_seconds)
        # A reading of a time yet to come: our clock was set back, and nothing is known of the hours before now.
        while self._seen and not now - window <= self._seen[0][0] <= now:
            self._seen.popleft()
        if self._waiting and not now - window <= self._waiting[-1][0] <= now:
            self._waiting.clear()
        if not self._seen:
            self._recalled = False

    def _enough(self, now: datetime.datetime) -> bool:
        if self._recalled:
            return True
        if len(self._seen) < _LEAST_READINGS:
            return False
        return (now - self._seen[0][0]).total_seconds() >= _LEAST_SPAN * self._settings.window_seconds

    def _spread(self) -> tuple[float, float]:
        values = [value for _, value in self._seen]
        mean = math.fsum(values) / len(values)
        variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
        floor = self._settings.floor
        return mean, max(math.sqrt(variance), floor.share * abs(mean), floor.least)
