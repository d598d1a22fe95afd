"""Feeds on a clock that a test moves."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import datetime
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from switchyard.market import feeds

_QUIET_ROUNDS: Final = 30

START = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


class Clock:
    """Stands still until it is moved; wakes sleepers in the order of their time."""

    def __init__(self) -> None:
        self._now = START
        self._sleepers: list[tuple[datetime.datetime, asyncio.Event]] = []

    def now(self) -> datetime.datetime:
        return self._now

    def real_seconds(self, seconds: float) -> float:
        return seconds

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self._now + datetime.timedelta(seconds=seconds), event))
        await event.wait()

    async def move(self, **span: float) -> None:
        await settle()
        target = self._now + datetime.timedelta(**span)
        while due := sorted((entry for entry in self._sleepers if entry[0] <= target), key=lambda entry: entry[0]):
            self._now = max(self._now, due[0][0])
            self._sleepers.remove(due[0])
            due[0][1].set()
            await settle()
        self._now = target


class _Threads(concurrent.futures.ThreadPoolExecutor):
    """Knows how much of what it was given is not done yet."""

    def __init__(self) -> None:
        super().__init__(max_workers=4)
        self._given: set[concurrent.futures.Future[Any]] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        self._given.add(future)
        return future

    @property
    def busy(self) -> bool:
        self._given = {future for future in self._given if not future.done()}
        return bool(self._given)


_threads: _Threads | None = None


async def settle() -> None:
    """Let everything run that can, file reads in threads too, however slow the machine is."""
    quiet = 0
    while quiet < _QUIET_ROUNDS:
        busy = _threads is not None and _threads.busy
        # A round of the event loop also brings what a server in the same process has written.
        await asyncio.sleep(0.001 if busy else 0)
        quiet = 0 if busy else quiet + 1


@contextlib.asynccontextmanager
async def running(found: feeds.Feeds) -> AsyncIterator[None]:
    """Feeds at work until the block ends."""
    global _threads
    _threads = _Threads()
    asyncio.get_running_loop().set_default_executor(_threads)
    task = asyncio.create_task(found.run())
    await settle()
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
