"""Circuits that carry too much, or all they can: which rigs must stop, and which would for a better bid.

A circuit gets over its limit without any plan's doing: somebody lowers the limit, puts rigs on it that were at work
before, or its rigs draw more than their figures said. Then rigs go to rest (Idle or Off), those first that lose least
for each watt that comes free; gangs at work only when all that is not enough, whole, with notice, and never one that is
not preemptible. Rigs that people hold or have pinned are left alone, and counted. No budget and no share keeps a rig on
a circuit that carries too much.

A gang that has rigs but not the watts for them gets those of single rigs on its circuits, if it pays for what they
forgo (`Spare`). They rest first; what that frees is kept for the gang until it is free.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.planning import budgets, gangs, standing
from switchyard.planning import request as planning

REASON: Final = "CircuitOverLimit"
"""Of moves and preemptions for which nobody is asked."""
MAKES_ROOM: Final = "MakesRoom"
"""Of moves that leave watts to a gang."""

_SMALLEST_WATTS: Final = 1e-6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """Rigs that must stop. Their hand-overs are taken from the purse already.

    Attributes:
        moves: of single rigs, to Idle or Off.
        preemptions: of gangs, their rigs to Idle or Off as well.
        held: by circuit that is over its limit even so, why, for people.
    """

    moves: tuple[planning.Move, ...] = ()
    preemptions: tuple[planning.Preemption, ...] = ()
    held: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Rigs that would rest for others.

    Attributes:
        moves: theirs.
        usd_per_hour: lost by it as long as they rest.
        usd: for the way there and back.
    """

    moves: tuple[planning.Move, ...]
    usd_per_hour: float
    usd: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """One way to free watts: a rig, or a gang's rigs, to rest. `frees` is by circuit, `usd` is lost within the hour."""

    rank: int
    key: str
    views: tuple[tuple[planning.RigView, model.Mode], ...]
    frees: Mapping[str, float]
    usd: float

    def order(self) -> tuple[int, float, str, str]:
        """Singles before gangs; then the least loss per watt."""
        return self.rank, self.usd / sum(self.frees.values()), self.key, str(self.views[0][1])


def shed(
    desk: standing.Desk,
    purse: budgets.Purse,
    *,
    working: Mapping[str, gangs.Gang],
    leaving: Mapping[str, model.Mode] | None = None,
) -> Shed:
    """Bring circuits that are over their limit back within it.

    Args:
        desk: the request.
        purse: what its circuits carry; the moves are taken from it.
        working: gangs at work that nobody stops.
        leaving: by rig, where this plan sends it already.
    """
    leaving = leaving or {}
    over = _over(desk, purse, leaving)
    if not over:
        return Shed()
    free = [view for view in desk.views.values() if view.name not in leaving]
    rests = _Rests(desk)
    options = [option for view in free for option in _singly(desk, purse, view, over, rests)]
    for job, views, usd in _gangs(desk, working, leaving):
        options += _whole(job, views, usd, purse, over, rests)
    chosen = _chosen([option for option in options if option.rank != _ADVICE], over)
    held = {key: f"{watts:,.0f} W too many stay on circuit {key}" for key, watts in over.items() if watts > 0}
    # Advice frees nothing until somebody follows it.
    chosen += _chosen([option for option in options if option.rank == _ADVICE], over)
    moves: list[planning.Move] = []
    preemptions: list[planning.Preemption] = []
    for option in chosen:
        message = _message(desk, purse, option)
        if option.rank == _GANG:
            targets = {view.name: target for view, target in option.views}
            preemptions.append(planning.Preemption(job=option.key, reason=REASON, message=message, targets=targets))
        else:
            moves.append(_move(desk, *option.views[0], REASON))
    for option in chosen:
        for view, target in option.views:
            purse.take(view, target)
    return Shed(
        moves=tuple(sorted(moves, key=lambda move: move.rig)),
        preemptions=tuple(sorted(preemptions, key=lambda preemption: preemption.job)),
        held=held,
    )


_SINGLE, _GANG, _ADVICE = range(3)


class Spare:
    """What circuits will carry once the hand-overs under way are done, and who could rest for others."""

    def __init__(self, desk: standing.Desk, purse: budgets.Purse, leaving: Mapping[str, model.Mode]) -> None:
        """`leaving`: by rig, where this plan sends it already."""
        self._desk = desk
        self._purse = purse
        self._leaving = dict(leaving)
        self._rests = _Rests(desk)

    @functools.cached_property
    def _excess(self) -> dict[str, float]:
        circuits, meter = self._desk.request.circuits, self._purse.meter
        found = _settled(self._desk, self._purse, self._leaving)
        for view in self._desk.views.values():
            # Of a rig that nobody knows about, the most counts until somebody does.
            if view.nameplate_watts and view.circuit in found and view.name not in self._leaving:
                found[view.circuit] += max(0.0, meter.feared(view) - meter.settled(view))
        return {key: watts - circuits[key].limit_watts for key, watts in found.items()}

    @functools.cached_property
    def _rigs(self) -> Mapping[str, list[planning.RigView]]:
        found: dict[str, list[planning.RigView]] = {}
        for view in self._desk.views.values():
            if view.circuit in self._desk.request.circuits and view.enforced:
                found.setdefault(view.circuit, []).append(view)
        return found

    def goes(self, view: planning.RigView, target: model.Mode) -> None:
        """A rig is sent somewhere, or a place for it kept."""
        if "_excess" in self.__dict__ and view.circuit in self._excess:
            self._excess[view.circuit] += self._more(view, target)
        self._leaving[view.name] = target

    def lacking(self, wants: Iterable[budgets.Want]) -> dict[str, float]:
        """Watts that would be too many on circuits of these rigs once all is done; empty where there will be room."""
        found: dict[str, float] = {}
        for view, target in wants:
            if view.circuit in self._desk.request.circuits:
                found.setdefault(view.circuit, self._excess[view.circuit])
                found[view.circuit] += self._more(view, target)
        return {key: watts for key, watts in found.items() if watts > _SMALLEST_WATTS}

    def room(self, lacking: Mapping[str, float], *, without: Collection[str]) -> Room | None:
        """The rigs that lose least by resting so that so many watts come free; None if that is not to be had.

        Args:
            lacking: watts by circuit.
            without: rigs that have other things to do.
        """
        desk, purse, over = self._desk, self._purse, dict(lacking)
        free = [
            view
            for key in over
            for view in self._rigs.get(key, ())
            if view.name not in without and view.name not in self._leaving
        ]
        options = [
            option
            for view in free
            for option in _singly(desk, purse, view, over, self._rests)
            if not purse.refusal(view, option.views[0][1])
        ]
        chosen = [option.views[0] for option in _chosen(options, over)]
        rigs = budgets.counted([view.pool for view, _ in chosen])
        if any(watts > _SMALLEST_WATTS for watts in over.values()) or not purse.affords(rigs):
            return None
        moves = tuple(_move(desk, view, target, MAKES_ROOM) for view, target in chosen)
        return Room(
            moves=moves,
            usd_per_hour=-sum(move.gain_usd_per_hour for move in moves),
            usd=sum(
                desk.move_usd(desk.request.classes[view.class_key], *way)
                for view, target in chosen
                for way in ((view.mode, target), (target, view.mode))
            ),
        )

    def _more(self, view: planning.RigView, target: model.Mode) -> float:
        meter, before = self._purse.meter, self._leaving.get(view.name)
        present = meter.settled(view) if before is None else meter.planned(view.class_key, before)
        return meter.planned(view.class_key, target) - present


def _over(desk: standing.Desk, purse: budgets.Purse, leaving: Mapping[str, model.Mode]) -> dict[str, float]:
    """By circuit that carries too much, how many watts too many: once the hand-overs under way are done."""
    circuits = desk.request.circuits
    excess = {key: watts - circuits[key].limit_watts for key, watts in _settled(desk, purse, leaving).items()}
    return {key: watts for key, watts in excess.items() if watts > _SMALLEST_WATTS}


def _settled(desk: standing.Desk, purse: budgets.Purse, leaving: Mapping[str, model.Mode]) -> dict[str, float]:
    """Watts by circuit once the hand-overs under way, and these, are done."""
    sums = dict.fromkeys(desk.request.circuits, 0.0)
    for view in desk.views.values():
        if view.circuit in sums:
            target = leaving.get(view.name)
            meter = purse.meter
            sums[view.circuit] += meter.settled(view) if target is None else meter.planned(view.class_key, target)
    return sums


class _Rests:
    """Where rigs can rest and what an hour of that loses, once per class and mode."""

    def __init__(self, desk: standing.Desk) -> None:
        self._desk = desk
        self._known: dict[tuple[str, model.Mode], tuple[tuple[model.Mode, float], ...]] = {}

    def of(self, view: planning.RigView) -> tuple[tuple[model.Mode, float], ...]:
        """Modes and $, the least loss first: as the pool allows, and Idle where it allows neither."""
        key = view.class_key, view.mode
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._look(view)
        return tuple(rest for rest in found if rest[0] not in view.barred) or ((model.IDLE, found[-1][1]),)

    def _look(self, view: planning.RigView) -> tuple[tuple[model.Mode, float], ...]:
        here = self._desk.standing(view.class_key, view.mode)
        resting = standing.resting_net(here.value)
        present = resting if here.present_net is None else here.present_net
        modes = [mode for mode in (model.IDLE, model.OFF) if mode in here.nets] or [model.IDLE]
        usd = {
            mode: (present - here.nets.get(mode, resting)) * standing.PAYBACK_HOURS
            + self._desk.move_usd(here.value, view.mode, mode)
            for mode in modes
        }
        return tuple(sorted(usd.items(), key=lambda rest: (rest[1], rest[0])))


def _singly(
    desk: standing.Desk, purse: budgets.Purse, view: planning.RigView, over: Mapping[str, float], rests: _Rests
) -> Iterator[_Option]:
    """What a rig that no gang has could do to help."""
    if view.circuit not in over or not _free(view) or view.name in desk.gang_of:
        return
    if view.class_key not in desk.request.classes:
        return
    settled = purse.meter.settled(view)
    for target, usd in rests.of(view):
        frees = settled - purse.meter.planned(view.class_key, target)
        if frees > _SMALLEST_WATTS:
            rank = _SINGLE if view.enforced else _ADVICE
            yield _Option(rank=rank, key=view.name, views=((view, target),), frees={view.circuit: frees}, usd=usd)


def _gangs(
    desk: standing.Desk, working: Mapping[str, gangs.Gang], leaving: Mapping[str, model.Mode]
) -> Iterator[tuple[model.Job, list[planning.RigView], float]]:
    """Gangs that may be stopped, their rigs, and what an hour without them loses, $.

    One that cannot be weighed counts with its bid: a card that has dropped out of its rig draws nothing, the others do.
    """
    for key, job in sorted(desk.jobs.items()):
        names = [placement.rig for placement in job.placement]
        views = [desk.views[name] for name in names if name in desk.views and name not in leaving]
        if job.state is not model.JobState.ADMITTED or not job.preemptible or len(views) < len(names):
            continue
        if not all(_free(view) and view.mode == job.mode and view.class_key in desk.request.classes for view in views):
            continue
        usd = job.bid_usd_per_gpu_hour * job.gpus * standing.PAYBACK_HOURS
        if (gang := working.get(key)) is not None:
            resting = sum(standing.resting_net(desk.request.classes[view.class_key]) for view in views)
            usd = (gang.net - resting) * standing.PAYBACK_HOURS + gang.moving_usd
        yield job, views, usd


def _whole(
    job: model.Job,
    views: list[planning.RigView],
    usd: float,
    purse: budgets.Purse,
    over: Mapping[str, float],
    rests: _Rests,
) -> Iterator[_Option]:
    """A gang's rigs to rest, if it stands on such a circuit."""
    ways = [(view, rests.of(view)[0][0]) for view in views]
    frees: dict[str, float] = {}
    for view, target in ways:
        if view.circuit in over:
            watts = purse.meter.settled(view) - purse.meter.planned(view.class_key, target)
            frees[view.circuit] = frees.get(view.circuit, 0.0) + watts
    if sum(frees.values()) > _SMALLEST_WATTS:
        yield _Option(rank=_GANG, key=job.key, views=tuple(ways), frees=frees, usd=usd)


def _free(view: planning.RigView) -> bool:
    return not view.held and not view.switching and view.pin is model.Pin.AUTO


def _chosen(options: list[_Option], over: dict[str, float]) -> list[_Option]:
    """The first options that free enough, less those that turn out not to be needed. `over` becomes what is left."""
    taken: dict[tuple[int, str], _Option] = {}
    for option in sorted(options, key=_Option.order):
        before = taken.get((option.rank, option.key))
        more = {
            key: watts - (before.frees.get(key, 0.0) if before is not None else 0.0)
            for key, watts in option.frees.items()
        }
        if any(over[key] > _SMALLEST_WATTS and watts > _SMALLEST_WATTS for key, watts in more.items()):
            taken[option.rank, option.key] = option
            for key, watts in more.items():
                over[key] -= watts
    for option in sorted(taken.values(), key=_Option.order, reverse=True):
        # A great one that came last can make lesser ones before it needless.
        if all(over[key] + watts <= _SMALLEST_WATTS for key, watts in option.frees.items()):
            del taken[option.rank, option.key]
            for key, watts in option.frees.items():
                over[key] += watts
    return list(taken.values())


def _move(desk: standing.Desk, view: planning.RigView, target: model.Mode, reason: str) -> planning.Move:
    here = desk.standing(view.class_key, view.mode)
    resting = standing.resting_net(here.value)
    present = resting if here.present_net is None else here.present_net
    return planning.Move(
        rig=view.name,
        to=target,
        reason=reason,
        gain_usd_per_hour=here.nets.get(target, resting) - present,
        cost=desk.cost(view.class_key, view.mode, target) or standing.NO_MOVE,
        cost_usd=here.usd.get(target, 0.0),
    )


def _message(desk: standing.Desk, purse: budgets.Purse, option: _Option) -> str:
    circuit = min(option.frees)
    most = desk.request.circuits[circuit].limit_watts
    return f"circuit {circuit} carries {most - purse.watts_left(circuit):,.0f} of {most:,.0f} W"
