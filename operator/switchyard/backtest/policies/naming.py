"""Names of policies, as people write them on the command line."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from switchyard.backtest.policies import rules


class PolicyError(ValueError):
    """A policy that does not exist, or not on these rigs, in words."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The operator's plan: with everything, or with the work function alone."""

    expert: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """One mode for ever: a coin, "ai", "idle" or "off"; "" for the best in hindsight, per group."""

    mode: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The threshold and dwell that would have earned most, of `rules.PAIRS`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Clairvoyant:
    """Knows the future."""


Policy = Planned | Static | Tuned | Clairvoyant | rules.Threshold

DEFAULT: Final = (
    "clairvoyant",
    "switchyard",
    "wfa",
    "tuned-threshold",
    "threshold:5:30m",
    "threshold:10:1h",
    "threshold:10:4h",
    "threshold:20:12h",
    "greedy",
    "best-static",
    "static:ai",
)
KNOWN: Final = (
    "switchyard, wfa, lookahead, greedy, threshold:PERCENT:DWELL, tuned-threshold, "
    "static:MODE, best-static, clairvoyant"
)

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(name: str) -> Policy:
    """A policy by its name. Raises PolicyError."""
    word, _, rest = name.partition(":")
    if not rest:
        match word:
            case "switchyard" | "wfa" | "lookahead":
                return Planned(expert=word)
            case "greedy":
                return rules.Threshold()
            case "tuned-threshold":
                return Tuned()
            case "best-static":
                return Static(mode="")
            case "clairvoyant":
                return Clairvoyant()
    if word == "static" and rest:
        return Static(mode=rest.lower())
    if word == "threshold":
        found = re.fullmatch(r"(\d+(?:\.\d+)?)%?:(\d+(?:\.\d+)?)([smhd]?)", rest)
        if found is None or (not found[3] and float(found[2])):
            raise PolicyError(f"policy {name!r}: threshold:PERCENT:DWELL expected, such as threshold:10:30m")
        return rules.Threshold(percent=float(found[1]), dwell_seconds=float(found[2]) * _UNITS[found[3] or "s"])
    raise PolicyError(f"there is no policy {name!r}; there are: {KNOWN}")
