"""Where rigs stand in a line: the ranks that are worked out for all, and each rig's place among them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model
from switchyard.planning import crews
from switchyard.planning import request as planning

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RANKS: Final = 128
"""Ranks that are worked out for a line with AI work, at most."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """Rigs with their rows and columns, [n] each."""

    views: Sequence[planning.RigView]
    rows: Ints
    columns: Ints


@functools.lru_cache(maxsize=64)
def ranks(rigs: int) -> Ints:
    """Ranks that stand for all of so many rigs, the first being 1."""
    return np.unique(np.round(np.linspace(1, rigs, min(rigs, RANKS))).astype(np.int64))


def share(wanted_rigs: float, at: Ints) -> Floats:
    """[B] how much of each rank's rig is wanted, 0 to 1."""
    found: Floats = np.minimum(np.maximum(wanted_rigs - (at - 1), 0.0), 1.0)
    return found


def weights(at: Ints) -> Floats:
    """[B] how many rigs each rank stands for: those that are nearest."""
    return _weighed(at.tobytes())


@functools.lru_cache(maxsize=64)
def _weighed(told: bytes) -> Floats:
    at = np.frombuffer(told, dtype=np.int64)
    if len(at) == 1:
        return np.ones(1)
    edges = np.concatenate([[0.5], (at[1:] + at[:-1]) / 2, [at[-1] + 0.5]])
    return np.diff(edges)


def placed(
    crew: crews.Crew,
    at: Ints,
    *,
    busy: int,
    modes: tuple[model.Mode, ...],
    moves_usd: Floats,
    work: int,
) -> Placed:
    """Each rig's place: who is at work stands in front, then who is called most cheaply, then by name.

    Args:
        crew: rigs that the plan may move singly.
        at: [B] ranks of the line.
        busy: rigs that gangs hold: they stand before all others.
        modes: [K] columns.
        moves_usd: [K, K].
        work: column of AI work, -1 without.
    """
    order = {mode: place for place, mode in enumerate(modes)}
    columns = np.empty(len(crew), dtype=np.int64)
    for kind in crew.kinds:
        columns[kind.places] = order[kind.view.mode]
    rows = np.zeros(len(crew), dtype=np.int64)
    if len(at) > 1 and work >= 0:
        way = moves_usd[:, work].copy()
        way[work] = -1.0
        line = np.argsort(way[columns], kind="stable")
        edges = (at[1:] + at[:-1]) / 2
        rows[line] = np.searchsorted(edges, np.arange(busy + 1, busy + len(line) + 1), side="left")
    return Placed(views=crew.views, rows=rows, columns=columns)
