"""The command line: `switchyard COMMAND`. Installed as `kubectl-switchyard` it is a plugin of kubectl as well.

A command is a module of this room with `add_arguments(parser)` and `run(arguments)`, which gives the exit code. Only
the one that was asked for is imported, so that help comes at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

_COMMANDS: Final = {
    "run": "run the operator",
    "explain": "say why a rig does what it does, what a job waits for, what ails a feed or a pool",
    "demo": "play a simulated farm and market beside a running operator, and judge what it earns",
    "backtest": "play policies on a scenario of prices and demand, and measure them against the best in hindsight",
    "version": "print the version",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code: 0 done, 1 trouble that was told, 2 not understood."""
    parser = argparse.ArgumentParser(
        prog="switchyard", description="Keeps every rig of a GPU farm on whatever earns most after power."
    )
    words = list(sys.argv[1:] if argv is None else argv)
    asked = next((word for word in words if not word.startswith("-")), "")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == asked:
            module = importlib.import_module(f"switchyard.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    arguments = parser.parse_args(words)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who reads us has seen enough (`| head`); Python must not complain about it once more at exit.
        sys.stderr.close()
        return 1
