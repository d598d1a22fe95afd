"""Whole-gang admission: which waiting job gets which rigs, and at what price.

A rig's reserve price for a job is what it must earn to be no worse off: the best net it forgoes, the power of AI work,
and the moves there and back spread over the time the job will run. Jobs choose in order of their bid; each takes the
set of rigs with the least reserve that holds it whole, and gets it if it bids more.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.planning import budgets, gangs, standing
from switchyard.planning import request as planning

DISPLACE_MARGIN: Final = 1.5
"""A gang at work yields to another only if that one earns this many times what is lost, over the time both would run:
what the gang at work still leaves, and its way out and back. Half as much again, since running times are guesses."""

_SHORTEST_HOURS: Final = 1 / 12
"""Over less than five minutes no move is spread, however soon a job says it will be done."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Rigs that are all the same to a job. There are few kinds, however many rigs."""

    class_key: str
    pool: str
    mode: model.Mode
    pin: model.Pin
    barred: frozenset[model.Mode]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A set of rigs that holds a job whole, with what it has to earn, $/h."""

    placement: tuple[tuple[planning.RigView, int], ...]
    reserve: float

    @property
    def pools(self) -> Mapping[str, int]:
        """Rigs per pool."""
        return budgets.counted([view.pool for view, _ in self.placement])

    def wants(self, job: model.Job) -> list[budgets.Want]:
        """What the purse is asked for."""
        return [(view, job.mode) for view, _ in self.placement]


@dataclasses.dataclass(slots=True, kw_only=True)
class Admitted:
    """What came of it."""

    admissions: list[planning.Admission]
    refusals: list[planning.JobRefusal]
    preemptions: list[planning.Preemption]
    taken: dict[str, model.Job]


def admit(
    desk: standing.Desk,
    *,
    working: Mapping[str, gangs.Gang],
    stopped: Iterable[str],
    purse: budgets.Purse,
    away: Collection[str] = (),
) -> Admitted:
    """Decide on every waiting job.

    Args:
        desk: the request.
        working: gangs at work.
        stopped: jobs that this plan preempts already.
        purse: budgets, shares and circuits; what admissions cost is taken from it.
        away: rigs that this plan sends elsewhere already.
    """
    waiting = [job for job in desk.jobs.values() if job.state is model.JobState.PENDING]
    if not waiting:
        return Admitted(admissions=[], refusals=[], preemptions=[], taken={})
    bench = _Bench(desk, working=working, stopped=set(stopped), purse=purse, away=away)
    for job in sorted(waiting, key=lambda job: (-job.bid_usd_per_gpu_hour, job.created_at, job.key)):
        bench.decide(job)
    return bench.result


def remaining_hours(job: model.Job) -> float:
    """How long a job will still run, by its own word and progress."""
    return max(_SHORTEST_HOURS, job.duration_seconds * (1 - min(max(job.progress, 0.0), 1.0)) / 3600)


def reserve(desk: standing.Desk, kind: Kind, job: model.Job, replicas: int) -> float:
    """What a rig has to earn with `replicas` of a job on it to be no worse off, $/h."""
    here = desk.standing(kind.class_key, kind.mode)
    other, forgone = alternative(here, kind.pin)
    there = desk.cost(kind.class_key, kind.mode, job.mode)
    back = desk.cost(kind.class_key, standing.OVER, other) or desk.cost(kind.class_key, job.mode, other)
    hourly = max(standing.rate(here.value, kind.mode), standing.rate(here.value, other))
    moves = sum(standing.dollars(move, hourly) for move in (there, back) if move is not None)
    return forgone + standing.ai_power(here.value, job, replicas) + moves / remaining_hours(job)


def alternative(here: standing.Standing, pin: model.Pin) -> tuple[model.Mode, float]:
    """The best a rig could do instead of AI work, and its net in $/h."""
    modes = standing.within_pin(pin, here.nets)
    if not modes:
        return model.IDLE, standing.resting_net(here.value)
    best = max(modes, key=lambda mode: (here.nets[mode], mode))
    return best, here.nets[best]


_Stock = dict[Kind, tuple[int, list[planning.RigView]]]
"""By kind: replicas that one rig of it holds, and the rigs in order of their names."""


class _Bench:
    """Rigs that are free for AI work, dwindling while jobs are decided on."""

    def __init__(
        self,
        desk: standing.Desk,
        *,
        working: Mapping[str, gangs.Gang],
        stopped: set[str],
        purse: budgets.Purse,
        away: Collection[str],
    ) -> None:
        self.result = Admitted(admissions=[], refusals=[], preemptions=[], taken={})
        self._desk = desk
        self._working = {key: gang for key, gang in working.items() if key not in stopped}
        self._purse = purse
        self._free = _by_kind(
            view
            for view in desk.views.values()
            if _free(view) and view.name not in desk.gang_of and view.name not in away and not _unpriced(desk, view)
        )
        self._reserves: dict[tuple[Kind, int], float] = {}

    def decide(self, job: model.Job) -> None:
        """Admit a job, or say why not."""
        desk = self._desk
        if job.suspend:
            self._refuse(job, "Suspended", "the job is suspended")
            return
        if job.deadline is not None and (job.deadline - desk.now).total_seconds() < remaining_hours(job) * 3600:
            self._refuse(
                job,
                "DeadlinePassed",
                f"needs {remaining_hours(job):.1f} h, the deadline is in "
                f"{(job.deadline - desk.now).total_seconds() / 3600:.1f} h",
            )
            return
        self._reserves.clear()
        usable = self._usable(job, self._free)
        best = self._choose(job, usable, within_budget=False)
        if best is None:
            if not self._displace(job, usable):
                self._refuse_for_room(job, usable)
            return
        price = best.reserve / job.gpus
        if job.bid_usd_per_gpu_hour <= price:
            self._refuse_bid(job, price)
            return
        now = self._choose(job, usable, within_budget=True)
        if now is None or job.bid_usd_per_gpu_hour * job.gpus <= now.reserve:
            self._refuse_for_budget(job, best, price)
            return
        self._take(job, now)
        self._admit(job, now)

    # --- choosing ----------------------------------------------------------------------------------------------

    def _usable(self, job: model.Job, kinds: Mapping[Kind, list[planning.RigView]]) -> _Stock:
        """The kinds of rigs that the job could run on."""
        classes = self._desk.request.classes
        found: _Stock = {}
        for kind, views in kinds.items():
            value = classes[kind.class_key]
            slots = value.slots.get(job.key, 0)
            if not slots or not views or job.mode not in value.worths or job.mode in kind.barred:
                continue
            if self._desk.cost(kind.class_key, kind.mode, job.mode) is not None:
                found[kind] = (slots, views)
        return found

    def _choose(self, job: model.Job, usable: _Stock, *, within_budget: bool) -> Choice | None:
        """The set with the least reserve: the cheapest rigs per replica, and for the rest whichever rig is cheapest.

        Every prefix of the cheapest rigs is tried with the best single rig for what is then left, so a rig that is only
        needed in part does not have to be next in line. Among equals the larger rig comes first: fewer rigs for a gang.
        Within the budget means within shares and circuits too.
        """
        line = sorted(
            usable,
            key=lambda kind: (
                self._reserve(job, kind, usable[kind][0]) / usable[kind][0],
                -usable[kind][0],
                usable[kind][1][0].name,
            ),
        )
        used = dict.fromkeys(line, 0)
        purse = self._purse.trial()

        def available(kind: Kind) -> bool:
            views = usable[kind][1]
            # A rig that is in the job's mode already has no hand-over before it.
            if used[kind] >= len(views) or not within_budget or kind.mode == job.mode:
                return used[kind] < len(views)
            if purse.refusal_of_kind(views[used[kind]], job.mode):
                return False
            while used[kind] < len(views) and not purse.fits(views[used[kind]], job.mode):
                used[kind] += 1  # rigs of a kind hang on different circuits
            return used[kind] < len(views)

        best: Choice | None = None
        chosen: list[tuple[planning.RigView, int]] = []
        spent, rest = 0.0, job.replicas
        while rest > 0:
            lasts = [kind for kind in line if usable[kind][0] >= rest and available(kind)]
            if lasts:
                last = min(lasts, key=lambda kind: self._reserve(job, kind, rest))
                total = spent + self._reserve(job, last, rest)
                if best is None or total < best.reserve - 1e-12:
                    best = Choice(placement=(*chosen, (usable[last][1][used[last]], rest)), reserve=total)
            following = next((kind for kind in line if available(kind)), None)
            if following is None or usable[following][0] >= rest:
                break
            slots, views = usable[following]
            chosen.append((views[used[following]], slots))
            purse.take(views[used[following]], job.mode)
            spent += self._reserve(job, following, slots)
            rest -= slots
            used[following] += 1
        return best

    def _reserve(self, job: model.Job, kind: Kind, replicas: int) -> float:
        key = kind, replicas
        found = self._reserves.get(key)
        if found is None:
            found = self._reserves[key] = reserve(self._desk, kind, job, replicas)
        return found

    # --- gangs at work -----------------------------------------------------------------------------------------

    def _displace(self, job: model.Job, usable: _Stock) -> bool:
        """Make room by stopping one gang that bids less, if that clearly pays."""
        for gang in sorted(self._working.values(), key=lambda gang: (gang.job.bid_usd_per_gpu_hour, gang.job.key)):
            if gang.job.bid_usd_per_gpu_hour >= job.bid_usd_per_gpu_hour:
                return False
            if not gang.stoppable or not gangs.ran_enough(self._desk, gang.job):
                continue
            freed = self._usable(job, _by_kind(view for view, _ in gang.rigs if _free(view)))
            # Kinds do not meet: a free rig is in no running job's mode.
            choice = self._choose(job, {**usable, **freed}, within_budget=False)
            if choice is None or not self._pays(job, choice, gang):
                continue
            used = {view.name for view, _ in choice.placement}
            others = [view for view, _ in gang.rigs if view.name not in used]
            if not self._purse.affords_all([*((view, model.IDLE) for view in others), *choice.wants(job)]):
                continue
            self._take(job, choice)
            del self._working[gang.job.key]
            self.result.preemptions.append(
                planning.Preemption(
                    job=gang.job.key,
                    reason="Displaced",
                    message=f"AIJob {job.key} bids {job.bid_usd_per_gpu_hour:.3f} $/GPU-h for its rigs",
                    targets={view.name: gangs.leave(self._desk, view, self._purse) for view in others},
                )
            )
            self._admit(job, choice)
            return True
        return False

    def _take(self, job: model.Job, choice: Choice) -> None:
        for view, mode in choice.wants(job):
            self._purse.take(view, mode)

    def _pays(self, job: model.Job, choice: Choice, gang: gangs.Gang) -> bool:
        hours = min(remaining_hours(job), remaining_hours(gang.job))
        gain = (job.bid_usd_per_gpu_hour * job.gpus - choice.reserve) * hours
        lost = max(0.0, gang.net - gang.other) * hours + gang.moving_usd
        return gain > DISPLACE_MARGIN * lost

    # --- results -----------------------------------------------------------------------------------------------

    def _admit(self, job: model.Job, choice: Choice) -> None:
        for view, _ in choice.placement:
            kind = _kind(view)
            if view in self._free.get(kind, ()):
                self._free[kind].remove(view)
            self.result.taken[view.name] = job
        price = choice.reserve / job.gpus
        placement = sorted((view.name, replicas) for view, replicas in choice.placement)
        self.result.admissions.append(
            planning.Admission(
                job=job.key,
                placement=tuple(model.Placement(rig=rig, replicas=replicas) for rig, replicas in placement),
                reserve_usd_per_gpu_hour=price,
                message=f"bid {job.bid_usd_per_gpu_hour:.3f} $/GPU-h, needed {price:.3f}",
            )
        )

    def _refuse(self, job: model.Job, reason: str, message: str, price: float | None = None) -> None:
        self.result.refusals.append(
            planning.JobRefusal(job=job.key, reason=reason, message=message, reserve_usd_per_gpu_hour=price)
        )

    def _refuse_bid(self, job: model.Job, price: float) -> None:
        bid = job.bid_usd_per_gpu_hour
        digits = next((digits for digits in (2, 3, 4) if round(bid, digits) < round(price, digits)), 6)
        self._refuse(job, "BidTooLow", f"bid {bid:.{digits}f} $/GPU-h, needs {price:.{digits}f}", price)

    def _refuse_for_budget(self, job: model.Job, best: Choice, price: float) -> None:
        if self._purse.affords(best.pools):
            refusal = self._purse.refusal_of_all(best.wants(job))
            self._refuse(job, "LimitReached", refusal or "the rigs that a share or circuit allows cost more", price)
            return
        tight = []
        for pool, count in sorted(best.pools.items()):
            if count > self._purse.left(pool):
                tight.append(f"{count} of GPUPool {pool}, of which {self._purse.left(pool)} may start now")
            if count <= self._purse.limit(pool):
                self._purse.keep(pool, job.key)
            else:
                tight[-1] += f" and {self._purse.limit(pool)} ever (switching.maxConcurrent)"
        self._refuse(job, "BudgetSpent", f"needs hand-overs of {'; '.join(tight) or 'more rigs'}", price)

    def _refuse_for_room(self, job: model.Job, usable: _Stock) -> None:
        classes = self._desk.request.classes
        rigs = [view for view in self._desk.views.values() if view.class_key in classes]
        fitting = [view for view in rigs if classes[view.class_key].slots.get(job.key, 0) > 0]
        if not fitting:
            lacks = Counter(
                refusal.lacks
                for view in rigs
                if (refusal := classes[view.class_key].refusals.get(job.mode)) is not None
            )
            most = sorted(lacks.items(), key=lambda item: (-item[1], item[0]))
            message = f"{most[0][0]} ({most[0][1]} of {len(rigs)} rigs)" if most else "there is no rig in any GPUPool"
            self._refuse(job, "NoEligibleRig", message)
            return
        if all(view.held == planning.HELD_NO_TRUSTED_PRICE for view in fitting):
            self._refuse(job, "PriceUntrusted", "no rig that fits has a trusted price of power")
            return
        if all(_unpriced(self._desk, view) for view in fitting):
            self._refuse(job, "PriceUntrusted", "every rig that fits mines a coin without a trusted price")
            return
        held = sum(slots * len(views) for slots, views in usable.values())
        inside = {view.name for _, views in usable.values() for view in views}
        out = Counter(_unusable(self._desk, view, job) for view in fitting if view.name not in inside)
        why = ", ".join(f"{count} {text}" for text, count in sorted(out.items()))
        self._refuse(
            job,
            "NotEnoughRigs",
            f"{held} of {job.replicas} replicas fit" + (f"; other rigs: {why}" if why else ""),
        )


def _free(view: planning.RigView) -> bool:
    return (
        bool(view.class_key)
        and not view.switching
        and not view.held
        and view.enforced
        and view.pin in (model.Pin.AUTO, model.Pin.AI)
    )


def _unpriced(desk: standing.Desk, view: planning.RigView) -> bool:
    """Whether nobody knows what a rig earns now, and so what a job would have to pay for it."""
    return desk.standing(view.class_key, view.mode).present_net is None


def _kind(view: planning.RigView) -> Kind:
    return Kind(class_key=view.class_key, pool=view.pool, mode=view.mode, pin=view.pin, barred=frozenset(view.barred))


def _by_kind(views: Iterable[planning.RigView]) -> dict[Kind, list[planning.RigView]]:
    found: dict[Kind, list[planning.RigView]] = {}
    for view in views:
        found.setdefault(_kind(view), []).append(view)
    return found


def _unusable(desk: standing.Desk, view: planning.RigView, job: model.Job) -> str:
    if view.held:
        return f"held ({view.held})"
    if not view.enforced:
        return "only recommended for"
    if view.pin not in (model.Pin.AUTO, model.Pin.AI):
        return f"pinned to {view.pin}"
    if view.switching:
        return "switching"
    if job.mode in view.barred:
        return "backing off after a failure"
    if view.name in desk.gang_of:
        return "at other AI work"
    return "mining without a trusted price" if _unpriced(desk, view) else "taken by better bids"
