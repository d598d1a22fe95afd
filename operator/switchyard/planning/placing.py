"""Which rigs a waiting gang would take, and what they ask for.

A rig's reserve price for a job is what it must earn to be no worse off: the best net it forgoes, the power of AI work,
and the moves there and back spread over the time the job will run. A job takes the set of rigs with the least reserve
that holds it whole. A rig serves one job at a time, so what it could earn is forgone whole, and fewer rigs are cheaper.
Between Sites runs a thin network: a gang of several rigs stays on one where that costs little more.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from switchyard.fleet import model
from switchyard.planning import budgets, standing
from switchyard.planning import request as planning

_SHORTEST_HOURS: Final = 1 / 12
"""Over less than five minutes no move is spread, however soon a job says it will be done."""

_ONE_SITE_SHARE: Final = 0.1
"""How much more of its bid a gang may cost on one Site than spread over several. Assumed: nobody tells its traffic."""


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


Kinds = dict[Kind, list[planning.RigView]]
"""Rigs by kind, in order of their names."""

Lot = tuple[Kind, Kinds]
"""Kinds that differ in their circuits alone, one of which stands for all: what a rig forgoes does not depend on it."""

Stock = list[tuple[int, Lot]]
"""What a job could run on, each with the replicas that one rig holds."""

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


def unusable(desk: standing.Desk, view: planning.RigView, job: model.Job) -> str:
    """Why a rig is not to be had for a job, for people."""
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
    return "mining without a trusted price" if unpriced(desk, view) else "taken by better bids"


def by_kind(desk: standing.Desk, views: Iterable[planning.RigView], *, stopped: bool = False) -> Kinds:
    """Rigs by kind. `stopped`: they are those of gangs whose stop is paid for already."""
    found: Kinds = {}
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


def lots(kinds: Kinds) -> list[Lot]:
    """The kinds in lots; what is done to their lists of rigs afterwards is seen there too."""
    found: dict[tuple[object, ...], Lot] = {}
    for kind, views in kinds.items():
        alike = kind.class_key, kind.pool, kind.origin, kind.pin, kind.barred
        found.setdefault(alike, (kind, {}))[1][kind] = views
    return list(found.values())


def usable(desk: standing.Desk, job: model.Job, found: Iterable[Lot]) -> Stock:
    """The kinds of rigs that a job could run on."""
    classes, key, mode = desk.request.classes, job.key, job.mode
    stock: Stock = []
    for lot in found:
        kind = lot[0]
        value = classes[kind.class_key]
        slots = value.slots.get(key, 0)
        if not slots or mode not in value.worths or mode in kind.barred:
            continue
        if desk.cost(kind.class_key, kind.origin, mode) is not None:
            stock.append((slots, lot))
    return stock


def rigs_of(stock: Stock) -> Iterator[tuple[int, list[planning.RigView]]]:
    """By kind, the replicas that a rig holds, and the rigs."""
    return ((slots, views) for slots, (_, kinds) in stock for views in kinds.values())


def joined(stock: Stock, freed: Stock) -> Stock:
    """Both; of kinds that are in both, what has been freed."""
    twice = {kind for _, (_, kinds) in freed for kind in kinds}
    kept = [
        (slots, (first, {kind: views for kind, views in kinds.items() if kind not in twice}))
        for slots, (first, kinds) in stock
    ]
    return [*kept, *freed]


class Asked(dict[int, float]):
    """What rigs that forgo the same ask for a job, $/h by replicas on one of them."""

    def __init__(self, desk: standing.Desk, kind: Kind, job: model.Job, surcharge: float) -> None:
        super().__init__()
        self._terms = desk, kind, job
        self._surcharge = surcharge

    def __missing__(self, replicas: int) -> float:
        """Worked out when it is asked for: few numbers of replicas are."""
        found = self[replicas] = reserve(*self._terms, replicas) + self._surcharge
        return found


@dataclasses.dataclass(slots=True, eq=False)
class Offer:
    """Rigs of a kind, all on one Site, that a job could run on: replicas that one holds, and what they ask for."""

    kind: Kind
    site: str
    slots: int
    views: list[planning.RigView]
    asked: Asked


_BY_RANK: Final = operator.itemgetter(0)


def offers(
    desk: standing.Desk, job: model.Job, stock: Stock, *, surcharge: Surcharge | None = None
) -> tuple[Offer, ...]:
    """A stock in line, the cheapest rigs per replica first; among equals the larger rig: fewer rigs for a gang.

    Args:
        desk: the request.
        job: that waits.
        stock: rigs that it could run on.
        surcharge: on top of what a rig forgoes.
    """
    found: list[tuple[tuple[float, int, str], Offer]] = []
    for slots, (first, kinds) in stock:
        site = desk.request.classes[first.class_key].rig_class.site
        prices: dict[float, tuple[Asked, float]] = {}
        for kind, views in kinds.items():
            if not views:
                continue
            more = 0.0 if surcharge is None else surcharge(kind)
            price = prices.get(more)
            if price is None:
                asked = Asked(desk, first, job, more)
                price = prices[more] = asked, asked[slots] / slots
            found.append(((price[1], -slots, views[0].name), Offer(kind, site, slots, views, price[0])))
    found.sort(key=_BY_RANK)
    return tuple(offer for _, offer in found)


def choose(job: model.Job, line: Sequence[Offer], *, purse: budgets.Purse | None = None) -> Choice | None:
    """The set with the least reserve; on one Site where that costs little more and the bid still pays for it.

    Args:
        job: that waits.
        line: `offers` for it.
        purse: budgets, shares and circuits to keep to; None for none.
    """
    best = _cheapest(job, line, purse)
    if best is None or len(best.placement) == 1:
        return best
    site_of = {offer.kind.class_key: offer.site for offer in line}
    if len({site_of[view.class_key] for view, _ in best.placement}) == 1:
        return best
    bid = job.bid_usd_per_gpu_hour * job.gpus
    highest = min(best.reserve + _ONE_SITE_SHARE * bid, bid)
    sites = sorted(set(site_of.values()))
    found = (_cheapest(job, [offer for offer in line if offer.site == site], purse) for site in sites)
    near = [choice for choice in found if choice is not None and choice.reserve < highest]
    return min(near, key=lambda choice: choice.reserve, default=best)


def _cheapest(job: model.Job, line: Iterable[Offer], purse: budgets.Purse | None) -> Choice | None:
    """The set with the least reserve: the cheapest rigs per replica, and for the rest whichever rig is cheapest.

    Every prefix of the cheapest rigs is tried with the best single rig for what is then left, so a rig that is only
    needed in part does not have to be next in line.
    """
    hand = _Hand(job.mode, line, purse)
    best: Choice | None = None
    chosen: list[tuple[planning.RigView, int]] = []
    spent, rest = 0.0, job.replicas
    while rest > 0:
        last = hand.cheapest(rest)
        if last is not None:
            total = spent + last.asked[rest]
            if best is None or total < best.reserve - 1e-12:
                best = Choice(placement=(*chosen, (hand.next_of(last), rest)), reserve=total)
        following = hand.first()
        if following is None or following.slots >= rest:
            break
        chosen.append((hand.take(following), following.slots))
        spent += following.asked[following.slots]
        rest -= following.slots
    return best


class _Hand:
    """Offers while a gang is put together from them.

    While rigs are taken, budgets, shares and circuits only ever get tighter for others that would join the gang: what
    has been closed stays closed.
    """

    def __init__(self, mode: model.Mode, line: Iterable[Offer], purse: budgets.Purse | None) -> None:
        self._mode = mode
        self._line = list(line)
        self._used: dict[Offer, int] = {}
        self._trial = purse.trial() if purse is not None else None

    def next_of(self, offer: Offer) -> planning.RigView:
        """The rig of an offer that would be taken."""
        return offer.views[self._used.get(offer, 0)]

    def first(self) -> Offer | None:
        """The offer that is next in line."""
        while self._line:
            if self._open(self._line[0]):
                return self._line[0]
        return None

    def cheapest(self, replicas: int) -> Offer | None:
        """The offer whose rigs are cheapest for so many replicas, all on one; among equals the first in line."""
        fitting = [offer for offer in self._line if offer.slots >= replicas]
        for price in sorted({offer.asked[replicas] for offer in fitting}):
            for offer in fitting:
                if offer.asked[replicas] == price and self._open(offer):
                    return offer
        return None

    def take(self, offer: Offer) -> planning.RigView:
        """Take the next rig of an offer."""
        view = self.next_of(offer)
        if self._trial is not None:
            self._trial.take(view, self._mode)
        self._pass(offer)
        return view

    def _open(self, offer: Offer) -> bool:
        """Whether a rig of it may be taken, with those before it that may not passed over; if none, it is out."""
        trial = self._trial
        # A rig that is in the job's mode already has no hand-over before it.
        if trial is None or offer.kind.origin == self._mode:
            return True
        if trial.refusal_of_kind(self.next_of(offer), self._mode):
            self._line.remove(offer)
            return False
        while not trial.fits(self.next_of(offer), self._mode):
            if not self._pass(offer):  # rigs of a kind may read differently
                return False
        return True

    def _pass(self, offer: Offer) -> bool:
        """Pass over a rig of an offer; whether there is another."""
        used = self._used[offer] = self._used.get(offer, 0) + 1
        if used < len(offer.views):
            return True
        self._line.remove(offer)
        return False
