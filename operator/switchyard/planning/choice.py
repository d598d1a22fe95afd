"""One rig's own choice: mining, a market's work, idle or off. Rigs that stand alike choose alike, and are told once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from switchyard.fleet import model
from switchyard.planning import experts, gangs, lines, remembered, standing
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
        missing: by mode, the $ that are still missing before the leading expert moves there.
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
    missing: Mapping[model.Mode, float] = dataclasses.field(default_factory=dict)
    blocked: model.Mode | None = None
    expert: str = ""
    nets: Mapping[model.Mode, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Choices by rig, and what to remember of the lines that they stand in."""

    by_rig: Mapping[str, Choice]
    lines: Mapping[str, remembered.Line]


def choose(desk: standing.Desk, views: Iterable[planning.RigView], *, names: frozenset[str] = ALL) -> Chosen:
    """The choices of rigs that can be valued and that no gang has, keeps or gets."""
    by_line: dict[tuple[str, model.Pin], list[planning.RigView]] = {}
    for view in views:
        by_line.setdefault((view.class_key, view.pin), []).append(view)
    found: dict[str, Choice] = {}
    kept = dict(desk.request.memory.lines)
    work = _Work(desk, by_line)
    for (key, pin), members in by_line.items():
        name = line_key(key, pin)
        before = desk.request.memory.lines.get(name)
        line = _Line(desk, desk.request.classes[key], pin, work.on(key, pin, before), before, names)
        found |= line.choices(members, busy=work.busy(key) if pin is model.Pin.AUTO else 0)
        if line.told is not None:
            kept[name] = line.told.memory
    return Chosen(by_rig=found, lines={key: line for key, line in kept.items() if _class(key) in desk.request.classes})


def line_key(class_key: str, pin: model.Pin) -> str:
    """Name of a line in the memory."""
    return f"{class_key}|{pin}"


def _class(key: str) -> str:
    return key.rpartition("|")[0]


class _Work:
    """AI work on each line: what markets want of it, or how many of its rigs gangs hold."""

    def __init__(self, desk: standing.Desk, by_line: Mapping[tuple[str, model.Pin], list[planning.RigView]]) -> None:
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
        rigs = {key: len(views) for (key, pin), views in by_line.items() if pin in (model.Pin.AUTO, model.Pin.AI)}
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


_Key = tuple[model.Mode, int, frozenset[model.Mode], bool]


class _Line:
    """Choices of the rigs of one line."""

    def __init__(
        self,
        desk: standing.Desk,
        value: values.ClassValue,
        pin: model.Pin,
        wanted: lines.Wanted | None,
        before: remembered.Line | None,
        names: frozenset[str],
    ) -> None:
        self.told: lines.Told | None = None
        self._desk = desk
        self._value = value
        self._pin = pin
        self._wanted = wanted
        self._before = before
        self._names = names
        self._known: dict[_Key, Choice] = {}

    def choices(self, members: list[planning.RigView], *, busy: int) -> dict[str, Choice]:
        """By rig."""
        found: dict[str, Choice] = {}
        in_line: list[planning.RigView] = []
        forced: dict[tuple[model.Mode, bool, frozenset[model.Mode]], Choice | None] = {}
        for view in members:
            key = view.mode, view.switching, frozenset(view.barred)
            if key not in forced:
                forced[key] = self._forced(view)
            own = forced[key]
            if own is None:
                in_line.append(view)
            else:
                found[view.name] = own
        self.told = lines.worked_out(
            self._desk,
            value=self._value,
            pin=self._pin,
            views=in_line,
            wanted=self._wanted,
            busy=busy,
            before=self._before,
            names=self._names,
        )
        if self.told is None:
            here = {view.name: self._desk.standing(view.class_key, view.mode) for view in in_line}
            return found | {name: Choice(standing=stand, modes=tuple(stand.nets)) for name, stand in here.items()}
        self._tell(in_line, self.told)
        for view in in_line:
            row = self.told.row_of[view.name]
            found[view.name] = self._known[view.mode, row, frozenset(view.barred), view.switching]
        return found

    def _forced(self, view: planning.RigView) -> Choice | None:
        """The choice of a rig that is where it must not or need not be; None for one that may stay."""
        desk = self._desk
        here = desk.standing(view.class_key, view.mode)
        modes = tuple(standing.within_pin(view.pin, here.nets))
        serves = self._wanted is not None and view.mode == self._wanted.mode and view.mode in desk.demands
        if serves:
            return None
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

    def _tell(self, views: list[planning.RigView], told: lines.Told) -> None:
        """Ask the leader for all places that rigs stand in, at once."""
        order = {mode: place for place, mode in enumerate(told.modes)}
        places: dict[_Key, planning.RigView] = {}
        for view in views:
            places.setdefault((view.mode, told.row_of[view.name], frozenset(view.barred), view.switching), view)
        keys = list(places)
        rows = np.array([key[1] for key in keys], dtype=np.int64)
        current = np.array([order[key[0]] for key in keys], dtype=np.int64)
        targets = told.targets(rows, current).tolist()
        if told.seat is not None:
            targets = [told.seat if key[0] == model.IDLE else target for key, target in zip(keys, targets, strict=True)]
        for key, view, target in zip(keys, places.values(), targets, strict=True):
            self._known[key] = self._choice(view, told, row=key[1], current=order[view.mode], target=target)

    def _choice(self, view: planning.RigView, told: lines.Told, *, row: int, current: int, target: int) -> Choice:
        here = self._desk.standing(view.class_key, view.mode)
        rewards = told.rewards[row].tolist()
        choice = Choice(
            standing=here,
            modes=told.modes,
            work=dict(zip(told.modes, told.advanced.work[row].tolist(), strict=True)),
            missing=told.missing(row, current),
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
