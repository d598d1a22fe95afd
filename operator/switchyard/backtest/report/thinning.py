"""Fewer points than steps: as many as a picture has columns of pixels, without losing what the eye should see."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def edges(count: int, columns: int) -> Ints:
    """Where columns begin and end among `count` steps: increasing, from 0 to `count`, at most `columns` + 1 entries."""
    return np.unique(np.linspace(0, count, min(count, columns) + 1).round().astype(np.int64))


def extremes(values: Floats, columns: int) -> Ints:
    """Indices of the lowest and the highest value in each column, first and last step too, so that no spike is lost.

    Columns without a number keep one index, so that a line has its gap there.
    """
    if len(values) <= 2 * columns:
        return np.arange(len(values), dtype=np.int64)
    kept = {0, len(values) - 1}
    for begin, finish in itertools.pairwise(edges(len(values), columns).tolist()):
        part = values[begin:finish]
        if np.isnan(part).all():
            kept.add(begin)
        else:
            kept.update((begin + int(np.nanargmin(part)), begin + int(np.nanargmax(part))))
    return np.array(sorted(kept), dtype=np.int64)


def means(values: Floats, bounds: Ints) -> Floats:
    """The mean of each column, so that areas stay what they are. `bounds` is of `edges`."""
    return np.asarray(np.add.reduceat(values, bounds[:-1]) / np.diff(bounds), dtype=np.float64)


def turning(values: Floats) -> Ints:
    """Indices of points that a line through all of them needs: those within a level stretch are left out."""
    if len(values) < 3:
        return np.arange(len(values), dtype=np.int64)
    level = (values[1:-1] == values[:-2]) & (values[1:-1] == values[2:])
    return np.flatnonzero(np.concatenate(([True], ~level, [True])))


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Places for labels, near those wanted and at least `gap` apart, in their order; within [low, high] if they fit.

    Pools neighbours that would overlap and centres them on the mean of what they want (isotonic regression).
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        total, count = min(max(wanted[index], low), high) - rank * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            earlier = blocks.pop()
            total, count = total + earlier[0], count + earlier[1]
        blocks.append((total, count))
    ceiling = high - (len(wanted) - 1) * gap
    flat = [max(low, min(total / count, ceiling)) for total, count in blocks for _ in range(count)]
    places = [0.0] * len(wanted)
    for rank, index in enumerate(order):
        places[index] = flat[rank] + rank * gap
    return places
