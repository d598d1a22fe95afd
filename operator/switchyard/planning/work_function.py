"""The work function of a metrical task system, and the rule that follows it.

After every tick, w(s) is the least that any schedule could have paid so far (money forgone plus moves) if it stood in s
now. The rule by Borodin, Linial and Saks (1992) stays where the past still supports staying, and so pays at most 2K - 1
times what the best schedule in hindsight pays, K being the number of modes, whatever the prices did. It needs no
forecast, no threshold and no dwell time: a move is made when the money forgone has paid for it.

Everything here is in $; a mode is a position in the lists.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

Matrix = Sequence[Sequence[float]]

TOLERANCE_USD: Final = 1e-12
"""Two sums that differ by less were the same before rounding."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """The work function after a tick, its least entry 0; what was taken off for that; and where to be."""

    work: tuple[float, ...]
    shift: float
    target: int


def metric(costs: Matrix) -> list[list[float]]:
    """A metric from the costs of moves, costs[from][to] in $.

    The theory wants d(x, y) = d(y, x): both are set to their mean, which changes what a schedule pays by at most one
    move, because the differences cancel along the way. It also wants the straight way to be the cheapest: where a
    detour is cheaper, the detour counts.
    """
    size = len(costs)
    d = [[(costs[x][y] + costs[y][x]) / 2 if x != y else 0.0 for y in range(size)] for x in range(size)]
    for via in range(size):
        across = d[via]
        for row in d:
            first = row[via]
            for y in range(size):
                detour = first + across[y]
                if detour < row[y]:
                    row[y] = detour
    return d


def seed(d: Matrix, current: int) -> tuple[float, ...]:
    """The work function of a rig that is seen for the first time: elsewhere costs the way there."""
    return tuple(d[current])


def advance(*, work: Sequence[float], rewards: Sequence[float], hours: float, d: Matrix, current: int) -> Advance:
    """One tick: w(s) <- min over x of w(x) + g(x) + d(x, s), with g = (best reward - reward) x hours.

    The target is the s with the least w(s) + d(current, s) among those that their own past supports, that is whose w is
    not merely the way over from another mode. The present mode wins ties, then the greater reward, then the earlier.

    Args:
        work: before the tick.
        rewards: net $/h of each mode during the tick.
        hours: length of the tick.
        d: a metric, see `metric`.
        current: where the rig is.
    """
    best = max(rewards)
    own = [before + (best - reward) * hours for before, reward in zip(work, rewards, strict=True)]
    modes = range(len(own))
    # d is symmetric: row s holds the ways to s, too.
    after = [min(map(float.__add__, own, d[s])) for s in modes]
    supported = [s for s in modes if own[s] <= after[s] + TOLERANCE_USD]
    way = d[current]
    least = min(after[s] + way[s] for s in supported)
    level = [s for s in supported if after[s] + way[s] <= least + TOLERANCE_USD]
    target = current if current in level else max(level, key=lambda s: (rewards[s], -s))
    shift = min(after)
    return Advance(work=tuple(entry - shift for entry in after), shift=shift, target=target)
