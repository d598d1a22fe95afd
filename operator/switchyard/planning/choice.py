"""One rig's own choice: mining, idle or off. Rigs of one class with one past choose alike, and are worked out once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from switchyard.fleet import model
from switchyard.planning import gangs, standing, work_function
from switchyard.planning import request as planning

Work = Mapping[model.Mode, float]


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
        work: the work function to remember as long as it stays.
        moved: the one to remember once the move has begun.
        missing: by mode, the regret in $ that has still to build up before the rule moves there.
        blocked: the mode it would go to if that had not just failed here; None otherwise.
    """

    standing: standing.Standing
    modes: tuple[model.Mode, ...]
    target: model.Mode | None = None
    reason: str = ""
    gain: float = 0.0
    usd: float = 0.0
    work: Work = dataclasses.field(default_factory=dict)
    moved: Work = dataclasses.field(default_factory=dict)
    missing: Mapping[model.Mode, float] = dataclasses.field(default_factory=dict)
    blocked: model.Mode | None = None


_Key = tuple[str, model.Mode, model.Pin, frozenset[model.Mode], bool, tuple[tuple[model.Mode, float], ...]]


class Chooser:
    """Chooses for rigs, once per class, mode, pin and past."""

    def __init__(self, desk: standing.Desk) -> None:
        self._desk = desk
        self._known: dict[_Key, Choice] = {}

    def choose(self, view: planning.RigView) -> Choice:
        """The choice of a rig that can be valued and is not at AI work."""
        past = self._desk.request.memory.work_usd.get(view.name, {})
        key = (
            view.class_key,
            view.mode,
            view.pin,
            frozenset(view.barred),
            view.switching,
            tuple(sorted((mode, usd) for mode, usd in past.items() if mode.kind is not model.ModeKind.AI)),
        )
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _choose(self._desk, view, dict(key[-1]))
        return found


def _choose(desk: standing.Desk, view: planning.RigView, past: Work) -> Choice:
    here = desk.standing(view.class_key, view.mode)
    modes = tuple(standing.within_pin(view.pin, here.nets))
    pin_allows = bool(standing.within_pin(view.pin, (view.mode,)))
    if view.switching and view.mode not in modes:
        return Choice(standing=here, modes=modes, work=past)
    if not pin_allows:
        return _leave(desk, view, here, modes, "Pinned")
    if here.present_net is None:
        return Choice(standing=here, modes=modes, reason="NoTrustedPrice", work=past)
    if view.mode.kind is model.ModeKind.AI:
        return _leave(desk, view, here, modes, "WorkDone")
    if view.mode not in modes and view.mode != model.IDLE:
        return _leave(desk, view, here, modes, "ModeGone")
    if view.mode == model.IDLE and (view.mode not in modes or _without_past(modes, past)):
        return _start(desk, view, here, modes)
    return _follow(desk, view, here, modes, past)


def _without_past(modes: tuple[model.Mode, ...], past: Work) -> bool:
    """Whether a rig that idles has nothing to remember: it is new, or there was nothing to mine at a known price."""
    coins = [mode for mode in modes if mode.kind is model.ModeKind.MINING]
    return not any(mode in past for mode in coins or modes)


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
        moved=_seeded(desk, view, modes, target),
    )


def _start(
    desk: standing.Desk, view: planning.RigView, here: standing.Standing, modes: tuple[model.Mode, ...]
) -> Choice:
    """A rig that idles and has no past, or may not idle: what pays for its start within the hour is taken at once."""
    if view.switching:
        # It has not arrived yet, and so has no past that could begin: when it has, this is asked again.
        return Choice(standing=here, modes=modes)
    present = standing.resting_net(here.value)
    target = gangs.best_start(here, list(modes), barred=view.barred)
    if target is None or target == view.mode or here.nets[target] <= present:
        if any(here.nets[mode] > present for mode in view.barred if mode in here.nets):
            # What would pay cannot be had yet: its first choice is still to come.
            return Choice(standing=here, modes=modes)
        return Choice(standing=here, modes=modes, work=_seeded(desk, view, modes, view.mode))
    return Choice(
        standing=here,
        modes=modes,
        target=target,
        reason="FirstChoice",
        gain=here.nets[target] - present,
        usd=here.usd[target],
        moved=_seeded(desk, view, modes, target),
    )


def _seeded(
    desk: standing.Desk, view: planning.RigView, modes: tuple[model.Mode, ...], current: model.Mode
) -> dict[model.Mode, float]:
    if current not in modes:
        return {}
    field = desk.field(view.class_key, modes)
    return dict(zip(modes, work_function.seed(field.d, modes.index(current)), strict=True))


def _follow(
    desk: standing.Desk, view: planning.RigView, here: standing.Standing, modes: tuple[model.Mode, ...], past: Work
) -> Choice:
    """The work-function rule, for a rig in one of `modes`."""
    if not any(mode in past for mode in modes):
        return Choice(standing=here, modes=modes, work=_seeded(desk, view, modes, view.mode))
    field = desk.field(view.class_key, modes)
    current = modes.index(view.mode)
    found = work_function.advance(
        work=_filled(past, field),
        rewards=[here.nets[mode] for mode in modes],
        hours=desk.hours,
        d=field.d,
        current=current,
    )
    work = dict(zip(modes, found.work, strict=True))
    missing = {
        mode: max(0.0, found.work[s] + field.d[s][current] - found.work[current]) for s, mode in enumerate(modes)
    }
    choice = Choice(standing=here, modes=modes, work=work, moved=work, missing=missing)
    target = modes[found.target]
    gain = here.nets[target] - here.nets[view.mode]
    if target == view.mode or gain <= 0 or view.switching:
        return choice
    if target in view.barred:
        return dataclasses.replace(choice, blocked=target)
    return dataclasses.replace(choice, target=target, reason="BetterMode", gain=gain, usd=here.usd[target])


def _filled(past: Work, field: standing.Field) -> list[float]:
    """The work function on today's modes: what is new stands where the known modes would get to it from."""
    known = [(x, past[mode]) for x, mode in enumerate(field.modes) if mode in past]
    return [
        past[mode] if mode in past else min(usd + field.d[x][s] for x, usd in known)
        for s, mode in enumerate(field.modes)
    ]
