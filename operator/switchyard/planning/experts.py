"""The experts of a line, and which of them is followed.

Every expert runs in shadow: it is played on a line of its own that earns, moves and pays as the real one would, and the
profit of the last weeks is its score. Only the leader's word moves real rigs. Another takes the lead when its score is
ahead by more than moving the whole line over to where it stands would cost.

- `WorkFunction` needs no forecast: it moves when what was forgone has paid for the move.
- `LookAhead` counts on forecasts and on the demand it has learned.
- `Stay/MODE` never moves again: where nothing beats standing still, that leads.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WORK_FUNCTION: Final = "WorkFunction"
LOOK_AHEAD: Final = "LookAhead"
STAY: Final = "Stay/"

FIRST: Final = LOOK_AHEAD
"""Who leads before anybody has a score."""

HALF_LIFE_HOURS: Final = 14 * 24.0
"""In which a score fades to half: the last weeks count most."""

Targets = Callable[[Ints, Ints], Ints]
"""(rows [n], current columns [n]) -> columns to be in [n]; the very same array where all stay."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """What all experts of a line are played on.

    Attributes:
        rewards: [B, K] $/h since the last tick.
        moves_usd: [K, K].
        lost_usd: [B, K], on top when a column is left for another.
        weights: [B], rigs that each row stands for.
        hours: since the last tick.
    """

    rewards: Floats
    moves_usd: Floats
    lost_usd: Floats
    weights: Floats
    hours: float


def played(
    stage: Stage,
    *,
    experts: Mapping[str, Targets | int],
    shadows: Mapping[str, Ints],
    scores: Mapping[str, float],
) -> tuple[dict[str, Ints], dict[str, float]]:
    """One tick of every shadow: it earns where it stood, then moves. New shadows and scores.

    An expert that is a number stays in that column.
    """
    count = len(stage.weights)
    rows = every(count)
    fading = 0.5 ** (stage.hours / HALF_LIFE_HOURS)
    earned = np.ascontiguousarray(stage.rewards.T) * stage.hours
    moved: dict[str, Ints] = {}
    scored: dict[str, float] = {}
    for name, expert in experts.items():
        here = shadows[name]
        if isinstance(expert, int):
            there = still(expert, count)
            usd = earned[expert] if here is there else earned[here, rows]
        else:
            there = expert(rows, here)
            usd = earned[here, rows]
        if there is not here:
            going = here != there
            if going.any():
                usd = usd - going * (stage.moves_usd[here, there] + stage.lost_usd[rows, here])
        moved[name] = there
        scored[name] = scores.get(name, 0.0) * fading + float(usd @ stage.weights)
    return moved, scored


def asked(expert: Targets | int, *, rows: Ints, current: Ints) -> Ints:
    """Where an expert wants to be."""
    return still(expert, len(rows)) if isinstance(expert, int) else expert(rows, current)


@functools.lru_cache(maxsize=256)
def every(count: int) -> Ints:
    """[count]: all rows. Always the same array, to be read only."""
    rows = np.arange(count)
    rows.setflags(write=False)
    return rows


@functools.lru_cache(maxsize=1024)
def still(column: int, count: int) -> Ints:
    """[count]: the same column everywhere. Always the same array, to be read only."""
    columns = np.full(count, column, dtype=np.int64)
    columns.setflags(write=False)
    return columns


def leader(stage: Stage, *, before: str, shadows: Mapping[str, Ints], scores: Mapping[str, float]) -> str:
    """Who leads from now on."""
    if before not in scores:
        return max(scores, key=lambda name: (scores[name], name))
    best = max(scores, key=lambda name: (scores[name], name == before, name))
    if best == before:
        return before
    rows = np.arange(len(stage.weights))
    here, there = shadows[before], shadows[best]
    over = (here != there) * (stage.moves_usd[here, there] + stage.lost_usd[rows, here])
    return best if scores[best] - scores[before] > float(over @ stage.weights) else before
