"""Rules of thumb at node level, worked out for all ranks of a group and many settings at once.

Each looks at the present step only, as it is observed; the rank of a rig tells whether AI work wants it. Where a
circuit is short, a group keeps to its part of it by powering down its last rigs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from switchyard.backtest import rewards
from switchyard.backtest import script as scripts

SMALL_USD_PER_GPU_HOUR = 1e-4
"""A net below this is taken for this when a gain is compared with it in percent."""

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int8]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Move to the best mode when it beats the present one by `percent` of it, `dwell_seconds` after the last move."""

    percent: float = 0.0
    dwell_seconds: float = 0.0


PAIRS = tuple(
    Threshold(percent=percent, dwell_seconds=hours * 3600)
    for percent in (2, 5, 10, 15, 20, 30, 50)
    for hours in (0, 0.5, 1, 4, 12)
)
"""All that "tuned-threshold" is the best of."""


def paths(script: scripts.Script, table: rewards.Table, settings: Sequence[Threshold]) -> npt.NDArray[np.int8]:
    """Where the rigs of a group stand under each setting, shape (settings, T, rigs).

    Args:
        script: for the calendar and the circuits.
        table: with the rewards as they are observed.
        settings: rules to play side by side.
    """
    group = table.group
    ranks, gpus, count = group.rigs, group.gpus_per_rig, len(settings)
    percent = np.array([setting.percent / 100 for setting in settings])[:, None]
    dwell = np.array([setting.dwell_seconds / script.step_seconds for setting in settings])[:, None]
    small = SMALL_USD_PER_GPU_HOUR * gpus
    limit = part(script, table)
    served = _served(table)
    hired = [hire.mode for hire in table.hires]
    single = [place for place in np.flatnonzero(table.allowed) if place not in hired]
    found = np.zeros((count, script.steps, ranks), dtype=np.int8)
    at = np.full((count, ranks), table.idle)
    last = np.full((count, ranks), -np.inf)
    every = np.arange(ranks)
    own = np.array(single)[table.rates[:, single].argmax(axis=1)]
    rates = np.empty((ranks, len(table.modes)))
    for step in range(script.steps):
        rates[:] = table.rates[step]
        best = np.full(ranks, own[step])
        best_rate = np.full(ranks, table.rates[step, own[step]])
        for hire in table.hires:
            rates[:, hire.mode] += served[hire.name][step] * hire.premium[step]
            better = rates[:, hire.mode] > best_rate
            best = np.where(better, hire.mode, best)
            best_rate = np.where(better, rates[:, hire.mode], best_rate)
        now = rates[every, at]
        move = (best_rate - now > np.maximum(percent * np.maximum(np.abs(now), small), 1e-12)) & (step - last >= dwell)
        target = np.where(move, best, at)
        if limit is not None:
            target = _shed(table, target, {hire.mode: int(hire.wanted[step]) for hire in table.hires}, limit)
            move = target != at
        at = target
        last = np.where(move, step, last)
        found[:, step] = at
    return found


def static(script: scripts.Script, table: rewards.Table, place: int) -> Places:
    """Every rig in one mode, shape (T, rigs): as many as the circuit carries at full work, the rest down."""
    path = np.full((script.steps, table.group.rigs), place, dtype=np.int8)
    limit = part(script, table)
    if limit is not None:
        full = {hire.mode: table.group.rigs * table.group.gpus_per_rig for hire in table.hires}
        path[:] = _shed(table, path[:1].astype(np.int64), full, limit)[0]
    return path


def _served(table: rewards.Table) -> Mapping[str, npt.NDArray[np.int64]]:
    """By demand, GPUs of each rank that it takes, shape (T, rigs); a demand begins where the one before it ends."""
    gpus = table.group.gpus_per_rig
    first = np.arange(table.group.rigs) * gpus
    found = {}
    taken = np.zeros(len(table.rates), dtype=np.int64)
    for hire in table.hires:
        found[hire.name] = np.clip((taken + hire.wanted)[:, None] - first, 0, gpus) - np.clip(
            taken[:, None] - first, 0, gpus
        )
        taken = taken + hire.wanted
    return found


def part(script: scripts.Script, table: rewards.Table) -> float | None:
    """Watts that a group may draw: its part of the circuit, by what it could draw at most; None without a limit."""
    key = rewards.circuit_key(table.group)
    limit = rewards.circuits(script).get(key)
    if limit is None:
        return None
    most = {group.name: _most_watts(group) for group in script.groups if rewards.circuit_key(group) == key}
    part = limit * most[table.group.name] / sum(most.values())
    return None if most[table.group.name] <= part else part


def _most_watts(group: scripts.GroupScript) -> float:
    gpu = max([found.watts for found in group.yields.values()] + [group.idle_watts] + [group.ai_watts] * group.ai)
    return group.rigs * (group.base_watts + group.gpus_per_rig * gpu)


def _shed(
    table: rewards.Table, target: npt.NDArray[np.int64], wanted: Mapping[int, int], limit: float
) -> npt.NDArray[np.int64]:
    """The same with the last rigs down, as far as the circuit does not carry them. Shapes (settings, rigs).

    What is wanted works on the first rigs that stand ready for it, whatever their ranks.
    """
    resting = [place for place, mode in enumerate(table.modes) if mode.kind.value in ("Off", "Idle")]
    down = min(resting, key=lambda place: table.watts[place])
    watts = table.watts[target]
    gpus = table.group.gpus_per_rig
    for mode, count in wanted.items():
        ready = target == mode
        served = np.clip(count - gpus * (np.cumsum(ready, axis=1) - 1), 0, gpus)
        watts = watts + np.where(ready, served * table.working_watts, 0.0)
    # Rigs after the present one draw at least what they draw when they are down.
    after = np.arange(target.shape[1] - 1, -1, -1) * table.watts[down]
    over = np.cumsum(watts, axis=1) + after > limit + 1e-6
    return np.where(over, down, target)
