"""Who is who among results: ours, the clairvoyant, the static modes, the rest."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Sequence
from typing import Final

from switchyard.backtest import result, script

OURS: Final = "switchyard"
CLAIRVOYANT: Final = "clairvoyant"
_STATIC: Final = ("static", "best-static")
_HOURS_PER_YEAR: Final = 365 * 24


def is_static(policy: str) -> bool:
    """Whether a policy never switches: "static:zec", "best-static"."""
    return policy.startswith(_STATIC)


def is_ours(policy: str) -> bool:
    """Whether it is the product's own."""
    return policy == OURS


def is_clairvoyant(policy: str) -> bool:
    """Whether it knows the future: a bound, never a competitor."""
    return policy == CLAIRVOYANT


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Play:
    """All policies on one scenario at one cost scale and seed; `results` are sorted by profit, the highest first."""

    scenario: str
    cost_scale: float
    seed: int
    results: tuple[result.Result, ...]

    @property
    def anchor(self) -> tuple[str, float, int]:
        """What tells one play from another."""
        return self.scenario, self.cost_scale, self.seed

    @property
    def subject(self) -> result.Result:
        """The result that the report is about: ours, or without it the best that does not know the future."""
        ours = [found for found in self.results if is_ours(found.policy)]
        return (ours or self.contenders or list(self.results))[0]

    @property
    def clairvoyant(self) -> result.Result | None:
        """The one that knows the future."""
        return next((found for found in self.results if is_clairvoyant(found.policy)), None)

    @property
    def contenders(self) -> list[result.Result]:
        """All that do not know the future."""
        return [found for found in self.results if not is_clairvoyant(found.policy)]

    @property
    def baselines(self) -> list[result.Result]:
        """All but the subject and the clairvoyant."""
        return [found for found in self.contenders if found is not self.subject]

    @property
    def best_static(self) -> result.Result | None:
        """The best of those that never switch; where two have earned the same, one with lanes and a mode's name."""
        found = [each for each in self.results if is_static(each.policy)]
        return max(
            found, key=lambda each: (each.measures.profit_usd, each.lanes is not None, ":" in each.policy), default=None
        )

    @property
    def repairs(self) -> tuple[script.Repair, ...]:
        """Everything that was mended in the input, each once."""
        return tuple(dict.fromkeys(repair for found in self.results for repair in found.repairs))


def plays(results: Iterable[result.Result]) -> tuple[Play, ...]:
    """Results put together by scenario (in their order), cost scale and seed."""
    found: dict[tuple[str, float, int], list[result.Result]] = {}
    scenarios: dict[str, int] = {}
    for each in results:
        scenarios.setdefault(each.scenario, len(scenarios))
        found.setdefault((each.scenario, each.cost_scale, each.seed), []).append(each)
    return tuple(
        Play(
            scenario=scenario,
            cost_scale=scale,
            seed=seed,
            results=tuple(sorted(each, key=lambda one: (-one.measures.profit_usd, one.policy))),
        )
        for (scenario, scale, seed), each in sorted(
            found.items(), key=lambda item: (scenarios[item[0][0]], item[0][1], item[0][2])
        )
    )


def counted_hours(found: result.Result) -> float:
    """Hours after the warm-up."""
    return (found.steps - found.warmup_steps) * found.step_seconds / 3600


def usd_per_gpu_year(found: result.Result) -> float | None:
    """Profit per GPU and year of 365 days; None where nothing was counted."""
    gpu_hours = counted_hours(found) * found.gpus
    return found.measures.profit_usd / gpu_hours * _HOURS_PER_YEAR if gpu_hours > 0 else None


def counted_from(found: result.Result) -> datetime.datetime:
    """End of the warm-up."""
    return found.start + datetime.timedelta(seconds=found.warmup_steps * found.step_seconds)


def end(found: result.Result) -> datetime.datetime:
    """End of the last step."""
    return found.start + datetime.timedelta(seconds=found.steps * found.step_seconds)


def modes(results: Sequence[result.Result]) -> tuple[str, ...]:
    """Labels of all modes in all lanes, in order of their first appearance."""
    return tuple(dict.fromkeys(label for each in results if each.lanes for label in each.lanes.gpus_in_mode))
