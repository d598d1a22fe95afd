"""From accounts to the figures of a result: over the steps after the warm-up."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from switchyard.backtest import account as accounts
from switchyard.backtest import result, rewards
from switchyard.backtest import script as scripts

_SAME_SHARE = 1e-3
"""Two profits that differ by less than this share leave nothing between them to capture."""


def measure(
    script: scripts.Script,
    account: accounts.Account,
    *,
    clairvoyant_usd: float,
    static_usd: float,
    seconds: npt.NDArray[np.float64] | None = None,
    bound: str = "exact",
) -> result.Measures:
    """The figures of one run.

    Args:
        script: for its length and size.
        account: of the run.
        clairvoyant_usd: what the best schedule earns after the warm-up, or a bound on it.
        static_usd: what the best mode that is never left earns after the warm-up.
        seconds: thought per step.
        bound: how `clairvoyant_usd` came about.
    """
    counted = slice(script.warmup_steps, None)
    profit = float(account.profit_usd[counted].sum())
    switching = float(account.switching_usd[counted].sum())
    gpus = rewards.gpus(script)
    days = (script.steps - script.warmup_steps) * script.step_seconds / 86400
    room = clairvoyant_usd - static_usd
    wide = room > _SAME_SHARE * abs(clairvoyant_usd)
    before = profit + switching
    thought = None if seconds is None or not len(seconds[counted]) else np.percentile(seconds[counted], (50, 99))
    return result.Measures(
        profit_usd=profit,
        pct_of_clairvoyant=100 * profit / clairvoyant_usd if clairvoyant_usd > 0 else None,
        capture=(profit - static_usd) / room if wide else None,
        regret_usd_per_gpu_year=(clairvoyant_usd - profit) / gpus / days * 365 if gpus and days else None,
        switches_per_gpu_day=float(account.gpus_moved[counted].sum()) / gpus / days if gpus and days else 0.0,
        switching_cost_share=switching / before if before > 0 else 0.0,
        evictions=round(float(account.evicted_gpus[counted].sum())),
        lost_gpu_hours=float(account.lost_gpu_hours[counted].sum()),
        cap_violations=int(account.overloaded[counted].sum()),
        plan_seconds_p50=None if thought is None else float(thought[0]),
        plan_seconds_p99=None if thought is None else float(thought[1]),
        bound=bound,
    )


def bare(script: scripts.Script, clairvoyant_usd: float, *, static_usd: float, bound: str) -> result.Measures:
    """The figures of a bound that no schedule stands behind: money, and no more."""
    nothing = np.zeros(script.steps)
    earned = nothing.copy()
    earned[-1] = clairvoyant_usd
    account = accounts.Account(
        earned_usd=earned,
        switching_usd=nothing,
        gpus_moved=nothing,
        evicted_gpus=nothing,
        lost_gpu_hours=nothing,
        overloaded=nothing > 0,
    )
    return measure(script, account, clairvoyant_usd=clairvoyant_usd, static_usd=static_usd, bound=bound)


def reached(figures: result.Measures, clairvoyant_usd: float) -> result.Measures:
    """The clairvoyant's own figures: exactly what the others are measured by.

    The farm pays for its path by counts of GPUs, the programme by ranks; evictions make a hair's difference.
    """
    return dataclasses.replace(
        figures,
        profit_usd=clairvoyant_usd,
        pct_of_clairvoyant=None if figures.pct_of_clairvoyant is None else 100.0,
        capture=None if figures.capture is None else 1.0,
        regret_usd_per_gpu_year=None if figures.regret_usd_per_gpu_year is None else 0.0,
    )
