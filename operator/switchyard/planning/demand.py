"""How the number of rigs that AI work wants goes up and down, learned from the farm's own past.

The level (rigs wanted, now) is looked at every `BASE_SECONDS`. Every change is counted at the level where it began; old
ones fade. A kernel made of these counts says how likely each level is one step later: what happened at nearby levels
counts as well, so that few observations go a long way and a level that draws back to its mean is known to do so.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BASE_SECONDS: Final = 600.0
LEVELS: Final = 64
"""Levels are counted in so many bins at most, whatever the size of the farm."""

_HALF_LIFE_SECONDS: Final = 7 * 86400.0
_LONGEST_SECONDS: Final = 2 * 3600.0
"""Over a longer gap nobody knows what happened in between."""
_NEARBY: Final = 0.06
"""Width of "nearby", as a share of all levels."""
_STILL: Final = 2.0
"""What is believed before anything was seen: levels stay. It weighs as much as so many observations."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """Counted changes of level.

    Attributes:
        rigs: as many as there are; levels are bins of 0..1.25 times this.
        base_seconds: between two looks.
        counts: [levels, 2 x levels - 1]: by level before, and change + levels - 1.
        level: at the last look.
        looked_at: when that was.
        weight: of the next observation; it grows instead of all others fading.
    """

    rigs: int
    base_seconds: float
    counts: Floats
    level: int
    looked_at: datetime.datetime
    weight: float = 1.0

    @property
    def rigs_per_level(self) -> float:
        """Width of a level."""
        return _width(self.rigs)


def look(tally: Tally | None, *, wanted_rigs: float, rigs: int, now: datetime.datetime) -> Tally:
    """Take note of how many rigs are wanted now; the same tally where it is too early for another look."""
    size = levels(rigs)
    level = bin_of(wanted_rigs, rigs=rigs)
    if tally is None or tally.rigs != rigs:
        counts = np.zeros((size, 2 * size - 1)) if tally is None else _resized(tally, size)
        base = BASE_SECONDS if tally is None else tally.base_seconds
        return Tally(rigs=rigs, base_seconds=base, counts=counts, level=level, looked_at=now)
    passed = (now - tally.looked_at).total_seconds()
    if passed < 0.95 * tally.base_seconds:
        return tally
    if passed > _LONGEST_SECONDS:
        return dataclasses.replace(tally, level=level, looked_at=now)
    if passed > 1.5 * tally.base_seconds:
        # Nobody looks as often as that: the steps are as long as the time between two looks.
        return Tally(rigs=rigs, base_seconds=passed, counts=np.zeros_like(tally.counts), level=level, looked_at=now)
    counts = tally.counts.copy()
    counts[tally.level, level - tally.level + size - 1] += tally.weight
    weight = tally.weight * 2 ** (tally.base_seconds / _HALF_LIFE_SECONDS)
    if weight > 1e6:
        counts, weight = counts / weight, 1.0
    return dataclasses.replace(tally, counts=counts, level=level, looked_at=now, weight=weight)


def levels(rigs: int) -> int:
    """How many levels a farm of so many rigs has."""
    return math.ceil(1.25 * rigs / _width(rigs)) + 1


def bin_of(wanted_rigs: float, *, rigs: int) -> int:
    """The level that so many wanted rigs are in."""
    return int(min(max(round(wanted_rigs / _width(rigs)), 0), levels(rigs) - 1))


def kernel(tally: Tally) -> Floats:
    """P[levels, levels]: how likely each level is one step of `base_seconds` after each."""
    size = len(tally.counts)
    near, scatter = _geometry(size)
    seen = near @ (tally.counts / tally.weight)
    seen[:, size - 1] += _STILL
    found = np.bincount(scatter, weights=seen.ravel(), minlength=size * size).reshape(size, size)
    likely: Floats = found / found.sum(axis=1, keepdims=True)
    return likely


@functools.lru_cache(maxsize=16)
def _geometry(size: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """How near levels are to each other; and where in the flat kernel each change of each level ends."""
    at = np.arange(size)
    near = np.exp(-0.5 * ((at[:, None] - at[None]) / max(1.0, _NEARBY * size)) ** 2)
    change = np.arange(2 * size - 1) - (size - 1)
    target = np.clip(at[:, None] + change[None], 0, size - 1)
    return near, (at[:, None] * size + target).ravel()


def _width(rigs: int) -> float:
    return max(1.0, 1.25 * rigs / (LEVELS - 1))


def _resized(tally: Tally, size: int) -> Floats:
    """The same changes on another number of levels, where that is about the same farm; nothing otherwise."""
    old = len(tally.counts)
    found = np.zeros((size, 2 * size - 1))
    if old == size:
        return tally.counts
    rows = min(old, size)
    span = rows - 1
    found[:rows, size - 1 - span : size + span] = tally.counts[:rows, old - 1 - span : old + span]
    return found


def dump(tally: Tally) -> dict[str, Any]:
    """As JSON."""
    rows, columns = np.nonzero(tally.counts)
    return {
        "rigs": tally.rigs,
        "baseSeconds": tally.base_seconds,
        "level": tally.level,
        "at": tally.looked_at.isoformat(),
        "counts": [
            [int(row), int(column), round(float(tally.counts[row, column] / tally.weight), 4)]
            for row, column in zip(rows, columns, strict=True)
        ],
    }


def load(found: dict[str, Any]) -> Tally:
    """What `dump` wrote. Raises KeyError, TypeError, ValueError or IndexError for anything else."""
    rigs = int(found["rigs"])
    size = levels(rigs)
    counts = np.zeros((size, 2 * size - 1))
    for row, column, count in found["counts"]:
        counts[int(row), int(column)] = float(count)
    return Tally(
        rigs=rigs,
        base_seconds=float(found["baseSeconds"]),
        counts=counts,
        level=min(max(int(found["level"]), 0), size - 1),
        looked_at=datetime.datetime.fromisoformat(found["at"]),
    )
