"""The program of a farm as a matrix for HiGHS. Worth in $ over the look-ahead is turned into cost.

Columns: x (a waiting gang starts now), y (rigs of a block it then takes), k (a gang at work is kept), o (rigs that come
from a free mode, or from a stopped gang), f (units of a flow that start at a step), n (rigs in a local mode, only on
circuits that could be short), e (watts over a circuit's limit).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from switchyard.planning import program_lots
from switchyard.planning.program_matrix import Farm, Ints, Rows, Sparse, uniform
from switchyard.planning.program_values import Floats, Gang, Problem, covers, holds

_EXCESS_USD_PER_WATT_HOUR: Final = 1.0
"""For watts over a limit: hundreds of times dearer than any work is worth, and still well scaled."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """The matrix, and where in it everything stands.

    Attributes:
        farm: the problem, as arrays.
        sparse: the linear program.
        constant_usd: worth of the plan beside its columns.
        gangs: waiting, those that could pay for any rig at all; the others are not in the program.
        x: column per gang.
        y: column per gang and block, -1 where it does not fit.
        slots: replicas per rig, per gang and block, 0 where it does not fit.
        watts_each: of a rig, per gang and block.
        keep: column per gang at work.
        held: rigs per gang at work and block.
        capacity: row per block and step.
        circuits: keys of circuits that could be short.
        watts: row per such circuit and step.
        taken: row per block: rigs that start now against where they come from.
        quotas: numbers of blocks, and the row per step of their quota.
        floors: numbers of blocks, and the row of their floor now.
        excess: column likewise.
        fluid: columns of flows, those of waiting gangs at later steps among them.
        local: by number of the block on such a circuit, columns per local mode and step.
    """

    farm: Farm
    sparse: Sparse
    constant_usd: float
    gangs: tuple[Gang, ...]
    x: Ints
    y: Ints
    slots: Ints
    watts_each: Floats
    keep: Ints
    held: Floats
    capacity: Ints
    circuits: tuple[str, ...]
    watts: Ints
    taken: Ints
    quotas: Sequence[tuple[list[int], Ints]]
    floors: Sequence[tuple[list[int], Ints]]
    excess: Ints
    fluid: Ints
    local: Mapping[int, Ints]


def build(problem: Problem) -> Model:
    """The linear program of a problem. Raises ProblemError."""
    farm, sparse = Farm(problem), Sparse()
    shape = len(problem.working), len(farm.keys)
    held = np.array([[work.rigs.get(key, 0) for key in farm.keys] for work in problem.working], dtype=float)
    held = held.reshape(shape)
    rows = Rows(farm, sparse, held)
    keep, constant = _keep(farm, rows, held)
    gangs, need, slots, watts = _paying(farm)
    x, y = _starts(farm, rows, gangs, need, slots, watts)
    taken, floors = _now(farm, sparse, keep, held, x=x, y=y, need=need)
    before = sparse.cols
    _later(farm, rows, gangs, x)
    _flows(farm, rows)
    fluid = np.arange(before, sparse.cols)
    local, excess = _local(farm, rows)
    return Model(
        farm=farm,
        sparse=sparse,
        constant_usd=constant,
        gangs=tuple(gangs),
        x=x,
        y=y,
        slots=slots,
        watts_each=watts,
        keep=keep,
        held=held,
        capacity=rows.capacity,
        circuits=rows.circuits,
        watts=rows.watts,
        taken=taken,
        quotas=rows.quotas,
        floors=floors,
        excess=excess,
        fluid=fluid,
        local=local,
    )


def _paying(farm: Farm) -> tuple[list[Gang], Ints, Ints, Floats]:
    """Waiting gangs that pay for rigs at the price of the best local mode; rigs, slots and watts per gang and block."""
    gangs = [gang for gang in farm.problem.gangs if any(fit.slots > 0 for fit in gang.fits.values())]
    need, slots, watts = farm.fit(gangs)
    hours = np.array([gang.hours for gang in gangs])
    share = covers(farm.edges, 0.0, hours)
    enter = np.array([min([block.later_in_usd, *(origin.in_usd for origin in block.origins)]) for block in farm.blocks])
    rig = farm.rig_usd(watts, share) + farm.prorated(hours)[:, None] * (enter + farm.out)
    # The least that any mixture of blocks could cost: all rigs as cheap as the cheapest, for what they hold.
    replicas = np.array([gang.replicas for gang in gangs])[:, None]
    rigs = np.where(uniform(need, slots)[:, None], need, replicas / np.maximum(slots, 1))
    least = np.where(slots > 0, rigs * rig, math.inf).min(axis=1, initial=math.inf)
    paid = np.array([gang.usd_per_hour for gang in gangs]) * (share @ farm.hours)
    # A floor may need one that pays less.
    floored = [quota.blocks for quota in farm.problem.quotas if quota.least > 0]
    needed = [any(not inside.isdisjoint(gang.fits) for inside in floored) for gang in gangs]
    chosen = np.flatnonzero((paid > least) | np.array(needed, dtype=bool))
    return [gangs[at] for at in chosen], need[chosen], slots[chosen], watts[chosen]


def _keep(farm: Farm, rows: Rows, held: Floats) -> tuple[Ints, float]:
    """Gangs at work: their columns, and what stopping all of them would lose, as worth."""
    working = farm.problem.working
    hours = np.array([work.hours for work in working])
    share, occupied = covers(farm.edges, 0.0, hours), holds(farm.edges, hours)
    watts = np.array([[work.watts.get(key, 0.0) for key in farm.keys] for work in working]).reshape(held.shape)
    stop = np.array([work.stop_usd or 0.0 for work in working])
    fixed = np.array([work.stop_usd is None for work in working], dtype=float)
    paid = np.array([work.usd_per_hour for work in working]) * (share @ farm.hours)
    cols = rows.sparse.add_cols((held * farm.rig_usd(watts, share)).sum(axis=1) - paid - stop, 1.0, fixed)
    for block in range(len(farm.keys)):
        some = held[:, block] > 0
        rows.draw(block, cols[some], held[some, block], watts[some, block], occupied[some])
    return cols, -float(stop.sum())


def _starts(farm: Farm, rows: Rows, gangs: list[Gang], need: Ints, slots: Ints, watts: Floats) -> tuple[Ints, Ints]:
    """Waiting gangs that start now, and the rigs that they take: as many as hold all replicas."""
    sparse = rows.sparse
    hours = np.array([gang.hours for gang in gangs])
    share, occupied = covers(farm.edges, 0.0, hours), holds(farm.edges, hours)
    x = sparse.add_cols(-np.array([gang.usd_per_hour for gang in gangs]) * (share @ farm.hours), 1.0)
    prorated = farm.prorated(hours)[:, None]
    # The way in is paid in full where the rig comes from; what of it belongs to hours beyond the last step comes back.
    cost = farm.rig_usd(watts, share) + farm.out * prorated - farm.later_in * (1 - prorated)
    fits = slots > 0
    y = np.full(slots.shape, -1, dtype=np.int64)
    y[fits] = sparse.add_cols(cost[fits], need[fits].astype(float))
    for block in range(len(farm.keys)):
        some = fits[:, block]
        rows.draw(block, y[some, block], np.ones(int(some.sum())), watts[some, block], occupied[some])
    # Where any mixture of rigs will do, counting rigs is tighter than counting replicas.
    alike = uniform(need, slots)
    replicas = np.array([gang.replicas for gang in gangs], dtype=np.int64)
    links = sparse.add_rows(0.0, math.inf, (len(gangs),))
    sparse.put(links, x, -np.where(alike, need.max(axis=1, initial=0), replicas))
    sparse.put(np.broadcast_to(links[:, None], y.shape)[fits], y[fits], np.where(alike[:, None], 1, slots)[fits])
    return x, y


def _now(
    farm: Farm, sparse: Sparse, keep: Ints, held: Floats, *, x: Ints, y: Ints, need: Ints
) -> tuple[Ints, list[tuple[list[int], Ints]]]:
    """Where the rigs of gangs that start now come from, and how many hand-overs may start now: rows of both."""
    floors: list[tuple[list[int], Ints]] = []
    count = len(farm.keys)
    working = held.sum(axis=0)
    taken = sparse.add_rows(0.0, 0.0, (count,))
    left = sparse.add_rows(-math.inf, working, (count,))
    free: list[Ints] = []
    for block, found in enumerate(farm.blocks):
        cols = sparse.add_cols(
            np.array([origin.in_usd for origin in found.origins]),
            np.array([origin.rigs for origin in found.origins], dtype=float),
        )
        freed = sparse.add_cols(np.array([found.later_in_usd]), working[block])
        sparse.put(taken[block], y[y[:, block] >= 0, block], 1.0)
        sparse.put(taken[block], cols, -1.0)
        sparse.put(taken[block], freed, -1.0)
        sparse.put(left[block], freed, 1.0)
        sparse.put(left[block], keep, held[:, block])
        free.append(cols)
    for budget in farm.problem.budgets:
        inside = farm.numbers(budget.blocks, "budgets.blocks")
        row = sparse.add_rows(-math.inf, max(budget.left, 0) - working[inside].sum(), ())
        sparse.put(row, keep, -held[:, inside].sum(axis=1))
        for block in inside:
            sparse.put(row, free[block], 1.0)
    for quota in farm.problem.quotas:
        inside = farm.numbers(quota.blocks, "quotas.blocks")
        if quota.least > 0:
            row = sparse.add_rows(min(float(quota.least), working[inside].sum()), math.inf, ())
            sparse.put(row, keep, held[:, inside].sum(axis=1))
            for block in inside:
                some = y[:, block] >= 0
                sparse.put(row, y[some, block], 1.0)
                # Rigs of a gang that does not start are no work that a floor could count.
                real = sparse.add_rows(-math.inf, 0.0, (int(some.sum()),))
                sparse.put(real, y[some, block], 1.0)
                sparse.put(real, x[some], -need[some, block].astype(float))
            floors.append((inside, row))
    return taken, floors


def _later(farm: Farm, rows: Rows, gangs: list[Gang], x: Ints) -> None:
    """Waiting gangs that start at a later step, as a flow; what starts now is not there to start later."""
    # Not only those that pay now: power may be cheap at night.
    lots = program_lots.gather(farm)
    if lots is None:
        return
    total = rows.sparse.add_rows(-math.inf, lots.size, lots.size.shape)
    cols = _fluid(farm, rows, lots.fluid)
    some = cols >= 0
    rows.sparse.put(np.broadcast_to(total[:, None, None], cols.shape)[some], cols[some], 1.0)
    known = [(at, *lots.member[gang.key]) for at, gang in enumerate(gangs) if gang.key in lots.member]
    if known:
        at, lot, size = (np.array(column) for column in zip(*known, strict=True))
        rows.sparse.put(total[lot], x[at], size)


def _flows(farm: Farm, rows: Rows) -> None:
    """What is expected to arrive. All of a step's units come in its middle."""
    flows = [flow for flow in farm.problem.flows if max(flow.units, default=0.0) > 0]
    if not flows:
        return
    units = np.array([flow.units for flow in flows])
    middle = (farm.edges[:-1] + farm.edges[1:]) / 2
    fluid = program_lots.Fluid(
        usd_per_hour=np.array([flow.usd_per_unit_hour for flow in flows]),
        hours=np.array([flow.hours for flow in flows]),
        starts=np.where(units > 0, middle, np.nan),
        rigs=np.array([[flow.rigs_per_unit.get(key, 0.0) for key in farm.keys] for flow in flows]),
        watts=np.array([[flow.watts_per_rig.get(key, 0.0) for key in farm.keys] for flow in flows]),
    )
    cols = _fluid(farm, rows, fluid)
    used = (cols >= 0).any(axis=2)
    limits = rows.sparse.add_rows(-math.inf, units[used], (int(used.sum()),))
    line = np.full(used.shape, -1, dtype=np.int64)
    line[used] = limits
    some = cols >= 0
    rows.sparse.put(np.broadcast_to(line[:, :, None], cols.shape)[some], cols[some], 1.0)


def _fluid(farm: Farm, rows: Rows, fluid: program_lots.Fluid) -> Ints:
    """Columns per lot, start and block; -1 where it does not fit, or would not pay even if nothing were scarce."""
    count, starts = fluid.starts.shape
    hours = np.repeat(fluid.hours, starts)
    share = covers(farm.edges, np.nan_to_num(fluid.starts, nan=farm.edges[-1]).ravel(), hours)
    rigs, watts = (np.repeat(figures, starts, axis=0) for figures in (fluid.rigs, fluid.watts))
    moves = farm.prorated(hours)[:, None] * (farm.later_in + farm.out)
    # Work that reaches over the last step is charged its moves in the same proportion as its time inside.
    moves = moves * ((share @ farm.hours) / np.minimum(hours, farm.edges[-1]))[:, None]
    paid = np.repeat(fluid.usd_per_hour, starts) * (share @ farm.hours)
    cost = rigs * (farm.rig_usd(watts, share) + moves) - paid[:, None]
    chosen = (rigs > 0) & (cost < 0) & ~np.isnan(fluid.starts).ravel()[:, None]
    cols = np.full(cost.shape, -1, dtype=np.int64)
    cols[chosen] = rows.sparse.add_cols(cost[chosen], math.inf)
    for block in range(len(farm.keys)):
        some = chosen[:, block]
        rows.draw(block, cols[some, block], rigs[some, block], watts[some, block], share[some])
    return cols.reshape(count, starts, len(farm.keys))


def _local(farm: Farm, rows: Rows) -> tuple[dict[int, Ints], Ints]:
    """Local modes where watts may be short, and what a circuit is overdrawn by if it cannot be helped."""
    sparse, steps = rows.sparse, farm.problem.steps
    excess = sparse.add_cols(
        np.repeat(_EXCESS_USD_PER_WATT_HOUR * farm.hours[None, :], len(rows.circuits), axis=0), math.inf
    )
    sparse.put(rows.watts, excess, -1.0)
    local: dict[int, Ints] = {}
    for block, circuit in enumerate(rows.fed):
        if circuit < 0:
            continue
        behind, watts = farm.behind(block)
        cols = sparse.add_cols(-behind * farm.hours, math.inf)
        sparse.put(np.broadcast_to(rows.capacity[block], cols.shape), cols, 1.0)
        sparse.put(np.broadcast_to(rows.watts[circuit], cols.shape), cols, np.broadcast_to(watts[:, None], cols.shape))
        local[block] = cols
    return local, excess.reshape(len(rows.circuits), steps)
