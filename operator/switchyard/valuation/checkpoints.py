"""How often work should save: Young's and Daly's best interval, from what the farm has seen of stops and checkpoints.

With C seconds per checkpoint and a mean time mu between stops that nobody announces, the best period is
P = sqrt(2 mu C) [1 + (1/3) sqrt(C / 2 mu) + (1/9) (C / 2 mu)] - C while C < 2 mu, and mu beyond (J. T. Daly, "A higher
order estimate of the optimum checkpoint interval for restart dumps", FGCS 22, 2006). Stops that the farm itself decides
are announced and cost one checkpoint; periodic ones are for crashes, lost Nodes and markets that take back their work.
"""

from __future__ import annotations

import math
from typing import Final

from switchyard.valuation import learned as learning

CHECKPOINT_SECONDS: Final = 60.0
"""C where nobody has seen a checkpoint: the usual worked case."""
BETWEEN_STOPS_SECONDS: Final = 6 * 3600.0
"""mu where nobody has seen work run."""


def best_interval(*, between_stops_seconds: float, checkpoint_seconds: float) -> float:
    """Seconds of work between two checkpoints.

    Raises:
        ValueError: a time is not above 0 and finite.
    """
    mu, cost = between_stops_seconds, checkpoint_seconds
    if not (0.0 < mu < math.inf and 0.0 < cost < math.inf):
        raise ValueError(f"both times must be above 0 and finite: {mu} s between stops, {cost} s per checkpoint")
    if cost >= 2.0 * mu:
        return mu
    ratio = cost / (2.0 * mu)
    return math.sqrt(2.0 * mu * cost) * (1.0 + math.sqrt(ratio) / 3.0 + ratio / 9.0) - cost


def key(workload_class: str) -> learning.Key:
    """Where a class's checkpoints are remembered. Not by hardware: a gang saves together, as slowly as its slowest."""
    return learning.Key(learning.Phase.CHECKPOINT, what=workload_class)


def interval_seconds(learned: learning.Learned, workload_class: str) -> float:
    """The best interval for a class of work, as far as is known."""
    return best_interval(
        between_stops_seconds=learned.stops.seconds_between(workload_class, BETWEEN_STOPS_SECONDS),
        # A program that saves in no time at all would be told to do nothing else.
        checkpoint_seconds=max(1.0, learned.phases.seconds(key(workload_class), CHECKPOINT_SECONDS)),
    )


def unsaved_seconds(learned: learning.Learned, workload_class: str) -> float:
    """Work lost by a stop without notice, on average: half of the interval."""
    return interval_seconds(learned, workload_class) / 2.0
