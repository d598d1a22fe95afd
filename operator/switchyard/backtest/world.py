"""The farm that a policy plays on, step by step: where its rigs stand, which jobs wait and run.

A policy sees it through `Yard` and gives `Orders`; what makes no sense is an error, not a loss. Money of moves and of
modes is worked out afterwards (`account`); what jobs bring is counted here.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from switchyard.backtest import account, farm, rewards, stream
from switchyard.backtest import script as scripts
from switchyard.fleet import model


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """One rig: its place among all rigs is its number."""

    name: str
    table: int
    position: int
    gpus: int


@dataclasses.dataclass(slots=True, kw_only=True)
class Run:
    """A job since its arrival. `done_seconds` of work are kept; `rigs` are replicas by rig, empty while it waits."""

    script: scripts.JobScript
    number: int
    arrived_seconds: float
    done_seconds: float = 0.0
    session_seconds: float = 0.0
    started_step: int = -1
    preemptions: int = 0
    rigs: dict[int, int] = dataclasses.field(default_factory=dict)

    @property
    def mode(self) -> model.Mode:
        """Mode of a rig that works for it."""
        return model.Mode(model.ModeKind.AI, self.script.key)

    @property
    def gpus(self) -> int:
        """Of the whole gang."""
        return self.script.replicas * self.script.gpus_per_replica

    @property
    def left_seconds(self) -> float:
        """Work still to be done."""
        return self.script.duration_seconds - self.done_seconds


@dataclasses.dataclass(slots=True, kw_only=True)
class Orders:
    """What a policy wants at a step.

    Attributes:
        moves: by rig, modes other than work for a job.
        admissions: by key of a waiting job, replicas by rig.
        preemptions: by key of a running job, where its rigs go; rigs that are not named stay where they are, idle.
        why: for people, by rig or job.
    """

    moves: dict[int, model.Mode] = dataclasses.field(default_factory=dict)
    admissions: dict[str, dict[int, int]] = dataclasses.field(default_factory=dict)
    preemptions: dict[str, dict[int, model.Mode]] = dataclasses.field(default_factory=dict)
    why: dict[int, str] = dataclasses.field(default_factory=dict)


class ImpossibleError(ValueError):
    """A policy asked for what cannot be."""


class Yard:
    """The rigs and the jobs as they are.

    Attributes:
        rigs: all of them, by number.
        modes: by number of the rig.
        since: step at which each rig came to its mode, by number.
        waiting: jobs that wait, by key.
        running: jobs at work, by key.
        serving: key of the running job that has a rig, by number of the rig.
        revision: grows whenever any rig's mode changes.
    """

    def __init__(self, script: scripts.Script, tables: Sequence[rewards.Table]) -> None:
        self.rigs = [
            Rig(name=farm.rig_name(table.group, index), table=number, position=index, gpus=table.group.gpus_per_rig)
            for number, table in enumerate(tables)
            for index in range(table.group.rigs)
        ]
        self.modes: list[model.Mode] = [model.IDLE] * len(self.rigs)
        self.since = [0] * len(self.rigs)
        self.waiting: dict[str, Run] = {}
        self.running: dict[str, Run] = {}
        self.serving: dict[int, str] = {}
        self.revision = 0
        self.has_jobs = bool(script.jobs)


class Policy(Protocol):
    """Something that decides at every step."""

    def decide(self, present: stream.Stream, yard: Yard) -> Orders:
        """What to do now."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """Where every rig stood, what jobs brought, and how long the policy thought per step. `why` by (step, rig)."""

    paths: tuple[account.Path, ...]
    work: account.Work | None = None
    seconds: npt.NDArray[np.float64] | None = None
    why: Mapping[tuple[int, int], str] = dataclasses.field(default_factory=dict)


def play(
    script: scripts.Script,
    tables: Sequence[rewards.Table],
    policy: Policy,
    present: stream.Stream,
    *,
    scale: float,
    told: bool = False,
) -> Played:
    """Play a policy to the end. `told`: keep its reasons. Raises ImpossibleError, and whatever the policy raises."""
    world = _World(script, tables, scale=scale)
    yard = world.yard
    seconds = np.zeros(script.steps)
    why: dict[tuple[int, int], str] = {}
    while present.advance():
        step = present.step
        if yard.has_jobs:
            world.receive(present)
        begun = time.perf_counter()
        orders = policy.decide(present, yard)
        seconds[step] = time.perf_counter() - begun
        world.carry_out(step, orders)
        if told:
            why.update(((step, rig), text) for rig, text in orders.why.items())
    return Played(paths=world.paths, work=world.work, seconds=seconds, why=why)


class _World:
    def __init__(self, script: scripts.Script, tables: Sequence[rewards.Table], *, scale: float) -> None:
        self.yard = Yard(script, tables)
        self._script = script
        self._tables = tables
        self._places = [{mode: place for place, mode in enumerate(table.modes)} for table in tables]
        kind = np.int32 if script.jobs else np.int8
        self.paths = tuple(np.zeros((script.steps, table.group.rigs), dtype=kind) for table in tables)
        self._now = [np.full(table.group.rigs, table.idle, dtype=kind) for table in tables]
        self._eviction_usd = script.switching.eviction_usd_per_gpu * scale
        self._numbers = {job.key: number for number, job in enumerate(script.jobs)}
        self._keys = [rewards.circuit_key(table.group) for table in tables]
        self.work: account.Work | None = None
        if script.jobs:
            self.work = account.Work(
                usd=np.zeros(script.steps),
                eviction_usd=np.zeros(script.steps),
                evicted_gpus=np.zeros(script.steps),
                lost_gpu_hours=np.zeros(script.steps),
                circuit_watts={key: np.zeros(script.steps) for key in rewards.circuits(script)},
                wanted_gpus=np.zeros(script.steps),
            )

    def receive(self, present: stream.Stream) -> None:
        """Let jobs come, and those go that have waited too long."""
        yard, now = self.yard, present.step * self._script.step_seconds
        for job in present.arrivals():
            yard.waiting[job.key] = Run(script=job, number=self._numbers[job.key], arrived_seconds=job.arrival_seconds)
        for key, run in list(yard.waiting.items()):
            job = run.script
            waited = now - run.arrived_seconds - run.done_seconds
            late = job.deadline_seconds is not None and now + run.left_seconds > job.deadline_seconds + 1e-6
            if waited > job.patience_seconds + 1e-6 or late:
                del yard.waiting[key]

    def carry_out(self, step: int, orders: Orders) -> None:
        """Do as ordered, and let the step pass."""
        if orders.preemptions:
            for key, targets in orders.preemptions.items():
                self._preempt(step, key, targets)
        for number, mode in orders.moves.items():
            if number in self.yard.serving:
                raise ImpossibleError(f"{self.yard.rigs[number].name} works for {self.yard.serving[number]}")
            self._move(step, number, mode)
        for key, rigs in orders.admissions.items():
            self._admit(step, key, rigs)
        for path, now in zip(self.paths, self._now, strict=True):
            path[step] = now
        if self.work is not None:
            self._pass(step, self.work)

    def _move(self, step: int, number: int, mode: model.Mode) -> None:
        yard, rig = self.yard, self.yard.rigs[number]
        place = self._places[rig.table].get(mode)
        if place is None or not self._tables[rig.table].allowed[place]:
            raise ImpossibleError(f"{rig.name} cannot go to {mode}")
        self._set(step, rig, number, mode, place)
        if yard.modes[number] != mode:
            raise ImpossibleError(f"{rig.name} is not in {mode}")

    def _set(self, step: int, rig: Rig, number: int, mode: model.Mode, place: int) -> None:
        yard = self.yard
        if yard.modes[number] == mode:
            return
        yard.modes[number] = mode
        yard.since[number] = step
        yard.revision += 1
        self._now[rig.table][rig.position] = place

    def _admit(self, step: int, key: str, rigs: Mapping[int, int]) -> None:
        yard = self.yard
        run = yard.waiting.pop(key, None)
        if run is None:
            raise ImpossibleError(f"job {key} does not wait")
        job = run.script
        if sum(rigs.values()) != job.replicas:
            raise ImpossibleError(f"job {key} has {job.replicas} replicas, not {sum(rigs.values())}")
        for number, replicas in rigs.items():
            rig = yard.rigs[number]
            table = self._tables[rig.table]
            if number in yard.serving:
                raise ImpossibleError(f"{rig.name} works for {yard.serving[number]} already")
            if replicas * job.gpus_per_replica > rig.gpus or not fits(job, table.group):
                raise ImpossibleError(f"{replicas} replicas of job {key} do not fit {rig.name}")
            self._set(step, rig, number, run.mode, len(table.modes) + run.number)
            yard.serving[number] = key
        run.rigs = dict(rigs)
        run.started_step = step
        run.session_seconds = 0.0
        yard.running[key] = run

    def _preempt(self, step: int, key: str, targets: Mapping[int, model.Mode]) -> None:
        yard, work = self.yard, self.work
        run = yard.running.pop(key, None)
        if run is None or work is None:
            raise ImpossibleError(f"job {key} does not run")
        job = run.script
        if not job.preemptible:
            raise ImpossibleError(f"job {key} must not be stopped")
        lost = min(job.checkpoint_seconds, run.session_seconds)
        run.done_seconds -= lost
        run.preemptions += 1
        work.usd[step] -= job.bid_usd_per_gpu_hour * run.gpus * lost / 3600
        work.lost_gpu_hours[step] += run.gpus * lost / 3600
        work.evicted_gpus[step] += run.gpus
        work.eviction_usd[step] += run.gpus * self._eviction_usd
        for number in run.rigs:
            del yard.serving[number]
        for number, mode in targets.items():
            if number not in run.rigs:
                raise ImpossibleError(f"{yard.rigs[number].name} does not work for {key}")
            self._move(step, number, mode)
        run.rigs = {}
        run.session_seconds = 0.0
        yard.waiting[key] = run

    def _pass(self, step: int, work: account.Work) -> None:
        yard, seconds = self.yard, float(self._script.step_seconds)
        for key, run in list(yard.running.items()):
            job = run.script
            spent = min(seconds, run.left_seconds)
            hours = spent / 3600
            usd = job.bid_usd_per_gpu_hour * run.gpus * hours
            for number, replicas in run.rigs.items():
                table = yard.rigs[number].table
                found = self._tables[table]
                watts = replicas * job.gpus_per_replica * found.working_watts
                usd -= watts * found.usd_per_watt_hour[step] * hours
                if self._keys[table] in work.circuit_watts:
                    work.circuit_watts[self._keys[table]][step] += watts
            work.usd[step] += usd
            work.wanted_gpus[step] += run.gpus
            run.done_seconds += spent
            run.session_seconds += spent
            if run.left_seconds <= 1e-6:
                for number in run.rigs:
                    del yard.serving[number]
                del yard.running[key]
        work.wanted_gpus[step] += sum(run.gpus for run in yard.waiting.values())


def fits(job: scripts.JobScript, group: scripts.GroupScript) -> bool:
    """Whether a job may run on a group's rigs, one replica of it at least."""
    return group.ai and (not job.groups or group.name in job.groups) and job.gpus_per_replica <= group.gpus_per_rig
