"""How long a year's back-test takes: 64 GPUs in steps of ten minutes, as a command of its own on one core."""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench import report

NAME: Final = "year"

_GOAL_SECONDS: Final = 60
_HOURS: Final = 365 * 24
_START: Final = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
_SEED: Final = 20250101

_HOW: Final = (
    "**How.** `switchyard backtest YEAR.yaml --policy switchyard` as a process of its own on one core, from its start "
    "to the written JSON: reading, 52,560 decisions of the operator's own code, and the clairvoyant that the result is "
    "a share of. 64 rigs of one GPU; prices are made by the benchmark: power by the hour with a daily swing, "
    "log-normal noise and a few days of dearth, published a day ahead; three coins that walk; rented GPUs with "
    "a daily and a weekly swing, whose wanted number changes every hour.",
)


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """What this benchmark can be told."""
    group.add_argument("--months", type=int, default=12, help="of the year that are played")


async def run(options: argparse.Namespace, say: Callable[[str], None]) -> report.Section:
    """Run it."""
    busy = report.Busy()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="switchyard-year-") as made:
        folder = Path(made)
        _write_series(folder)
        for what, demand in (("coins or off", False), ("coins, rented out or off", True)):
            scenario = folder / f"{'rented' if demand else 'coins'}.yaml"
            scenario.write_text(json.dumps(_scenario(months=options.months, demand=demand)), encoding="utf-8")
            rows[what] = _played(scenario)
            say(f"{what}: {rows[what]['seconds']:.1f} s ({rows[what]['cpu_seconds']:.1f} s of CPU)")
    return report.Section(
        name=NAME,
        title="A year's back-test",
        how=_HOW,
        figures=tuple(
            report.Figure(
                what=f"64 GPUs, a year in steps of 10 minutes: {what}",
                value=f"{row['seconds']:.0f} s ({row['cpu_seconds']:.0f} s of CPU, {row['peak_mib']:.0f} MiB); "
                f"{row['share']:.1f} % of the clairvoyant",
                goal=f"{_GOAL_SECONDS} s",
            )
            for what, row in rows.items()
        ),
        raw=rows,
        machine={**report.machine(kubernetes="not used"), "others_percent": busy.others_percent()},
        tried=options.months != 12,
    )


def _played(scenario: Path) -> dict[str, Any]:
    """Seconds on the clock and of CPU time, MiB at most, and the policy's share. Raises CalledProcessError."""
    out = scenario.with_suffix(".out.json")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        [
            *(sys.executable, "-c", "import sys; from switchyard import cli; sys.exit(cli.main())"),
            *("backtest", str(scenario), "--policy", "switchyard", "--json", str(out)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=_one_core,
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (found,) = json.loads(out.read_text(encoding="utf-8"))["results"]
    return {
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mib": after.ru_maxrss / 1024,
        "share": found["pct_of_clairvoyant"],
    }


def _one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _write_series(folder: Path) -> None:
    chance = np.random.default_rng(_SEED)
    hours = np.arange(_HOURS)
    noise = np.zeros(_HOURS)
    for hour in range(1, _HOURS):
        noise[hour] = 0.9 * noise[hour - 1] + chance.normal(0, 0.12)
    dear = np.repeat(chance.random(365) < 0.03, 24) * 3.0
    power = 110 * np.exp(noise) * (1 + 0.35 * np.sin((hours % 24 - 8) / 24 * 2 * math.pi) + dear)
    _write(folder / "power.csv", "usd_per_mwh", power)
    for coin, level in (("one", 0.055), ("two", 0.050), ("three", 0.045)):
        walk = np.exp(np.cumsum(chance.normal(0, 0.006, _HOURS)))
        _write(folder / f"{coin}.csv", "usd_per_ghs_day", level * 24 / walk.mean() * walk)
    swing = 0.5 + 0.3 * np.sin((hours % 24 - 9) / 24 * 2 * math.pi) - 0.2 * (hours // 24 % 7 >= 5)
    _write(folder / "wanted.csv", "gpus", np.clip(np.round(64 * (swing + chance.normal(0, 0.1, _HOURS))), 0, 64))


def _write(path: Path, column: str, values: Iterable[float]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("time", column))
        for hour, value in enumerate(values):
            writer.writerow(((_START + datetime.timedelta(hours=hour)).isoformat(), f"{value:.5f}"))


def _scenario(*, months: int, demand: bool) -> dict[str, Any]:
    power = {"file": "power.csv", "time": "time", "column": "usd_per_mwh", "unit": "USD/MWh"}
    found: dict[str, Any] = {
        "description": "a year of 64 GPUs",
        "timeZone": "UTC",
        "start": _START.date().isoformat(),
        "duration": f"{months * 365 // 12}d",
        "step": "10m",
        "warmup": "7d",
        "sites": {
            "north": {"tariff": {"series": power, "forecast": {"column": "usd_per_mwh", "publishedAt": "14:00"}}}
        },
        "coins": {
            coin: {
                "unit": "GH/s",
                "revenue": {
                    "series": {
                        "file": f"{coin}.csv",
                        "time": "time",
                        "column": "usd_per_ghs_day",
                        "unit": "USD/(GH/s)/day",
                    }
                },
            }
            for coin in ("one", "two", "three")
        },
        "groups": {
            "ampere": {
                "site": "north",
                "rigs": 64,
                "gpu": "RTX 3090",
                "gpuMemoryMiB": 24576,
                "ai": demand,
                "aiWatts": 350,
                "idleWatts": 18,
                "offWatts": 5,
                "yields": {coin: {"hashrate": 1.0, "watts": 290} for coin in ("one", "two", "three")},
            }
        },
        "switching": {
            "referenceUsdPerGpuHour": 0.05,
            "evictionUsdPerGpu": 0.05,
            "moves": [
                {"from": ["Mining", "Idle"], "to": "Mining", "seconds": 180, "usd": 0.0005},
                {"from": ["Mining", "Idle"], "to": "AI", "seconds": 480},
                {"from": "AI", "to": ["Mining", "Idle"], "seconds": 120},
                {"from": ["Mining", "Idle", "AI"], "to": "Off", "usd": 0.003},
                {"from": "Off", "to": ["Mining", "Idle", "AI"], "seconds": 360, "usd": 0.003},
            ],
        },
    }
    if demand:
        found["demands"] = {
            "rented": {
                "group": "ampere",
                "usdPerGpuHour": 0.22,
                "fee": 0.25,
                "wanted": {"series": {"file": "wanted.csv", "time": "time", "column": "gpus"}},
            }
        }
    return found
