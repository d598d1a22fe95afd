"""What a run earned, worked out afterwards from where every rig stood at every step, at the true prices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from switchyard.backtest import rewards
from switchyard.backtest import script as scripts

Floats = npt.NDArray[np.float64]
Path = npt.NDArray[np.int8] | npt.NDArray[np.int32]
"""Modes of a group's rigs as positions in `Table.modes`, shape (T, rigs). K + n: at the work of job number n."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What jobs brought, per step: money after the power of working, evictions, lost work, and watts per circuit."""

    usd: Floats
    eviction_usd: Floats
    evicted_gpus: Floats
    lost_gpu_hours: Floats
    circuit_watts: Mapping[str, Floats]
    wanted_gpus: Floats


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Account:
    """Sums over the farm, one entry per step.

    Attributes:
        earned_usd: after fees and power, before what switching costs.
        switching_usd: moves and evictions.
        gpus_moved: GPUs that changed their mode.
        evicted_gpus: GPUs that left AI work while it was wanted, and of preempted jobs.
        lost_gpu_hours: work that was thrown away.
        overloaded: steps with a circuit above its limit.
    """

    earned_usd: Floats
    switching_usd: Floats
    gpus_moved: Floats
    evicted_gpus: Floats
    lost_gpu_hours: Floats
    overloaded: npt.NDArray[np.bool_]

    @property
    def profit_usd(self) -> Floats:
        """Per step."""
        return self.earned_usd - self.switching_usd


def account(
    script: scripts.Script,
    tables: Sequence[rewards.Table],
    paths: Sequence[Path],
    *,
    scale: float,
    work: Work | None = None,
) -> Account:
    """The account of a run: `paths` in the order of `tables`, which must hold the true prices."""
    steps = script.steps
    earned, switching, moved, evicted = (np.zeros(steps) for _ in range(4))
    lost = np.zeros(steps)
    drawn = {key: np.zeros(steps) for key in rewards.circuits(script)}
    step_hours = rewards.hours(script)
    eviction = script.switching.eviction_usd_per_gpu * scale
    for table, path in zip(tables, paths, strict=True):
        gpus = table.group.gpus_per_rig
        before = np.vstack([np.full((1, path.shape[1]), table.idle, dtype=path.dtype), path[:-1]])
        changed = before != path
        at, came = (np.where(each < len(table.modes), each, table.work) for each in (path, before))
        earned += np.take_along_axis(table.rates, at, axis=1).sum(axis=1) * step_hours
        costs = table.moves(script.switching, scale=scale)
        if table.work >= 0:
            # From one job to the next is a move, although both are the same kind of work.
            ai = table.modes[table.work].kind
            costs[table.work, table.work] = script.switching.usd_per_gpu(ai, ai, scale=scale) * gpus
        switching += np.where(changed, costs[came, at], 0.0).sum(axis=1)
        moved += changed.sum(axis=1) * gpus
        watts = table.watts[at].sum(axis=1)
        for hire in table.hires:
            here = (path == hire.mode).sum(axis=1)
            served = table.served(hire, here)
            earned += served * hire.premium * step_hours
            watts = watts + served * table.working_watts
            were = before == hire.mode
            stayed = (were & ~changed).sum(axis=1)
            gone = np.maximum(0, table.served(hire, were.sum(axis=1)) - stayed * gpus)
            evicted += gone
            switching += gone * eviction
        key = rewards.circuit_key(table.group)
        if key in drawn:
            drawn[key] += watts
    if work is not None:
        earned += work.usd
        switching += work.eviction_usd
        evicted += work.evicted_gpus
        lost += work.lost_gpu_hours
        for key in drawn:
            drawn[key] += work.circuit_watts[key]
    limits = rewards.circuits(script)
    over = np.zeros(steps, dtype=bool)
    for key, watts in drawn.items():
        # A thousandth of a watt is rounding.
        over |= watts > limits[key] + 1e-3
    return Account(
        earned_usd=earned,
        switching_usd=switching,
        gpus_moved=moved,
        evicted_gpus=evicted,
        lost_gpu_hours=lost,
        overloaded=over,
    )
