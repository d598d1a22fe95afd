"""The other side of the operator, in a thread of its own: the rigs' agents, and onlookers who keep it honest."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from switchyard import clock as clocks
from switchyard.cluster import names
from switchyard.kube import client as kube
from switchyard.kube import credentials, reflector
from switchyard.simulate import machines, rigs, sight, watcher, work

_PATIENCE_SECONDS: Final = 30.0
_CLOSING_SECONDS: Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A running work Pod that was told to go, and the notice and checkpoint that stood on it then; "" for none."""

    pod: str
    notice: str
    checkpoint: str


class Departures:
    """A sink for a watch on Pods: how running work was made to leave."""

    def __init__(self) -> None:
        self._running: dict[str, bool] = {}
        self.seen: list[Departure] = []

    def apply(self, plural: str, body: Mapping[str, Any]) -> None:
        """A Pod was seen, new or changed."""
        pod = sight.pod(body) if plural == "pods" else None
        if pod is None or not pod.job:
            return
        if pod.deleting and self._running.get(pod.uid):
            self.seen.append(
                Departure(
                    pod=f"{pod.namespace}/{pod.name}",
                    notice=pod.annotations.get(names.ANNOTATION_NOTICE, ""),
                    checkpoint=pod.annotations.get(names.ANNOTATION_CHECKPOINT, ""),
                )
            )
        self._running[pod.uid] = pod.running and not pod.deleting

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        """A Pod is gone."""

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        """These Pods exist and no others."""


class Background:
    """An event loop in a thread. It outlives what runs in it by a second, so that TLS connections can close."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="background", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(_CLOSING_SECONDS), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_PATIENCE_SECONDS)
        self.loop.close()


class Agents:
    """Agents of some machines, and onlookers: `owners` (two on one Node?) and `departures` (without notice?)."""

    def __init__(
        self,
        *,
        background: Background,
        kubeconfig: Path,
        clock: clocks.Clock,
        rigs_there: Iterable[machines.Machine],
        settings: rigs.Settings,
        rate: rigs.Rate | None = None,
    ) -> None:
        self.owners = watcher.Watcher()
        self.departures = Departures()
        self._background = background
        self._kubeconfig = kubeconfig
        self._clock = clock
        self._machines = tuple(rigs_there)
        self._settings = settings
        self._rate = rate
        self._rigs: rigs.Rigs | None = None
        self._up = threading.Event()
        self._playing: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> Self:
        self._playing = asyncio.run_coroutine_threadsafe(self._play(), self._background.loop)
        self._playing.add_done_callback(lambda _: self._up.set())
        assert self._up.wait(_PATIENCE_SECONDS), "the agents did not start"
        if self._playing.done():
            self._playing.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._playing is not None
        ended = self._playing.done()
        self._playing.cancel()
        if ended and kind is None:
            self._playing.result()

    def faults(self, rig: str) -> rigs.Faults:
        """What is wrong with a rig; to be changed in place."""
        assert self._rigs is not None, "the agents were not started"
        return self._rigs.faults(rig)

    def gang(self, job: str) -> work.Gang:
        """What a job's program has done, by `namespace/name`."""
        assert self._rigs is not None, "the agents were not started"
        return self._rigs.gangs[job]

    async def _play(self) -> None:
        async with kube.Client(credentials=credentials.from_kubeconfig(str(self._kubeconfig))) as client:
            self._rigs = rigs.Rigs(
                client=client, clock=self._clock, rigs=self._machines, rate=self._rate, settings=self._settings
            )
            onlookers = [
                reflector.Reflector(client=client, resource=rigs.PODS, sink=sink)
                for sink in (self.owners, self.departures)
            ]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._rigs.run())
                for onlooker in onlookers:
                    group.create_task(onlooker.run())
                for onlooker in (*onlookers, *self._rigs.watches):
                    await onlooker.synced.wait()
                self._up.set()
