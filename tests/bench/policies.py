"""``python -m bench.policies``: every policy on every scenario at several switching costs; half of them judge only."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import fnmatch
import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench import policy_figures, policy_text, report
from switchyard.backtest import build, course, linear, output, reading, result, scenario
from switchyard.backtest.policies import naming

_ROOT: Final = Path(__file__).parents[2]
_SCENARIOS: Final = Path(__file__).parent / "scenarios"
_SCALES: Final = {policy_figures.NODE: (1.0, 4.0, 16.0), policy_figures.JOB: (1.0, 6.0)}
_PLANNED: Final = ("switchyard", "wfa")
_RULES: Final = ("greedy", "best-static", "static:ai", policy_figures.CLAIRVOYANT)
_WEEKLY: Final = (policy_figures.OURS, policy_figures.CLAIRVOYANT)
_MISSING: Final = "its data are not there"
_WEEK_SECONDS: Final = 7 * 86400


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One cell of the grid, to be played by all policies."""

    path: Path
    half: str
    level: str
    scale: float
    seed: int
    data: Path

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.path.stem} x{self.scale:g}" + (f" seed {self.seed}" if self.seed else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the grid; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.policies", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=None, metavar="FOLDER", help="traces that scenarios take as ${DATA}"
    )
    parser.add_argument("--only", action="append", metavar="PATTERN", help="scenarios by name, such as 'report-*'")
    parser.add_argument(
        "--scale", action="append", type=float, metavar="X", help="cost scales (default: 1, 4, 16; 1, 6)"
    )
    parser.add_argument(
        "--seed", action="append", type=int, metavar="N", help="seeds of noise and samples (default: 0)"
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="how many at once (default: 2)")
    parser.add_argument("--out", type=Path, default=_ROOT / "build" / "bench", metavar="FOLDER", help="raw figures")
    parser.add_argument("--again", action="store_true", help="write the section from the raw figures, playing nothing")
    parser.add_argument("--dry", action="store_true", help="leave docs/benchmarks.md alone")
    options = parser.parse_args(arguments)
    raw_file = options.out / "policies.json"
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:7.1f} s] {text}", flush=True)

    try:
        if options.again:
            raw = json.loads(raw_file.read_text(encoding="utf-8"))
        else:
            data = options.data or Path(os.environ.get("SWITCHYARD_TRACES") or _ROOT.parent / "shared" / "traces")
            options.out.mkdir(parents=True, exist_ok=True)
            raw = {}
            for raw in _played(options, data, say):
                # After every cell: an hour's figures outlive whatever ends the next one.
                raw_file.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError) as problem:
        print(f"bench: policies: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    cells = [policy_figures.cell(each) for each in raw["cells"]]
    for name, reason in raw["skipped"].items():
        say(f"skipped: {name}: {reason}")
    if not cells:
        say("nothing was played, nothing is written: --data FOLDER says where the traces are")
        return 0
    section = policy_text.Section(cells=cells, skipped=raw["skipped"], machine=raw["machine"])
    print(section.markdown())
    if options.dry or raw["tried"]:
        say(f"docs/benchmarks.md is left alone; the raw figures are in {raw_file}")
    else:
        report.write(_ROOT / "docs" / "benchmarks.md", section)
        say(f"written: docs/benchmarks.md, {raw_file}")
    return 0


def _played(options: argparse.Namespace, data: Path, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The raw figures as far as they are there, "tried" until they are complete. Raises reading.ScenarioError."""
    tasks = list(_tasks(options, data))
    busy = report.Busy()
    skipped: dict[str, str] = {}
    cells: list[dict[str, Any]] = []
    order = {(task.path.stem, task.scale, task.seed): index for index, task in enumerate(tasks)}

    def raw(*, tried: bool) -> dict[str, Any]:
        return {
            "machine": report.machine(kubernetes="") | {"others_percent": busy.others_percent(), **output.versions()},
            "tried": tried,
            "cells": sorted(cells, key=lambda each: order[each["scenario"], each["cost_scale"], each["seed"]]),
            "skipped": dict(sorted(skipped.items())),
        }

    say(f"{len(tasks)} cells, {options.processes} at once, data from {data}")
    began = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(max_workers=options.processes) as pool:
        futures = {pool.submit(_cell, task): task for task in tasks}
        try:
            for count, future in enumerate(concurrent.futures.as_completed(futures), start=1):
                task = futures[future]
                found, reason = future.result()
                left = (time.monotonic() - began) / count * (len(tasks) - count)
                if found is None:
                    skipped[task.path.stem if reason.startswith(_MISSING) else task.label] = reason
                    continue
                cells.append(found)
                say(f"{count}/{len(tasks)} {task.label}: {_short(found)}; about {left / 60:.0f} min to go")
                yield raw(tried=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    yield raw(tried=bool(options.only or options.scale))


def _tasks(options: argparse.Namespace, data: Path) -> Iterator[Task]:
    """The cells, those of one scenario and seed beside one another, so that it is built once."""
    for path in sorted(_SCENARIOS.glob("*.yaml")):
        if options.only and not any(fnmatch.fnmatch(path.stem, pattern) for pattern in options.only):
            continue
        scene = scenario.load(path)
        if scene.half is None:
            raise reading.ScenarioError(f"{path}: half: tune or report expected")
        level = policy_figures.JOB if scene.jobs else policy_figures.NODE
        for seed in options.seed or [0]:
            for scale in options.scale or _SCALES[level]:
                yield Task(path=path, half=scene.half, level=level, scale=scale, seed=seed, data=data)


def _short(cell: dict[str, Any]) -> str:
    played = policy_figures.cell(cell)
    shown = (policy_figures.OURS, "wfa", policy_figures.TUNED, "greedy")
    return (
        ", ".join(f"{name} {policy_text.percent(played.share(name))}" for name in shown) + f" ({cell['seconds']:.0f} s)"
    )


def _cell(task: Task) -> tuple[dict[str, Any] | None, str]:
    """A cell played by all policies; or None and why not. Runs in a process of its own."""
    began = time.monotonic()
    try:
        played = _course(task.path, task.seed, task.data)
    except reading.MissingDataError as problem:
        return None, f"{_MISSING}: {problem}"
    records: dict[str, Any] = {}
    weekly: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    try:
        for name in (*_RULES, *policy_figures.PAIRS, *_PLANNED):
            try:
                found = played.play(name, scale=task.scale, pictures=name in _WEEKLY)
            except naming.PolicyError as problem:
                left_out[name] = str(problem)
                continue
            records[name] = output.record(found)
            if found.lanes is not None:
                weekly[name] = by_week(found, found.lanes)
    except linear.UnsolvedError as problem:
        return None, str(problem)
    return {
        "scenario": task.path.stem,
        "description": played.script.description,
        "half": task.half,
        "level": task.level,
        "cost_scale": task.scale,
        "seed": task.seed,
        "seconds": round(time.monotonic() - began, 1),
        "records": records,
        "weekly_usd": weekly,
        "left_out": left_out,
    }, ""


@functools.lru_cache(maxsize=1)
def _course(path: Path, seed: int, data: Path) -> course.Course:
    return course.Course(build.build(scenario.load(path), seed=seed, data=data), seed=seed)


def by_week(found: result.Result, lanes: result.Lanes) -> list[float]:
    """Profit of each week after the warm-up, $; what is left at the end belongs to the last."""
    steps = max(1, round(_WEEK_SECONDS / found.step_seconds))
    weeks = max(1, (found.steps - found.warmup_steps) // steps)
    ends = [found.warmup_steps + steps * (week + 1) for week in range(weeks - 1)] + [found.steps]
    begin = float(lanes.profit_usd[found.warmup_steps - 1]) if found.warmup_steps else 0.0
    sums = [begin, *(float(lanes.profit_usd[end - 1]) for end in ends)]
    return [later - earlier for earlier, later in itertools.pairwise(sums)]


if __name__ == "__main__":
    sys.exit(main())
