"""What every part of the program is put together from: a growing sparse matrix, and the farm's blocks as arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from switchyard.planning.program_values import Block, Floats, Gang, Problem, ProblemError, holds

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclasses.dataclass(slots=True)
class Sparse:
    """A linear program that grows: minimise cost x, row bounds, column bounds."""

    cost: list[Floats] = dataclasses.field(default_factory=list)
    col_lower: list[Floats] = dataclasses.field(default_factory=list)
    col_upper: list[Floats] = dataclasses.field(default_factory=list)
    row_lower: list[Floats] = dataclasses.field(default_factory=list)
    row_upper: list[Floats] = dataclasses.field(default_factory=list)
    entries: list[tuple[Ints, Ints, Floats]] = dataclasses.field(default_factory=list)
    cols: int = 0
    rows: int = 0

    def add_cols(self, cost: Floats, upper: Floats | float, lower: Floats | float = 0.0) -> Ints:
        """Columns of the shape of `cost`; their numbers, in that shape."""
        shape, count = cost.shape, cost.size
        self.cost.append(cost.ravel())
        self.col_lower.append(np.broadcast_to(np.asarray(lower, dtype=float), shape).ravel())
        self.col_upper.append(np.broadcast_to(np.asarray(upper, dtype=float), shape).ravel())
        self.cols += count
        return np.arange(self.cols - count, self.cols).reshape(shape)

    def add_rows(self, lower: Floats | float, upper: Floats | float, shape: tuple[int, ...]) -> Ints:
        """Rows in a shape; their numbers."""
        count = math.prod(shape)
        self.row_lower.append(np.broadcast_to(np.asarray(lower, dtype=float), shape).ravel())
        self.row_upper.append(np.broadcast_to(np.asarray(upper, dtype=float), shape).ravel())
        self.rows += count
        return np.arange(self.rows - count, self.rows).reshape(shape)

    def put(self, rows: npt.ArrayLike, cols: npt.ArrayLike, values: npt.ArrayLike) -> None:
        """Entries, broadcast against each other. An entry may be put once only; zeros are left out."""
        row, col, value = np.broadcast_arrays(np.asarray(rows), np.asarray(cols), np.asarray(values, dtype=float))
        some = value != 0
        self.entries.append((row[some], col[some], value[some]))

    def compressed(self) -> tuple[Ints, Ints, Floats]:
        """By column: starts, row numbers, values."""
        row, col, value = (np.concatenate(parts) for parts in zip(*self.entries, strict=True))
        order = np.argsort(col, kind="stable")
        starts = np.zeros(self.cols + 1, dtype=np.int64)
        np.cumsum(np.bincount(col, minlength=self.cols), out=starts[1:])
        return starts, row[order], value[order]


class Farm:
    """Blocks as arrays: C blocks in the order of their keys, S steps."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.keys = tuple(sorted(problem.blocks))
        self.blocks: list[Block] = [problem.blocks[key] for key in self.keys]
        # By identity: the problem holds what is fitted as long as the farm is there.
        self._fits: dict[int, tuple[Ints, Floats]] = {}
        self._number = {key: at for at, key in enumerate(self.keys)}
        self.edges = np.asarray(problem.edges_hours, dtype=float)
        self.hours = np.diff(self.edges)
        shape = len(self.keys), problem.steps
        self.rigs = np.array([block.rigs for block in self.blocks], dtype=float)
        self.power = np.array([per_step(block.usd_per_watt_hour, problem.steps) for block in self.blocks]).reshape(
            shape
        )
        self.local = np.array([self._nets(at).max(axis=0) for at in range(len(self.keys))]).reshape(shape)
        for key, block in problem.blocks.items():
            busy = sum(work.rigs.get(key, 0) for work in problem.working)
            free = sum(origin.rigs for origin in block.origins)
            if busy + free > block.rigs:
                raise ProblemError(f"blocks[{key}].rigs: {block.rigs}, but {busy + free} are free or at work")
        for work in problem.working:
            for key in work.rigs:
                self.at(key, f"working[{work.key}].rigs")
        self.later_in = np.array([block.later_in_usd for block in self.blocks])
        self.out = np.array([block.out_usd for block in self.blocks])

    def at(self, key: str, field: str) -> int:
        """The number of a block."""
        found = self._number.get(key)
        if found is None:
            raise ProblemError(f"{field}: there is no block {key}")
        return found

    def numbers(self, keys: frozenset[str], field: str) -> list[int]:
        """The numbers of some blocks, in order."""
        return sorted(self.at(key, field) for key in keys)

    def behind(self, block: int) -> tuple[Floats, Floats]:
        """$/h by which each local mode stays behind the best at each step (not above 0), and watts of each mode."""
        watts = np.array([mode.watts for mode in self.blocks[block].modes])
        return self._nets(block) - self.local[block], watts

    def rig_usd(self, watts: Floats, share: Floats) -> Floats:
        """What rigs at AI work cost, power and the best local mode forgone, $ over the steps they cover.

        Args:
            watts: of such a rig, [N, C].
            share: of each step that is worked, [N, S].
        """
        time = share * self.hours
        return np.asarray(time @ self.local.T + watts * (time @ self.power.T))

    def prorated(self, hours: Floats) -> Floats:
        """The part of a move that is charged to the look-ahead, for work of so many hours."""
        return np.asarray(np.minimum(1.0, self.edges[-1] / np.maximum(hours, 1e-9)))

    def fit(self, gangs: Sequence[Gang]) -> tuple[Ints, Ints, Floats]:
        """Rigs that a gang needs on one block alone, replicas per rig and watts per rig: [N, C], 0 where it is none."""
        slots = np.zeros((len(gangs), len(self.keys)), dtype=np.int64)
        watts = np.zeros(slots.shape)
        for row, gang in enumerate(gangs):
            if gang.replicas < 1 or gang.hours <= 0:
                raise ProblemError(f"gangs[{gang.key}]: replicas and hours have to be more than 0")
            slots[row], watts[row] = self._fits_of(gang)
        replicas = np.array([gang.replicas for gang in gangs], dtype=np.int64)[:, None]
        slots = np.minimum(slots, replicas)
        need = np.where(slots > 0, -(-replicas // np.maximum(slots, 1)), 0)
        return need, slots, watts

    def _fits_of(self, gang: Gang) -> tuple[Ints, Floats]:
        """Replicas and watts per rig, [C]. Many gangs share what they fit, and each is asked of more than once."""
        known = self._fits.get(id(gang.fits))
        if known is None:
            blocks = [self.at(key, f"gangs[{gang.key}].fits") for key in gang.fits]
            known = np.zeros(len(self.keys), dtype=np.int64), np.zeros(len(self.keys))
            known[0][blocks] = [fit.slots for fit in gang.fits.values()]
            known[1][blocks] = [fit.watts for fit in gang.fits.values()]
            self._fits[id(gang.fits)] = known
        return known

    def _nets(self, block: int) -> Floats:
        modes = self.blocks[block].modes
        if not modes:
            raise ProblemError(f"blocks[{self.keys[block]}].modes: a rig has to be in some mode")
        gross = np.array([mode.usd_per_hour for mode in modes])
        watts = np.array([mode.watts for mode in modes])
        return np.asarray(gross[:, None] - watts[:, None] * self.power[block])


class Rows:
    """The rows that everything shares: rigs per block and step, watts per short circuit and step, quotas per step."""

    def __init__(self, farm: Farm, sparse: Sparse, held: Floats) -> None:
        problem, steps = farm.problem, farm.problem.steps
        self.sparse = sparse
        self.circuits = short(farm)
        self.fed = [
            self.circuits.index(block.circuit) if block.circuit in self.circuits else -1 for block in farm.blocks
        ]
        limits = np.array([per_step(problem.circuits[key].limit_watts, steps) for key in self.circuits])
        rigs = np.repeat(farm.rigs[:, None], steps, axis=1)
        # On a circuit that is short a rig is in some mode or other, since each draws; elsewhere the best is understood.
        tight = np.array(self.fed, dtype=np.int64)[:, None] >= 0
        self.capacity = sparse.add_rows(np.where(tight, rigs, -math.inf), rigs, rigs.shape)
        self.watts = sparse.add_rows(-math.inf, limits.reshape(-1, steps), (len(self.circuits), steps))
        self.quotas: list[tuple[list[int], Ints]] = []
        share = holds(farm.edges, np.array([work.hours for work in problem.working]))
        for quota in problem.quotas:
            if quota.most is not None:
                inside = farm.numbers(quota.blocks, "quotas.blocks")
                most = np.maximum(quota.most, held[:, inside].sum(axis=1) @ share)
                self.quotas.append((inside, sparse.add_rows(-math.inf, most, (steps,))))

    def draw(self, block: int, cols: Ints, rigs: Floats, watts: Floats, share: Floats) -> None:
        """Columns [N] that take `rigs` [N] of a block, each rig of `watts` [N], over `share` [N, S] of the steps."""
        taken = rigs[:, None] * share
        self.sparse.put(self.capacity[block], cols[:, None], taken)
        if self.fed[block] >= 0:
            self.sparse.put(self.watts[self.fed[block]], cols[:, None], watts[:, None] * taken)
        for inside, rows in self.quotas:
            if block in inside:
                self.sparse.put(rows, cols[:, None], taken)


def uniform(need: Ints, slots: Ints) -> Flags:
    """Gangs that need the same number of rigs on every block, and so of any mixture of them."""
    most = np.where(slots > 0, need, 0).max(axis=1, initial=0)
    least = np.where(slots > 0, need, np.iinfo(np.int64).max).min(axis=1, initial=np.iinfo(np.int64).max)
    return np.asarray(most == least)


def per_step(figure: float | tuple[float, ...], steps: int) -> Floats:
    """One figure for all steps, or one for each."""
    values = np.asarray(figure, dtype=float)
    if values.ndim and values.shape != (steps,):
        raise ProblemError(f"usd_per_watt_hour or limit_watts: {values.size} figures for {steps} steps")
    return np.broadcast_to(values, (steps,))


def short(farm: Farm) -> tuple[str, ...]:
    """Circuits that could be overdrawn, if every rig did what draws most."""
    problem = farm.problem
    most = [max(mode.watts for mode in block.modes) for block in farm.blocks]
    fits = {id(gang.fits): gang for gang in problem.gangs}  # many gangs share theirs
    drawn: list[tuple[str, Mapping[str, float]]]
    drawn = [(f"gangs[{gang.key}].fits", {key: fit.watts for key, fit in gang.fits.items()}) for gang in fits.values()]
    drawn += [(f"working[{work.key}].watts", work.watts) for work in problem.working]
    drawn += [(f"flows[{at}].watts_per_rig", flow.watts_per_rig) for at, flow in enumerate(problem.flows)]
    for field, each in drawn:
        for key, watts in each.items():
            at = farm.at(key, field)
            most[at] = max(most[at], watts)
    total: dict[str, float] = {}
    for block, watts in zip(farm.blocks, most, strict=True):
        total[block.circuit] = total.get(block.circuit, 0.0) + block.rigs * watts
    return tuple(
        key
        for key in sorted(problem.circuits)
        if total.get(key, 0.0) > per_step(problem.circuits[key].limit_watts, problem.steps).min()
    )
