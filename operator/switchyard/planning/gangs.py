"""Gangs at work: when they are to be stopped whole.

People's words come first: a suspended job, a pin or maintenance on one of its rigs. They are not weighed and they count
against no limit but their own sense; a job that never allows preemption is protected from the plan, not from the people
who own it or the rig.

Money is the other reason. What a gang forgoes by staying (best other mode less AI work, over all of its rigs) is summed
up while it is positive and paid back while it is not. When the sum has reached the cost of moving all rigs out and back
in again, staying has cost as much as leaving would have: the two-mode work function. A short spike of the price of
power never gets there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from switchyard.fleet import model
from switchyard.planning import budgets, standing
from switchyard.planning import request as planning
from switchyard.valuation import values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """A gang that all its rigs work for, in $/h over all of them, and in $.

    Attributes:
        job: whose.
        rigs: with the replicas that each holds.
        net: what AI work leaves.
        other: what the best other modes would leave.
        moving_usd: all rigs out to those modes and back in.
        stop_usd: the part of it that is not due when its work is over: work done again, and penalties.
        forgone_usd: summed up so far, this tick included; between 0 and `moving_usd`.
    """

    job: model.Job
    rigs: tuple[tuple[planning.RigView, int], ...]
    net: float
    other: float
    moving_usd: float
    stop_usd: float
    forgone_usd: float

    @property
    def stoppable(self) -> bool:
        """Whether the plan may stop it at all."""
        return self.job.preemptible


def weigh(desk: standing.Desk) -> Mapping[str, Gang]:
    """The gangs at work whose rigs can all be valued, by job."""
    return {gang.job.key: gang for gang in _weighed(desk)}


def shares(gangs: Mapping[str, Gang]) -> Mapping[str, Mapping[model.Mode, float]]:
    """By rig: its job's mode with its even share of what the gang has forgone, to be remembered."""
    found: dict[str, Mapping[model.Mode, float]] = {}
    for gang in gangs.values():
        each = {gang.job.mode: gang.forgone_usd / len(gang.rigs)}
        found.update((view.name, each) for view, _ in gang.rigs)
    return found


def ran_enough(desk: standing.Desk, job: model.Job) -> bool:
    """Whether the job has had the running time that it was promised before a preemption."""
    if job.started_at is None:
        return False
    return (desk.now - job.started_at).total_seconds() >= job.min_runtime_seconds


def stopped_by_people(desk: standing.Desk, purse: budgets.Purse) -> Iterator[planning.Preemption]:
    """Preemptions that somebody asked for; they are taken from the purse, whatever is left in it."""
    for key, job in sorted(desk.jobs.items()):
        if job.state is not model.JobState.ADMITTED:
            continue
        views = [desk.views[placement.rig] for placement in job.placement if placement.rig in desk.views]
        pinned = [view for view in views if view.pin not in (model.Pin.AUTO, model.Pin.AI)]
        serviced = [view for view in views if view.held == planning.HELD_MAINTENANCE]
        if job.suspend:
            reason, message = "Suspended", "the job was suspended"
        elif serviced:
            reason, message = "Maintenance", f"rig {serviced[0].name} is put under maintenance"
        elif pinned:
            reason, message = "Pinned", f"rig {pinned[0].name} is pinned to {pinned[0].pin}"
        else:
            continue
        yield planning.Preemption(job=key, reason=reason, message=message, targets=targets(desk, job, views, purse))


def stopped_by_price(
    desk: standing.Desk, gangs: Mapping[str, Gang], purse: budgets.Purse
) -> Iterator[planning.Preemption]:
    """Preemptions that pay, dearest first, as far as the budgets reach; they are taken from the purse."""
    for gang in sorted(gangs.values(), key=lambda gang: (gang.net - gang.other, gang.job.key)):
        loss = gang.other - gang.net
        if loss <= 0 or gang.forgone_usd < gang.moving_usd or not gang.stoppable or not ran_enough(desk, gang.job):
            continue
        if not purse.affords_all((view, model.IDLE) for view, _ in gang.rigs):
            continue
        yield planning.Preemption(
            job=gang.job.key,
            reason="NotWorthwhile",
            message=(
                f"its rigs earn {loss:.4f} $/h less than elsewhere, and have forgone {gang.forgone_usd:.4f} $: "
                f"as much as moving out and back costs"
            ),
            targets=targets(desk, gang.job, [view for view, _ in gang.rigs], purse),
        )


def targets(
    desk: standing.Desk, job: model.Job, views: list[planning.RigView], purse: budgets.Purse
) -> Mapping[str, model.Mode]:
    """Where the rigs of a gang go that is stopped. Those that are still on their way in turn round by themselves."""
    there = [view for view in views if view.mode == job.mode and not view.switching]
    return {view.name: leave(desk, view, purse) for view in there}


def leave(desk: standing.Desk, view: planning.RigView, purse: budgets.Purse) -> model.Mode:
    """Send a rig that loses its job to the best mode that its pool's shares and its circuit allow."""
    mode = purse.affordable(view, refuge(desk, view))
    purse.take(view, mode)
    return mode


def refuge(desk: standing.Desk, view: planning.RigView) -> model.Mode:
    """The best mode for a rig that loses its job: what leaves most in the next hour after the way there."""
    if view.held or view.class_key not in desk.request.classes:
        return model.IDLE
    here = desk.standing(view.class_key, view.mode)
    return best_start(here, standing.within_pin(view.pin, here.nets), barred=view.barred) or model.IDLE


def best_start(
    here: standing.Standing, modes: list[model.Mode], *, barred: Mapping[model.Mode, object]
) -> model.Mode | None:
    """The mode that leaves most in the next `PAYBACK_HOURS` after the cost of getting there; None where there is none.

    For rigs without a past that would tell: fresh ones, and those whose job is over.
    """
    open_modes = [mode for mode in modes if mode not in barred]
    if not open_modes:
        return None
    return max(open_modes, key=lambda mode: (here.nets[mode] * standing.PAYBACK_HOURS - here.usd[mode], mode))


def way_in_usd(desk: standing.Desk, value: values.ClassValue, origin: model.Mode, job: model.Job) -> float:
    """The way into AI work in $, at what `origin` earns; infinite where there is none."""
    cost = desk.cost(value.rig_class.key, origin, job.mode)
    return float("inf") if cost is None else standing.dollars(cost, standing.rate(value, origin))


def _weighed(desk: standing.Desk) -> Iterator[Gang]:
    for _, job in sorted(desk.jobs.items()):
        if job.state is not model.JobState.ADMITTED or not job.placement:
            continue
        rigs = [(desk.views.get(placement.rig), placement.replicas) for placement in job.placement]
        seen = tuple((view, count) for view, count in rigs if view is not None and _works(desk, view, job))
        if len(seen) == len(rigs):
            yield _gang(desk, job, seen)


def _works(desk: standing.Desk, view: planning.RigView, job: model.Job) -> bool:
    if view.mode != job.mode or view.switching or view.held:
        return False
    value = desk.request.classes.get(view.class_key)
    return value is not None and job.mode in value.worths


def _gang(desk: standing.Desk, job: model.Job, rigs: tuple[tuple[planning.RigView, int], ...]) -> Gang:
    net = other = moving = stop = known = 0.0
    shares: dict[tuple[object, ...], tuple[float, float, float, float]] = {}
    before = desk.request.memory.work_usd
    for view, replicas in rigs:
        alike = view.class_key, replicas, view.pin, *view.barred
        share = shares.get(alike)
        if share is None:
            share = shares[alike] = _share(desk, job, view, replicas)
        net += share[0]
        other += share[1]
        moving += share[2]
        stop += share[3]
        held = before.get(view.name)
        if held is not None:
            known += held.get(job.mode, 0.0)
    forgone = min(max(known + (other - net) * desk.hours, 0.0), moving)
    return Gang(job=job, rigs=rigs, net=net, other=other, moving_usd=moving, stop_usd=stop, forgone_usd=forgone)


def _share(
    desk: standing.Desk, job: model.Job, view: planning.RigView, replicas: int
) -> tuple[float, float, float, float]:
    """One rig's part of its gang's `net`, `other`, `moving_usd` and `stop_usd`."""
    here = desk.standing(view.class_key, job.mode, replicas)
    net = standing.ai_net(here.value, job, replicas)
    mode = best_start(here, standing.within_pin(view.pin, here.nets), barred=view.barred)
    if mode is None:
        return net, standing.resting_net(here.value), 0.0, 0.0
    # Back in: with what the other mode earns meanwhile, since the customer pays for the work, not for the hour.
    moving = here.usd[mode] + way_in_usd(desk, here.value, mode, job)
    stop = max(0.0, here.usd[mode] - desk.move_usd(here.value, standing.OVER, mode))
    return net, here.nets[mode], moving, stop
