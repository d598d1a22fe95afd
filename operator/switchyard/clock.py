"""Farm time: the one place that reads the machine's clock.

A farm lives in real time. A replayed one lives in the time of its market, faster than life; everything that is economic
(prices, tariffs, deadlines, dwell) runs on farm time, everything that is network runs on the machine's own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """Tells farm time and waits in it."""

    def now(self) -> datetime.datetime:
        """The moment, aware, in UTC."""

    def real_seconds(self, seconds: float) -> float:
        """How long so many seconds of farm time take on the machine's own clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of farm time."""


@dataclasses.dataclass(frozen=True, slots=True)
class SystemClock:
    """Farm time is real time."""

    def now(self) -> datetime.datetime:
        """The machine's time."""
        return datetime.datetime.now(datetime.UTC)

    def real_seconds(self, seconds: float) -> float:
        """The same."""
        return seconds

    async def sleep(self, seconds: float) -> None:
        """Wait in real seconds."""
        await asyncio.sleep(seconds)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReplayClock:
    """Farm time was `start` when the machine's clock said `epoch` (Unix seconds), and runs `speed` times as fast.

    Processes that are given the same three values agree on the time.
    """

    start: datetime.datetime
    epoch: float
    speed: float

    def now(self) -> datetime.datetime:
        """The replayed moment."""
        return self.start + datetime.timedelta(seconds=(time.time() - self.epoch) * self.speed)

    def real_seconds(self, seconds: float) -> float:
        """The replay's speed shortens them."""
        return seconds / self.speed

    async def sleep(self, seconds: float) -> None:
        """Wait for so many replayed seconds."""
        await asyncio.sleep(self.real_seconds(seconds))
