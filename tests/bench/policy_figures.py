"""From the cells of a grid (scenario x cost scale x seed) to the figures that sum it up."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from switchyard.backtest.policies import rules

NODE: Final = "node"
JOB: Final = "job"
OURS: Final = "switchyard"
CLAIRVOYANT: Final = "clairvoyant"
TUNED: Final = "tuned-threshold"
"""The best of `PAIRS` in each cell by itself, in hindsight."""

LEAST_USD_PER_GPU_YEAR: Final = 10.0
"""Where the clairvoyant earns less, a share of it says nothing: cents are thousands of percent."""

_LEAST_WEEKS: Final = 4
_DRAWS: Final = 2000


def pair_name(setting: rules.Threshold) -> str:
    """A pair of threshold and dwell by its policy's name."""
    hours, rest = divmod(round(setting.dwell_seconds / 60), 60)
    return f"threshold:{setting.percent:g}:" + (f"{60 * hours + rest}m" if rest or not hours else f"{hours}h")


PAIRS: Final = tuple(pair_name(setting) for setting in rules.PAIRS)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What came of one scenario at one cost scale and seed: by policy, as `backtest.output.record` has it."""

    scenario: str
    half: str
    level: str
    cost_scale: float
    seed: int
    records: Mapping[str, Mapping[str, Any]]
    weekly_usd: Mapping[str, Sequence[float]]

    @property
    def key(self) -> tuple[str, float]:
        """What it shares with its other seeds."""
        return self.scenario, self.cost_scale

    def _record(self, policy: str) -> Mapping[str, Any]:
        if policy == TUNED:
            pairs = [self.records[name] for name in PAIRS if name in self.records]
            return max(pairs, key=lambda record: float(record["profit_usd"]), default={})
        return self.records.get(policy, {})

    def measure(self, policy: str, name: str) -> float | None:
        """A measure of a policy; None where there is none."""
        value = self._record(policy).get(name)
        return None if value is None else float(value)

    def share(self, policy: str) -> float | None:
        """% of the clairvoyant's profit."""
        return self.measure(policy, "pct_of_clairvoyant")

    @property
    def thin(self) -> bool:
        """Whether there is too little to earn for shares of it to mean anything."""
        record = self._record(CLAIRVOYANT)
        seconds = (record["steps"] - record["warmup_steps"]) * record["step_seconds"] * record["gpus"]
        return float(record["profit_usd"]) * 365 * 86400 < LEAST_USD_PER_GPU_YEAR * float(seconds)

    def capture(self, policy: str) -> float | None:
        """Of what switching could add to the best static mode, in %."""
        value = self.measure(policy, "capture")
        return None if value is None else 100 * value


def cell(raw: Mapping[str, Any]) -> Cell:
    """From the raw figures."""
    return Cell(**{field.name: raw[field.name] for field in dataclasses.fields(Cell)})


def by_key(cells: Sequence[Cell]) -> dict[tuple[str, float], list[Cell]]:
    """Seeds together."""
    found: dict[tuple[str, float], list[Cell]] = {}
    for each in cells:
        found.setdefault(each.key, []).append(each)
    return found


def means(cells: Sequence[Cell], read: Callable[[Cell], float | None]) -> list[float]:
    """One value for each scenario and scale: the mean of its seeds. Those without a value are left out."""
    every = [[value for each in group if (value := read(each)) is not None] for group in by_key(cells).values()]
    return [statistics.fmean(values) for values in every if values]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A policy over a grid, seeds together: shares in % of the clairvoyant's profit, captures in %.

    `regret` is the mean of 100 - share. Cells in which there is too little to earn are in `regret_usd` alone, the mean
    per GPU and year.
    """

    lowest: float
    mean: float
    lowest_capture: float | None
    mean_capture: float | None
    regret: float
    regret_usd: float | None


def summary(cells: Sequence[Cell], policy: str) -> Summary | None:
    """None where the policy has no share in any cell."""
    regrets = means(cells, lambda each: each.measure(policy, "regret_usd_per_gpu_year"))
    cells = [each for each in cells if not each.thin]
    shares = means(cells, lambda each: each.share(policy))
    captures = means(cells, lambda each: each.capture(policy))
    if not shares:
        return None
    return Summary(
        lowest=min(shares),
        mean=statistics.fmean(shares),
        lowest_capture=min(captures, default=None),
        mean_capture=statistics.fmean(captures) if captures else None,
        regret=100 - statistics.fmean(shares),
        regret_usd=statistics.fmean(regrets) if regrets else None,
    )


def best_pair(cells: Sequence[Cell]) -> str | None:
    """The pair of threshold and dwell that, fixed for the whole grid, loses least on average: chosen in hindsight."""
    found = {name: summary(cells, name) for name in PAIRS}
    known = {name: each.mean for name, each in found.items() if each is not None}
    return max(known, key=lambda name: known[name], default=None)


def regret_ratio(cells: Sequence[Cell], policy: str) -> float | None:
    """How many times ours the regret of a policy is."""
    other, ours = summary(cells, policy), summary(cells, OURS)
    return other.regret / ours.regret if other is not None and ours is not None and ours.regret > 0 else None


def interval(cells: Sequence[Cell], *, seed: int = 0) -> tuple[float, float] | None:
    """95 % of the mean of our shares over the cells, by drawing weeks anew.

    A week is a block: all cells of a scenario draw the same weeks. Cells without at least four weeks, without the
    clairvoyant's own weeks (where it is only a bound), or with too little to earn are left out; None if none is left.
    """
    chance = np.random.default_rng(seed)
    drawn: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = {}
    shares = []
    for each in cells:
        ours, best = (np.asarray(each.weekly_usd.get(name, ()), dtype=float) for name in (OURS, CLAIRVOYANT))
        if len(ours) < _LEAST_WEEKS or len(best) != len(ours) or each.thin:
            continue
        weeks = drawn.setdefault(each.scenario, chance.integers(0, len(ours), size=(_DRAWS, len(ours))))
        bound = best[weeks].sum(axis=1)
        shares.append(np.where(bound > 0, 100 * ours[weeks].sum(axis=1) / np.where(bound > 0, bound, 1.0), np.nan))
    if not shares:
        return None
    low, high = np.nanpercentile(np.mean(shares, axis=0), (2.5, 97.5))
    return float(low), float(high)
