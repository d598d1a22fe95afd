"""Whole-gang admission: which waiting job gets which rigs, and at what price.

Jobs choose one after the other. Where bid prices are known, who leaves most per GPU of its rigs beyond what these
forgo, the moves and the price of scarcity comes first; without them who bids most. Each takes the set of rigs with the
least reserve that holds it whole, and gets it if it bids more. Rigs that are free ask for nothing else, since a gang at
work makes room for a better bid; only one that could not be stopped pays the price of scarcity at once.

A job that finds no room is weighed against gangs at work when it comes, and every ten minutes.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.planning import budgets, displacing, gangs, placing, priced, pricing, shedding, standing
from switchyard.planning import request as planning

_TRY_EVERY: Final = datetime.timedelta(minutes=10)
"""All waiting jobs are weighed against those at work so often. In between only new ones are: it is their turn."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Admitted:
    """What came of it.

    `moves`: rigs that rest for a gang. `tried`: every waiting job was weighed against those at work.
    """

    admissions: list[planning.Admission]
    refusals: list[planning.JobRefusal]
    preemptions: list[planning.Preemption]
    taken: dict[str, model.Job]
    moves: list[planning.Move] = dataclasses.field(default_factory=list)
    tried: bool = False


def admit(
    desk: standing.Desk,
    *,
    working: Mapping[str, gangs.Gang],
    stopped: Iterable[str],
    purse: budgets.Purse,
    leaving: Mapping[str, model.Mode],
    book: priced.Book | None = None,
) -> Admitted:
    """Decide on every waiting job.

    Args:
        desk: the request.
        working: gangs at work.
        stopped: jobs that this plan preempts already.
        purse: budgets, shares and circuits; what admissions cost is taken from it.
        leaving: by rig, where this plan sends it already.
        book: bid prices; None to do without.
    """
    waiting = [job for job in desk.jobs.values() if job.state is model.JobState.PENDING]
    result = Admitted(admissions=[], refusals=[], preemptions=[], taken={})
    if not waiting:
        return result
    gone = set(stopped)
    bench = _Bench(
        desk,
        working={key: gang for key, gang in working.items() if key not in gone},
        purse=purse,
        leaving=leaving,
        book=book,
        result=result,
    )
    for job in bench.line(waiting):
        bench.decide(job)
    return result


class _Bench:
    """Rigs that are free for AI work, dwindling while jobs are decided on."""

    def __init__(
        self,
        desk: standing.Desk,
        *,
        working: Mapping[str, gangs.Gang],
        purse: budgets.Purse,
        leaving: Mapping[str, model.Mode],
        book: priced.Book | None,
        result: Admitted,
    ) -> None:
        self.result = result
        self._desk = desk
        self._purse = purse
        self._free = placing.by_kind(
            desk,
            (
                view
                for view in desk.views.values()
                if placing.free(view)
                and view.name not in desk.gang_of
                and view.name not in leaving
                and not placing.unpriced(desk, view)
            ),
        )
        self._lots = placing.lots(self._free)
        self._spare = shedding.Spare(desk, purse, leaving)
        prices = book.last.prices if book is not None and book.last is not None else None
        self._quoted = None if prices is None else pricing.Quoted(desk=desk, prices=prices)
        self._tenants = displacing.Tenants(desk, working=working.values(), quoted=self._quoted)
        before = desk.request.memory.book
        self._newest = before.newest if before is not None else None
        tried_at = before.tried_at if before is not None else None
        self._over = {
            key: placing.Kind(class_key=key, pool="", origin=standing.OVER, pin=model.Pin.AUTO, barred=frozenset())
            for key in desk.request.classes
        }
        self._asked: dict[str, Mapping[str, tuple[float, int]]] = {}
        self._told: dict[tuple[str, ...], tuple[str, str]] = {}
        self._barring = any(mode.kind is model.ModeKind.AI for view in desk.views.values() for mode in view.barred)
        result.tried = tried_at is None or book is None or desk.now - tried_at >= _TRY_EVERY

    def line(self, waiting: Iterable[model.Job]) -> list[model.Job]:
        """Jobs in the order in which they choose."""
        merit = {job.key: self._merit(job) for job in waiting}
        return sorted(waiting, key=lambda job: (-merit[job.key], job.created_at, job.key))

    def decide(self, job: model.Job) -> None:
        """Admit a job, or say why not."""
        desk = self._desk
        hours = placing.remaining_hours(job)
        if job.suspend:
            self._refuse(job, "Suspended", "the job is suspended")
            return
        if job.deadline is not None and (job.deadline - desk.now).total_seconds() < hours * 3600:
            left = (job.deadline - desk.now).total_seconds() / 3600
            self._refuse(job, "DeadlinePassed", f"needs {hours:.1f} h, the deadline is in {left:.1f} h")
            return
        stock = placing.usable(desk, job, self._lots)
        held = sum(slots * len(views) for slots, views in placing.rigs_of(stock))
        line = placing.offers(desk, job, stock, surcharge=self._surcharge(job)) if held >= job.replicas else ()
        best = placing.choose(job, line)
        if best is None:
            self._without_room(job, stock, held)
            return
        price = best.reserve / job.gpus
        if job.bid_usd_per_gpu_hour <= price:
            self._refuse_bid(job, price)
            return
        now = placing.choose(job, line, purse=self._purse)
        if now is None or job.bid_usd_per_gpu_hour * job.gpus <= now.reserve:
            if not self._gets_watts(job, best):
                self._refuse_for_budget(job, best, price)
            return
        self._take(job, now)
        self._admit(job, now)

    # --- prices ------------------------------------------------------------------------------------------------

    def _merit(self, job: model.Job) -> float:
        """What puts a job before others, $/GPU-h: its bid, or with prices what it leaves beyond them."""
        if self._quoted is None:
            return job.bid_usd_per_gpu_hour
        usd = job.bid_usd_per_gpu_hour * job.gpus
        return max(((usd - asked) / gpus for asked, gpus in self._asks(job).values()), default=float("-inf"))

    def _asks(self, job: model.Job) -> Mapping[str, tuple[float, int]]:
        """By class: what rigs enough for the whole job ask for, $/h, if they are at AI work already; and their GPUs."""
        found = self._asked.get(job.key)
        if found is None:
            found = self._asked[job.key] = dict(self._asks_of(job))
        return found

    def _asks_of(self, job: model.Job) -> Iterator[tuple[str, tuple[float, int]]]:
        for key, value in self._desk.request.classes.items():
            slots = value.slots.get(job.key, 0)
            if not slots or job.mode not in value.worths or value.usd_per_kwh is None:
                continue
            kind = self._over[key]
            rigs, rest = divmod(job.replicas, slots)
            asked = rigs * placing.reserve(self._desk, kind, job, slots) if rigs else 0.0
            asked += placing.reserve(self._desk, kind, job, rest) if rest else 0.0
            rigs += bool(rest)
            if self._quoted is not None:
                asked += rigs * self._quoted.least_usd_per_hour(key, placing.remaining_hours(job))
            yield key, (asked, rigs * max(1, len(value.rig_class.hardware.gpus)))

    def _surcharge(self, job: model.Job) -> placing.Surcharge | None:
        quoted = self._quoted
        if quoted is None or job.preemptible:
            return None
        hours = placing.remaining_hours(job)
        known = quoted.rigs_usd_per_hour(hours)

        def asked(kind: placing.Kind) -> float:
            found = known.get((kind.class_key, kind.circuit))
            return quoted.rig_usd_per_hour(kind.class_key, kind.circuit, hours) if found is None else found

        return asked

    # --- gangs at work -----------------------------------------------------------------------------------------

    def _without_room(self, job: model.Job, stock: placing.Stock, held: int) -> None:
        """Make room by stopping gangs that are worth less, if that clearly pays; or say what would."""
        done, price = self._stops_others(job, stock, held)
        if not done:
            self._refuse_for_room(job, stock, held, price)

    def _stops_others(self, job: model.Job, stock: placing.Stock, held: int) -> tuple[bool, float | None]:
        """Whether gangs were stopped for a job; if not, the price above which they would be, where there is one."""
        asks = self._asks(job)
        price = min((asked for asked, _ in asks.values()), default=0.0) / job.gpus
        if not asks or not self._tenants.any:
            return False, None
        if job.bid_usd_per_gpu_hour <= price:
            return False, price
        room = self._tenants.room(job, needed=job.replicas - held)
        if room is None:
            return False, None
        hours = displacing.hours_gained(job, room, priced=self._quoted is not None)
        lost = self._tenants.margin * room.loss_usd / hours / job.gpus
        price += lost
        if displacing.promising(price, job.bid_usd_per_gpu_hour):
            freed = placing.usable(self._desk, job, placing.lots(displacing.freed(self._desk, room)))
            choice = placing.choose(job, placing.offers(self._desk, job, placing.joined(stock, freed)))
            if choice is not None:
                hours = placing.remaining_hours(job)
                scarcity = displacing.scarcity_usd_per_hour(choice.placement, self._quoted, hours)
                price = (choice.reserve + scarcity) / job.gpus + lost
                if job.bid_usd_per_gpu_hour > price and self._displaces(job, choice, room, price):
                    return True, price
        return False, price

    def _its_turn(self, job: model.Job) -> bool:
        """Whether a job is weighed against others now."""
        return self.result.tried or self._newest is None or job.created_at > self._newest

    def _gets_watts(self, job: model.Job, best: placing.Choice) -> bool:
        """Get a job the watts that its rigs lack, if it pays for them: from rigs that rest, else from other gangs.

        What has been found for it is kept until it is free; then the job is admitted.
        """
        wants = best.wants(job)
        if not self._purse.refusal_of_all(wants).startswith("circuit"):
            return False
        lacking = self._spare.lacking(wants)
        if lacking and not self._rests_others(job, best, lacking):
            return self._stops_others(job, [], 0)[0]
        for view, mode in wants:
            self._spare.goes(view, mode)
            self._forget(view)
        self._purse.set_aside(wants)
        circuits = ", ".join(sorted({view.circuit for view, _ in wants if view.circuit}))
        self._refuse(
            job, "LimitReached", f"waits for watts that come free on circuit {circuits}", best.reserve / job.gpus
        )
        return True

    def _rests_others(self, job: model.Job, best: placing.Choice, lacking: Mapping[str, float]) -> bool:
        """Whether single rigs were sent to rest for these watts: if the bid clearly pays for what they forgo."""
        rigs = {view.name for view, _ in best.placement}
        room = self._spare.room(lacking, without=rigs) if self._its_turn(job) else None
        if room is None:
            return False
        lost = room.usd_per_hour + room.usd / placing.remaining_hours(job)
        if job.bid_usd_per_gpu_hour * job.gpus <= best.reserve + self._tenants.margin * lost:
            return False
        for move in room.moves:
            view = self._desk.views[move.rig]
            self._purse.take(view, move.to)
            self._forget(view)
            self._spare.goes(view, move.to)
        self.result.moves += room.moves
        return True

    def _displaces(self, job: model.Job, choice: placing.Choice, room: displacing.Room, price: float) -> bool:
        """Stop these gangs for a job, if that is allowed now."""
        if not self._its_turn(job):
            return False
        used = {view.name for view, _ in choice.placement}
        others = {gang.job.key: [view for view, _ in gang.rigs if view.name not in used] for gang in room.gangs}
        leaving = [(view, model.IDLE) for views in others.values() for view in views]
        if not self._purse.affords_all([*leaving, *choice.wants(job)]):
            return False
        self._take(job, choice)
        self._tenants.gone(room.gangs)
        for gang in room.gangs:
            targets = {view.name: gangs.leave(self._desk, view, self._purse) for view in others[gang.job.key]}
            for name, target in targets.items():
                self._spare.goes(self._desk.views[name], target)
            self.result.preemptions.append(
                planning.Preemption(
                    job=gang.job.key,
                    reason="Displaced",
                    message=(
                        f"AIJob {job.key} bids {job.bid_usd_per_gpu_hour:.3f} $/GPU-h for its rigs and needs "
                        f"{price:.3f}, with {self._tenants.margin:g} times the {room.loss_usd:.2f} $ that is lost"
                    ),
                    targets=targets,
                )
            )
        self._admit(job, choice)
        return True

    def _take(self, job: model.Job, choice: placing.Choice) -> None:
        for view, mode in choice.wants(job):
            self._purse.take(view, mode)

    def _forget(self, view: planning.RigView) -> None:
        """A rig is free no longer."""
        kind = placing.kind_of(self._desk, view)
        if view in self._free.get(kind, ()):
            self._free[kind].remove(view)
        self._told.clear()

    # --- results -----------------------------------------------------------------------------------------------

    def _admit(self, job: model.Job, choice: placing.Choice) -> None:
        for view, _ in choice.placement:
            self._forget(view)
            self._spare.goes(view, job.mode)
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

    def _refuse_for_budget(self, job: model.Job, best: placing.Choice, price: float) -> None:
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

    def _refuse_for_room(self, job: model.Job, stock: placing.Stock, held: int, price: float | None = None) -> None:
        classes = self._desk.request.classes
        fitting = tuple(key for key, value in classes.items() if value.slots.get(job.key, 0) > 0)
        if not any(view.class_key in fitting for view in self._desk.views.values()):
            rigs = [view for view in self._desk.views.values() if view.class_key in classes]
            lacks = Counter(
                refusal.lacks
                for view in rigs
                if (refusal := classes[view.class_key].refusals.get(job.mode)) is not None
            )
            most = sorted(lacks.items(), key=lambda item: (-item[1], item[0]))
            message = f"{most[0][0]} ({most[0][1]} of {len(rigs)} rigs)" if most else "there is no rig in any GPUPool"
            self._refuse(job, "NoEligibleRig", message)
            return
        untrusted, why = self._why(job, fitting, stock)
        if untrusted:
            self._refuse(job, "PriceUntrusted", untrusted)
            return
        message = f"{held} of {job.replicas} replicas fit" + (f"; other rigs: {why}" if why else "")
        if price is not None:
            message += f"; to make room takes more than {price:.3f} $/GPU-h"
        self._refuse(job, "NotEnoughRigs", message, price)

    def _why(self, job: model.Job, fitting: tuple[str, ...], stock: placing.Stock) -> tuple[str, str]:
        """Why nobody knows what rigs of these classes are worth, if so; and why those not in stock are not to be had.

        Worked out once for all jobs that fit the same classes, as long as nobody else is admitted.
        """
        found = self._told.get(fitting)
        if found is None:
            found = self._found_why(job, fitting, stock)
            if not self._barring:
                self._told[fitting] = found
        return found

    def _found_why(self, job: model.Job, fitting: tuple[str, ...], stock: placing.Stock) -> tuple[str, str]:
        views = [view for view in self._desk.views.values() if view.class_key in fitting]
        if all(view.held == planning.HELD_NO_TRUSTED_PRICE for view in views):
            return "no rig that fits has a trusted price of power", ""
        if all(placing.unpriced(self._desk, view) for view in views):
            return "every rig that fits mines a coin without a trusted price", ""
        inside = {view.name for _, found in placing.rigs_of(stock) for view in found}
        out = Counter(placing.unusable(self._desk, view, job) for view in views if view.name not in inside)
        return "", ", ".join(f"{count} {text}" for text, count in sorted(out.items()))
