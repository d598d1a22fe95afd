"""One rig's own choice: mining, a market's work, idle or off. Rigs that stand alike choose alike, and are told once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import numpy as np

from switchyard.fleet import model
from switchyard.planning import crews, experts, gangs, lines, remembered, standing
from switchyard.planning import request as planning
from switchyard.valuation import values

Work = Mapping[model.Mode, float]

ALL: frozenset[str] = frozenset((experts.WORK_FUNCTION, experts.LOOK_AHEAD, experts.STAY))
"""Every expert there is."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a rig would do if nothing but its own money counted.

    Attributes:
        standing: what it sees.
        modes: those it chooses among: what its class and its pin leave.
        target: where it would go; None for staying.
        reason: of the move, see `Move`; "" for staying, NoTrustedPrice where nothing is known of the present mode.
        gain: $/h of the target over the present mode.
        usd: what the move costs.
        work: the work function where it stands.
        line: the line it stands in, its row and its column there; None where it stands in none.
        blocked: the mode it would go to if that had not just failed here; None otherwise.
        expert: whose word this is; "" where none was asked.
        nets: $/h of the modes of its line, where it stands in it.
    """

    standing: standing.Standing
    modes: tuple[model.Mode, ...]
    target: model.Mode | None = None
    reason: str = ""
    gain: float = 0.0
    usd: float = 0.0
    work: Work = dataclasses.field(default_factory=dict)
    line: tuple[lines.Told, int, int] | None = None
    blocked: model.Mode | None = None
    expert: str = ""
    nets: Mapping[model.Mode, float] = dataclasses.field(default_factory=dict)

    def missing(self, chosen: model.Mode | None = None) -> Mapping[model.Mode, float]:
        """By mode, the $ still missing before the leading expert wants it more than `chosen`; None: than staying."""
        if self.line is None:
            return {}
        told, row, column = self.line
        return told.missing(row, column, chosen)

    def move_usd(self, mode: model.Mode) -> float | None:
        """The whole cost of going to a mode, $; None where nothing is known of the way."""
        if mode in self.standing.usd:
            return self.standing.usd[mode]
        if self.line is None or mode not in self.line[0].modes:
            return None
        told, _, column = self.line
        return float(told.moves_usd[column, told.modes.index(mode)])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Choices by rig (put together when somebody asks), those that want to move, and what to remember of the lines."""

    by_rig: Mapping[str, Choice]
    movers: Mapping[str, Choice]
    lines: Mapping[str, remembered.Line]


def choose(desk: standing.Desk, free: Mapping[crews.Key, crews.Crew], *, names: frozenset[str] = ALL) -> Chosen:
    """The choices of rigs that nobody holds and that no gang has, keeps or gets, as far as they can be valued."""
    by_line = {key: crew for key, crew in free.items() if key[0] in desk.request.classes}
    kept = dict(desk.request.memory.lines)
    work = _Work(desk, by_line)
    found: list[_Line] = []
    for (key, pin), crew in by_line.items():
        name = line_key(key, pin)
        before = desk.request.memory.lines.get(name)
        busy = work.busy(key) if pin is model.Pin.AUTO else 0
        line = _Line(
            desk,
            desk.request.classes[key],
            pin,
            crew,
            work.on(key, pin, before),
            busy=busy,
            before=before,
            names=names,
        )
        found.append(line)
        if line.told is not None:
            kept[name] = line.told.memory
    return Chosen(
        by_rig=_ByRig(found),
        movers={name: choice for line in found for name, choice in line.movers().items()},
        lines={key: line for key, line in kept.items() if _class(key) in desk.request.classes},
    )


class _ByRig(Mapping[str, Choice]):
    def __init__(self, found: list[_Line]) -> None:
        self._lines = found
        self._index: dict[str, tuple[_Line, int]] | None = None

    def _places(self) -> dict[str, tuple[_Line, int]]:
        if self._index is None:
            self._index = {
                view.name: (line, place) for line in self._lines for place, view in enumerate(line.crew.views)
            }
        return self._index

    def __getitem__(self, rig: str) -> Choice:
        line, place = self._places()[rig]
        return line.choice(place)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places())

    def __len__(self) -> int:
        return len(self._places())


def line_key(class_key: str, pin: model.Pin) -> str:
    """Name of a line in the memory."""
    return f"{class_key}|{pin}"


def _class(key: str) -> str:
    return key.rpartition("|")[0]


class _Work:
    """AI work on each line: what markets want of it, or how many of its rigs gangs hold."""

    def __init__(self, desk: standing.Desk, by_line: Mapping[crews.Key, crews.Crew]) -> None:
        self._desk = desk
        self._busy: dict[str, int] = {}
        self._earned: dict[str, float] = {}
        self._wanted: dict[str, lines.Wanted] = {}
        for name in desk.gang_of:
            view = desk.views.get(name)
            if view is not None:
                self._busy[view.class_key] = self._busy.get(view.class_key, 0) + 1
        for job in {job.key: job for job in desk.gang_of.values()}.values():
            for placement in job.placement:
                view = desk.views.get(placement.rig)
                if view is not None:
                    usd = job.bid_usd_per_gpu_hour * job.gpus_per_replica * placement.replicas
                    self._earned[view.class_key] = self._earned.get(view.class_key, 0.0) + usd
        rigs = {key: len(crew) for (key, pin), crew in by_line.items() if pin in (model.Pin.AUTO, model.Pin.AI)}
        # The dearest demand comes first where several want the same rigs.
        for demand in sorted(desk.request.demands, key=lambda each: (each.usd_per_gpu_hour, each.name)):
            self._share_out(demand, rigs)

    def busy(self, key: str) -> int:
        """Rigs of a class that gangs hold."""
        return self._busy.get(key, 0)

    def on(self, key: str, pin: model.Pin, before: remembered.Line | None) -> lines.Wanted | None:
        """AI work on a line; None where there is none and never was."""
        if pin not in (model.Pin.AUTO, model.Pin.AI):
            return None
        if key in self._wanted:
            return self._wanted[key]
        busy = self._busy.get(key, 0)
        if pin is not model.Pin.AUTO:
            return None
        if busy:
            usd = self._earned.get(key, 0.0) / busy
        elif before is not None and before.work_usd_per_hour is not None and standing.OVER in before.modes:
            usd = before.work_usd_per_hour
        else:
            return None
        return lines.Wanted(mode=standing.OVER, rigs=busy, revenue_usd_per_hour=usd)

    def _share_out(self, demand: planning.Demand, rigs: Mapping[str, int]) -> None:
        """Give a demand to the classes it takes: what one has no rigs for goes to the next, the last has the rest."""
        classes = self._desk.request.classes
        keys = sorted(
            (key for key in demand.classes if key in classes and rigs.get(key)),
            key=lambda key: (classes[key].ai_watts / max(1, len(classes[key].rig_class.hardware.gpus)), key),
        )
        left = float(demand.gpus_wanted)
        for key in keys:
            gpus = len(classes[key].rig_class.hardware.gpus)
            taken = left / gpus if key == keys[-1] else min(left / gpus, rigs[key])
            left -= taken * gpus
            self._wanted[key] = lines.Wanted(
                mode=demand.mode,
                rigs=taken,
                revenue_usd_per_hour=demand.usd_per_gpu_hour * gpus,
                eviction_usd=demand.eviction_usd_per_gpu * gpus,
            )


class _Line:
    """Choices of the rigs of one line: first those that are forced, then those in line."""

    def __init__(
        self,
        desk: standing.Desk,
        value: values.ClassValue,
        pin: model.Pin,
        crew: crews.Crew,
        wanted: lines.Wanted | None,
        *,
        busy: int,
        before: remembered.Line | None,
        names: frozenset[str],
    ) -> None:
        self._desk = desk
        self._value = value
        self._wanted = wanted
        self._choices: dict[object, Choice] = {}
        self.crew = crew
        forced = ((kind, self._forced(kind.view)) for kind in crew.kinds)
        self._forced_kinds = {kind: own for kind, own in forced if own is not None}
        self._in_crew = crew.without(self._forced_kinds)
        self.told = lines.worked_out(
            desk, value=value, pin=pin, crew=self._in_crew, wanted=wanted, busy=busy, before=before, names=names
        )
        self._targets = self._asked(self.told)

    def _asked(self, told: lines.Told | None) -> lines.Ints:
        """[n] where the leader wants each rig of the line."""
        if told is None:
            return np.zeros(0, dtype=np.int64)
        targets = told.targets(told.rows, told.columns)
        if told.seat is not None and model.IDLE in told.modes:
            targets = np.where(told.columns == told.modes.index(model.IDLE), told.seat, targets)
        return targets

    def movers(self) -> dict[str, Choice]:
        """The rigs that would go somewhere."""
        found = {
            self.crew.views[place].name: choice
            for kind, choice in self._forced_kinds.items()
            if choice.target is not None
            for place in kind.places.tolist()
        }
        if self.told is not None:
            for place in np.flatnonzero(self._targets != self.told.columns).tolist():
                choice = self._in_line(place)
                if choice.target is not None:
                    found[self.told.views[place].name] = choice
        return found

    def choice(self, place: int) -> Choice:
        """Of the member at this place."""
        own = self._forced_at.get(place)
        return own if own is not None else self._in_line(self._place_in_line[place])

    @functools.cached_property
    def _forced_at(self) -> Mapping[int, Choice]:
        return {place: own for kind, own in self._forced_kinds.items() for place in kind.places.tolist()}

    @functools.cached_property
    def _place_in_line(self) -> Mapping[int, int]:
        others = [place for place in range(len(self.crew)) if place not in self._forced_at]
        return {place: at for at, place in enumerate(others)}

    def _forced(self, view: planning.RigView) -> Choice | None:
        """The choice of a rig that is where it must not or need not be; None for one that may stay."""
        desk = self._desk
        serves = self._wanted is not None and view.mode == self._wanted.mode and view.mode in desk.demands
        if serves or (not view.switching and view.mode in self._value.worths and _may_stay(view)):
            return None
        here = desk.standing(view.class_key, view.mode)
        modes = tuple(standing.within_pin(view.pin, here.nets))
        if view.switching and view.mode not in modes:
            return Choice(standing=here, modes=modes)
        if not standing.within_pin(view.pin, (view.mode,)):
            return _leave(desk, view, here, modes, "Pinned")
        if here.present_net is None:
            return Choice(standing=here, modes=modes, reason="NoTrustedPrice")
        if view.mode.kind is model.ModeKind.AI:
            return _leave(desk, view, here, modes, "WorkDone")
        if view.mode not in modes and view.mode != model.IDLE:
            return _leave(desk, view, here, modes, "ModeGone")
        if view.mode not in modes:
            return (
                _leave(desk, view, here, modes, "FirstChoice")
                if not view.switching
                else Choice(standing=here, modes=modes)
            )
        return None

    def _in_line(self, place: int) -> Choice:
        told = self.told
        if told is None:
            view = self._in_crew.views[place]
            here = self._desk.standing(view.class_key, view.mode)
            return Choice(standing=here, modes=tuple(here.nets))
        view, row, column = told.views[place], int(told.rows[place]), int(told.columns[place])
        key = view.mode, row, frozenset(view.barred), view.switching
        found = self._choices.get(key)
        if found is None:
            target = int(self._targets[place])
            found = self._choices[key] = self._choice(view, told, row=row, current=column, target=target)
        return found

    def _choice(self, view: planning.RigView, told: lines.Told, *, row: int, current: int, target: int) -> Choice:
        here = self._desk.standing(view.class_key, view.mode)
        rewards = told.rewards[row].tolist()
        choice = Choice(
            standing=here,
            modes=told.modes,
            work=dict(zip(told.modes, told.advanced.work[row].tolist(), strict=True)),
            line=(told, row, current),
            expert=told.leader,
            nets=dict(zip(told.modes, rewards, strict=True)),
        )
        mode = told.modes[target]
        if mode == standing.OVER or target == current or view.switching:
            # Gangs come by themselves; a rig that has not arrived yet is asked again when it has.
            return choice
        gain = rewards[target] - rewards[current]
        if mode in view.barred:
            if view.mode != model.IDLE:
                return dataclasses.replace(choice, blocked=mode) if gain > 0 else choice
            other = gangs.best_start(here, [each for each in told.modes if each in here.nets], barred=view.barred)
            if other is None or other == view.mode or here.nets[other] <= rewards[current]:
                return dataclasses.replace(choice, blocked=mode)
            target, mode, gain = told.modes.index(other), other, here.nets[other] - rewards[current]
        if gain <= 0 and told.leader != experts.LOOK_AHEAD:
            return choice
        first = told.seat is not None and view.mode == model.IDLE
        return dataclasses.replace(
            choice,
            target=mode,
            reason="FirstChoice" if first else "BetterMode",
            gain=gain,
            usd=float(told.moves_usd[current, target]),
        )


def _may_stay(view: planning.RigView) -> bool:
    return view.mode.kind is not model.ModeKind.AI and bool(standing.within_pin(view.pin, (view.mode,)))


def _leave(
    desk: standing.Desk, view: planning.RigView, here: standing.Standing, modes: tuple[model.Mode, ...], reason: str
) -> Choice:
    """Out of a mode that is not to be had any more, or not wanted: to the best there is, else to rest.

    Resting needs nobody's leave here: a rig without work rests in any case.
    """
    at_rest = standing.resting_net(here.value)
    present = at_rest if here.present_net is None else here.present_net
    target = gangs.best_start(here, list(modes), barred=view.barred)
    if target is not None and reason != "Pinned" and here.nets[target] < present:
        target = None
    may_rest = view.pin in (model.Pin.AUTO, model.Pin.IDLE, model.Pin.AI) and model.IDLE not in view.barred
    if target is None and may_rest:
        target = model.IDLE
    if target is None or target == view.mode:
        return Choice(standing=here, modes=modes)
    net = here.nets.get(target, at_rest)
    return Choice(
        standing=here,
        modes=modes,
        target=target,
        reason=reason,
        gain=net - present,
        usd=desk.move_usd(here.value, view.mode, target),
    )
