"""How many rigs of which kind go to which gangs now, and what a rig-hour is worth: one linear program over a day.

The program does not know single rigs. It counts them per block (rigs that are alike in all that matters here), over
steps of time that grow with the distance. Waiting gangs start now, whole, or later, or never; gangs at work stay or are
stopped whole; what is expected to arrive is a flow. Every figure is net of the block's best local mode, so a rig that
no gang has earns nothing here and a plan that does nothing is worth 0.

The prices of the linear program are what a rig-hour fetches beyond its best local mode, and what a watt-hour fetches
where a circuit is short. A bid that does not cover them takes rigs from a better bid that waits or that is expected.

Whole gangs are then made of the program's shares: those that it is sure of, and the others in the order of what they
leave at its prices. Where that may miss more than `GOAL`, branch and bound decides on the gangs that could still
matter: a gang whose reduced cost is beyond the gap is settled. Nothing depends on the clock, unless it stops HiGHS.
"""

from __future__ import annotations

from typing import Final

import highspy
import numpy as np

from switchyard.planning import highs, program_model, program_rounding
from switchyard.planning.program_matrix import Ints
from switchyard.planning.program_values import Answer, Failure, Floats, Prices, Problem

LATE: Final = "Late"
FAILED: Final = "Failed"
"""Reasons of `Failure`."""

LIMIT_SECONDS: Final = 5.0
GOAL: Final = 0.005
"""The gap below which rounding is good enough."""

_NODES: Final = 20
_CORE: Final = 60
"""Gangs that branch and bound may decide on; the others stay as rounding has left them."""


def solve(problem: Problem, *, limit_seconds: float = LIMIT_SECONDS) -> Answer | Failure:
    """The plan for now and the prices of rigs and watts.

    Args:
        problem: see `switchyard.planning.program_values`.
        limit_seconds: of the solver's time in all; beyond it the answer is a Failure (Late).

    Raises ProblemError where the problem contradicts itself.
    """
    model = program_model.build(problem)
    solver = _Solver(model, limit_seconds)
    relaxed = solver.linear()
    if isinstance(relaxed, Failure):
        return relaxed
    bound, point, duals = relaxed
    plan = program_rounding.rounded(model, point)
    fixed = solver.with_plan(plan)
    if isinstance(fixed, Failure):
        return fixed
    value, found = fixed
    if bound - value > GOAL * max(abs(bound), 1e-6):
        better = solver.searched(point, plan, value=value, gap=bound - value)
        if isinstance(better, Failure):
            return better
        if better is not None and better[0] > value:
            value, found, plan = better
    return _answer(model, plan, found, value=value, bound=max(bound, value), duals=duals)


def price(problem: Problem, *, limit_seconds: float = LIMIT_SECONDS) -> Prices | Failure:
    """The prices alone, which need no whole gangs: see `solve`. Raises ProblemError."""
    model = program_model.build(problem)
    relaxed = _Solver(model, limit_seconds).linear()
    return relaxed if isinstance(relaxed, Failure) else _prices(model, relaxed[2])


class _Solver:
    """HiGHS with the matrix in it."""

    def __init__(self, model: program_model.Model, limit_seconds: float) -> None:
        self._model = model
        self._limit = limit_seconds
        self._highs = highs.Quiet()
        self._highs.setOptionValue("random_seed", 1)
        self._highs.setOptionValue("parallel", "off")
        _pass(self._highs, model)
        starts = [model.x, model.y[model.y >= 0], model.keep]
        self._whole = np.concatenate(starts).astype(np.int32)
        sparse = model.sparse
        self._lower = np.concatenate(sparse.col_lower)[self._whole]
        self._upper = np.concatenate(sparse.col_upper)[self._whole]

    def linear(self) -> tuple[float, program_rounding.Point, Floats] | Failure:
        """Worth, solution and row duals (worth per unit of the right-hand side) without whole gangs."""
        failure = self._run()
        if failure is not None:
            return failure
        solution = self._highs.getSolution()
        point = program_rounding.Point(value=np.array(solution.col_value), reduced=np.array(solution.col_dual))
        return self._worth(), point, -np.array(solution.row_dual)

    def with_plan(self, plan: program_rounding.Plan) -> tuple[float, Floats] | Failure:
        """Worth and columns when what is decided now is as planned, and the rest is as good as can be."""
        fixed = self._figures(plan)
        self._bounds(fixed, fixed)
        failure = self._run()
        return failure or (self._worth(), np.array(self._highs.getSolution().col_value))

    def searched(
        self, point: program_rounding.Point, plan: program_rounding.Plan, *, value: float, gap: float
    ) -> tuple[float, Floats, program_rounding.Plan] | Failure | None:
        """Branch and bound over the gangs that could still matter, for a plan that is worth more; None without one."""
        model, count = self._model, len(self._model.gangs)
        reduced = np.abs(point.reduced)
        doubt = reduced[model.x].copy()
        doubt[(point.value[model.x] > 1e-6) & (point.value[model.x] < 1 - 1e-6)] = 0.0
        core = np.argsort(doubt, kind="stable")[:_CORE]
        open_gangs = np.zeros(count, dtype=bool)
        # What is settled is settled as the linear program has it: where rounding has it otherwise, it is open.
        open_gangs[core[doubt[core] <= gap]] = True
        starting = plan.rigs.sum(axis=1) > 0
        open_gangs |= (point.value[model.x] > 0.5) & ~starting
        open_keep = np.array([work.stop_usd is not None for work in model.farm.problem.working], dtype=bool)
        open_keep &= (reduced[model.keep] <= gap) | (np.abs(point.value[model.keep] - plan.keep) > 0.5)
        # That a gang starts may be settled, and not where.
        close = np.less_equal(reduced[np.maximum(model.y, 0)], gap)
        movable = open_gangs[:, None] | (starting[:, None] & close)
        free = np.concatenate([open_gangs, movable[model.y >= 0], open_keep])
        fixed = self._figures(plan)
        self._bounds(np.where(free, self._lower, fixed), np.where(free, self._upper, fixed))
        # Flows that the linear program has no use for stay out: fewer columns, and still a plan that holds.
        idle = model.fluid[(point.value[model.fluid] <= 1e-9) & (reduced[model.fluid] > 1e-9)].astype(np.int32)
        zeros = np.zeros(len(idle))
        self._highs.changeColsBounds(len(idle), idle, zeros, zeros)
        columns = self._whole[free]
        self._integrality(columns, highspy.HighsVarType.kInteger)
        self._highs.setOptionValue("mip_rel_gap", GOAL / 2)
        self._highs.setOptionValue("mip_max_nodes", _NODES)
        self._highs.setOptionValue("mip_detect_symmetry", False)
        # The plan so far is not passed as a start: HiGHS 1.16 may answer with it, at a worth that it does not have.
        failure = self._run(search=True)
        if failure is not None:
            return failure
        if self._highs.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        found = np.array(self._highs.getSolution().col_value)
        worth = self._worth()
        if worth <= value:
            return None
        rigs = np.where(model.y >= 0, found[np.maximum(model.y, 0)].round(), 0.0).astype(np.int64)
        rigs[found[model.x] < 0.5] = 0
        return worth, found, program_rounding.Plan(rigs=rigs, keep=found[model.keep].round().astype(np.int64))

    def _figures(self, plan: program_rounding.Plan) -> Floats:
        starts = (plan.rigs.sum(axis=1) > 0).astype(float)
        return np.concatenate([starts, plan.rigs[self._model.y >= 0].astype(float), plan.keep.astype(float)])

    def _bounds(self, lower: Floats, upper: Floats) -> None:
        self._highs.changeColsBounds(len(self._whole), self._whole, lower, upper)

    def _integrality(self, columns: Ints, kind: highspy.HighsVarType) -> None:
        self._highs.changeColsIntegrality(len(columns), columns, np.full(len(columns), kind.value, dtype=np.uint8))

    def _worth(self) -> float:
        return self._model.constant_usd - float(self._highs.getInfo().objective_function_value)

    def _run(self, *, search: bool = False) -> Failure | None:
        self._highs.setOptionValue("time_limit", self._limit)
        self._highs.run()
        status = self._highs.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return None
        if status == highspy.HighsModelStatus.kTimeLimit:
            return Failure(reason=LATE, message=f"no plan within {self._limit:g} s")
        if search and status == highspy.HighsModelStatus.kSolutionLimit:
            return None
        return Failure(reason=FAILED, message=f"HiGHS ended with {self._highs.modelStatusToString(status)}")


def _pass(solver: highs.Quiet, model: program_model.Model) -> None:
    """The matrix as arrays: as fields of an object every figure would be passed for itself."""
    sparse = model.sparse
    starts, rows, values = sparse.compressed()
    solver.passModel(
        sparse.cols,
        sparse.rows,
        len(values),
        int(highspy.MatrixFormat.kColwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        np.concatenate(sparse.cost),
        np.concatenate(sparse.col_lower),
        np.concatenate(sparse.col_upper),
        np.concatenate(sparse.row_lower),
        np.concatenate(sparse.row_upper),
        starts.astype(np.int32),
        rows.astype(np.int32),
        values,
        np.zeros(sparse.cols, dtype=np.int32),
    )


def _answer(
    model: program_model.Model, plan: program_rounding.Plan, found: Floats, *, value: float, bound: float, duals: Floats
) -> Answer:
    farm = model.farm
    excess = found[model.excess].max(axis=1, initial=0.0)
    return Answer(
        admitted={
            gang.key: {farm.keys[block]: int(plan.rigs[at, block]) for block in np.flatnonzero(plan.rigs[at])}
            for at, gang in enumerate(model.gangs)
            if plan.rigs[at].any()
        },
        stopped=tuple(work.key for at, work in enumerate(farm.problem.working) if not plan.keep[at]),
        prices=_prices(model, duals),
        value_usd=value,
        bound_usd=bound,
        excess_watts={key: float(excess[at]) for at, key in enumerate(model.circuits) if excess[at] > 1e-6},
        local_rigs={farm.keys[block]: found[columns[:, 0]] for block, columns in sorted(model.local.items())},
    )


def _prices(model: program_model.Model, duals: Floats) -> Prices:
    farm = model.farm
    rigs = duals[model.capacity] / farm.hours
    for inside, rows in model.quotas:
        rigs[inside] += duals[rows] / farm.hours
    ways_in = [
        max([origin.in_usd for origin in block.origins if origin.rigs] or [block.later_in_usd]) for block in farm.blocks
    ]
    starts = np.maximum(duals[model.taken] - ways_in, 0.0)
    for inside, row in model.floors:
        starts[inside] += duals[row]
    return Prices(
        edges_hours=farm.problem.edges_hours,
        usd_per_rig_hour=dict(zip(farm.keys, rigs, strict=True)),
        usd_per_start={key: float(usd) for key, usd in zip(farm.keys, starts, strict=True)},
        usd_per_watt_hour={key: duals[model.watts[at]] / farm.hours for at, key in enumerate(model.circuits)},
    )
