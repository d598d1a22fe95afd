"""All agents of a farm in one task, quick ones: and what they see of the Nodes, to the moment.

The agents of `switchyard.simulate` look at every rig ten times a second, which at a thousand rigs would take a good
part of the machine that is being measured. These do nothing until a Node asks them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from switchyard.cluster import commands, names
from switchyard.kube import client as kube
from switchyard.kube import errors, reflector
from switchyard.simulate import machines

_NODES: Final = kube.Resource(api_version="v1", plural="nodes", kind="Node", namespaced=False)
_RIGS: Final = kube.Resource(api_version=names.API_VERSION, plural="rigs", kind="Rig", namespaced=False)
_WORKERS: Final = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """What a Node says: the observed mode (`mining`, `switching`, ...), the profile asked for, the hand-over's step."""

    state: str
    profile: str
    step: str


Seen = Callable[[str, Sight, float], None]


class Agents:
    """Answers for every rig: the profile that its Node asks for is in force at once, and no GPU memory is in use.

    Args:
        client: an entered client.
        rigs: whom to answer for.

    Attributes:
        sights: what each Node says now.
        seen: called with a Node's name, what it says, and the monotonic time, whenever that has changed.
        watch: of the Nodes; its `synced` says when all are known.
    """

    def __init__(self, *, client: kube.Client, rigs: Iterable[machines.Machine]) -> None:
        self.sights: dict[str, Sight] = {}
        self.seen: Seen = lambda name, sight, moment: None
        self.watch = reflector.Reflector(client=client, resource=_NODES, sink=self)
        self._client = client
        self._gpus = {rig.name: rig.gpus() for rig in rigs}
        self._marks: dict[str, tuple[str, str]] = {}
        self._since: dict[str, tuple[str, str]] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watch.run())
            for _ in range(_WORKERS):
                group.create_task(self._work())

    async def repeat(self, *, every_seconds: float, for_seconds: float) -> int:
        """Have every agent say the same again once per interval, evenly spread. Returns how often that was."""
        loop = asyncio.get_running_loop()
        gap, end, told = every_seconds / len(self._gpus), loop.time() + for_seconds, 0
        due = loop.time()
        order = sorted(self._gpus)
        while due < end:
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._ask(order[told % len(order)])
            told += 1
            due += gap
        return told

    # --- what is seen ------------------------------------------------------------------------------------------

    def apply(self, plural: str, body: Mapping[str, Any]) -> None:
        """A Node was seen, new or changed."""
        metadata = body["metadata"]
        name = metadata["name"]
        if name not in self._gpus:
            return
        annotations = metadata.get("annotations", {})
        record = json.loads(annotations.get(names.ANNOTATION_HANDOVER, "{}"))
        sight = Sight(
            metadata.get("labels", {}).get(names.LABEL_MODE_STATE, ""),
            annotations.get(names.ANNOTATION_PROFILE, ""),
            record.get("step", ""),
        )
        if self.sights.get(name) != sight:
            self.sights[name] = sight
            self.seen(name, sight, time.monotonic())
        marks = sight.profile, annotations.get(names.ANNOTATION_HANDOVER, "")
        if sight.profile and self._marks.get(name) != marks:
            self._marks[name] = marks
            self._ask(name)

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        """A Node is gone."""
        self.sights.pop(name, None)

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        """These are all there are."""

    # --- what is said ------------------------------------------------------------------------------------------

    def _ask(self, name: str) -> None:
        if name not in self._queued:
            self._queued.add(name)
            self._queue.put_nowait(name)

    async def _work(self) -> None:
        while True:
            name = await self._queue.get()
            self._queued.discard(name)
            try:
                await self._say(name)
            except errors.KubeError:
                # Busy, or not registered yet.
                await asyncio.sleep(0.5)
                self._ask(name)

    async def _say(self, name: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        profile = self.sights[name].profile or "idle"
        if self._since.get(name, ("", ""))[0] != profile:
            self._since[name] = profile, now
        agent = {
            "profile": profile,
            "since": self._since[name][1],
            "gpuMemoryUsedMiB": 0,
            "watts": 1200,
            "gpus": self._gpus[name],
            "observedAt": now,
        }
        await self._client.patch(
            _RIGS.ref(name),
            {"apiVersion": names.API_VERSION, "kind": "Rig", "metadata": {"name": name}, "status": {"agent": agent}},
            type=commands.PatchType.APPLY,
            field_manager=names.MANAGER_AGENT,
            subresource="status",
        )
