"""Our policies: the operator's own valuation and plan, at every step, on a farm that is built from the Script.

What has not changed since the last step is the same object as then, because a year has 52,560 steps.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import immutables

from switchyard.backtest import farm as farms
from switchyard.backtest import rewards, world
from switchyard.backtest import script as scripts
from switchyard.backtest import stream as streams
from switchyard.fleet import model
from switchyard.market import habits, quotes
from switchyard.planning import request as planning
from switchyard.valuation import values, worth

Plan = Callable[[planning.PlanRequest], planning.PlanReply]

_NAMESPACE: Final = "jobs"


class Costs(Mapping[tuple[str, model.Mode, model.Mode], values.SwitchCost]):
    """What a Script charges for moves, as the plan wants it: all in $, no seconds.

    Leaving a job that runs costs its evictions and the work to be done again as well; evictions of demands are in
    `planning.Demand`. `running`: by key of a job, what a rig's share of that work is worth, $.
    """

    def __init__(self, switching: scripts.Switching, gpus: Mapping[str, int], *, scale: float) -> None:
        self.running: Mapping[str, float] = {}
        self._switching = switching
        self._gpus = gpus
        self._scale = scale
        self._known: dict[tuple[str, model.ModeKind, model.ModeKind, float | None], values.SwitchCost] = {}

    def __getitem__(self, move: tuple[str, model.Mode, model.Mode]) -> values.SwitchCost:
        """The cost of a move between any two modes of a class."""
        key, origin, target = move
        if origin == target:
            return _STAY
        lost_usd = self.running.get(origin.name) if origin.kind is model.ModeKind.AI else None
        short = key, origin.kind, target.kind, lost_usd
        found = self._known.get(short)
        if found is None:
            usd = self._switching.usd_per_gpu(origin.kind, target.kind, scale=self._scale)
            if lost_usd is not None:
                usd += self._switching.eviction_usd_per_gpu * self._scale
            found = self._known[short] = values.SwitchCost(seconds=0.0, usd=usd * self._gpus[key] + (lost_usd or 0.0))
        return found

    def __iter__(self) -> Iterator[tuple[str, model.Mode, model.Mode]]:
        """None by name: every move has a price."""
        return iter(())

    def __len__(self) -> int:
        """See `__iter__`."""
        return 0


_STAY: Final = values.SwitchCost(seconds=0.0, usd=0.0)


class Planned:
    """A policy that asks the plan.

    Args:
        script: only what stands still in it is read: sites, coins, groups, switching.
        scale: of all switching costs.
        plan: the operator's, perhaps with settings.
        told: whether to keep the plan's reasons.
    """

    def __init__(self, script: scripts.Script, *, scale: float, plan: Plan, told: bool = False) -> None:
        self._script = script
        self._plan = plan
        self._told = told
        self._farm = farms.build(script)
        self._classes = worth.classify(self._farm)
        key_of = {group.name: self._classes.class_of[farms.rig_name(group, 0)] for group in script.groups if group.rigs}
        self._key_of = key_of
        gpus = {key_of[group.name]: group.gpus_per_rig for group in script.groups if group.rigs}
        self._costs = Costs(script.switching, gpus, scale=scale)
        self._eviction_usd = script.switching.eviction_usd_per_gpu * scale
        self._demands = [
            (demand.name, demand.group, frozenset((key_of[demand.group],)))
            for demand in script.demands
            if _takes_work(script, demand.group)
        ]
        self._rigs = {group.name: group.rigs * group.gpus_per_rig for group in script.groups}
        self._circuits = {
            key: planning.Circuit(key=key, limit_watts=watts) for key, watts in rewards.circuits(script).items()
        }
        self._budgets = {
            group.name: planning.Budget(pool=group.name, limit=group.rigs, used=0) for group in script.groups
        }
        self._habits = {site.name: habits.Habit() for site in script.sites}
        self._profiles: dict[str, quotes.Profile | None] = {}
        # Once an hour is often enough to learn what an hour is like.
        self._habit_minutes = max(1, script.step_seconds // 60)
        self._curves: dict[str, tuple[scripts.Publication, quotes.Curve]] = {}
        self._memory = planning.Memory()
        self._views: tuple[planning.RigView, ...] = ()
        self._seen: list[model.Mode] = []
        self._revision = -1
        self._numbers: dict[str, int] = {}
        self._jobs: dict[str, model.Job] = {}
        self._barred = _barred_groups(script)
        self._job_modes = {
            model.Mode(model.ModeKind.AI, job.key): model.Mode(model.ModeKind.AI, _key(job.key)) for job in script.jobs
        }

    def decide(self, present: streams.Stream, yard: world.Yard) -> world.Orders:
        """What the operator would do now."""
        now = present.now
        market = self._market(present, now)
        jobs: tuple[model.Job, ...] = ()
        farm = self._farm
        if yard.has_jobs:
            jobs = self._current_jobs(present, yard, now)
            farm = dataclasses.replace(farm, jobs=immutables.Map({job.key: job for job in jobs}))
        valuation = worth.appraise(farm, self._classes, market, now)
        classes = valuation.classes
        if self._barred and jobs:
            classes = {key: self._without(value, key) for key, value in classes.items()}
        if yard.revision != self._revision:
            self._look(present, yard)
        reply = self._plan(
            planning.PlanRequest(
                now=now,
                rigs=self._views,
                classes=classes,
                costs=self._costs,
                jobs=jobs,
                budgets=self._budgets,
                memory=self._memory,
                circuits=self._circuits,
                demands=tuple(
                    planning.Demand(
                        name=name,
                        classes=keys,
                        usd_per_gpu_hour=present.usd_per_gpu_hour(name),
                        gpus_wanted=min(max(present.gpus_wanted(name), 0), self._rigs[group]),
                        eviction_usd_per_gpu=self._eviction_usd,
                    )
                    for name, group, keys in self._demands
                ),
            )
        )
        self._memory = reply.memory
        if not (reply.moves or reply.admissions or reply.preemptions):
            return _NOTHING
        return self._orders(reply)

    # --- what the plan is told ---------------------------------------------------------------------------------

    def _market(self, present: streams.Stream, now: datetime.datetime) -> quotes.Market:
        found: dict[str, quotes.Quote] = {}
        curves: dict[str, quotes.Curve] = {}
        profiles: dict[str, quotes.Profile] = {}
        for site in self._script.sites:
            feed = farms.power_feed(site.name)
            found[feed] = quotes.Quote(
                feed=feed,
                quantity=quotes.Quantity.ELECTRICITY_PRICE,
                value=present.usd_per_kwh(site.name),
                as_of=now,
                trust=1.0,
            )
            published = present.published(site.name)
            if published:
                curves[feed] = self._curve(present, site.name, published)
            if now.minute < self._habit_minutes:
                self._habits[site.name].note(found[feed].value, now)
                self._profiles[feed] = self._habits[site.name].profile()
            profile = self._profiles.get(feed)
            if profile is not None:
                profiles[feed] = profile
        for coin in self._script.coins:
            feed = farms.coin_feed(coin.name)
            found[feed] = quotes.Quote(
                feed=feed,
                quantity=quotes.Quantity.COIN_REVENUE,
                value=present.usd_per_unit_hour(coin.name),
                as_of=now,
                trust=1.0,
            )
        return quotes.Market(at=now, quotes=found, curves=curves, profiles=profiles)

    def _curve(self, present: streams.Stream, site: str, published: tuple[scripts.Publication, ...]) -> quotes.Curve:
        known = self._curves.get(site)
        if known is None or known[0] is not published[-1]:
            known = self._curves[site] = published[-1], _joined(published, present.moment(published[-1].step))
        return known[1]

    def _look(self, present: streams.Stream, yard: world.Yard) -> None:
        """Views of the rigs; those whose mode is the same as before are the same objects."""
        before = self._views
        script, groups = self._script, self._script.groups
        self._views = tuple(
            before[number]
            if before and self._seen[number] == yard.modes[number]
            else planning.RigView(
                name=rig.name,
                class_key=self._key_of[groups[rig.table].name],
                pool=groups[rig.table].name,
                mode=self._job_modes.get(yard.modes[number], yard.modes[number]),
                since=present.moment(yard.since[number]),
                switching=False,
                circuit=rewards.circuit_key(script.groups[rig.table]),
            )
            for number, rig in enumerate(yard.rigs)
        )
        if not self._numbers:
            self._numbers = {rig.name: number for number, rig in enumerate(yard.rigs)}
        self._seen = list(yard.modes)
        self._revision = yard.revision

    def _current_jobs(self, present: streams.Stream, yard: world.Yard, now: datetime.datetime) -> tuple[model.Job, ...]:
        known, current = self._jobs, {}
        for key, run in yard.waiting.items():
            job = known.get(key)
            if job is None:
                job = waiting_job(run, present)
            elif job.state is not model.JobState.PENDING:
                job = dataclasses.replace(
                    job,
                    state=model.JobState.PENDING,
                    placement=(),
                    preemptions=run.preemptions,
                    progress=run.done_seconds / run.script.duration_seconds,
                )
            current[key] = job
        for key, run in yard.running.items():
            job = known[key]
            progress = run.done_seconds / run.script.duration_seconds
            if job.state is model.JobState.ADMITTED:
                job = dataclasses.replace(job, progress=progress)
            else:
                job = dataclasses.replace(
                    job,
                    state=model.JobState.ADMITTED,
                    placement=tuple(
                        model.Placement(rig=yard.rigs[number].name, replicas=replicas)
                        for number, replicas in sorted(run.rigs.items())
                    ),
                    admitted_at=present.moment(run.started_step),
                    started_at=present.moment(run.started_step),
                    attempts=job.attempts + 1,
                    progress=progress,
                )
            current[key] = job
        self._jobs = current
        self._costs.running = {current[key].key: _again_usd(run) for key, run in yard.running.items()}
        del now
        return tuple(job for _, job in sorted(current.items()))

    def _without(self, value: values.ClassValue, key: str) -> values.ClassValue:
        """A class without the jobs that do not want its group."""
        out = {
            _key(job): model.Mode(model.ModeKind.AI, _key(job))
            for job, keys in self._barred.items()
            if job in self._jobs and self._group(key) not in keys
        }
        if not out:
            return value
        gone = set(out.values())
        return dataclasses.replace(
            value,
            worths={mode: found for mode, found in value.worths.items() if mode not in gone},
            refusals={
                **value.refusals,
                **{
                    mode: values.Refusal(mode=mode, reason="NotAllowed", lacks="needs rigs of another group")
                    for mode in gone
                },
            },
            slots={job: slots for job, slots in value.slots.items() if job not in out},
        )

    def _group(self, key: str) -> str:
        return self._classes.found[key].pool

    # --- what the plan says ------------------------------------------------------------------------------------

    def _orders(self, reply: planning.PlanReply) -> world.Orders:
        orders = world.Orders()
        numbers = self._numbers
        for preemption in reply.preemptions:
            orders.preemptions[_plain(preemption.job)] = {
                numbers[rig]: mode for rig, mode in preemption.targets.items()
            }
        for move in reply.moves:
            orders.moves[numbers[move.rig]] = move.to
        for admission in reply.admissions:
            orders.admissions[_plain(admission.job)] = {
                numbers[placement.rig]: placement.replicas for placement in admission.placement
            }
        if self._told:
            moved = [*(move.rig for move in reply.moves)]
            orders.why = {numbers[rig]: reply.decisions[rig].message for rig in moved if rig in reply.decisions}
        return orders


_NOTHING: Final = world.Orders()


def _joined(published: tuple[scripts.Publication, ...], at: datetime.datetime) -> quotes.Curve:
    """What is known ahead: the newest forecast, and before it what the one before says of the hours until then."""
    last = published[-1]
    start, told = last.start, last.usd_per_kwh
    if len(published) > 1 and published[0].interval_seconds == last.interval_seconds:
        hours, rest = divmod((last.start - published[0].start).total_seconds(), last.interval_seconds)
        if rest == 0 and 0 < hours <= len(published[0].usd_per_kwh):
            start, told = published[0].start, (*published[0].usd_per_kwh[: int(hours)], *told)
    return quotes.Curve(start=start, interval_seconds=last.interval_seconds, values=told, published_at=at)


def _takes_work(script: scripts.Script, group: str) -> bool:
    return any(each.name == group and each.ai and each.rigs for each in script.groups)


def _barred_groups(script: scripts.Script) -> Mapping[str, tuple[str, ...]]:
    return {job.key: job.groups for job in script.jobs if job.groups}


def _key(job: str) -> str:
    return f"{_NAMESPACE}/{job}"


def _plain(key: str) -> str:
    return key.removeprefix(f"{_NAMESPACE}/")


def _again_usd(run: world.Run) -> float:
    """What a rig's share of the work that a stop would cost is worth, on average over the job's rigs, $."""
    job = run.script
    usd = job.bid_usd_per_gpu_hour * run.gpus * min(job.checkpoint_seconds, run.session_seconds) / 3600
    return usd / max(1, len(run.rigs))


def waiting_job(run: world.Run, present: streams.Stream) -> model.Job:
    """A job that waits, as the operator has it.

    Who waits for an hour in all says so by a deadline: an hour later than without any waiting.
    """
    job = run.script
    start = present.moment(0)
    until = job.arrival_seconds + job.patience_seconds + job.duration_seconds
    if job.deadline_seconds is not None:
        until = min(until, job.deadline_seconds)
    return model.Job(
        namespace=_NAMESPACE,
        name=job.key,
        uid=job.key,
        generation=1,
        resource_version="1",
        created_at=start + datetime.timedelta(seconds=job.arrival_seconds),
        workload_class=model.WorkloadClass.BATCH,
        replicas=job.replicas,
        gpus_per_replica=job.gpus_per_replica,
        bid_usd_per_gpu_hour=job.bid_usd_per_gpu_hour,
        duration_seconds=job.duration_seconds,
        deadline=start + datetime.timedelta(seconds=until),
        requirements=model.Requirements(),
        preemptible=job.preemptible,
        notice_seconds=120.0,
        min_runtime_seconds=600.0,
        suspend=False,
        template={},
        state=model.JobState.PENDING,
        placement=(),
        admitted_at=None,
        started_at=None,
        attempts=0,
        preemptions=0,
        progress=0.0,
        status={},
    )
