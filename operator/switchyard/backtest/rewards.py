"""What every mode earns on every rig of a group, step by step, and what moves cost: a Script as tables.

Rates are $/h of a whole rig; `hours` turns them into $ per step. A rig at AI work that nobody wants draws what it draws
at rest; every GPU of it that is wanted adds its price less the power of working.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from switchyard.backtest import script as scripts
from switchyard.fleet import model

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WORK = model.Mode(model.ModeKind.AI)
"""AI work for jobs, whichever they are."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hire:
    """A demand as one group's rigs see it.

    Attributes:
        name: of the demand.
        mode: its position in `Table.modes`.
        wanted: GPUs, per step.
        premium: $/h of one GPU at work over the same GPU at rest, per step.
    """

    name: str
    mode: int
    wanted: Ints
    premium: Floats


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One group of rigs: K modes over T steps.

    Attributes:
        group: which.
        modes: in a fixed order: coins, Idle, Off, demands, and `WORK` where there are jobs.
        allowed: per mode, whether a rig may be sent there singly; a rig may always begin in Idle.
        idle: position of Idle, where every rig begins.
        rates: $/h of a rig per step and mode, shape (T, K); AI modes as if nobody wanted them.
        watts: of a rig per mode at its own sockets, shape (K,); AI modes as if nobody wanted them.
        working_watts: what one GPU at work draws more than at rest.
        usd_per_watt_hour: PUE included, per step.
        hires: demands for this group's GPUs.
        work: position of `WORK`, -1 without jobs.
    """

    group: scripts.GroupScript
    modes: tuple[model.Mode, ...]
    allowed: npt.NDArray[np.bool_]
    idle: int
    rates: Floats
    watts: Floats
    working_watts: float
    usd_per_watt_hour: Floats
    hires: tuple[Hire, ...]
    work: int

    def moves(self, switching: scripts.Switching, *, scale: float) -> Floats:
        """$ of moving one rig, shape (K, K), from row to column; staying is free, evictions are not in it."""
        kinds = [mode.kind for mode in self.modes]
        costs = np.array([[switching.usd_per_gpu(x, y, scale=scale) for y in kinds] for x in kinds])
        np.fill_diagonal(costs, 0.0)
        return costs * self.group.gpus_per_rig

    def served(self, hire: Hire, rigs: Ints) -> Ints:
        """GPUs that are paid for with `rigs` (per step) at a demand."""
        return np.minimum(rigs * self.group.gpus_per_rig, hire.wanted)


def tables(script: scripts.Script, *, revenue: Mapping[str, Floats] | None = None) -> tuple[Table, ...]:
    """The tables of all groups.

    Args:
        script: the scenario.
        revenue: by coin, what is to be taken for its gross revenue (as policies see it); the truth where None.
    """
    return tuple(_table(script, group, revenue or {}) for group in script.groups)


def _table(script: scripts.Script, group: scripts.GroupScript, revenue: Mapping[str, Floats]) -> Table:
    site = next(site for site in script.sites if site.name == group.site)
    coins = {coin.name: coin for coin in script.coins}
    rate = site.usd_per_kwh * site.pue / 1000
    gpus = group.gpus_per_rig
    rest = group.base_watts + gpus * group.idle_watts
    modes: list[model.Mode] = []
    watts: list[float] = []
    gross: list[Floats | float] = []
    for name, found in group.yields.items():
        coin = coins[name]
        modes.append(model.Mode(model.ModeKind.MINING, name))
        watts.append(group.base_watts + gpus * found.watts)
        gross.append(gpus * found.hashrate * revenue.get(name, coin.usd_per_unit_hour) * (1 - coin.fee))
    idle = len(modes)
    modes.append(model.IDLE)
    watts.append(rest)
    gross.append(0.0)
    if group.off:
        modes.append(model.OFF)
        watts.append(group.off_watts)
        gross.append(0.0)
    hires = []
    for demand in script.demands if group.ai else ():
        if demand.group != group.name:
            continue
        hires.append(
            Hire(
                name=demand.name,
                mode=len(modes),
                wanted=np.minimum(np.maximum(demand.gpus_wanted, 0), group.rigs * gpus),
                premium=demand.usd_per_gpu_hour - (group.ai_watts - group.idle_watts) * rate,
            )
        )
        modes.append(model.Mode(model.ModeKind.AI, demand.name))
        watts.append(rest)
        gross.append(0.0)
    work = -1
    if script.jobs:
        work = len(modes)
        modes.append(WORK)
        watts.append(rest)
        gross.append(0.0)
    rates = np.stack([np.broadcast_to(np.asarray(each, dtype=float), rate.shape) for each in gross], axis=1)
    return Table(
        group=group,
        modes=tuple(modes),
        # Where rigs may not be powered off they rest in Idle when there is nothing for them, allowed or not.
        allowed=np.array([mode != WORK and (group.idle or not group.off or mode != model.IDLE) for mode in modes]),
        idle=idle,
        rates=rates - np.outer(rate, watts),
        watts=np.array(watts),
        working_watts=group.ai_watts - group.idle_watts,
        usd_per_watt_hour=rate,
        hires=tuple(hires),
        work=work,
    )


def circuit_key(group: scripts.GroupScript) -> str:
    """The circuit of a group's rigs by a name that is unique on the farm; "" for none."""
    return f"{group.site}/{group.circuit}" if group.circuit else ""


def circuits(script: scripts.Script) -> Mapping[str, float]:
    """Watts that each circuit with rigs on it may carry, by `circuit_key`."""
    sites = {site.name: site for site in script.sites}
    return {
        circuit_key(group): sites[group.site].circuits[group.circuit]
        for group in script.groups
        if group.circuit and group.circuit in sites[group.site].circuits
    }


def hours(script: scripts.Script) -> float:
    """Length of a step."""
    return script.step_seconds / 3600


def gpus(script: scripts.Script) -> int:
    """GPUs of all groups."""
    return sum(group.rigs * group.gpus_per_rig for group in script.groups)
