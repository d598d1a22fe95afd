"""When a waiting gang takes the rigs of gangs at work, and which rigs a part of one takes: rules of prices, pure.

Where a gang can be stopped, rigs that are free are never kept for better bids: those make room for themselves when they
come. So free rigs ask for no price beyond the best local mode and the moves. The price of scarcity decides on what is
stopped: what a gang at work is worth is not all that it would pay, for somebody else would pay the price.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

MARGIN: Final = 1.2
"""A gang makes room only for one that gains this many times what is lost: running times and prices are guesses."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stake:
    """A gang as the rule sees it.

    Attributes:
        usd_per_hour: what the whole gang pays, less its power and less the best local modes of its rigs.
        scarcity_usd_per_hour: `Prices.surcharge` over `hours`, summed over its rigs (and of circuits, over its watts).
        hours: of work that are left.
        start_usd: all its rigs into AI work and back.
        stop_usd: work done again and the penalty of a stop; 0 for a gang that waits.
        patience_hours: how long it may still wait in all before it goes; 0 if a stop loses it.
    """

    usd_per_hour: float
    scarcity_usd_per_hour: float
    hours: float
    start_usd: float = 0.0
    stop_usd: float = 0.0
    patience_hours: float = 0.0


def gain_usd(waiting: Stake) -> float:
    """What a gang is worth beyond what its rigs fetch from others, $ over its hours."""
    return (waiting.usd_per_hour - waiting.scarcity_usd_per_hour) * waiting.hours - waiting.start_usd


def loss_usd(working: Stake, *, hours: float) -> float:
    """What is lost when a gang is stopped for one that works for `hours`, $.

    Either it goes: all that it would still pay beyond the price. Or, where it can wait so long, it comes back: what it
    would have paid meanwhile, and another start. Whichever is less, and the stop itself.
    """
    gone = max(0.0, working.usd_per_hour - working.scarcity_usd_per_hour) * working.hours
    if hours < working.patience_hours:
        back = max(0.0, working.usd_per_hour) * min(working.hours, hours) + working.start_usd
        gone = min(gone, back)
    return gone + working.stop_usd


def displaces(waiting: Stake, working: tuple[Stake, ...], *, margin: float = MARGIN) -> bool:
    """Whether a gang that waits should have the rigs of all of these."""
    gain = gain_usd(waiting)
    return gain > 0 and gain > margin * sum(loss_usd(each, hours=waiting.hours) for each in working)


def best_fit(free: Mapping[str, int], *, gpus: int, replicas: int) -> Mapping[str, int] | None:
    """Replicas by rig for a gang, of `gpus` each; None where it does not fit whole.

    Each takes the rig with the fewest free GPUs that holds it, so that whole rigs stay whole for gangs that need them.

    Args:
        free: by rig, its free GPUs.
        gpus: that each replica needs on one rig, at least 1.
        replicas: of the gang.
    """
    left, found = dict(free), dict[str, int]()
    for _ in range(replicas):
        rig = min((rig for rig in left if left[rig] >= gpus), key=lambda rig: (left[rig], rig), default=None)
        if rig is None:
            return None
        left[rig] -= gpus
        found[rig] = found.get(rig, 0) + 1
    return found
