"""`switchyard backtest`: what policies would have earned on a scenario, against the best that could have been done."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import functools
import itertools
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from switchyard.backtest import course, result

SKIPPED: Final = 3
"""Exit code where data was missing for every scenario."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `backtest` can be told."""
    from switchyard.backtest.policies import naming

    parser.add_argument("scenarios", nargs="+", type=Path, metavar="SCENARIO.yaml")
    parser.add_argument(
        "--policy",
        action="append",
        type=_policy,
        metavar="NAME",
        help=f"{naming.KNOWN} (default: {', '.join(naming.DEFAULT)})",
    )
    parser.add_argument(
        "--cost-scale", action="append", type=_scale, metavar="X", help="multiplies all switching costs (default: 1)"
    )
    parser.add_argument("--seed", action="append", type=int, metavar="N", help="of noise and samples (default: 0)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="what ${DATA} stands for in scenarios")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write every figure there; - for standard output")
    parser.add_argument("--html", type=Path, metavar="REPORT.html", help="write a report with pictures there")
    parser.add_argument("--no-timings", action="store_true", help="leave out what differs from run to run")
    parser.add_argument(
        "--shuffle-forecasts", action="store_true", help="give every published forecast to another day: a check"
    )
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes to play in (default: 1)")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One scenario with one seed and one cost scale, to be played by all policies; None: the usual ones that fit it."""

    path: Path
    seed: int
    scale: float
    policies: tuple[str, ...] | None
    data: Path | None
    pictures: bool
    shuffle: bool


def run(options: argparse.Namespace) -> int:
    """Play; 0 done, 1 bad input, 3 no scenario had its data."""
    import rich.console
    import rich.progress

    from switchyard.backtest import linear, output, reading, report
    from switchyard.backtest.policies import naming

    tasks = [
        _Task(
            path=path,
            seed=seed,
            scale=scale,
            policies=tuple(options.policy) if options.policy else None,
            data=options.data,
            pictures=options.html is not None,
            shuffle=options.shuffle_forecasts,
        )
        for path, seed, scale in itertools.product(options.scenarios, options.seed or [0], options.cost_scale or [1.0])
    ]
    console = rich.console.Console(stderr=True)
    results: list[result.Result] = []
    skipped: dict[str, str] = {}
    try:
        if options.html is not None:
            report.ensure_pictures()
        with rich.progress.Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("playing", total=len(tasks) * len(options.policy or naming.DEFAULT))
            for found in _played(tasks, processes=options.jobs, skipped=skipped):
                results.append(found)
                progress.update(bar, advance=1, description=f"{found.scenario} x{found.cost_scale:g} {found.policy}")
    except (reading.ScenarioError, naming.PolicyError, report.PicturesError, linear.UnsolvedError, OSError) as problem:
        sys.stderr.write(f"switchyard backtest: {problem}\n")
        return 1
    for path, reason in skipped.items():
        sys.stderr.write(f"skipped {path}: {reason}\n")
    if not results:
        return SKIPPED
    try:
        if options.json is not None:
            text = output.document(results, skipped, timings=not options.no_timings)
            if str(options.json) == "-":
                sys.stdout.write(text)
            else:
                options.json.write_text(text, encoding="utf-8")
        if options.html is not None:
            report.write(options.html, results, command=shlex.join(["switchyard", *sys.argv[1:]]))
    except OSError as problem:
        sys.stderr.write(f"switchyard backtest: {problem}\n")
        return 1
    if str(options.json) != "-":
        out = rich.console.Console(width=None if sys.stdout.isatty() else 160)
        for table in output.tables(results):
            out.print(table)
    return 0


def _played(tasks: list[_Task], *, processes: int, skipped: dict[str, str]) -> Iterator[result.Result]:
    """The results in the order of the tasks, each as soon as it is there. Fills `skipped` with what lacks its data."""
    if processes == 1:
        for task in tasks:
            yield from _results(task, skipped)
        return
    with concurrent.futures.ProcessPoolExecutor(max_workers=processes) as pool:
        for found, missing in pool.map(_apart, tasks):
            skipped.update(missing)
            yield from found


def _apart(task: _Task) -> tuple[list[result.Result], dict[str, str]]:
    skipped: dict[str, str] = {}
    return list(_results(task, skipped)), skipped


def _results(task: _Task, skipped: dict[str, str]) -> Iterator[result.Result]:
    from switchyard.backtest import reading
    from switchyard.backtest.policies import naming

    if str(task.path) in skipped:
        return
    try:
        found = _course(task.path, task.seed, task.data, task.shuffle)
    except reading.MissingDataError as problem:
        skipped[str(task.path)] = str(problem)
        return
    for policy in task.policies or filter(found.fits, naming.DEFAULT):
        yield found.play(policy, scale=task.scale, pictures=task.pictures)


@functools.lru_cache(maxsize=1)
def _course(path: Path, seed: int, data: Path | None, shuffle: bool) -> course.Course:
    from switchyard.backtest import build, course, scenario

    script = build.build(scenario.load(path), seed=seed, data=data)
    return course.Course(script, seed=seed, shuffle_forecasts=shuffle)


def _policy(argument: str) -> str:
    from switchyard.backtest.policies import naming

    try:
        naming.parse(argument)
    except naming.PolicyError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem
    return argument


def _scale(argument: str) -> float:
    try:
        found = float(argument)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"a number expected, not {argument!r}") from problem
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of at least 0 expected, not {argument!r}")
    return found


def _count(argument: str) -> int:
    if not argument.isdecimal() or int(argument) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 expected, not {argument!r}")
    return int(argument)
