"""`plan(PlanRequest) -> PlanReply`: people's words, overloaded circuits, gangs at work, waiting jobs, single rigs.

Each stage takes rigs and hand-overs from what the one before has left. The reply depends on nothing but the request,
and not on the order of anything in it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping

from switchyard.fleet import model
from switchyard.planning import (
    admission,
    budgets,
    choice,
    explain,
    gangs,
    placing,
    priced,
    pricing,
    shedding,
    standing,
)
from switchyard.planning import request as planning

_FORCED = ("Pinned", "ModeGone", "WorkDone")
"""Moves that come before those that are made for money alone: the rig is where it must not or need not be."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How it is decided.

    Attributes:
        names: of the experts that are played, see `switchyard.planning.experts`. The work function always is.
        program: whether gangs are weighed at bid prices; otherwise by their bids alone.
        solve: finds the bid prices.
    """

    names: frozenset[str] = choice.ALL
    program: bool = True
    solve: pricing.Solve = pricing.SOLVE


def plan(request: planning.PlanRequest, *, settings: Settings = Settings()) -> planning.PlanReply:
    """Where every rig goes, which job is admitted and which has to wait, and why."""
    desk = standing.Desk(request)
    purse = budgets.Purse(request)

    preemptions = list(gangs.stopped_by_people(desk, purse))
    stopped = {preemption.job for preemption in preemptions}
    working = {key: gang for key, gang in gangs.weigh(desk).items() if key not in stopped}
    leaving = _targets(preemptions)
    shed = shedding.shed(desk, purse, working=working, leaving=leaving)
    preemptions += shed.preemptions
    working = {key: gang for key, gang in working.items() if key not in {each.job for each in shed.preemptions}}
    preemptions += gangs.stopped_by_price(desk, working, purse)
    stopped = {preemption.job for preemption in preemptions}

    resting = {move.rig: move for move in shed.moves}
    book = _book(desk, working, settings)
    leaving = _targets(preemptions) | {move.rig: move.to for move in shed.moves}
    admitted = admission.admit(desk, working=working, stopped=stopped, purse=purse, leaving=leaving, book=book)
    resting |= {move.rig: move for move in admitted.moves}
    failed = book.last if book is not None else None
    preemptions += admitted.preemptions
    away = {rig: preemption for preemption in preemptions for rig in preemption.targets}

    elsewhere = {*admitted.taken, *away, *resting, *desk.gang_of}
    chosen = choice.choose(desk, desk.roll.free(elsewhere), names=settings.names)
    choices = chosen.by_rig
    moves, held = _moves(desk, chosen.movers, purse)
    moves |= resting

    told = explain.Told(
        desk=desk,
        choices=choices,
        moves=moves,
        held=held,
        taken=admitted.taken,
        away=away,
        working=working,
        refusals={refusal.job: refusal for refusal in admitted.refusals},
    )
    return planning.PlanReply(
        moves=tuple(sorted(moves.values(), key=lambda move: move.rig)),
        admissions=tuple(admitted.admissions),
        refusals=tuple(admitted.refusals),
        preemptions=tuple(preemptions),
        reserve_usd_per_gpu_hour=_Reserves(desk),
        decisions=told.decisions(),
        memory=_memory(
            desk,
            working,
            {each.job for each in preemptions},
            chosen,
            dataclasses.replace(book, tried_at=desk.now) if book is not None and admitted.tried else book,
        ),
        solver=failed.failure if failed is not None else "",
        solver_message=failed.message if failed is not None else "",
    )


def _targets(preemptions: Iterable[planning.Preemption]) -> dict[str, model.Mode]:
    """By rig, where these send it."""
    return {rig: mode for preemption in preemptions for rig, mode in preemption.targets.items()}


def _book(desk: standing.Desk, working: Mapping[str, gangs.Gang], settings: Settings) -> priced.Book | None:
    """What is known of demand, with bid prices where somebody waits."""
    if not settings.program:
        return None
    return pricing.asked(desk, pricing.remembered(desk), working=working, solve=settings.solve)


def _moves(
    desk: standing.Desk, choices: Mapping[str, choice.Choice], purse: budgets.Purse
) -> tuple[dict[str, planning.Move], dict[str, str]]:
    """The moves that the budgets allow, the greatest gains first, and by rig what holds the others back."""
    wanted = [(name, found) for name, found in choices.items() if found.target is not None]
    wanted.sort(key=lambda pair: (pair[1].reason not in _FORCED, -pair[1].gain, pair[0]))
    moves: dict[str, planning.Move] = {}
    held: dict[str, str] = {}
    # Where a hand-over is under way, watts may come free in a moment: no rig settles for less there.
    passing = {view.circuit for view in desk.request.rigs if view.switching}
    for name, best in wanted:
        view = desk.views[name]
        found: choice.Choice | None = best
        refusal = purse.refusal(view, best.target, forced=best.reason in _FORCED)
        if refusal:
            held[name] = refusal
            found = _next_best(view, best, purse) if view.circuit not in passing else None
        if found is None or found.target is None:
            continue
        purse.take(view, found.target)
        passing.add(view.circuit)
        moves[name] = planning.Move(
            rig=name,
            to=found.target,
            reason=found.reason,
            gain_usd_per_hour=found.gain,
            cost=desk.cost(view.class_key, view.mode, found.target) or standing.NO_MOVE,
            cost_usd=found.usd,
        )
    return moves, held


def _next_best(view: planning.RigView, best: choice.Choice, purse: budgets.Purse) -> choice.Choice | None:
    """What fits and pays for itself within the hour, where only the circuit has no room for what is wanted."""
    if best.target is None or best.reason in _FORCED or view.mode not in best.nets or purse.fits(view, best.target):
        return None
    present = best.nets[view.mode]
    for mode, net in sorted(best.nets.items(), key=lambda pair: (-pair[1], pair[0])):
        usd = best.move_usd(mode)
        if mode.kind is model.ModeKind.AI or mode in view.barred or usd is None:
            continue
        if (net - present) * standing.PAYBACK_HOURS > usd and not purse.refusal(view, mode):
            return dataclasses.replace(best, target=mode, gain=net - present, usd=usd)
    return None


def _memory(
    desk: standing.Desk,
    working: Mapping[str, gangs.Gang],
    stopped: set[str],
    chosen: choice.Chosen,
    book: priced.Book | None,
) -> planning.Memory:
    """What to remember: of gangs that could not be looked at, what was remembered before."""
    before = desk.request.memory.work_usd
    work = {name: before[name] for name in desk.gang_of if name in before}
    for job in stopped:
        for placement in desk.jobs[job].placement:
            work.pop(placement.rig, None)
    kept = {key: gang for key, gang in working.items() if key not in stopped}
    work.update(gangs.shares(kept))
    return planning.Memory(at=desk.now, work_usd=work, lines=chosen.lines, book=book)


class _Reserves(Mapping[str, float]):
    """By class: what a GPU-hour must fetch on its cheapest rig, with all GPUs at work and no move counted, $.

    Worked out when somebody asks: few do.
    """

    def __init__(self, desk: standing.Desk) -> None:
        self._desk = desk

    @functools.cached_property
    def _found(self) -> Mapping[str, float]:
        desk = self._desk
        found: dict[str, float] = {}
        for class_key, mode, pin in desk.roll.stands:
            value = desk.request.classes.get(class_key)
            if value is None or value.usd_per_kwh is None:
                continue
            _, forgone = placing.alternative(desk.standing(class_key, mode), pin)
            power = value.ai_watts * value.usd_per_watt_hour
            price = (forgone + power) / max(1, len(value.rig_class.hardware.gpus))
            found[class_key] = min(price, found.get(class_key, price))
        return found

    def __getitem__(self, class_key: str) -> float:
        return self._found[class_key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
