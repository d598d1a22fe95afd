"""Statuses and Events, written beside the cycle: a rig must not wait for the news of another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Final

from switchyard import clock as clocks
from switchyard.cluster import commands as cmd
from switchyard.fleet import store as stores
from switchyard.loop import hands, reports

_LOG = logging.getLogger(__name__)

_FEW_SECONDS: Final = 3.0
"""Counts of rigs per mode change with every step of a hand-over: this is often enough for people."""

_RIGS_AT_ONCE: Final = 100
"""Statuses that are put together before others have their turn."""


class Teller:
    """Gathers what there is to tell, and tells it as fast as the API server takes it, always as of now."""

    def __init__(
        self, *, store: stores.Store, clock: clocks.Clock, doing: hands.Hands, reporting: reports.Reports
    ) -> None:
        self._store = store
        self._clock = clock
        self._hands = doing
        self._reports = reporting
        self._bell = asyncio.Event()
        self._rigs: set[str] = set()
        self._planned = False
        self._few = False
        self._events: list[cmd.Emit] = []
        self._few_at = -_FEW_SECONDS

    def note(self, rigs: Iterable[str] = (), *, planned: bool = False, few: bool = False) -> None:
        """There is something to tell of these rigs; of a new plan, and so of all; of sites, pools, coins, feeds."""
        self._rigs.update(rigs)
        self._planned |= planned
        self._few |= few or planned
        if self._rigs or self._few:
            self._bell.set()

    def say(self, events: Iterable[cmd.Emit]) -> None:
        """Tell of something that has happened."""
        self._events += events
        if self._events:
            self._bell.set()

    async def run(self) -> None:
        """Tell for ever. What fails is told again with the next change or plan: statuses are of now, not of then."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self._tell()
            except Exception:  # noqa: BLE001 - people go without news for a moment; the farm goes on
                _LOG.exception("telling failed")
                await asyncio.sleep(1.0)

    async def _tell(self) -> None:
        rigs, planned, events = self._rigs, self._planned, self._events
        few = self._few or (bool(rigs) and time.monotonic() - self._few_at >= _FEW_SECONDS)
        self._rigs, self._planned, self._few, self._events = set(), False, False, []
        farm, now = self._store.snapshot(), self._clock.now()
        told = list(farm.rigs) if planned else [rig for rig in rigs if rig in farm.rigs]
        commands: list[cmd.Command] = [*events]
        for begin in range(0, len(told), _RIGS_AT_ONCE):
            part = told[begin : begin + _RIGS_AT_ONCE]
            commands += self._reports.rigs(farm, part, now=now, planned=planned)
            await asyncio.sleep(0)  # hand-overs and probes do not wait for the news of ten thousand rigs
        if few:
            commands += self._reports.few(farm, self._store.problems, now=now)
            self._few_at = time.monotonic()
        await self._hands.do(commands)
