"""Which rigs a waiting gang would take, and what they ask for.

A rig's reserve price for a job is what it must earn to be no worse off: the best net it forgoes, the power of AI work,
and the moves there and back spread over the time the job will run. A job takes the set of rigs with the least reserve
that holds it whole. A rig serves one job at a time, so what it could earn is forgone whole, and fewer rigs are cheaper.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.planning import budgets, standing
from switchyard.planning import request as planning

_SHORTEST_HOURS: Final = 1 / 12
"""Over less than five minutes no move is spread, however soon a job says it will be done."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Rigs that are all the same to a job: few kinds, however many rigs. `origin`: what a move starts from."""

    class_key: str
    pool: str
    origin: model.Mode
    pin: model.Pin
    barred: frozenset[model.Mode]
    circuit: str = ""


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


Stock = dict[Kind, tuple[int, list[planning.RigView]]]
"""By kind: replicas that one rig of it holds, and the rigs in order of their names."""

Surcharge = Callable[[Kind], float]
"""$ per rig-hour that a kind asks for beyond what it forgoes."""


def remaining_hours(job: model.Job) -> float:
    """How long a job will still run, by its own word and progress."""
    return max(_SHORTEST_HOURS, job.duration_seconds * (1 - min(max(job.progress, 0.0), 1.0)) / 3600)


def reserve(desk: standing.Desk, kind: Kind, job: model.Job, replicas: int) -> float:
    """What a rig has to earn with `replicas` of a job on it to be no worse off, $/h."""
    value, other, forgone, hourly, back = _forgone(desk, kind)
    there = desk.cost(kind.class_key, kind.origin, job.mode)
    back = back or desk.cost(kind.class_key, job.mode, other)
    moves = sum(standing.dollars(move, hourly) for move in (there, back) if move is not None)
    return forgone + standing.ai_power(value, job, replicas) + moves / remaining_hours(job)


def _forgone(desk: standing.Desk, kind: Kind) -> standing.Forgone:
    key = kind.class_key, kind.origin, kind.pin
    found = desk.forgone.get(key)
    if found is None:
        here = desk.standing(kind.class_key, kind.origin)
        other, net = alternative(here, kind.pin)
        hourly = max(standing.rate(here.value, kind.origin), standing.rate(here.value, other))
        back = desk.cost(kind.class_key, standing.OVER, other)
        found = desk.forgone[key] = here.value, other, net, hourly, back
    return found


def alternative(here: standing.Standing, pin: model.Pin) -> tuple[model.Mode, float]:
    """The best a rig could do instead of AI work, and its net in $/h."""
    modes = standing.within_pin(pin, here.nets)
    if not modes:
        return model.IDLE, standing.resting_net(here.value)
    best = max(modes, key=lambda mode: (here.nets[mode], mode))
    return best, here.nets[best]


def free(view: planning.RigView) -> bool:
    """Whether a rig may be sent to a job at all, if none has it."""
    return (
        bool(view.class_key)
        and not view.switching
        and not view.held
        and view.enforced
        and view.pin in (model.Pin.AUTO, model.Pin.AI)
    )


def unpriced(desk: standing.Desk, view: planning.RigView) -> bool:
    """Whether nobody knows what a rig earns now, and so what a job would have to pay for it."""
    return desk.standing(view.class_key, view.mode).present_net is None


def by_kind(
    desk: standing.Desk, views: Iterable[planning.RigView], *, stopped: bool = False
) -> dict[Kind, list[planning.RigView]]:
    """Rigs by kind. `stopped`: they are those of gangs whose stop is paid for already."""
    found: dict[Kind, list[planning.RigView]] = {}
    for view in views:
        found.setdefault(kind_of(desk, view, stopped=stopped), []).append(view)
    return found


def kind_of(desk: standing.Desk, view: planning.RigView, *, stopped: bool = False) -> Kind:
    """The kind of a rig. Whose work it did does not matter once that is over."""
    over = stopped or (
        view.mode.kind is model.ModeKind.AI and view.mode.name not in desk.jobs and view.mode not in desk.demands
    )
    return Kind(
        class_key=view.class_key,
        pool=view.pool,
        origin=standing.OVER if over else view.mode,
        pin=view.pin,
        barred=frozenset(view.barred),
        circuit=view.circuit if view.circuit in desk.request.circuits else "",
    )


def usable(desk: standing.Desk, job: model.Job, kinds: Mapping[Kind, list[planning.RigView]]) -> Stock:
    """The kinds of rigs that a job could run on."""
    classes, key, mode = desk.request.classes, job.key, job.mode
    slots_of = {name: value.slots.get(key, 0) if mode in value.worths else 0 for name, value in classes.items()}
    ways: dict[tuple[str, model.Mode], bool] = {}
    found: Stock = {}
    for kind, views in kinds.items():
        slots = slots_of[kind.class_key]
        if not slots or not views or mode in kind.barred:
            continue
        move = kind.class_key, kind.origin
        if move not in ways:
            ways[move] = desk.cost(*move, mode) is not None
        if ways[move]:
            found[kind] = (slots, views)
    return found


def choose(
    desk: standing.Desk,
    job: model.Job,
    stock: Stock,
    *,
    purse: budgets.Purse | None = None,
    surcharge: Surcharge | None = None,
) -> Choice | None:
    """The set with the least reserve: the cheapest rigs per replica, and for the rest whichever rig is cheapest.

    Every prefix of the cheapest rigs is tried with the best single rig for what is then left, so a rig that is only
    needed in part does not have to be next in line. Among equals the larger rig comes first: fewer rigs for a gang.

    Args:
        desk: the request.
        job: that waits.
        stock: rigs that it could run on.
        purse: budgets, shares and circuits to keep to; None for none.
        surcharge: on top of what a rig forgoes.
    """
    mode = job.mode
    reserves: dict[tuple[str, model.Mode, model.Pin], dict[int, float]] = {}
    rigs = [
        _Rigs(
            kind=kind,
            slots=slots,
            views=views,
            surcharge=surcharge(kind) if surcharge is not None else 0.0,
            # What a rig forgoes does not depend on its circuit.
            reserves=reserves.setdefault((kind.class_key, kind.origin, kind.pin), {}),
        )
        for kind, (slots, views) in stock.items()
    ]

    def price(one: _Rigs, replicas: int) -> float:
        found = one.reserves.get(replicas)
        if found is None:
            found = one.reserves[replicas] = reserve(desk, one.kind, job, replicas)
        return found + one.surcharge

    line = sorted(rigs, key=lambda one: (price(one, one.slots) / one.slots, -one.slots, one.views[0].name))
    trial = purse.trial() if purse is not None else None

    def available(one: _Rigs) -> bool:
        views = one.views
        # A rig that is in the job's mode already has no hand-over before it.
        if one.used >= len(views) or trial is None or one.kind.origin == mode:
            return one.used < len(views)
        if trial.refusal_of_kind(views[one.used], mode):
            return False
        while one.used < len(views) and not trial.fits(views[one.used], mode):
            one.used += 1  # rigs of a kind may read differently
        return one.used < len(views)

    best: Choice | None = None
    chosen: list[tuple[planning.RigView, int]] = []
    spent, rest = 0.0, job.replicas
    while rest > 0:
        lasts = [one for one in line if one.slots >= rest and available(one)]
        if lasts:
            last = min(lasts, key=lambda one: price(one, rest))
            total = spent + price(last, rest)
            if best is None or total < best.reserve - 1e-12:
                best = Choice(placement=(*chosen, (last.views[last.used], rest)), reserve=total)
        following = next((one for one in line if available(one)), None)
        if following is None or following.slots >= rest:
            break
        view, slots = following.views[following.used], following.slots
        chosen.append((view, slots))
        if trial is not None:
            trial.take(view, mode)
        spent += price(following, slots)
        rest -= slots
        following.used += 1
    return best


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class _Rigs:
    """Rigs of a kind while a gang is put together: how many are used, and reserves by replicas on one."""

    kind: Kind
    slots: int
    views: list[planning.RigView]
    surcharge: float
    reserves: dict[int, float]
    used: int = 0
