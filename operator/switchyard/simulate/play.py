"""A farm at play: customers who submit jobs, rigs that do what they are told, onlookers who keep count.

It plays everything but the operator, and meets that only in the cluster. What people see of a run is gathered here too.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from switchyard import clock as clocks
from switchyard.kube import client as kube
from switchyard.kube import errors, reflector
from switchyard.simulate import account, arrivals, rigs, sight, stage, watcher, world


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A rig that went from one mode to another, and what its status gave as the reason."""

    at: datetime.datetime
    rig: str
    origin: str
    mode: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """Names of jobs, by what has become of them so far. One that was ever admitted is neither refused nor waiting."""

    waiting: frozenset[str]
    refused: frozenset[str]
    running: frozenset[str]
    admitted: frozenset[str]
    finished: frozenset[str]
    failed: frozenset[str]
    preempted: frozenset[str]


class Play:
    """One run. `run()` goes on until it is cancelled.

    Args:
        client: an entered client.
        clock: farm time.
        truth: what there is.
        jobs: what customers will submit, in order of arrival.
        start, end: of the account.
    """

    def __init__(
        self,
        *,
        client: kube.Client,
        clock: clocks.Clock,
        truth: world.World,
        jobs: Sequence[arrivals.Arrival],
        start: datetime.datetime,
        end: datetime.datetime,
    ) -> None:
        self.truth = truth
        self.jobs = jobs
        self.start, self.end = start, end
        self.rigs = rigs.Rigs(
            client=client,
            clock=clock,
            rigs=truth.rigs.values(),
            draw=lambda rig, pods, profile: truth.draw(rig, pods, profile=profile),
            rate=truth.benchmarks,
        )
        self.watcher = watcher.Watcher()
        self.account = account.Account(
            truth,
            jobs,
            start=start.timestamp(),
            end=end.timestamp(),
            profile=self.rigs.profile,
            gangs=self.rigs.gangs,
        )
        self.modes: dict[str, str] = {}
        self.switches: collections.deque[Switch] = collections.deque(maxlen=64)
        self.submitted: dict[str, arrivals.Arrival] = {}
        self.complaints: list[str] = []
        self._client = client
        self._clock = clock
        self._statuses: dict[str, Mapping[str, Any]] = {}
        self._admitted: set[str] = set()
        self._settled: dict[str, str] = {}
        self._steps: dict[str, Mapping[str, Any]] = {}
        # An own watch on Pods: the onlookers must not see with the eyes of the rigs.
        self._watches = tuple(
            reflector.Reflector(client=client, resource=resource, sink=self)
            for resource in (rigs.PODS, stage.RIGS, stage.AIJOBS)
        )

    async def run(self) -> None:
        """Play until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.rigs.run())
            for watch in self._watches:
                group.create_task(watch.run())
            group.create_task(self._submit())
            group.create_task(self._count())

    @property
    def failures(self) -> int:
        """Answers of the API server that no rig and no customer should have got."""
        return len(self.rigs.failures) + len(self.complaints)

    def standing(self) -> Jobs:
        """What has become of the jobs."""
        running, finished, failed, preempted, refused, waiting = (set[str]() for _ in range(6))
        for key in self.submitted:
            status = self._statuses.get(key, {})
            conditions = {each["type"]: each for each in status.get("conditions", ())}
            if status.get("preemptions", 0):
                preempted.add(key)
            over = conditions.get("Finished", {})
            if over.get("status") == "True":
                (finished if over.get("reason") == "Succeeded" else failed).add(key)
            elif conditions.get("Running", {}).get("status") == "True":
                running.add(key)
            elif key not in self._admitted:
                named = conditions.get("Admitted", {}).get("reason", "")
                (waiting if named in ("", "Pending", "NotEnoughRigs", "BudgetSpent", "LimitReached") else refused).add(
                    key
                )
        return Jobs(
            waiting=frozenset(waiting),
            refused=frozenset(refused),
            running=frozenset(running),
            admitted=frozenset(self._admitted),
            finished=frozenset(finished),
            failed=frozenset(failed),
            preempted=frozenset(preempted),
        )

    def why(self, job: str) -> str:
        """What a job's status says of its admission, for people."""
        for condition in self._statuses.get(job, {}).get("conditions", ()):
            if condition["type"] == "Admitted":
                return f"{condition.get('reason', '')}: {condition.get('message', '')}"
        return ""

    # --- what is seen ------------------------------------------------------------------------------------------

    def apply(self, plural: str, body: Mapping[str, Any]) -> None:
        """An object was seen, new or changed."""
        match plural:
            case "pods":
                self.watcher.apply(plural, body)
                seen = sight.pod(body)
                if seen is not None:
                    self.account.see(seen, now=self._now())
            case "rigs":
                self._see_rig(body)
            case "aijobs":
                key = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
                status = body.get("status", {})
                self._statuses[key] = status
                if any(
                    each["type"] == "Admitted" and each["status"] == "True" for each in status.get("conditions", ())
                ):
                    self._admitted.add(key)

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        """An object is gone."""
        if plural == "pods":
            self.watcher.remove(plural, namespace, name)
            self.account.lose((namespace or "", name), now=self._now())

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        """These are all there are."""
        if plural == "pods":
            self.watcher.sweep(plural, present)
            self.account.keep({(namespace or "", name) for namespace, name in present}, now=self._now())

    def _see_rig(self, body: Mapping[str, Any]) -> None:
        name, status = body["metadata"]["name"], body.get("status", {})
        mode = status.get("mode", {}).get("observed", "")
        self.modes[name] = mode
        if mode == "Switching" and status.get("step", {}).get("message"):
            self._steps[name] = status["step"]
        if not mode or mode == "Switching":
            return
        before = self._settled.get(name, "")
        self._settled[name] = mode
        told = self._steps.pop(name, status.get("decision", {}))
        if before and before != mode:
            self.switches.append(
                Switch(
                    at=self._clock.now(),
                    rig=name,
                    origin=before,
                    mode=mode,
                    reason=told.get("reason", ""),
                    message=told.get("message", ""),
                )
            )

    # --- what happens ------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _submit(self) -> None:
        for job in self.jobs:
            await self._clock.sleep(max(0.0, (job.at - self._clock.now()).total_seconds()))
            try:
                await self._client.create(
                    stage.AIJOBS.ref(job.name, job.namespace), job.manifest(), field_manager=stage.MANAGER
                )
                self.submitted[job.key] = job
            except errors.KubeError as problem:
                self.complaints.append(f"{job.key}: {problem}")

    async def _count(self) -> None:
        while True:
            self.account.pass_time(self._now())
            await asyncio.sleep(0.1)
