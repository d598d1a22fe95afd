"""Whether a move may start: budgets of hand-overs, shares of a pool, watts on a circuit. The one place that says so.

A plan asks and takes as it goes along, so every question is answered from running sums: nothing is gone through twice,
however many rigs there are. What a move frees (watts, places) is not given out again before it is free: while a rig is
handed over, the greater of its two modes counts against its circuit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.planning import draw
from switchyard.planning import request as planning

Want = tuple[planning.RigView, model.Mode]
"""A rig, and the mode that it would go to."""

_TOLERANCE_WATTS: Final = 1e-6
"""Sums that differ by less were the same before rounding."""


def limit(max_switching: int | str, rigs: int) -> int:
    """The pool's limit in rigs: a number, or a share like `25%` rounded down; never below 1, or nothing ever moved."""
    if isinstance(max_switching, int):
        return max(1, max_switching)
    return max(1, int(rigs * _percent(max_switching) / 100))


def share(pool: model.Pool, asked: model.Share, rigs: int) -> planning.Share:
    """A pool's share in rigs. A floor in percent is rounded up, a most down; no floor is above its most."""
    most = asked.most
    if isinstance(most, str):
        most = math.floor(rigs * _percent(most) / 100 + 1e-9)
    floor = asked.floor
    if isinstance(floor, str):
        floor = math.ceil(rigs * _percent(floor) / 100 - 1e-9)
    return planning.Share(pool=pool.name, kind=asked.kind, floor=floor if most is None else min(floor, most), most=most)


class Purse:
    """What is left of budgets, shares and circuits while a plan is made.

    A pool that only recommends spends no budget, since none of its moves is made; what it recommends keeps to shares
    and circuits, but takes no watts from moves that are made.
    """

    def __init__(self, request: planning.PlanRequest) -> None:
        self.meter: Final = draw.Meter(request)
        self._limits = {name: budget.limit for name, budget in request.budgets.items()}
        self._used = {name: budget.used for name, budget in request.budgets.items()}
        self._kept: dict[str, str] = {}
        self._shares = {(each.pool, each.kind): each for each in request.shares}
        self._there = dict.fromkeys(self._shares, 0)
        self._circuits = request.circuits
        self._watts = dict.fromkeys(self._circuits, 0.0)
        self._advised = dict.fromkeys(self._circuits, 0.0)
        sharing = {each.pool for each in request.shares}
        for view in request.rigs if sharing or self._circuits else ():
            if view.pool in sharing and (view.pool, view.mode.kind) in self._there:
                self._there[view.pool, view.mode.kind] += 1
            if view.circuit in self._watts:
                feared = self.meter.feared(view)
                self._watts[view.circuit] += feared
                if not view.enforced and not view.held:
                    # What is recommended replaces whatever the rig does now.
                    self._advised[view.circuit] += self.meter.now(view) - feared

    # --- hand-overs --------------------------------------------------------------------------------------------

    def limit(self, pool: str) -> int:
        """The pool's limit of hand-overs."""
        return self._limits.get(pool, 0)

    def left(self, pool: str) -> int:
        """How many more rigs of the pool may start a hand-over."""
        return max(0, self._limits.get(pool, 0) - self._used.get(pool, 0))

    def affords(self, rigs: Mapping[str, int]) -> bool:
        """Whether the budgets of hand-overs allow so many rigs per pool to start."""
        return all(count <= self.left(pool) for pool, count in rigs.items())

    def keep(self, pool: str, job: str) -> None:
        """Keep the rest of a pool's budget for a gang that will fit once hand-overs under way are done.

        A gang needs its rigs in one tick. If single moves took every place that comes free, it would wait for ever.
        """
        self._kept.setdefault(pool, job)

    # --- watts -------------------------------------------------------------------------------------------------

    def watts_left(self, circuit: str) -> float:
        """Watts that may still be added to a circuit; below 0 where it is over its limit, infinite without one."""
        found = self._circuits.get(circuit)
        return math.inf if found is None else found.limit_watts - self._watts[circuit]

    def set_aside(self, wants: Iterable[Want]) -> None:
        """Keep the watts that these rigs will draw: what comes free meanwhile is theirs."""
        for view, target in wants:
            if view.circuit in self._watts:
                self._watts[view.circuit] += self.meter.more(view, target)

    def fits(self, view: planning.RigView, target: model.Mode) -> bool:
        """Whether the rig's circuit has the watts for it to set out for `target`."""
        return not self._circuit(view, target)

    # --- moves -------------------------------------------------------------------------------------------------

    def trial(self) -> Purse:
        """The same purse once more: what is taken from it is not taken from this one."""
        other = copy.copy(self)
        for sums in ("_used", "_kept", "_there", "_watts", "_advised"):
            setattr(other, sums, dict(getattr(self, sums)))
        return other

    def refusal(self, view: planning.RigView, target: model.Mode | None = None, *, forced: bool = False) -> str:
        """Why a single rig may not set out for `target` now, for people; "" if it may.

        Without a target only the budget is asked. `forced`: where the rig is now is not to be had any more, or a person
        has said where it shall go: no share keeps it, but its circuit may.
        """
        refusal = self._budget(view.pool) if view.enforced else ""
        if refusal or target is None or target == view.mode:
            return refusal
        return ("" if forced else self._share(view, target)) or self._circuit(view, target)

    def refusal_of_all(self, wants: Iterable[Want]) -> str:
        """Why these rigs may not set out together, for people; "" if they may. Places kept for gangs are theirs."""
        starts = [(view, target) for view, target in wants if view.mode != target]
        return self._budget_of_all(starts) or self._share_of_all(starts) or self._circuit_of_all(starts)

    def refusal_of_kind(self, view: planning.RigView, target: model.Mode) -> str:
        """Why no rig of this one's pool and kind of mode may join a gang, whatever its circuit; "" if they may."""
        if view.enforced and self.left(view.pool) < 1:
            return f"budget switching.maxConcurrent of GPUPool {view.pool} (1 wanted, 0 left)"
        return self._share(view, target)

    def affords_all(self, wants: Iterable[Want]) -> bool:
        """Whether these rigs may set out together: a gang, or one that makes room for another."""
        return not self.refusal_of_all(wants)

    def affordable(self, view: planning.RigView, target: model.Mode) -> model.Mode:
        """The target, or Idle where a share or a circuit forbids it: for rigs that have to leave in any case."""
        return model.IDLE if self._share(view, target, leaving=True) or self._circuit(view, target) else target

    def take(self, view: planning.RigView, target: model.Mode) -> None:
        """A rig sets out for `target`."""
        if view.mode == target:
            return
        if view.enforced:
            self._used[view.pool] = self._used.get(view.pool, 0) + 1
        for kind, step in ((view.mode.kind, -1), (target.kind, 1)):
            if (view.pool, kind) in self._there:
                self._there[view.pool, kind] += step
        if view.circuit in self._watts:
            sums = self._watts if view.enforced else self._advised
            sums[view.circuit] += self.meter.more(view, target)

    # --- budgets -----------------------------------------------------------------------------------------------

    def _budget(self, pool: str) -> str:
        if self.left(pool) < 1:
            return f"budget switching.maxConcurrent ({self._used.get(pool, 0)} of {self._limits.get(pool, 0)})"
        if pool in self._kept:
            return f"budget switching.maxConcurrent (kept for AIJob {self._kept[pool]})"
        return ""

    def _budget_of_all(self, starts: Iterable[Want]) -> str:
        for pool, count in counted([view.pool for view, _ in starts if view.enforced]).items():
            if count > self.left(pool):
                return f"budget switching.maxConcurrent of GPUPool {pool} ({count} wanted, {self.left(pool)} left)"
        return ""

    # --- shares ------------------------------------------------------------------------------------------------

    def _share(self, view: planning.RigView, target: model.Mode, *, leaving: bool = False) -> str:
        if not self._shares or target.kind is view.mode.kind:
            return ""
        refusal = "" if leaving else self._broken((view.pool, view.mode.kind), -1)
        return refusal or self._broken((view.pool, target.kind), 1)

    def _share_of_all(self, starts: Iterable[Want]) -> str:
        if not self._shares:
            return ""
        steps: dict[tuple[str, model.ModeKind], int] = {}
        for view, target in starts:
            for kind, step in ((view.mode.kind, -1), (target.kind, 1)):
                steps[view.pool, kind] = steps.get((view.pool, kind), 0) + step
        return next((found for key, step in steps.items() if step and (found := self._broken(key, step))), "")

    def _broken(self, key: tuple[str, model.ModeKind], step: int) -> str:
        """What a pool's share says to so many rigs more, or fewer, of a kind. One that is broken may be mended."""
        found = self._shares.get(key)
        if found is None:
            return ""
        there = self._there[key]
        if step < 0 and there + step < found.floor:
            return f"share of GPUPool {found.pool}: {there} rigs at {found.kind}, floor {found.floor}"
        if step > 0 and found.most is not None and there + step > found.most:
            return f"share of GPUPool {found.pool}: {there} rigs at {found.kind}, most {found.most}"
        return ""

    # --- circuits ----------------------------------------------------------------------------------------------

    def _circuit(self, view: planning.RigView, target: model.Mode) -> str:
        return self._circuit_of_all([(view, target)]) if view.circuit in self._watts else ""

    def _circuit_of_all(self, starts: Iterable[Want]) -> str:
        more: dict[str, float] = {}
        rising: set[str] = set()
        advised: set[str] = set()
        for view, target in starts:
            if view.circuit in self._watts:
                more[view.circuit] = more.get(view.circuit, 0.0) + self.meter.more(view, target)
                if not self.meter.lowers(view, target):
                    rising.add(view.circuit)
                if not view.enforced:
                    advised.add(view.circuit)
        for circuit, watts in more.items():
            total = self._watts[circuit] + watts + (self._advised[circuit] if circuit in advised else 0.0)
            most = self._circuits[circuit].limit_watts
            # A move that adds nothing is welcome even where there is too much already.
            if circuit in rising and total > most + _TOLERANCE_WATTS:
                return f"circuit {circuit}: {total:,.0f} of {most:,.0f} W would be drawn"
        return ""


def counted(pools: list[str]) -> dict[str, int]:
    """How often each pool occurs."""
    counts: dict[str, int] = {}
    for pool in pools:
        counts[pool] = counts.get(pool, 0) + 1
    return counts


def _percent(words: str) -> float:
    return float(words.strip().rstrip("%"))
