"""Whole gangs out of the shares of a linear program: those that it is sure of, then the others as long as they fit."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from switchyard.planning.program_matrix import Ints, per_step
from switchyard.planning.program_model import Model
from switchyard.planning.program_values import Floats, holds

_WHOLE: Final = 1e-6

_NEAR: Final = 0.02
"""A gang that is left out may still fill a gap if it falls short of the prices by no more than this share."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """A solution of the linear program: values and reduced costs by column."""

    value: Floats
    reduced: Floats


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Whole gangs: `rigs` [gangs, blocks] of those that start now (0 for the others), and which gangs at work stay."""

    rigs: Ints
    keep: Ints


def rounded(model: Model, point: Point) -> Plan:
    """A plan that breaks no limit of now. Deterministic: ties go by the order of gangs."""
    keep = (point.value[model.keep] > _WHOLE).astype(np.int64)
    share_x = point.value[model.x]
    placed = np.where(model.y >= 0, point.value[np.maximum(model.y, 0)], 0.0)
    sure = (share_x > 1 - _WHOLE) & (np.abs(placed - placed.round()) < _WHOLE).all(axis=1)
    rigs = np.where(sure[:, None], placed.round(), 0.0).astype(np.int64)
    room = _Room(model, keep, rigs)
    if not room.holds:
        # They counted on rigs of gangs at work that the program would have stopped by halves.
        sure[:] = False
        rigs[:] = 0
        room = _Room(model, keep, rigs)
    short = _short_of_price(model, point)
    paid = np.array([gang.usd_per_hour * min(gang.hours, model.farm.edges[-1]) for gang in model.gangs])
    tried = np.flatnonzero(~sure & ((share_x > _WHOLE) | (short <= _NEAR * paid)))
    per_rig = short / np.maximum(np.where(model.slots > 0, _needs(model), np.iinfo(np.int64).max).min(axis=1), 1)
    for at in sorted(tried, key=lambda at: (-round(float(share_x[at]), 6), round(float(per_rig[at]), 9), at)):
        rigs[at] = room.place(int(at), _preference(model, point, placed, int(at)))
    worth = -np.concatenate(model.sparse.cost)[model.keep]
    for at in sorted(np.flatnonzero(keep == 0), key=lambda at: (-worth[at], at)):
        keep[at] = (worth[at] > 0 or not room.above_floors) and room.spare(int(at))
    if not room.above_floors:
        # Whatever the farm does now breaks no limit.
        return Plan(rigs=np.zeros_like(rigs), keep=np.ones(len(keep), dtype=np.int64))
    return Plan(rigs=rigs, keep=keep)


def _needs(model: Model) -> Ints:
    replicas = np.array([gang.replicas for gang in model.gangs], dtype=np.int64)[:, None]
    return np.asarray(-(-replicas // np.maximum(model.slots, 1)))


def _short_of_price(model: Model, point: Point) -> Floats:
    """By how much each gang falls short of what its cheapest rigs cost at the program's prices, $; below 0 it pays."""
    rig = np.where(model.y >= 0, point.reduced[np.maximum(model.y, 0)], np.inf)
    return np.asarray(point.reduced[model.x] + (_needs(model) * rig).min(axis=1, initial=np.inf))


def _preference(model: Model, point: Point, placed: Floats, at: int) -> list[int]:
    """Blocks in the order in which a gang takes them: where the program has put it, then the least over price."""
    blocks = np.flatnonzero(model.slots[at] > 0)
    return sorted(
        (int(block) for block in blocks),
        key=lambda block: (
            placed[at, block] < _WHOLE,
            round(point.reduced[model.y[at, block]] / model.slots[at, block], 9),
            -model.slots[at, block],
            block,
        ),
    )


class _Room:
    """What is left of rigs, hand-overs, quotas and watts, while gangs are placed."""

    def __init__(self, model: Model, keep: Ints, rigs: Ints) -> None:
        farm, problem = model.farm, model.farm.problem
        self._model = model
        self._share = holds(farm.edges, np.array([gang.hours for gang in model.gangs]))
        kept = keep[:, None] * model.held
        used = rigs.sum(axis=0)
        freed = (model.held - kept).sum(axis=0).astype(np.int64)
        from_freed = np.minimum(freed, used)
        self._freed = freed - from_freed
        self._free = np.array([sum(origin.rigs for origin in block.origins) for block in farm.blocks], dtype=np.int64)
        self._free -= used - from_freed
        self._budgets = []
        for budget in problem.budgets:
            inside = farm.numbers(budget.blocks, "budgets.blocks")
            moved = (used - from_freed + freed)[inside].sum()
            self._budgets.append((inside, max(budget.left, 0) - int(moved)))
        working = np.array([work.hours for work in problem.working])
        self._work_share = holds(farm.edges, working)
        self._quotas: list[tuple[list[int], Floats]] = []
        for quota in problem.quotas:
            if quota.most is not None:
                inside = farm.numbers(quota.blocks, "quotas.blocks")
                most = np.maximum(quota.most, model.held[:, inside].sum(axis=1) @ self._work_share)
                taken = kept[:, inside].sum(axis=1) @ self._work_share + rigs[:, inside].sum(axis=1) @ self._share
                self._quotas.append((inside, most - taken))
        self._floors = []
        for quota in problem.quotas:
            inside = farm.numbers(quota.blocks, "quotas.blocks")
            floor = min(quota.least, int(model.held[:, inside].sum()))
            self._floors.append((inside, int(used[inside].sum() + kept[:, inside].sum()) - floor))
        self._least = np.array([min(mode.watts for mode in block.modes) for block in farm.blocks])
        self._fed = [
            model.circuits.index(block.circuit) if block.circuit in model.circuits else -1 for block in farm.blocks
        ]
        self._watts = np.array(
            [per_step(problem.circuits[key].limit_watts, problem.steps) for key in model.circuits]
        ).reshape(len(model.circuits), problem.steps)
        self._watts = self._watts - self._drawn(keep, rigs)

    @property
    def holds(self) -> bool:
        """Whether what is placed breaks nothing."""
        lefts = [self._free.min(initial=0), *(left for _, left in self._budgets)]
        lefts += [left.min() for _, left in self._quotas]
        return min(lefts) >= -_WHOLE and bool(self._watts.min(initial=0.0) >= -_WHOLE)

    @property
    def above_floors(self) -> bool:
        """Whether enough rigs are at AI work."""
        return all(more >= 0 for _, more in self._floors)

    def place(self, at: int, blocks: list[int]) -> Ints:
        """Rigs per block for a gang, taken from what is left; none if it does not fit whole."""
        model = self._model
        gang = model.gangs[at]
        rest = gang.replicas
        taken = np.zeros(len(model.farm.keys), dtype=np.int64)
        budgets = [left for _, left in self._budgets]
        quotas = [left for _, left in self._quotas]
        watts = self._watts.copy()
        for block in blocks:
            slots = int(model.slots[at, block])
            freed, most = int(self._freed[block]), int(self._freed[block] + self._free[block])
            for (inside, _), left in zip(self._budgets, budgets, strict=True):
                if block in inside:
                    most = min(most, freed + max(left, 0))
            for (inside, _), spare in zip(self._quotas, quotas, strict=True):
                if block in inside:
                    most = min(most, _times(spare, self._share[at]))
            more = self._more_watts(at, block)
            if self._fed[block] >= 0 and more.any():
                most = min(most, _times(watts[self._fed[block]], more))
            count = min(most, -(-rest // slots))
            if count <= 0:
                continue
            taken[block] = count
            rest -= count * slots
            if self._fed[block] >= 0:
                watts[self._fed[block]] -= count * more
            moved = max(0, count - freed)
            budgets = [
                left - moved * (block in inside) for (inside, _), left in zip(self._budgets, budgets, strict=True)
            ]
            quotas = [left - count * (block in inside) for (inside, _), left in zip(self._quotas, quotas, strict=True)]
            if rest <= 0:
                break
        if rest > 0:
            return np.zeros_like(taken)
        from_freed = np.minimum(taken, self._freed)
        self._freed -= from_freed
        self._free -= taken - from_freed
        self._budgets = [(inside, left) for (inside, _), left in zip(self._budgets, budgets, strict=True)]
        self._quotas = [(inside, left) for (inside, _), left in zip(self._quotas, quotas, strict=True)]
        self._floors = [(inside, more + int(taken[inside].sum())) for inside, more in self._floors]
        self._watts = watts
        return taken

    def spare(self, at: int) -> bool:
        """Whether a gang that was to be stopped can stay after all; its rigs are then taken back."""
        held = self._model.held[at].astype(np.int64)
        quotas = [(inside, left - held[inside].sum() * self._work_share[at]) for inside, left in self._quotas]
        watts = self._watts - self._watts_of(np.array([at]))
        if (
            (held > self._freed).any()
            or any(left.min() < -_WHOLE for _, left in quotas)
            or (watts.min(initial=0.0) < -_WHOLE)
        ):
            return False
        self._freed -= held
        self._budgets = [(inside, left + int(held[inside].sum())) for inside, left in self._budgets]
        self._floors = [(inside, more + int(held[inside].sum())) for inside, more in self._floors]
        self._quotas, self._watts = quotas, watts
        return True

    def _more_watts(self, at: int, block: int) -> Floats:
        """Watts per step that a rig draws more for a gang than at the least."""
        return np.asarray((self._model.watts_each[at, block] - self._least[block]) * self._share[at])

    def _drawn(self, keep: Ints, rigs: Ints) -> Floats:
        """Watts per short circuit and step: gangs, and all other rigs at the least they can draw."""
        model, problem = self._model, self._model.farm.problem
        drawn = np.zeros((len(model.circuits), problem.steps))
        for block, circuit in enumerate(self._fed):
            if circuit < 0:
                continue
            drawn[circuit] += model.farm.rigs[block] * self._least[block]
            more = (model.watts_each[:, block] - self._least[block]) * rigs[:, block]
            drawn[circuit] += more @ self._share
        return drawn + self._watts_of(np.flatnonzero(keep))

    def _watts_of(self, working: Ints) -> Floats:
        """Watts per short circuit and step that gangs at work draw beyond the least."""
        model, problem = self._model, self._model.farm.problem
        drawn = np.zeros((len(model.circuits), problem.steps))
        share = holds(model.farm.edges, np.array([problem.working[at].hours for at in working]))
        for block, circuit in enumerate(self._fed):
            if circuit < 0:
                continue
            key = model.farm.keys[block]
            each = np.array([problem.working[at].watts.get(key, 0.0) for at in working]) - self._least[block]
            drawn[circuit] += (each * model.held[working, block]) @ share
        return drawn


def _times(left: Floats, each: Floats) -> int:
    """How often something that takes `each` per step fits into what is left."""
    some = each > 0
    if not some.any():
        return int(np.iinfo(np.int64).max)
    return int(np.floor(max((left[some] / each[some]).min(), 0.0) + _WHOLE))
