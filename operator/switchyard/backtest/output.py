"""Results for machines, as JSON, and for people, as a table."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Final

import rich.box
import rich.table

from switchyard.backtest import result

_TIMINGS: Final = ("plan_seconds_p50", "plan_seconds_p99")


def record(found: result.Result, *, timings: bool = True) -> dict[str, Any]:
    """One result as plain values; without `timings` the same run gives the same bytes."""
    measures = dataclasses.asdict(found.measures)
    if not timings:
        for name in _TIMINGS:
            del measures[name]
    return {
        "scenario": found.scenario,
        "policy": found.policy,
        "cost_scale": found.cost_scale,
        "seed": found.seed,
        "start": found.start.isoformat(),
        "step_seconds": found.step_seconds,
        "steps": found.steps,
        "warmup_steps": found.warmup_steps,
        "gpus": found.gpus,
        **measures,
        "repairs": [dataclasses.asdict(repair) for repair in found.repairs],
    }


def document(results: Sequence[result.Result], skipped: Mapping[str, str], *, timings: bool = True) -> str:
    """All results, with the versions that they came from and the scenarios that were left out."""
    return (
        json.dumps(
            {
                "versions": versions(),
                "results": [record(found, timings=timings) for found in results],
                "skipped": dict(skipped),
            },
            indent=2,
            allow_nan=False,
        )
        + "\n"
    )


def versions() -> dict[str, str]:
    """Versions of what decides the figures."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("switchyard", "numpy", "highspy")},
    }


def tables(results: Sequence[result.Result]) -> list[rich.table.Table]:
    """A table for each scenario and cost scale, seeds together: their mean."""
    groups: dict[tuple[str, float], dict[str, list[result.Result]]] = {}
    for found in results:
        groups.setdefault((found.scenario, found.cost_scale), {}).setdefault(found.policy, []).append(found)
    return [_table(*key, policies) for key, policies in groups.items()]


def _table(scenario: str, scale: float, policies: Mapping[str, Sequence[result.Result]]) -> rich.table.Table:
    some = next(iter(policies.values()))
    of = "the clairvoyant" if some[0].measures.bound == "exact" else "a bound that nobody reaches"
    seeds = f", mean of {len(some)} seeds" if len(some) > 1 else ""
    table = rich.table.Table(
        title=f"{scenario}, switching costs x{scale:g}{seeds}", caption=f"% of {of}", box=rich.box.SIMPLE_HEAD
    )
    table.add_column("policy")
    for heading in (
        "%",
        "capture %",
        "profit $",
        "regret $/GPU/year",
        "moves/GPU/day",
        "moving costs %",
        "evictions",
        "lost GPU-h",
        "overloads",
        "plan p50/p99 ms",
    ):
        table.add_column(heading, justify="right")
    for policy, found in policies.items():
        table.add_row(policy, *_figures([each.measures for each in found]))
    return table


def _figures(found: Sequence[result.Measures]) -> list[str]:
    share = _mean([each.pct_of_clairvoyant for each in found])
    capture = _mean([each.capture for each in found])
    thought = _mean([each.plan_seconds_p50 for each in found]), _mean([each.plan_seconds_p99 for each in found])
    return [
        _shown(share, 2),
        _shown(None if capture is None else 100 * capture, 1),
        _shown(_mean([each.profit_usd for each in found]), 2),
        _shown(_mean([each.regret_usd_per_gpu_year for each in found]), 1),
        _shown(_mean([each.switches_per_gpu_day for each in found]), 2),
        _shown(_mean([100 * each.switching_cost_share for each in found]), 2),
        _shown(_mean([each.evictions for each in found]), 0),
        _shown(_mean([each.lost_gpu_hours for each in found]), 1),
        _shown(_mean([each.cap_violations for each in found]), 0),
        "" if None in thought else " / ".join(_shown(1000 * each, 2) for each in thought if each is not None),
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
