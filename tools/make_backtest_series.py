"""Make the synthetic files of ``examples/backtest``: how many GPUs are wanted, and a week of jobs.

Nobody's demand is in them. Public traces of GPU clusters may not be passed on with this project, so these two have only
their rough shape: a day with a busy afternoon, calm weekends, many short small jobs and a few long large ones.

``rented.csv``: ``time,gpus``, every 30 minutes. ``jobs.csv``: ``arrival,gpus,minutes,usd_per_gpu_hour,done_by``.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

Row = tuple[str | int | float, ...]

SIZES = {1: 0.62, 2: 0.14, 4: 0.08, 6: 0.08, 12: 0.06, 24: 0.02}


def busyness(moment: datetime) -> float:
    """How busy customers are at a moment, 0 to 1: most at 20:00 UTC (afternoon in Texas), half of it on weekends."""
    day = 0.55 + 0.45 * math.cos((moment.hour + moment.minute / 60 - 20) / 24 * 2 * math.pi)
    return day * (0.5 if moment.weekday() >= 5 else 1.0)


def rented(*, first: datetime, days: int, gpus: int, chance: random.Random) -> Iterator[Row]:
    """Rows of ``rented.csv``: the cycle of a day with slow noise, whole GPUs between 0 and 1.2 x `gpus`."""
    noise = 0.0
    for step in range(days * 48):
        moment = first + timedelta(minutes=30 * step)
        noise = 0.97 * noise + chance.gauss(0.0, 0.06)
        yield _text(moment), min(round(1.2 * gpus), max(0, round(gpus * (busyness(moment) + noise))))


def jobs(*, first: datetime, days: int, per_day: float, chance: random.Random) -> Iterator[Row]:
    """Rows of ``jobs.csv`` in order of arrival: a Poisson process as busy as the hour, thinned from its peak.

    Durations are lognormal with a median of 90 minutes, bids lognormal with a median of 0.22 $; a third of them must
    be done by some moment.
    """
    peak = 2.2 * per_day / 86400
    moment, end = first, first + timedelta(days=days)
    while True:
        moment += timedelta(seconds=chance.expovariate(peak))
        if moment >= end:
            return
        if chance.random() > busyness(moment):
            continue
        (size,) = chance.choices(list(SIZES), weights=list(SIZES.values()))
        minutes = max(5.0, min(24 * 60.0, 90 * math.exp(chance.gauss(0.0, 1.2))))
        bid = 0.22 * math.exp(chance.gauss(0.0, 0.5))
        slack = timedelta(minutes=minutes * chance.uniform(1.5, 5.0) + 30)
        done_by = _text(moment + slack) if chance.random() < 1 / 3 else ""
        yield _text(moment), size, f"{minutes:.1f}", f"{bid:.3f}", done_by


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, make the series, write them."""
    parser = argparse.ArgumentParser(description="Make the synthetic files of examples/backtest.")
    parser.add_argument("--from", dest="first", type=datetime.fromisoformat, required=True, help="first day, UTC")
    parser.add_argument("--days", type=int, default=14, help="length of rented.csv; jobs.csv has half of it")
    parser.add_argument("--gpus", type=int, default=48, help="GPUs of the farm that the demand is about")
    parser.add_argument("--seed", type=int, default=20211011, help="the same seed makes the same files")
    parser.add_argument("folder", type=Path, help="where to write them")
    args = parser.parse_args(argv)
    first = args.first.replace(tzinfo=UTC)
    chance = random.Random(args.seed)
    tables = {
        "rented.csv": (("time", "gpus"), rented(first=first, days=args.days, gpus=args.gpus, chance=chance)),
        "jobs.csv": (
            ("arrival", "gpus", "minutes", "usd_per_gpu_hour", "done_by"),
            jobs(first=first, days=args.days // 2, per_day=3.0 * args.gpus, chance=chance),
        ),
    }
    for name, (header, rows) in tables.items():
        with (args.folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
