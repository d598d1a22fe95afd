"""When gangs at work make room for one that waits, and which of them: rules of prices, pure.

Where a gang can be stopped, rigs that are free are never kept for better bids: those make room for themselves when they
come. So free rigs ask for no price beyond the best local mode and the moves. The price of scarcity decides on what is
stopped: what a gang at work is worth is not all that it would pay, for somebody else would pay the price.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MARGIN: Final = 1.2
"""Gangs make room only for one that gains this many times what is lost: running times and prices are guesses."""

UNPRICED_MARGIN: Final = 1.5
"""The same where nobody knows a price of scarcity."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stakes:
    """Gangs at work as the rule sees them, N of them.

    Attributes:
        usd_per_hour: [N], what the whole gang pays, less its power and less the best local modes of its rigs.
        scarcity_usd_per_hour: [N], `Prices.surcharge` over `hours`, summed over its rigs; None without prices.
        hours: [N], of work that are left.
        start_usd: [N], all its rigs into AI work and back.
        stop_usd: [N], work done again and the penalty of a stop.
        patience_hours: [N], how long it may still wait in all before it goes; 0 if a stop loses it.
    """

    usd_per_hour: Floats
    scarcity_usd_per_hour: Floats | None
    hours: Floats
    start_usd: Floats
    stop_usd: Floats
    patience_hours: Floats

    def losses_usd(self, hours: float) -> Floats:
        """What is lost when each of them is stopped for a gang that works for `hours`, [N], $.

        Either it goes: all that it would still pay beyond the price. Or, where it can wait so long, it comes back: what
        it would have paid meanwhile, and another start. Whichever is less, and the stop itself. Without prices it is
        taken to come back.
        """
        back = np.maximum(0.0, self.usd_per_hour) * np.minimum(self.hours, hours) + self.start_usd
        if self.scarcity_usd_per_hour is None:
            return back + self.stop_usd
        gone = np.maximum(0.0, self.usd_per_hour - self.scarcity_usd_per_hour) * self.hours
        return np.where(hours < self.patience_hours, np.minimum(gone, back), gone) + self.stop_usd


def gain_usd(*, usd_per_hour: float, scarcity_usd_per_hour: float, hours: float) -> float:
    """What a gang that waits is worth beyond what its rigs fetch from others, $ over its hours.

    `usd_per_hour`: what it pays, less power, best local modes and the moves of its rigs.
    """
    return (usd_per_hour - scarcity_usd_per_hour) * hours


def least_victims(losses_usd: Floats, places: Ints, *, needed: int) -> list[int]:
    """Numbers of gangs whose rigs together hold `needed` replicas, for the least loss that is easily found.

    The cheapest per replica, and for what is then left whichever gang holds it for the least; without those that turn
    out superfluous, the dearest first. Empty where all of them together do not suffice.

    Args:
        losses_usd: [N], of each gang; inf for one that is not to be stopped.
        places: [N], replicas that its rigs would hold.
        needed: at least 1.
    """
    usable = np.flatnonzero((places > 0) & np.isfinite(losses_usd))
    if places[usable].sum() < needed:
        return []
    each = losses_usd[usable] / np.minimum(places[usable], needed)
    line = usable[np.argsort(each, kind="stable")]
    losses, held = losses_usd[line], places[line]
    best, best_usd, spent, rest = line, math.inf, 0.0, needed
    for count in range(len(line)):
        lasts = count + np.flatnonzero(held[count:] >= rest)
        if lasts.size:
            last = int(lasts[np.argmin(losses[lasts])])
            if spent + losses[last] < best_usd:
                best, best_usd = np.append(line[:count], line[last]), spent + float(losses[last])
        spent += float(losses[count])
        rest -= int(held[count])
        if rest <= 0 or spent >= best_usd:
            break
    chosen: list[int] = best.tolist()
    spare = int(places[chosen].sum()) - needed
    for number in sorted(chosen, key=lambda number: (-losses_usd[number], number)):
        if places[number] <= spare:
            chosen.remove(number)
            spare -= int(places[number])
    return chosen
