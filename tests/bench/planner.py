"""How long a plan takes, from a small farm to a hundred thousand GPUs."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from bench import report, tick
from switchyard.planning import program, program_values

NAME: Final = "planner"

_SIZES: Final = ((200, 30, None), (2_000, 200, None), (20_000, 1_000, 0.3), (100_000, 3_000, 0.6))
"""GPUs, waiting gangs, and the seconds hoped for."""

_REPEATS: Final = 3
_GAP: Final = 0.005
_CLASSES, _GPUS = 6, 8
_SEED: Final = 20171005

_HOW: Final = (
    "**How.** A farm of 8-GPU rigs in {classes} classes on three circuits of two classes each, too small for all "
    "rigs to do what draws most; five local modes per class, a price of power that changes from step to step, 60 % of "
    "the rigs at work for gangs of which four fifths may be stopped, a quarter of all rigs may change hands. Waiting "
    "gangs have 1 to 32 replicas with 1, 2 or 8 to a rig, log-normal bids around 0.25 $/GPU-h (sigma 0.5), log-normal "
    "lengths around 1.6 h (sigma 1.5) and fit one to six classes. 24 kinds of work are expected. `program.solve` on "
    "one thread, prices and whole gangs, matrix included; the median of {repeats}, and the CPU time of it, which "
    "others on the machine do not lengthen. The gap is what the plan may miss at most, against the linear program.",
)


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """What this benchmark can be told."""
    group.add_argument("--repeats", type=int, default=_REPEATS, help="of every plan, and ticks after the first")


async def run(options: argparse.Namespace, say: Callable[[str], None]) -> report.Section:
    """Run it."""
    busy = report.Busy()
    rows: list[dict[str, Any]] = []
    for gpus, gangs, goal in _SIZES:
        problem = _farm(gpus=gpus, gangs=gangs)
        seconds, cpu = [], []
        answer: program_values.Answer | program_values.Failure | None = None
        for _ in range(options.repeats):
            started, spent = time.perf_counter(), time.process_time()
            answer = program.solve(problem, limit_seconds=60)
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - spent)
        row = {"gpus": gpus, "gangs": gangs, "goal_seconds": goal, "seconds": seconds, "cpu_seconds": cpu}
        if isinstance(answer, program_values.Answer):
            row |= {"gap": answer.gap, "admitted": len(answer.admitted), "stopped": len(answer.stopped)}
        rows.append(row)
        say(f"{gpus:,} GPUs, {gangs:,} gangs: {statistics.median(seconds):.2f} s, gap {row.get('gap', math.nan):.3%}")
    ticks = []
    for count, jobs, goal in tick.SIZES:
        found = tick.measure(rigs=count, gangs=jobs, ticks=options.repeats + 1, say=say)
        ticks.append(found | {"goal_seconds": goal})
    return report.Section(
        name=NAME,
        title="A plan",
        how=(*(paragraph.format(classes=_CLASSES, repeats=options.repeats) for paragraph in _HOW), *tick.HOW),
        figures=(*(_figure(row) for row in rows), *(figure for row in ticks for figure in tick.figures(row))),
        raw={"plans": rows, "ticks": ticks},
        machine={**report.machine(kubernetes="not used"), "others_percent": busy.others_percent()},
        tried=options.repeats != _REPEATS,
    )


def _figure(row: dict[str, Any]) -> report.Figure:
    goal = row["goal_seconds"]
    value = "no plan"
    if "gap" in row:
        value = (
            f"{statistics.median(row['seconds']):.2f} s ({statistics.median(row['cpu_seconds']):.2f} s of CPU), "
            f"gap {row['gap']:.2%}"
        )
    return report.Figure(
        what=f"linear program and whole gangs: {row['gpus']:,} GPUs, {row['gangs']:,} gangs",
        value=value,
        goal=f"{goal} s, gap < {_GAP:.1%}" if goal else "",
    )


def _farm(*, gpus: int, gangs: int) -> program_values.Problem:
    random = np.random.default_rng(_SEED)
    rigs = gpus // _GPUS
    keys = [f"class-{number}" for number in range(_CLASSES)]
    counts = {key: rigs // _CLASSES + (at < rigs % _CLASSES) for at, key in enumerate(keys)}
    steps = len(program_values.EDGES_HOURS) - 1
    circuit_of = {key: f"circuit-{at % 3}" for at, key in enumerate(keys)}
    at_work = _at_work(random, {key: int(count * 0.6) for key, count in counts.items()}, scale=max(1, rigs // 2500))
    busy = {key: sum(work.rigs.get(key, 0) for work in at_work) for key in keys}
    return program_values.Problem(
        blocks={
            key: program_values.Block(
                rigs=counts[key],
                origins=(
                    program_values.Origin(rigs=(counts[key] - busy[key]) // 2, in_usd=0.2),
                    program_values.Origin(rigs=(counts[key] - busy[key] + 1) // 2, in_usd=0.3),
                ),
                modes=(
                    *(
                        program_values.LocalMode(
                            usd_per_hour=_GPUS * random.uniform(0.02, 0.07),
                            watts=100 + _GPUS * random.uniform(100, 250),
                        )
                        for _ in range(3)
                    ),
                    program_values.LocalMode(usd_per_hour=0.0, watts=200.0),
                    program_values.LocalMode(usd_per_hour=0.0, watts=10.0),
                ),
                usd_per_watt_hour=tuple(random.uniform(3e-5, 8e-5, steps)),
                circuit=circuit_of[key],
                later_in_usd=0.25,
                out_usd=0.05,
            )
            for key in keys
        },
        gangs=tuple(_gang(random, f"waiting-{number}", keys) for number in range(gangs)),
        working=at_work,
        flows=tuple(
            program_values.Flow(
                usd_per_unit_hour=bid,
                hours=hours,
                units=tuple(np.diff(program_values.EDGES_HOURS) * gpus / 100 / hours),
                rigs_per_unit=dict.fromkeys(keys, 1 / _GPUS),
                watts_per_rig=dict.fromkeys(keys, 1900.0),
            )
            for bid in np.linspace(0.12, 0.54, 8)
            for hours in (0.3, 2.0, 8.0)
        ),
        circuits={
            circuit: program_values.Circuit(
                limit_watts=1300.0 * sum(counts[key] for key in keys if circuit_of[key] == circuit)
            )
            for circuit in sorted(set(circuit_of.values()))
        },
        budgets=(program_values.Budget(blocks=frozenset(keys), left=max(4, rigs // 4)),),
    )


def _gang(random: np.random.Generator, key: str, keys: list[str]) -> program_values.Gang:
    replicas, slots = int(random.choice((1, 1, 1, 1, 2, 2, 4, 8, 16, 32))), int(random.choice((1, 2, 8)))
    fitting = random.choice(keys, size=random.integers(1, len(keys) + 1), replace=False)
    return program_values.Gang(
        key=key,
        usd_per_hour=float(random.lognormal(math.log(0.25), 0.5)) * replicas * _GPUS / slots,
        hours=float(random.lognormal(0.5, 1.5)),
        replicas=replicas,
        fits={str(name): program_values.Fit(slots=slots, watts=1900.0) for name in fitting},
    )


def _at_work(random: np.random.Generator, rigs: dict[str, int], *, scale: int) -> tuple[program_values.Working, ...]:
    found: list[program_values.Working] = []
    for key, count in rigs.items():
        left = count
        while left > 0:
            size = min(left, scale * int(random.choice((1, 1, 1, 1, 2, 2, 4, 8, 16, 32))))
            left -= size
            found.append(
                program_values.Working(
                    key=f"at-work-{len(found)}",
                    usd_per_hour=size * _GPUS * float(random.lognormal(math.log(0.25), 0.5)),
                    hours=float(random.lognormal(0.5, 1.5)),
                    rigs={key: size},
                    watts={key: 1900.0},
                    stop_usd=0.1 * size * _GPUS if random.random() < 0.8 else None,
                )
            )
    return tuple(found)
