"""`switchyard demo`: simulated rigs on a real API server, switching on replayed prices, with a judge of their own."""

from __future__ import annotations

import argparse
from pathlib import Path

from switchyard.cli import arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `demo` can be told."""
    parser.add_argument("--kubeconfig", type=Path, help="of an empty cluster of the tests' kind (default: KUBECONFIG)")
    parser.add_argument("--crds", type=Path, default=Path("crds"), metavar="FOLDER", help="CustomResourceDefinitions")
    parser.add_argument("--farm", type=Path, default=Path("examples/demo"), metavar="FOLDER", help="the farm's files")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), metavar="FOLDER", help="logs and summary")
    parser.add_argument("--keep", action="store_true", help="leave the farm up afterwards, until Ctrl-C")
    parser.add_argument("--hours", type=float, help="of farm time (96; with --market 60)")
    parser.add_argument("--speed", type=float, metavar="FACTOR", help="farm seconds per second (fills 4 minutes)")
    parser.add_argument(
        "--start", type=arguments.moment, metavar="TIME", help="2021-10-18T05:00Z, or where --market is liveliest"
    )
    market = parser.add_argument_group(
        "market", "power prices of your own instead of the example's: CSV with a header, or JSON lines"
    )
    market.add_argument("--market", type=Path, metavar="FILE")
    market.add_argument("--market-time", metavar="COLUMN", help="of times, ISO 8601 or Unix seconds")
    market.add_argument("--market-value", metavar="COLUMN", help="of prices")
    market.add_argument(
        "--market-where", action="append", default=[], type=_pair, metavar="COLUMN=TEXT", help="only these rows"
    )
    market.add_argument("--market-unit", choices=["USD/MWh", "USD/kWh"], help="default: by the column's name, USD/MWh")


def run(options: argparse.Namespace) -> int:
    """Play the demo. The exit status is 0 if every check holds, 1 if one does not, 2 if it cannot be played."""
    # Late, so that `switchyard --help` need not load all of it.
    from switchyard.cli.demo import performing

    return performing.run(options)


def _pair(argument: str) -> tuple[str, str]:
    column, sign, wanted = argument.partition("=")
    if not sign or not column:
        raise argparse.ArgumentTypeError(f"COLUMN=TEXT expected, not {argument!r}")
    return column, wanted
