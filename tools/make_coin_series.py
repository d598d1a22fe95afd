"""Make a synthetic daily series of what coins earn, from published levels.

Real histories of coin revenue may not be redistributed with this project, so the examples use a made one: per
coin a random walk of the logarithm with a fixed seed, which starts at the level that ``figures.yaml`` gives and is
reflected at the published low and high. It has no more to do with any coin's history than those three numbers.
Output: ``time,coin,usd_per_mhs_day``; a value holds from its time, 00:00 UTC, until the next day's.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def walk(*, low: float, level: float, high: float, daily_sigma: float, seed: str, days: int) -> Iterator[float]:
    """Yield one value per day, the first is the level, all lie between low and high.

    Args:
        low: Lowest value, greater than 0.
        level: First value.
        high: Highest value.
        daily_sigma: Standard deviation of one day's change of the natural logarithm.
        seed: The same seed gives the same walk on every machine.
        days: How many values.
    """
    if not 0 < low <= level <= high:
        raise ValueError(f"expected 0 < low <= level <= high, found {low}, {level}, {high}")
    steps = random.Random(seed)
    floor, ceiling = math.log(low), math.log(high)
    value = math.log(level)
    for _ in range(days):
        yield math.exp(value)
        value = _reflect(value + steps.gauss(0.0, daily_sigma), floor, ceiling)


def _reflect(value: float, floor: float, ceiling: float) -> float:
    width = ceiling - floor
    if not width:
        return floor
    offset = (value - floor) % (2 * width)
    return floor + min(offset, 2 * width - offset)


def series(figures: dict[str, Any], *, first: date, end: date) -> Iterator[tuple[date, str, float]]:
    """Yield day, coin and US$ per MH/s and day, for the days ``first <= day < end``, coin by coin."""
    daily_sigma = float(figures["coin_series"]["daily_sigma"]["value"])
    seed = figures["coin_series"]["seed"]["value"]
    for coin, figure in sorted(figures["coins"].items()):
        bounds = {name: float(value) for name, value in figure["usd_per_mhs_day"].items()}
        days = (end - first).days
        values = walk(**bounds, daily_sigma=daily_sigma, seed=f"{seed}/{coin}", days=days)
        for n, value in enumerate(values):
            yield first + timedelta(days=n), coin, value


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, make the series, write it."""
    parser = argparse.ArgumentParser(description="Make a synthetic daily series of what coins earn.")
    parser.add_argument("figures", type=Path, help="figures.yaml with the coins' levels and bounds")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True, help="first day, UTC")
    parser.add_argument("--to", dest="end", type=date.fromisoformat, required=True, help="day after the last")
    parser.add_argument("--output", type=Path, required=True, help="the CSV file to write")
    args = parser.parse_args(argv)
    if args.first >= args.end:
        parser.error("--from must lie before --to")
    figures = yaml.safe_load(args.figures.read_text(encoding="utf-8"))
    with args.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("time", "coin", "usd_per_mhs_day"))
        for day, coin, value in series(figures, first=args.first, end=args.end):
            writer.writerow((f"{day}T00:00:00Z", coin, f"{value:.6f}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
