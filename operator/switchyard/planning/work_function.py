"""The work function of a metrical task system, and the rule that follows it.

After every tick, w(s) is the least that any schedule could have paid so far (money forgone plus moves) if it stood in s
now. The rule by Borodin, Linial and Saks (1992) stays where the past still supports staying, and so pays at most 2K - 1
times what the best schedule in hindsight pays, K being the number of modes, whatever the prices did. It needs no
forecast, no threshold and no dwell time: a move is made when the money forgone has paid for it.

Everything here is in $; a mode is a position on the last axis. One work function serves all rigs that see the same
rewards, wherever they stand, and B of them are worked out at once.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TOLERANCE_USD: Final = 1e-12
"""Two sums that differ by less were the same before rounding."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Advance:
    """Work functions after a tick.

    Attributes:
        work: [B, K], the least entry of each 0.
        shift: [B], what was taken off for that.
        supported: [B, K], whether an entry is more than the way over from another mode.
    """

    work: Floats
    shift: Floats
    supported: npt.NDArray[np.bool_]


def metric(costs: Floats) -> Floats:
    """A metric from the costs of moves, costs[from, to] in $.

    The theory wants d(x, y) = d(y, x): both are set to their mean, which changes what a schedule pays by at most one
    move, because the differences cancel along the way. It also wants the straight way to be the cheapest: where a
    detour is cheaper, the detour counts.
    """
    d: Floats = (costs + costs.T) / 2
    np.fill_diagonal(d, 0.0)
    for via in range(len(d)):
        d = np.minimum(d, d[:, via, None] + d[via])
    return d


def advance(*, work: Floats, rewards: Floats, hours: float, d: Floats) -> Advance:
    """One tick: w(s) <- min over x of w(x) + g(x) + d(x, s), with g = (best reward - reward) x hours.

    Args:
        work: [B, K] before the tick.
        rewards: [B, K] net $/h of each mode during the tick.
        hours: length of the tick.
        d: [K, K], a metric, see `metric`.
    """
    own = work + (np.maximum.reduce(rewards, axis=1, keepdims=True) - rewards) * hours
    after = np.minimum.reduce(own[:, :, None] + d, axis=1)
    shift = np.minimum.reduce(after, axis=1)
    return Advance(work=after - shift[:, None], shift=shift, supported=own <= after + TOLERANCE_USD)


def targets(advanced: Advance, *, rewards: Floats, d: Floats, rows: Ints, current: Ints) -> Ints:
    """Where to be: the s with the least w(s) + d(current, s) among those that their own past supports.

    That is, whose w is not merely the way over from another mode. The present mode wins ties, then the greater reward,
    then the earlier. Where all stay, the answer is `current` itself.

    Args:
        advanced: after the tick.
        rewards: [B, K] during the tick.
        d: [K, K].
        rows: [n] which of the B each asker belongs to.
        current: [n] where each asker is.
    """
    price = np.where(advanced.supported, advanced.work, np.inf)[rows] + d[current]
    level = price <= np.minimum.reduce(price, axis=1, keepdims=True) + TOLERANCE_USD
    staying = level[np.arange(len(rows)), current]
    if staying.all():
        return current
    best = np.where(level, rewards[rows], -np.inf).argmax(axis=1)
    return np.where(staying, current, best)
