"""Where each rig shall go, and the step of its hand-over that brings it there."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Final

from switchyard.fleet import model
from switchyard.handover import machine, observe
from switchyard.handover import record as rec
from switchyard.planning import request as planning

LEFT_POOL: Final = "LeftPool"
"""Why a rig stops what it does: no GPUPool selects it any more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where a rig shall go, and why."""

    mode: model.Mode
    reason: str
    message: str


class Steering:
    """The moves of the last plan that found no free moment yet, and what each rig does about them.

    Attributes:
        targets: by rig. Lost, they are planned anew.
    """

    def __init__(self, settings: machine.Settings) -> None:
        self.targets: dict[str, Target] = {}
        self._settings = settings
        self._left: dict[str, datetime.datetime] = {}

    def planned(self, farm: model.Farm, reply: planning.PlanReply) -> None:
        """A plan was made: these are its moves, as far as rigs are ours to move."""
        targets = {move.rig: Target(move.to, move.reason, reply.decisions[move.rig].message) for move in reply.moves}
        for preemption in reply.preemptions:
            targets |= {
                rig: Target(mode, preemption.reason, preemption.message) for rig, mode in preemption.targets.items()
            }
        enforced = {name for name, pool in farm.pools.items() if pool.enforce}
        self.targets = {rig: target for rig, target in targets.items() if farm.pool_of.get(rig) in enforced}

    def step(
        self,
        farm: model.Farm,
        rig: model.Rig,
        record: rec.Record | None,
        job: model.Job | None,
        now: datetime.datetime,
    ) -> machine.Advance | None:
        """What one rig's hand-over comes to now; None where it is not ours to touch.

        Args:
            farm: as it stands.
            rig: the rig.
            record: its hand-over's.
            job: the AIJob that is admitted onto it, if one is.
            now: farm time.
        """
        pool = farm.pools.get(farm.pool_of.get(rig.name, ""))
        settings = self._settings
        if record is not None and not record.settled:
            # A hand-over that was under way when the pool was put to Recommend, or went, is finished all the same: a
            # rig half-way is neither the one nor the other.
            observation = observe.observe(farm, rig)
            if record.mode.kind is model.ModeKind.AI and (job is None or job.mode != record.mode):
                return machine.withdraw(record, observation, now=now, settings=settings)
            return machine.advance(record, observation, now=now, settings=settings)
        if pool is None:
            return self._let_go(farm, rig, record, job, now)
        self._left.pop(rig.name, None)
        if not pool.enforce:
            return None
        observation = observe.observe(farm, rig)
        target = self._target(farm, rig, record, job)
        if target is None:
            return machine.advance(record, observation, now=now, settings=settings)
        return _start(record, observation, target, now=now, settings=settings)

    def _let_go(
        self,
        farm: model.Farm,
        rig: model.Rig,
        record: rec.Record | None,
        job: model.Job | None,
        now: datetime.datetime,
    ) -> machine.Advance | None:
        """A rig that no pool selects is given back: its work may end, its miner is stopped, then its Node is freed."""
        self.targets.pop(rig.name, None)
        if record is None or job is not None or rig.maintenance:
            self._left.pop(rig.name, None)
            return None
        observation = observe.observe(farm, rig)
        # A pool that is deleted and made anew, or a label that is mistyped for a moment, must not stop a farm.
        until = self._left.setdefault(rig.name, now) + datetime.timedelta(seconds=self._settings.leave_seconds)
        stopping = observation.job is not None and observation.job.state is model.JobState.PREEMPTING
        if now < until and not stopping:
            return machine.Advance(record=record, wake_at=until)
        if observation.miners or any(not observe.finished(pod) for pod in observation.work):
            target = Target(model.IDLE, LEFT_POOL, "no GPUPool selects it any more")
            return _start(record, observation, target, now=now, settings=self._settings)
        return machine.release(record, observation)

    def _target(
        self, farm: model.Farm, rig: model.Rig, record: rec.Record | None, job: model.Job | None
    ) -> Target | None:
        """Where a settled rig shall go: a job that was admitted onto it, else the plan's move, else the first claim."""
        if job is not None:
            self.targets.pop(rig.name, None)
            return Target(job.mode, "Admitted", f"admitted with the gang of {job.key}")
        planned = self.targets.get(rig.name)
        if planned is not None and record is not None and record.mode == planned.mode:
            del self.targets[rig.name]
            planned = None
        if planned is None and record is None:
            return Target(model.IDLE, "Claimed", "taken into care")
        if planned is None and record is not None and record.mode.kind is model.ModeKind.AI:
            left = farm.jobs.get(record.mode.name)
            if left is not None and left.state is model.JobState.PREEMPTING:
                # The plan's word on where to go was lost with a restart, or the gang broke: idle until the next plan.
                return Target(model.IDLE, "Preempted", f"the gang of {left.key} is being stopped")
        return planned


def _start(
    record: rec.Record | None,
    observation: observe.Observation,
    target: Target,
    *,
    now: datetime.datetime,
    settings: machine.Settings,
) -> machine.Advance:
    return machine.start(
        record,
        observation,
        target=target.mode,
        now=now,
        reason=target.reason,
        message=target.message,
        settings=settings,
    )
