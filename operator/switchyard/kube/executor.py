"""Carries out commands: concurrently, within a rate, each key's in order, every answer as a value."""

from __future__ import annotations

import asyncio
import datetime
import random
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from switchyard import clock
from switchyard.cluster import commands, names
from switchyard.kube import client as clients
from switchyard.kube import emission, errors, outcomes

# A server that asks for patience gets this much of it in one go; then it is asked again.
_LONGEST_WAIT_SECONDS: Final = 30.0


class Bucket:
    """A token bucket that can be paused: so many writes a second, and at most `burst` of them at once."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._gap = 1.0 / per_second
        self._slack = (burst - 1) * self._gap
        self._next = 0.0
        self._paused_until = 0.0

    async def take(self) -> None:
        """Wait for a token."""
        now = asyncio.get_running_loop().time
        moment = max(self._next, now() - self._slack)
        self._next = moment + self._gap
        await asyncio.sleep(max(0.0, moment - now()))
        # A pause may begin, or be drawn out, while one sleeps.
        while (rest := self._paused_until - now()) > 0:  # noqa: ASYNC110 - a moment is awaited, not an event
            await asyncio.sleep(rest)

    def pause(self, seconds: float) -> None:
        """Nobody gets a token for so long."""
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)


class Executor:
    """Carries out commands on one API server.

    Args:
        client: an entered client.
        workers: requests under way at once.
        writes_per_second: of all commands together, repeats included.
        attempts: how often a command is tried while the server is busy, failing or out of reach.
        backoff_seconds: wait after the first failure; doubles, with jitter.
        on_result: called with each result and the seconds it took from its first token, for metrics.
        now: for the times in Kubernetes Events; these live in the machine's time, not the farm's.
        field_manager: who creates, and who writes Events.
    """

    def __init__(
        self,
        *,
        client: clients.Client,
        workers: int = 16,
        writes_per_second: float = 100.0,
        attempts: int = 5,
        backoff_seconds: float = 0.2,
        on_result: Callable[[commands.Result, float], None] | None = None,
        now: Callable[[], datetime.datetime] | None = None,
        field_manager: str = names.MANAGER_OPERATOR,
    ) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(workers)
        self._bucket = Bucket(per_second=writes_per_second, burst=workers)
        self._attempts = attempts
        self._backoff_seconds = backoff_seconds
        self._on_result = on_result
        self._now = now or clock.SystemClock().now
        self._field_manager = field_manager
        # One lock per object at work, so that two callers' commands on it do not overtake each other.
        self._locks: weakref.WeakValueDictionary[commands.Ref, asyncio.Lock] = weakref.WeakValueDictionary()

    async def run(self, todo: Iterable[commands.Command]) -> list[commands.Result]:
        """Carry out commands; the results stand in their order. Commands on one object are done in order.

        A command that fails does not keep the later ones from being tried: what depends on it belongs into a later
        call. Whatever the API server answers comes back as a result, never as an exception.
        """
        chains: dict[commands.Ref, list[tuple[int, commands.Command]]] = {}
        for position, command in enumerate(todo):
            chains.setdefault(command.ref, []).append((position, command))
        results: dict[int, commands.Result] = {}
        async with asyncio.TaskGroup() as group:
            for chain in chains.values():
                group.create_task(self._chain(chain, results))
        return [results[position] for position in range(len(results))]

    async def _chain(self, chain: list[tuple[int, commands.Command]], results: dict[int, commands.Result]) -> None:
        ref = chain[0][1].ref
        lock = self._locks.setdefault(ref, asyncio.Lock())
        async with lock:
            for position, command in chain:
                results[position] = await self._carry_out(command)

    async def _carry_out(self, command: commands.Command) -> commands.Result:
        time = asyncio.get_running_loop().time
        started = time()
        attempt = 0
        while True:
            attempt += 1
            await self._bucket.take()
            try:
                async with self._slots:
                    body = await self._once(command)
                result = commands.Result(command=command, outcome=commands.Outcome.DONE, body=body)
                break
            except errors.KubeError as problem:
                outcome = outcomes.read(command, problem)
                if outcome is not None or attempt >= self._attempts:
                    result = commands.Result(
                        command=command,
                        outcome=outcome or commands.Outcome.FAILED,
                        message=getattr(problem, "message", "") or str(problem),
                    )
                    break
                await self._wait(problem, attempt)
            except (TypeError, ValueError) as problem:
                result = commands.Result(
                    command=command, outcome=commands.Outcome.INVALID, message=f"not JSON: {problem}"
                )
                break
        if self._on_result is not None:
            self._on_result(result, time() - started)
        return result

    async def _wait(self, problem: errors.KubeError, attempt: int) -> None:
        seconds = self._backoff_seconds * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        if isinstance(problem, errors.ApiError) and problem.retry_after_seconds is not None:
            seconds = max(seconds, min(problem.retry_after_seconds, _LONGEST_WAIT_SECONDS))
            if problem.status == 429:
                # The server is busy with all of us, not with this one command.
                self._bucket.pause(seconds)
                return
        await asyncio.sleep(seconds)

    async def _once(self, command: commands.Command) -> dict[str, Any] | None:
        """One try. Returns the object as it now stands, where the command gives one."""
        client, ref = self._client, command.ref
        match command:
            case commands.Patch():
                return await client.patch(
                    ref,
                    outcomes.patch_body(command),
                    type=command.type,
                    field_manager=command.field_manager,
                    subresource=command.subresource,
                )
            case commands.Create():
                try:
                    return await client.create(ref, command.body, field_manager=self._field_manager)
                except errors.ApiError as problem:
                    if problem.reason != "AlreadyExists":
                        raise
                return await client.get(ref)
            case commands.Evict():
                await client.evict(
                    ref,
                    uid=command.uid,
                    resource_version=command.resource_version,
                    grace_seconds=command.grace_seconds,
                )
            case commands.Delete():
                await client.delete(ref, uid=command.uid)
            case commands.Emit():
                await emission.emit(client, command, now=self._now(), field_manager=self._field_manager)
        return None
