"""``python -m bench [NAME...]``: run benchmarks and write docs/benchmarks.md and build/bench/*.json."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import planner, report, scale, year
from controlplane.launcher import CommandError
from controlplane.processes import ProcessError
from operator_process import OperatorError

_ROOT = Path(__file__).parents[2]
_BENCHMARKS = {scale.NAME: scale, planner.NAME: planner, year.NAME: year}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(_BENCHMARKS)} (default: all)")
    parser.add_argument("--out", type=Path, default=_ROOT / "build" / "bench", metavar="FOLDER", help="raw figures")
    parser.add_argument(
        "--dry", action="store_true", help="leave docs/benchmarks.md alone: for a try, or on a machine that is busy"
    )
    for benchmark in _BENCHMARKS.values():
        benchmark.add_arguments(parser.add_argument_group(benchmark.NAME))
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(_BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    for name in options.names or _BENCHMARKS:
        try:
            section = asyncio.run(_BENCHMARKS[name].run(options, say))
        except (OperatorError, ProcessError, CommandError, TimeoutError) as problem:
            print(f"bench: {name}: {problem}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        section.write_raw(options.out / f"{name}.json")
        print(section.text())
        if options.dry or section.tried:
            say(f"docs/benchmarks.md is left alone; the raw figures are in {options.out / name}.json")
        else:
            report.write(_ROOT / "docs" / "benchmarks.md", section)
            say(f"written: docs/benchmarks.md, {options.out / name}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
