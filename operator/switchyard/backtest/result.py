"""What came of playing one policy on one scenario."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from switchyard.backtest import script

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The figures of a run, over the steps after the warm-up.

    Attributes:
        profit_usd: earned after power and switching.
        pct_of_clairvoyant: 100 x profit / the clairvoyant's; None where that is not above 0.
        capture: (profit - best static) / (clairvoyant - best static); None where those two are within 0.1 %.
        regret_usd_per_gpu_year: what the clairvoyant earned more, per GPU and year.
        switches_per_gpu_day: changes of mode.
        switching_cost_share: of the profit before switching costs, the part that switching has cost.
        evictions: GPUs that left AI work while it was wanted, and GPUs of preempted jobs.
        lost_gpu_hours: work that was thrown away.
        cap_violations: steps in which a circuit drew more than it may.
        plan_seconds_p50: median time of one decision; None for policies that are worked out at once.
        plan_seconds_p99: the 99th percentile.
        bound: how the clairvoyant's figure came about: "exact" (dynamic programme) or "bound" (linear programme).
    """

    profit_usd: float
    pct_of_clairvoyant: float | None
    capture: float | None
    regret_usd_per_gpu_year: float | None
    switches_per_gpu_day: float
    switching_cost_share: float
    evictions: int
    lost_gpu_hours: float
    cap_violations: int
    plan_seconds_p50: float | None
    plan_seconds_p99: float | None
    bound: str = "exact"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision, dear in hindsight: `usd` is what the best choice would have earned more until the next one."""

    at: datetime.datetime
    what: str
    usd: float
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lanes:
    """What a run looked like, for pictures. All arrays have one entry per step, warm-up included.

    Attributes:
        prices: by label with its unit, such as "power pjm, $/kWh", "coin zec, $/GPU-h after power".
        gpus_in_mode: by label ("mining zec", "AI", "idle", "off"): GPUs.
        gpus_wanted: GPUs that AI work would have taken, by label.
        profit_usd: running sum of what was earned after power and switching.
        dearest: the dearest decisions, the dearest first.
    """

    prices: Mapping[str, Floats]
    gpus_in_mode: Mapping[str, Floats]
    gpus_wanted: Mapping[str, Floats]
    profit_usd: Floats
    dearest: tuple[Decision, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """One scenario x policy x cost scale x seed. `lanes` are kept only where somebody wants pictures."""

    scenario: str
    policy: str
    cost_scale: float
    seed: int
    start: datetime.datetime
    step_seconds: int
    steps: int
    warmup_steps: int
    gpus: int
    measures: Measures
    repairs: tuple[script.Repair, ...] = ()
    lanes: Lanes | None = None
    description: str = ""
