"""Waiting gangs as flows: what is left of them for later steps, those much alike taken together."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np

from switchyard.planning import program_matrix
from switchyard.planning.program_values import Floats, Gang

_OWN: Final = 64
"""Up to so many waiting gangs each are a lot of their own; more of them share lots."""

_STARTS: Final = 3
_BIDS: Final = 6
_HOURS: Final = (1.0, 6.0)
_SETS: Final = 6
"""Lots are told apart by where they fit (the commonest sets of blocks, and all others together), sixths of the bids and
these limits of their length."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fluid:
    """Work that may be taken in any part, N lots.

    Attributes:
        usd_per_hour: per unit, [N].
        hours: of work, [N].
        starts: hours from now, [N, K]; nan for none.
        rigs: per unit and block, [N, C]; 0 where it does not fit.
        watts: per rig and block, [N, C].
    """

    usd_per_hour: Floats
    hours: Floats
    starts: Floats
    rigs: Floats
    watts: Floats


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lots:
    """Waiting gangs as lots. `size` in units per lot; `member`: by gang, its lot and its units in it."""

    fluid: Fluid
    size: Floats
    member: Mapping[str, tuple[int, float]]


def gather(farm: program_matrix.Farm) -> Lots | None:
    """The lots of all waiting gangs that may start later; a unit is a rig of the block that needs fewest."""
    edges = farm.edges[1:-1]
    gangs = [
        gang
        for gang in farm.problem.gangs
        if edges.size and gang.last_start_hours >= edges[0] and any(fit.slots > 0 for fit in gang.fits.values())
    ]
    if not gangs:
        return None
    need, slots, watts = farm.fit(gangs)
    alike = program_matrix.uniform(need, slots)
    replicas = np.array([gang.replicas for gang in gangs])[:, None]
    rigs = np.where(alike[:, None], need, np.where(slots > 0, replicas / np.maximum(slots, 1), 0.0))
    size = np.where(rigs > 0, rigs, np.inf).min(axis=1, initial=np.inf)
    paid = np.array([gang.usd_per_hour for gang in gangs]) / size
    hours = np.array([gang.hours for gang in gangs])
    chosen = [_starts(edges, gang) for gang in gangs]
    lot = _sorted_out(gangs, slots, paid, hours, chosen)
    count = int(lot.max(initial=-1)) + 1
    units = np.bincount(lot, weights=size, minlength=count).astype(float)

    def mean(figures: Floats, weights: Floats) -> Floats:
        """Per lot, weighted; 0 where there is no weight."""
        sums, total = np.zeros((count, *figures.shape[1:])), np.zeros((count, *figures.shape[1:]))
        np.add.at(sums, lot, figures * weights)
        np.add.at(total, lot, weights)
        return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)

    fitting = size[:, None] * (slots > 0)
    starts = np.full((count, _STARTS), np.nan)
    for at, steps in zip(lot, chosen, strict=True):
        starts[at, : len(steps)] = steps
    fluid = Fluid(
        usd_per_hour=mean(paid, size),
        hours=mean(hours, size),
        starts=starts,
        rigs=mean(rigs / size[:, None], fitting),
        watts=mean(watts, fitting),
    )
    member = {gang.key: (int(at), float(each)) for gang, at, each in zip(gangs, lot, size, strict=True)}
    return Lots(fluid=fluid, size=units, member=member)


def _starts(edges: Floats, gang: Gang) -> tuple[float, ...]:
    """A few of the steps at which a gang may start, the first and the last of them."""
    open_steps = edges[edges <= gang.last_start_hours]
    picked = np.unique(np.linspace(0, len(open_steps) - 1, _STARTS).round().astype(int))
    return tuple(float(open_steps[at]) for at in picked)


def _sorted_out(
    gangs: list[Gang], slots: program_matrix.Ints, paid: Floats, hours: Floats, chosen: list[tuple[float, ...]]
) -> program_matrix.Ints:
    """The number of each gang's lot."""
    if len(gangs) <= _OWN:
        return np.arange(len(gangs))
    limits = np.quantile(paid, np.arange(1, _BIDS) / _BIDS)
    bids, lengths = np.searchsorted(limits, paid, side="right"), np.searchsorted(_HOURS, hours)
    fits = [tuple(np.flatnonzero(row)) for row in slots]
    common = [found for found, _ in collections.Counter(fits).most_common(_SETS)]
    found: dict[tuple[object, ...], int] = {}
    keys = [
        (where if where in common else (), int(bid), int(length), starts)
        for where, bid, length, starts in zip(fits, bids, lengths, chosen, strict=True)
    ]
    return np.array([found.setdefault(key, len(found)) for key in keys], dtype=np.int64)
