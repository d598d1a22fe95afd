"""Simulated rigs: an agent per Node that speaks the real one's protocol, and the programs inside the Pods.

The operator and an agent meet only in the cluster: the agent reads the wanted power profile on its Node and the notices
on its Pods, and writes what it measured into the status of the Rig that is named as the Node. All agents here are
fed by one watch on Nodes and one on Pods. Nothing on a simulated Node ends by itself, so the programs of work Pods are
played too: work progresses in farm time, saves, answers notices, and at its end the Pods succeed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from switchyard import clock as clocks
from switchyard.cluster import commands, names
from switchyard.kube import client as kube
from switchyard.kube import executor, reflector
from switchyard.simulate import machines, saying, sight, work

NODES: Final = kube.Resource(api_version="v1", plural="nodes", kind="Node", namespaced=False)
PODS: Final = kube.Resource(api_version="v1", plural="pods", kind="Pod", namespaced=True)
STUCK: Final = "switchyard.farm/sim-stuck"
"""Label that keeps a Pod on a KWOK Node Terminating."""

_TICK_SECONDS: Final = 0.1
_HELD_MIB_PER_GPU: Final = 5500


@dataclasses.dataclass(slots=True, kw_only=True)
class Faults:
    """What is wrong with a rig. May be changed while it runs.

    Attributes:
        silent: its agent neither acts nor speaks.
        slow_release_seconds: GPU memory stays in use for so long (real time) after the last Pod has gone.
        held_mib: GPU memory that somebody else holds, whatever Pods there are.
        wrong_profile: the profile that is in force whatever is asked for; "" for none.
        stuck_pods: its Pods do not end when they are deleted.
        deaf_work: its programs do not answer notices.
    """

    silent: bool = False
    slow_release_seconds: float = 0.0
    held_mib: int = 0
    wrong_profile: str = ""
    stuck_pods: bool = False
    deaf_work: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How fast agents and programs are.

    Attributes:
        apply_seconds: real time an agent takes to apply a profile.
        checkpoint_seconds: farm time a program takes to answer a notice with a checkpoint.
        checkpoint_every_seconds: farm time between a program's own checkpoints.
        report_every_seconds: real time after which an agent repeats itself.
    """

    apply_seconds: float = 0.02
    checkpoint_seconds: float = 30.0
    checkpoint_every_seconds: float = 3600.0
    report_every_seconds: float = 30.0


@dataclasses.dataclass(slots=True, kw_only=True)
class _Rig:
    """One agent's mind."""

    machine: machines.Machine
    gpus: list[dict[str, Any]]
    faults: Faults
    profile: str = "idle"
    since: datetime.datetime
    wanted: str = ""
    apply_at: float = 0.0
    emptied_at: float = -1e9
    occupied: bool = False
    stale: bool = True
    said: Mapping[str, Any] | None = None
    said_at: float = -1e9
    marks: tuple[str, str] = ("", "")
    miner: str = ""
    mining_since: datetime.datetime | None = None


Draw = Callable[[machines.Machine, Iterable[sight.Pod], str], float]
Rate = Callable[[machines.Machine, str, float], Iterable[Mapping[str, Any]]]


class Rigs:
    """All rigs of a farm. `run()` plays them until it is cancelled.

    Args:
        client: an entered client.
        clock: farm time.
        rigs: what they are made of.
        draw: watts of a whole rig with these Pods on it and this profile in force.
        rate: what its agent reads from a miner of a coin that has run for so many seconds: `agent.benchmarks`.
        settings: how fast they are.
    """

    def __init__(
        self,
        *,
        client: kube.Client,
        clock: clocks.Clock,
        rigs: Iterable[machines.Machine],
        draw: Draw | None = None,
        rate: Rate | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.gangs: dict[str, work.Gang] = {}
        self.failures: list[commands.Result] = []
        self._clock = clock
        self._draw = draw or (lambda machine, pods, profile: float(machine.host_watts))
        self._rate = rate or (lambda machine, coin, seconds: ())
        now = clock.now()
        self._rigs = {rig.name: _Rig(machine=rig, gpus=rig.gpus(), faults=Faults(), since=now) for rig in rigs}
        self._pods: dict[tuple[str, str], sight.Pod] = {}
        self._on: dict[str, dict[tuple[str, str], sight.Pod]] = {}
        self._noticed: dict[str, float] = {}
        self._mirrored: dict[tuple[str, str], tuple[str, float]] = {}
        self._ended: set[str] = set()
        self._wake = asyncio.Event()
        self._executor = executor.Executor(
            client=client, workers=24, writes_per_second=300.0, field_manager=names.MANAGER_AGENT
        )
        self.watches = tuple(
            reflector.Reflector(client=client, resource=resource, sink=self) for resource in (NODES, PODS)
        )

    def faults(self, rig: str) -> Faults:
        """The faults of a rig, to be changed in place."""
        return self._rigs[rig].faults

    def profile(self, rig: str) -> str:
        """The power profile in force on a rig."""
        return self._rigs[rig].profile

    # --- what is seen ------------------------------------------------------------------------------------------

    def apply(self, plural: str, body: Mapping[str, Any]) -> None:
        """A Node or a Pod was seen, new or changed."""
        if plural == "nodes":
            self._see_node(body["metadata"])
        elif plural == "pods":
            seen = sight.pod(body)
            if seen is not None:
                self._forget(seen.key, present=seen)
                self._pods[seen.key] = seen
                if seen.holds:
                    self._on.setdefault(seen.node, {})[seen.key] = seen
                self._wake.set()

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        """It is gone."""
        if plural == "pods":
            self._forget((namespace or "", name))
            self._wake.set()

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        """These are all there are."""
        if plural == "pods":
            for key in self._pods.keys() - {(namespace or "", name) for namespace, name in present}:
                self._forget(key)
            self._wake.set()

    def _see_node(self, metadata: Mapping[str, Any]) -> None:
        rig = self._rigs.get(metadata["name"])
        if rig is None:
            return
        annotations = metadata.get("annotations", {})
        marks = annotations.get(names.ANNOTATION_PROFILE, ""), annotations.get(names.ANNOTATION_HANDOVER, "")
        if marks != rig.marks:
            # Whoever waits for the agent waits for a word said after the mark was set, even if nothing has changed.
            rig.marks, rig.stale = marks, True
            if marks[0] and marks[0] != rig.wanted:
                rig.wanted, rig.apply_at = marks[0], time.monotonic() + self.settings.apply_seconds
            self._wake.set()

    def _forget(self, key: tuple[str, str], *, present: sight.Pod | None = None) -> None:
        before = self._pods.pop(key, None)
        if before is not None and before.node:
            self._on.get(before.node, {}).pop(key, None)
        if before is not None and present is None:
            self._mirrored.pop(key, None)
            self._noticed.pop(before.uid, None)
            self._ended.discard(before.uid)

    # --- what is done ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play all rigs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self.watches:
                group.create_task(watch.run())
            group.create_task(self._play(group))

    async def _play(self, group: asyncio.TaskGroup) -> None:
        for watch in self.watches:
            await watch.synced.wait()
        while True:
            self._wake.clear()
            todo = [*self._play_work(), *self._play_agents()]
            if todo:
                # Not awaited: no agent waits for another's answer.
                group.create_task(self._send(todo))
            try:
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _send(self, todo: list[commands.Command]) -> None:
        for result in await self._executor.run(todo):
            self._settle(result)

    def _settle(self, result: commands.Result) -> None:
        if result.outcome in (commands.Outcome.INVALID, commands.Outcome.FAILED):
            self.failures.append(result)
        # What did not arrive (the Rig is not registered yet, the Pod is gone) is said again.
        if result.outcome is not commands.Outcome.DONE and result.command.ref.plural == "rigs":
            rig = self._rigs[result.command.ref.name]
            rig.said, rig.said_at, rig.stale = None, time.monotonic(), True

    # --- agents ------------------------------------------------------------------------------------------------

    def _play_agents(self) -> list[commands.Command]:
        now, real = self._clock.now(), time.monotonic()
        todo: list[commands.Command] = []
        for rig in self._rigs.values():
            pods = list(self._on.get(rig.machine.name, {}).values())
            todo += self._stick(rig, pods)
            if rig.faults.silent:
                continue
            if bool(pods) != rig.occupied:
                rig.occupied = bool(pods)
                rig.emptied_at = real
            wanted = rig.faults.wrong_profile or rig.wanted
            if wanted and wanted != rig.profile and real >= rig.apply_at:
                rig.profile, rig.since = wanted, now
            elif wanted and wanted != rig.profile:
                # It is on its way: there is nothing to say before it is in force.
                self._wake_at(rig.apply_at)
                continue
            said: dict[str, Any] = {
                "profile": rig.profile,
                "since": saying.text(rig.since),
                "gpuMemoryUsedMiB": self._memory(rig, pods, real),
                # The agent sees the cards alone.
                "watts": max(0, round(self._draw(rig.machine, pods, rig.profile)) - rig.machine.host_watts),
                "gpus": rig.gpus,
            }
            if benchmarks := self._benchmarks(rig, pods, now):
                said["benchmarks"] = benchmarks
            due = rig.stale or said != rig.said or real - rig.said_at >= self.settings.report_every_seconds
            # A Rig that was not there a moment ago is not asked for ten times a second.
            if due and (rig.said is not None or real - rig.said_at >= 0.5):
                rig.said, rig.said_at, rig.stale = said, real, False
                todo.append(saying.report(rig.machine.name, {**said, "observedAt": saying.text(now)}))
        return todo

    def _benchmarks(self, rig: _Rig, pods: list[sight.Pod], now: datetime.datetime) -> list[Mapping[str, Any]]:
        miner = next((pod for pod in pods if pod.coin and pod.running and not pod.deleting), None)
        if miner is None:
            rig.miner, rig.mining_since = "", None
            return []
        if rig.miner != miner.uid or rig.mining_since is None:
            rig.miner, rig.mining_since = miner.uid, now
        return list(self._rate(rig.machine, miner.coin, (now - rig.mining_since).total_seconds()))

    def _wake_at(self, moment: float) -> None:
        asyncio.get_running_loop().call_later(max(0.0, moment - time.monotonic()), self._wake.set)

    def _memory(self, rig: _Rig, pods: list[sight.Pod], real: float) -> int:
        slow = not pods and real - rig.emptied_at < rig.faults.slow_release_seconds
        used = sum(pod.gpus for pod in pods) * _HELD_MIB_PER_GPU if pods else 0
        return max(used, rig.faults.held_mib, _HELD_MIB_PER_GPU if slow else 0)

    def _stick(self, rig: _Rig, pods: list[sight.Pod]) -> list[commands.Command]:
        wanted = "true" if rig.faults.stuck_pods else None
        return [
            saying.patch_pod(pod, {"metadata": {"labels": {STUCK: wanted}}})
            for pod in pods
            if pod.labels.get(STUCK) != wanted
        ]

    # --- programs ----------------------------------------------------------------------------------------------

    def _play_work(self) -> list[commands.Command]:
        now = self._clock.now()
        at = now.timestamp()
        jobs: dict[str, list[sight.Pod]] = {}
        for pod in self._pods.values():
            if pod.job and pod.holds:
                jobs.setdefault(pod.job, []).append(pod)
        todo: list[commands.Command] = []
        for job in jobs.keys() | self.gangs.keys():
            pods = jobs.get(job, [])
            gang = self._gang(job, pods)
            gang.observe(running=frozenset(pod.uid for pod in pods if pod.running and not pod.deleting), now=at)
            if not pods:
                continue
            if gang.finished:
                todo += self._finish(pods)
                continue
            self._answer_notices(gang, pods, at)
            todo += self._mirror(gang, pods)
        return todo

    def _gang(self, job: str, pods: list[sight.Pod]) -> work.Gang:
        known = self.gangs.get(job)
        if known is None or (pods and pods[0].claim != known.claim):
            notes = pods[0].annotations
            self.gangs[job] = work.Gang(
                claim=pods[0].claim,
                replicas=int(notes.get(work.REPLICAS, "1")),
                total_seconds=float(notes.get(work.WORK_SECONDS, "3600")),
                checkpoint_every_seconds=self.settings.checkpoint_every_seconds,
            )
        return self.gangs[job]

    def _answer_notices(self, gang: work.Gang, pods: list[sight.Pod], at: float) -> None:
        """A gang saves together: the first Pod that is given notice makes all of it save."""
        told = [
            pod
            for pod in pods
            if pod.notice is not None
            and not (pod.node in self._rigs and self._rigs[pod.node].faults.deaf_work)
            and not (pod.node in self._rigs and self._rigs[pod.node].faults.silent)
        ]
        if not told:
            return
        heard = min(self._noticed.setdefault(pod.uid, at) for pod in told)
        if (gang.saved_at is None or gang.saved_at < heard) and at >= heard + self.settings.checkpoint_seconds:
            gang.save(at)

    def _mirror(self, gang: work.Gang, pods: list[sight.Pod]) -> list[commands.Command]:
        """Checkpoints and progress as annotations: at each checkpoint, not at every step."""
        if gang.saved_at is None:
            return []
        todo: list[commands.Command] = []
        for pod in pods:
            if pod.deleting or not pod.running or self._mirrored.get(pod.key) == (pod.uid, gang.saved_at):
                continue
            self._mirrored[pod.key] = (pod.uid, gang.saved_at)
            moment = datetime.datetime.fromtimestamp(gang.saved_at, tz=datetime.UTC)
            annotations = {
                names.ANNOTATION_CHECKPOINT: saying.text(moment),
                names.ANNOTATION_PROGRESS: f"{gang.progress:.2f}",
            }
            todo.append(saying.patch_pod(pod, {"metadata": {"annotations": annotations}}))
        return todo

    def _finish(self, pods: list[sight.Pod]) -> list[commands.Command]:
        todo: list[commands.Command] = []
        for pod in pods:
            if pod.uid in self._ended or not pod.running:
                continue
            self._ended.add(pod.uid)
            todo.append(saying.patch_pod(pod, {"metadata": {"annotations": {names.ANNOTATION_PROGRESS: "1"}}}))
            todo.append(saying.patch_pod(pod, {"status": saying.succeeded(pod)}, subresource="status"))
        return todo
