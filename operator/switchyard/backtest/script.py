"""What a scenario file comes to: a farm and its market as arrays over equal steps of time. No policy ever sees this.

Everything that changes with time is an array with one entry per step; step i covers [start + i * step, start +
(i + 1) * step). Prices are in the units of `switchyard.market.quotes.Quantity`: power in $/kWh, coins in $ per hour and
GH/s (Sol/s for coins counted in Sol/s).
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Publication:
    """A forecast of power prices, as it was published: nobody knows it before `step`.

    Attributes:
        step: first step at which it is known.
        start: moment that `usd_per_kwh[0]` speaks of.
        interval_seconds: between two entries.
        usd_per_kwh: the forecast.
    """

    step: int
    start: datetime.datetime
    interval_seconds: int
    usd_per_kwh: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteScript:
    """A place with one price of power. `circuits` are watts that its rigs may draw in all, by name of circuit."""

    name: str
    usd_per_kwh: Floats
    pue: float = 1.0
    time_zone: str = "UTC"
    publications: tuple[Publication, ...] = ()
    circuits: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoinScript:
    """A coin. `usd_per_unit_hour` is gross, before `fee` (a share): $ per hour and unit of hash rate."""

    name: str
    usd_per_unit_hour: Floats
    fee: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Yield:
    """One GPU on one coin: hash rate in the coin's unit (GH/s, or Sol/s), and watts of the GPU."""

    hashrate: float
    watts: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GroupScript:
    """Rigs that are all alike.

    Attributes:
        name: of the group, also of its GPUPool.
        site: where they stand.
        circuit: which of the site's circuits feeds them, "" for none.
        rigs: how many.
        gpus_per_rig: GPUs in each.
        gpu: model of the GPU.
        gpu_memory_mib: memory of one GPU.
        yields: by coin: what one GPU mines and draws. Coins that are not here are not mined on these rigs.
        ai: whether they may do AI work.
        idle: whether they may stand idle.
        off: whether they may be powered off.
        ai_watts: of one GPU at AI work.
        idle_watts: of one GPU at rest.
        base_watts: of a rig beside its GPUs.
        off_watts: of a whole rig that is off.
    """

    name: str
    site: str
    circuit: str = ""
    rigs: int
    gpus_per_rig: int = 1
    gpu: str
    gpu_memory_mib: int = 8192
    yields: Mapping[str, Yield]
    ai: bool = True
    idle: bool = True
    off: bool = True
    ai_watts: float
    idle_watts: float
    base_watts: float = 0.0
    off_watts: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemandScript:
    """GPUs of one group that somebody would rent by the hour, any number of them, each for as long as it is wanted.

    `usd_per_gpu_hour` is what reaches the farm, after the market's fee.
    """

    name: str
    group: str
    usd_per_gpu_hour: Floats
    gpus_wanted: Ints


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobScript:
    """One job of a customer: a gang of `replicas` x `gpus_per_replica`, paid by the hour of work.

    Attributes:
        key: unique name.
        arrival_seconds: since the start.
        replicas: Pods, placed all or none.
        gpus_per_replica: GPUs of one rig that each needs.
        duration_seconds: of work, once it runs.
        bid_usd_per_gpu_hour: paid for every GPU-hour of work that is kept.
        patience_seconds: how long it lets itself wait in all, before its start and after preemptions; then it goes.
        deadline_seconds: since the start; a job that cannot be done by then goes. None: only its patience counts.
        checkpoint_seconds: of work to be done again after a preemption.
        preemptible: whether it may be stopped.
        groups: groups of rigs that fit it; empty: all that do AI work.
    """

    key: str
    arrival_seconds: float
    replicas: int
    gpus_per_replica: int
    duration_seconds: float
    bid_usd_per_gpu_hour: float
    patience_seconds: float
    deadline_seconds: float | None = None
    checkpoint_seconds: float = 60.0
    preemptible: bool = True
    groups: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MoveCost:
    """What one GPU's move costs: minutes in which it earns nothing, and wear. Before any cost scale."""

    seconds: float
    usd: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Switching:
    """What moves cost. The world charges money (seconds at the reference rate, and wear) and does not stop the clock.

    Attributes:
        moves: by (from, to): coin to another coin (Mining, Mining), and so on; a pair that is missing costs nothing.
        reference_usd_per_gpu_hour: what a lost hour of one GPU is counted for.
        eviction_usd_per_gpu: on top, when AI work is left that is still wanted, or a job is preempted.
    """

    moves: Mapping[tuple[model.ModeKind, model.ModeKind], MoveCost]
    reference_usd_per_gpu_hour: float
    eviction_usd_per_gpu: float = 0.0

    def usd_per_gpu(self, origin: model.ModeKind, target: model.ModeKind, *, scale: float = 1.0) -> float:
        """A move of one GPU in $; between two coins as (Mining, Mining)."""
        cost = self.moves.get((origin, target))
        return 0.0 if cost is None else scale * (cost.seconds / 3600 * self.reference_usd_per_gpu_hour + cost.usd)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What policies see of a coin's revenue: the truth times exp(z), z an AR(1) process of its own per coin.

    `sigma` is the standard deviation of z, `half_life_seconds` the time after which half of a deviation is left.
    """

    sigma: float = 0.0
    half_life_seconds: float = 3600.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Something in a file that was mended, as the scenario allows, and how often: part of every result."""

    file: str
    kind: str
    count: int
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Script:
    """A whole scenario. `warmup_steps` are played but not counted: policies learn from them."""

    name: str
    start: datetime.datetime
    step_seconds: int
    steps: int
    sites: tuple[SiteScript, ...]
    coins: tuple[CoinScript, ...]
    groups: tuple[GroupScript, ...]
    demands: tuple[DemandScript, ...] = ()
    jobs: tuple[JobScript, ...] = ()
    switching: Switching
    noise: Noise = dataclasses.field(default_factory=Noise)
    repairs: tuple[Repair, ...] = ()
    warmup_steps: int = 0
    description: str = ""
