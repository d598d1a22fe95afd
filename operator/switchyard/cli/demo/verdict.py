"""What a run of the demo came to: figures, checks, and a table of both."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.box
import rich.markup
import rich.table

from switchyard.simulate import baseline, play

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that must hold."""

    name: str
    holds: bool
    told: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Figures by name, in the order of the table, and the checks."""

    figures: Mapping[str, Any]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    def write(self, path: Path) -> None:
        """Write figures and checks as JSON."""
        checks = [dataclasses.asdict(check) for check in self.checks]
        path.write_text(json.dumps({**self.figures, "checks": checks, "passed": self.passed}, indent=2) + "\n")

    def table(self) -> rich.table.Table:
        """For people."""
        table = rich.table.Table(box=rich.box.SIMPLE, show_header=False, pad_edge=False)
        table.add_column(style="dim")
        table.add_column()
        for name, value in self.figures.items():
            if not isinstance(value, Mapping):
                table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else str(value))
        for job, why in self.figures["refusals"].items():
            table.add_row("refused", f"{job}: [dim]{rich.markup.escape(why)}[/]")
        table.add_section()
        for check in self.checks:
            mark = "[green]holds[/]" if check.holds else "[bold red]FAILS[/]"
            table.add_row(mark, f"{check.name}: {rich.markup.escape(check.told)}")
        return table


def summarise(party: play.Play, *, metrics: Samples, static: baseline.Static, speed: float) -> Summary:
    """Judge a run that has come to its end."""
    jobs, totals = party.standing(), party.account.totals
    earned = totals.earned_usd
    double = party.watcher.double_owner_seconds
    failed = _total(metrics, "switchyard_commands_total", outcome={"failed", "invalid"})
    api_errors = int(failed + _total(metrics, "switchyard_errors_total")) + party.failures
    registered = len(party.modes)
    figures = {
        "window": f"{party.start:%Y-%m-%dT%H:%MZ} to {party.end:%Y-%m-%dT%H:%MZ}",
        "speed": round(speed, 1),
        "rigs": registered,
        "switches": int(_total(metrics, "switchyard_switches_total", outcome={"switched"})),
        "jobs_submitted": len(party.submitted),
        "jobs_admitted": len(jobs.admitted),
        "jobs_finished": len(jobs.finished),
        "jobs_refused": len(jobs.refused),
        "jobs_preempted": len(jobs.preempted),
        "mining_usd": round(totals.mining_usd, 4),
        "work_usd": round(totals.work_usd, 4),
        "power_usd": round(totals.power_usd, 4),
        "earned_usd": round(earned, 4),
        "best_static_usd": round(static.usd, 4),
        "best_static": {
            "modes": dict(static.mode),
            "set_aside_for_ai": dict(static.ai),
            "floor_usd_per_gpu_hour": static.floor_usd_per_gpu_hour,
            "jobs_finished": static.jobs,
        },
        "gpu_double_owner_seconds": round(double, 3),
        "api_errors": api_errors,
        "refusals": {job: party.why(job) for job in sorted(jobs.refused)},
    }
    overlaps = ", ".join(f"{' and '.join(each.owners)} on {each.node}" for each in party.watcher.overlaps[:3])
    checks = (
        Check(
            name="it earns at least what the best static farm would have",
            holds=earned >= static.usd,
            told=f"{earned:,.2f} $ against {static.usd:,.2f} $ ({_percent(earned, static.usd)})",
        ),
        Check(
            name="no GPU ever had two owners",
            holds=double == 0 and party.watcher.events > 0,
            told=overlaps or f"{party.watcher.events:,} changes of Pods watched",
        ),
        Check(
            name="every rig was registered",
            holds=registered == len(party.truth.rigs),
            told=f"{registered} of {len(party.truth.rigs)}",
        ),
        Check(
            name="the API server refused nothing",
            holds=api_errors == 0,
            told=f"{api_errors} errors" + (f", such as {_example(party)}" if party.failures else ""),
        ),
    )
    return Summary(figures=figures, checks=checks)


def _total(metrics: Samples, name: str, **wanted: set[str]) -> float:
    total = 0.0
    for (sample, labels), value in metrics.items():
        held = dict(labels)
        if sample == name and all(held.get(label) in values for label, values in wanted.items()):
            total += value
    return total


def _percent(value: float, other: float) -> str:
    return f"{(value - other) / abs(other):+.0%}" if other else "no basis"


def _example(party: play.Play) -> str:
    if party.complaints:
        return party.complaints[0]
    failed = party.rigs.failures[0]
    return f"{failed.command.ref}: {failed.message}"
