"""What the program of a farm is asked, and what it answers: plain values, no Kubernetes, no single rigs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EDGES_HOURS: Final = (0.0, 1 / 6, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0)
"""Where steps begin, and the last one ends: ten minutes near by, hours far off."""


class ProblemError(ValueError):
    """A problem that says something impossible. The message names the field."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LocalMode:
    """What a rig can do when no gang has it: revenue after fees in $/h, and watts of the whole rig."""

    usd_per_hour: float
    watts: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Free rigs of a block that are in the same mode: how many, and what the way into AI work costs each, $."""

    rigs: int
    in_usd: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rigs that are alike in all that the program looks at.

    Attributes:
        rigs: all that gangs may have in the hours to come, those at work and those that cannot move now among them.
        origins: the rigs that can start a gang now. None that works for a gang of `Problem.working`.
        modes: local modes to choose from, at least one.
        usd_per_watt_hour: of the rig's own watts, PUE included: one figure, or one per step.
        circuit: key of the circuit that feeds them; "" for none.
        later_in_usd: the way into AI work at a later step, $ per rig.
        out_usd: the way back from AI work, $ per rig.
    """

    rigs: int
    origins: tuple[Origin, ...]
    modes: tuple[LocalMode, ...]
    usd_per_watt_hour: float | tuple[float, ...] = 0.0
    circuit: str = ""
    later_in_usd: float = 0.0
    out_usd: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a gang sits on a block: replicas that one rig holds, and watts of a rig with that many (or all there are)."""

    slots: int
    watts: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """A gang that waits.

    Attributes:
        key: unique among all gangs.
        usd_per_hour: what the whole gang pays while it works.
        hours: of work that are left.
        replicas: placed all or none.
        fits: by key of the block.
        last_start_hours: from now until when it can start at the latest; 0: now or never.
    """

    key: str
    usd_per_hour: float
    hours: float
    replicas: int
    fits: Mapping[str, Fit]
    last_start_hours: float = float("inf")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """A gang at work.

    Attributes:
        key: unique among all gangs.
        usd_per_hour: what the whole gang pays.
        hours: of work that are left.
        rigs: by block, how many it holds.
        watts: by block, of each of those rigs.
        stop_usd: what is lost when it is stopped now, beside what it pays: work done again, the penalty, and whatever
            margin the caller wants. None: it must not be stopped.
    """

    key: str
    usd_per_hour: float
    hours: float
    rigs: Mapping[str, int]
    watts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    stop_usd: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Work that is expected, any part of which may be taken.

    Attributes:
        usd_per_unit_hour: what a unit (a GPU, say) pays.
        hours: that it works.
        units: expected to arrive in each step, on average at its middle.
        rigs_per_unit: by block.
        watts_per_rig: by block, of a rig in full use.
    """

    usd_per_unit_hour: float
    hours: float
    units: tuple[float, ...]
    rigs_per_unit: Mapping[str, float]
    watts_per_rig: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """Watts that its blocks may draw together, one figure or one per step: without what other rigs on it draw."""

    limit_watts: float | tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Rigs of some blocks that may be at AI work: at most `most` at any step, and no fewer than `least` now.

    Where fewer than `least` are at work already, none of them is stopped.
    """

    blocks: frozenset[str]
    least: int = 0
    most: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Hand-overs that may start now on some blocks."""

    blocks: frozenset[str]
    left: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A farm, what it may do, and what is asked of it. Steps run from `edges_hours[i]` to `edges_hours[i + 1]`."""

    blocks: Mapping[str, Block]
    gangs: tuple[Gang, ...] = ()
    working: tuple[Working, ...] = ()
    flows: tuple[Flow, ...] = ()
    circuits: Mapping[str, Circuit] = dataclasses.field(default_factory=dict)
    quotas: tuple[Quota, ...] = ()
    budgets: tuple[Budget, ...] = ()
    edges_hours: tuple[float, ...] = EDGES_HOURS

    @property
    def steps(self) -> int:
        """How many."""
        return len(self.edges_hours) - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """What scarcity is worth, per step.

    A gang is worth its rigs when it pays, for every rig-hour, the best local mode's net, the power of AI work, the
    moves, `usd_per_rig_hour` of the block and, for every watt-hour, `usd_per_watt_hour` of the circuit. On a circuit
    that is short the former may be negative: the best local mode cannot be had by all either.

    Attributes:
        edges_hours: of the steps.
        usd_per_rig_hour: by block, beyond the best local mode's net.
        usd_per_start: by block, once for a rig that starts now, beyond the dearest way into AI work: rigs or hand-overs
            are short at this moment.
        usd_per_watt_hour: by circuit, beyond the price of power.
    """

    edges_hours: tuple[float, ...]
    usd_per_rig_hour: Mapping[str, Floats]
    usd_per_start: Mapping[str, float]
    usd_per_watt_hour: Mapping[str, Floats]

    def surcharge(self, block: str, hours: float) -> float:
        """$ per rig-hour that a gang has to pay beyond the best local mode, on average over the next `hours`.

        0 for a block that is unknown. Beyond the last step nothing is scarce that could be known: it is left out of the
        average, so that work that outlasts the look-ahead pays what the look-ahead says. What is short at this moment
        only is spread over the hours of work inside the look-ahead.
        """
        inside = min(max(hours, 1e-6), self.edges_hours[-1])
        return self._mean(self.usd_per_rig_hour.get(block), hours) + self.usd_per_start.get(block, 0.0) / inside

    def circuit_surcharge(self, circuit: str, hours: float) -> float:
        """$ per watt-hour of a circuit on top of the price of power, on average over the next `hours`."""
        return self._mean(self.usd_per_watt_hour.get(circuit), hours)

    def spans(self, hours: float) -> tuple[float, list[float]]:
        """Hours of work inside the look-ahead, and how many of them are in each step that it reaches."""
        edges = self.edges_hours
        inside = min(max(hours, 1e-6), edges[-1])
        # As in `holds`, the first step counts in full, however soon the work ends.
        until = max(inside, edges[1])
        return inside, [min(end, until) - begin for begin, end in itertools.pairwise(edges) if begin < until]

    def _mean(self, prices: Floats | None, hours: float) -> float:
        if prices is None:
            return 0.0
        inside, spans = self.spans(hours)
        total = 0.0
        for usd, span in zip(prices.tolist(), spans, strict=False):
            total += usd * span
        return total / inside


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What to do now, and what it is worth.

    Attributes:
        admitted: by gang that starts now, rigs by block.
        stopped: gangs at work that make room, or whose rigs are worth more elsewhere.
        prices: of the linear program.
        value_usd: of this plan over the look-ahead, against one in which rigs never do AI work.
        bound_usd: no plan is worth more.
        excess_watts: by circuit, the most by which it is overdrawn whatever is done. Circuits that hold are left out.
        local_rigs: by block on a circuit that could be short, rigs per local mode in the first step, in their order.
    """

    admitted: Mapping[str, Mapping[str, int]]
    stopped: tuple[str, ...]
    prices: Prices
    value_usd: float
    bound_usd: float
    excess_watts: Mapping[str, float]
    local_rigs: Mapping[str, Floats]

    @property
    def gap(self) -> float:
        """How much of the bound the plan may miss, as a share of it."""
        return max(0.0, self.bound_usd - self.value_usd) / max(abs(self.bound_usd), 1e-9)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """No answer: `reason` is Late (the limit of time was hit) or Failed; the caller falls back on what needs none."""

    reason: str
    message: str


def covers(edges: Floats, start: float | Floats, hours: float | Floats) -> Floats:
    """The share of each step that work from `start` for `hours` takes: their shape, plus one axis of steps."""
    begin = np.asarray(start, dtype=float)[..., None]
    end = begin + np.asarray(hours, dtype=float)[..., None]
    inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
    return np.asarray(np.clip(inside, 0.0, None) / np.diff(edges))


def holds(edges: Floats, hours: float | Floats) -> Floats:
    """The share of each step for which rigs are not to be had that work from now for `hours`.

    The first step counts in full, however soon the work ends: what is held now is held, and draws its watts.
    """
    share = covers(edges, 0.0, hours)
    share[..., 0] = 1.0
    return share
