"""`switchyard version`."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None to be told."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Print the version."""
    del arguments
    import switchyard

    sys.stdout.write(f"switchyard {switchyard.__version__}\n")
    return 0
