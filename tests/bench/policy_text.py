"""The section of docs/benchmarks.md on policies."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench import policy_figures as figures

_SHOWN: Final = (
    figures.OURS, "wfa", figures.TUNED, "threshold:5:30m", "threshold:10:1h", "threshold:10:4h", "threshold:20:12h",
    "greedy", "best-static",
)  # fmt: skip
_MEASURED: Final = ("95 % of ours", "its moves/GPU/day", "over a circuit", "plan p50 / p99, ms")
_HALVES: Final = {
    "report": "Judged: scenarios on which nothing was chosen",
    "tune": "Tuned on: scenarios on which settings were chosen",
}
_LEVELS: Final = {
    figures.NODE: (
        "rigs one by one, % of the clairvoyant",
        "min >= 95 %, mean >= 99 %, capture mean >= 90 %, never < 0",
    ),
    figures.JOB: ("gangs with bids, % of a bound that nobody can reach", "at twice the load 92 % at x1, 88 % at x6"),
}
_HOW: Final = (
    "**How.** `make bench-policy` plays the scenarios of `tests/bench/scenarios` with `switchyard backtest`'s own code "
    "on public traces that are not part of this repository (`--data FOLDER`); where they are absent, it says so and "
    "skips. A policy sees a stream: the present, what was published by then, and nothing later. % is the profit as a "
    "share of the clairvoyant's, which is exact where rigs decide one by one, and the bound of a linear program with "
    "gangs or circuits. Capture, in brackets, is the share of what switching could add to the best mode that is never "
    f"left. Where the clairvoyant itself earns less than ${figures.LEAST_USD_PER_GPU_YEAR:.0f} per GPU and year, a "
    "share of it says nothing: such cells show what was missed in $ per GPU and year, and count in no share, capture "
    "or ratio.",
    f"**{figures.TUNED}** takes, in every cell by itself and in hindsight, the best of {len(figures.PAIRS)} pairs of "
    "threshold and dwell; the best fixed pair is the one of them that does best over the whole half, in hindsight too. "
    "The regret ratio is how many times ours its mean distance to 100 % is.",
    "**95 %** intervals draw the weeks of a scenario anew, 2,000 times, a week being a block; they are there where a "
    "scenario has at least four weeks after its warm-up and the clairvoyant is exact.",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What `report.write` puts into the file."""

    cells: Sequence[figures.Cell]
    skipped: Mapping[str, str]
    machine: Mapping[str, Any]
    name: str = "policies"

    def markdown(self) -> str:
        """The section."""
        machine = self.machine
        parts = [
            "## Policies",
            f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, HiGHS "
            f"{machine['highspy']}. Others on the machine took {machine['others_percent']} % of its cores meanwhile.",
        ]
        for half, heading in _HALVES.items():
            for level, (what, goal) in _LEVELS.items():
                cells = [each for each in self.cells if (each.half, each.level) == (half, level)]
                if cells:
                    parts += [f"### {heading}; {what}", _summary(cells, goal=goal), _grid(cells)]
        if self.skipped:
            parts += ["### Skipped", "\n".join(f"- {name}: {reason}" for name, reason in self.skipped.items())]
        return "\n\n".join([*parts, *_HOW])


def _summary(cells: Sequence[figures.Cell], *, goal: str) -> str:
    """The grid in one line for each policy."""
    keys = list(figures.by_key(cells))
    scenarios = len({name for name, _ in keys})
    seeds = len({each.seed for each in cells})
    lines = [
        f"{scenarios} scenarios, {len(keys)} cells" + (f", {seeds} seeds" if seeds > 1 else "") + f". Goal: {goal}.",
        "",
        "| policy | lowest | mean | capture, lowest | capture, mean | regret, times ours | regret, $/GPU/year |",
        "|---|---|---|---|---|---|---|",
    ]
    fixed = figures.best_pair(cells)
    rows = [(name, name) for name in _SHOWN]
    if fixed is not None:
        rows.insert(3, (f"best fixed pair: {fixed}", fixed))
    for label, policy in rows:
        found = figures.summary(cells, policy)
        if found is None:
            continue
        mean = percent(found.mean)
        if policy == figures.OURS and (interval := figures.interval(cells)) is not None:
            mean += f" (95 %: {interval[0]:.1f} to {interval[1]:.1f})"
        ratio = figures.regret_ratio(cells, policy)
        cells_of = [
            label, percent(found.lowest), mean, percent(found.lowest_capture), percent(found.mean_capture),
            "-" if ratio is None else f"{ratio:.1f}", percent(found.regret_usd),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells_of)} |")
    return "\n".join(lines)


def _grid(cells: Sequence[figures.Cell]) -> str:
    """A line for each scenario and cost scale."""
    lines = [
        f"| {' | '.join(('scenario', 'costs', *_SHOWN, *_MEASURED))} |",
        "|" + "---|" * (2 + len(_SHOWN) + len(_MEASURED)),
    ]
    for (scenario, scale), group in figures.by_key(cells).items():
        interval = figures.interval(group)
        row = [
            scenario,
            f"x{scale:g}",
            *(_cell(group, policy) for policy in _SHOWN),
            "-" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}",
            _mean(group, "switches_per_gpu_day", digits=2),
            _mean(group, "cap_violations", digits=0),
            f"{_mean(group, 'plan_seconds_p50', digits=1, times=1000)} / "
            f"{_mean(group, 'plan_seconds_p99', digits=1, times=1000)}",
        ]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _cell(group: Sequence[figures.Cell], policy: str) -> str:
    shares = figures.means(group, lambda each: each.share(policy))
    captures = figures.means(group, lambda each: each.capture(policy))
    if not shares:
        return "-"
    if any(each.thin for each in group):
        lost = figures.means(group, lambda each: each.measure(policy, "regret_usd_per_gpu_year"))
        return f"${lost[0]:.2f}" if lost else "-"
    return f"{shares[0]:.1f}" + (f" ({captures[0]:.0f})" if captures else "")


def _mean(group: Sequence[figures.Cell], name: str, *, digits: int, times: float = 1.0) -> str:
    known = [value for each in group if (value := each.measure(figures.OURS, name)) is not None]
    return f"{times * statistics.fmean(known):.{digits}f}" if known else "-"


def percent(value: float | None) -> str:
    """One digit after the point."""
    return "-" if value is None else f"{value:.1f}"
