"""Arguments that more than one command takes, read from the command line."""

from __future__ import annotations

import argparse
import datetime


def moment(argument: str) -> datetime.datetime:
    """A moment with its time zone, in UTC. Raises argparse.ArgumentTypeError, in words."""
    try:
        found = datetime.datetime.fromisoformat(argument)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"a time like 2021-10-18T05:00:00Z expected, not {argument!r}") from problem
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{argument} has no time zone: end it with Z for UTC")
    return found.astimezone(datetime.UTC)
