"""The best that could have been done: a dynamic programme per rank of a group that knows the future.

Rigs of a group are alike, so the one of rank k is wanted as far as more than k rigs' GPUs are wanted; every rank is
then a problem of its own: V_t(x) = max over s of r_t(s) - d_t(x, s) + V_{t+1}(s). Steps of the warm-up earn and cost
nothing here: what it must not be beaten in is what is counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from switchyard.backtest import rewards
from switchyard.backtest import script as scripts

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int8]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Best:
    """The best of a group: where each rank stands, shape (T, rigs), and what all of them earn after the warm-up, $."""

    path: Places
    profit_usd: float


def best(script: scripts.Script, table: rewards.Table, *, scale: float) -> Best:
    """The best path of every rank of a group, at the prices of `table`."""
    programme = _Programme(script, table, scale=scale)
    size, ranks = len(table.modes), table.group.rigs
    chosen = np.zeros((script.steps, ranks, size), dtype=np.int8)
    value = np.zeros((ranks, size))
    for step in range(script.steps - 1, -1, -1):
        value, chosen[step] = programme.back(step, value)
    path = np.zeros((script.steps, ranks), dtype=np.int8)
    at = np.full(ranks, table.idle)
    every = np.arange(ranks)
    for step in range(script.steps):
        at = chosen[step, every, at]
        path[step] = at
    return Best(path=path, profit_usd=float(value[:, table.idle].sum()))


def regrets(script: scripts.Script, table: rewards.Table, path: npt.NDArray[np.integer], *, scale: float) -> Floats:
    """What each decision of a path gave away, in $, shape (T, rigs): the best value to go less the taken one.

    Rigs at AI work are taken for the lowest ranks, in their own order.
    """
    programme = _Programme(script, table, scale=scale)
    size, ranks = len(table.modes), table.group.rigs
    found = np.zeros((script.steps, ranks))
    value = np.zeros((ranks, size))
    hired = np.zeros(size, dtype=bool)
    hired[[hire.mode for hire in table.hires]] = True
    every = np.arange(ranks)
    for step in range(script.steps - 1, -1, -1):
        order = np.argsort(~hired[path[step]], kind="stable")
        rank = np.empty_like(order)
        rank[order] = every
        came = path[step - 1] if step else np.full(ranks, table.idle)
        came, here = came.astype(np.intp), path[step].astype(np.intp)
        gains = programme.gains(step, value)
        taken = gains[rank, here] - programme.pays(step, rank, came, here)
        value, _ = programme.back(step, value)
        found[step] = np.maximum(0.0, value[rank, came] - taken)
    return found


class _Programme:
    def __init__(self, script: scripts.Script, table: rewards.Table, *, scale: float) -> None:
        hours = rewards.hours(script)
        self._table = table
        self._warm = script.warmup_steps
        self._rewards = np.where(table.allowed, table.rates * hours, -np.inf)
        self._moves = table.moves(script.switching, scale=scale)
        self._eviction = script.switching.eviction_usd_per_gpu * scale
        gpus = table.group.gpus_per_rig
        first = np.arange(table.group.rigs) * gpus
        self._first, self._gpus, self._hours = first, gpus, hours
        self._every = np.arange(table.group.rigs)

    def _served(self, hire: rewards.Hire, step: int) -> npt.NDArray[np.int64]:
        served: npt.NDArray[np.int64] = np.clip(hire.wanted[step] - self._first, 0, self._gpus)
        return served

    def gains(self, step: int, later: Floats) -> Floats:
        """$ of being in each mode during a step and going on from there, shape (ranks, K)."""
        gains: Floats
        if step < self._warm:
            gains = np.where(self._table.allowed, later, -np.inf)
            return gains
        gains = later + self._rewards[step]
        for hire in self._table.hires:
            gains[:, hire.mode] += self._served(hire, step) * (hire.premium[step] * self._hours)
        return gains

    def pays(
        self, step: int, rank: npt.NDArray[np.intp], came: npt.NDArray[np.intp], here: npt.NDArray[np.intp]
    ) -> Floats:
        """$ of going from `came` to `here`, per rig."""
        if step < self._warm:
            return np.zeros(len(rank))
        usd: Floats = self._moves[came, here]
        for hire in self._table.hires:
            left = (came == hire.mode) & (here != came)
            usd = usd + np.where(left, self._served(hire, step)[rank] * self._eviction, 0.0)
        return usd

    def back(self, step: int, later: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
        """Value of coming to a step from each mode, and where to go from there."""
        gains = self.gains(step, later)
        if step < self._warm:
            top = gains.argmax(axis=1)
            return np.repeat(gains.max(axis=1)[:, None], gains.shape[1], axis=1), np.repeat(
                top[:, None], gains.shape[1], axis=1
            )
        ways = gains[:, None, :] - self._moves
        for hire in self._table.hires:
            evicted = self._served(hire, step) * self._eviction
            ways[:, hire.mode, :] -= evicted[:, None]
            ways[:, hire.mode, hire.mode] += evicted
        chosen = ways.argmax(axis=2)
        return np.take_along_axis(ways, chosen[:, :, None], axis=2)[:, :, 0], chosen
