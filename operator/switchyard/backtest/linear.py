"""A linear programme that is put together in blocks of columns and rows, and solved by HiGHS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import highspy
import numpy as np
import numpy.typing as npt

from switchyard.planning import highs

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class UnsolvedError(RuntimeError):
    """HiGHS found no optimum."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """Columns with their factors in rows of a block; one per row where `rows` does not say which."""

    columns: Ints
    factor: float | Floats
    rows: slice | Ints = dataclasses.field(default_factory=lambda: slice(None))


class Programme:
    """Grows by blocks; all columns are at least 0."""

    def __init__(self) -> None:
        self._gains: list[Floats] = []
        self._uppers: list[Floats] = []
        self._lower_rows: list[Floats] = []
        self._upper_rows: list[Floats] = []
        self._entries: list[tuple[Ints, Ints, Floats]] = []
        self._width = self._height = 0

    def columns(self, count: int, *, gain: float | Floats, upper: float | Floats) -> Ints:
        """Add columns with what one of each is worth, and its upper bound."""
        self._gains.append(np.broadcast_to(np.asarray(gain, dtype=float), (count,)))
        self._uppers.append(np.broadcast_to(np.asarray(upper, dtype=float), (count,)))
        self._width += count
        return np.arange(self._width - count, self._width)

    def rows(self, terms: Iterable[Term], lower: float | Floats, upper: Floats) -> None:
        """Add rows: lower <= sum of the terms <= upper."""
        count = len(upper)
        places = np.arange(self._height, self._height + count)
        for term in terms:
            rows = places[term.rows]
            factors = np.broadcast_to(np.asarray(term.factor, dtype=float), rows.shape)
            self._entries.append((rows, term.columns, factors))
        self._lower_rows.append(np.broadcast_to(np.asarray(lower, dtype=float), (count,)))
        self._upper_rows.append(upper)
        self._height += count

    def maximise(self) -> float:
        """The greatest worth. Raises UnsolvedError."""
        rows, columns, factors = (np.concatenate(each) for each in zip(*self._entries, strict=True))
        order = np.argsort(columns, kind="stable")
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self._width, self._height
        lp.sense_ = highspy.ObjSense.kMaximize
        lp.col_cost_ = np.concatenate(self._gains)
        lp.col_lower_ = np.zeros(self._width)
        lp.col_upper_ = np.concatenate(self._uppers)
        lp.row_lower_ = np.concatenate(self._lower_rows)
        lp.row_upper_ = np.concatenate(self._upper_rows)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=self._width))])
        lp.a_matrix_.index_ = rows[order]
        lp.a_matrix_.value_ = factors[order]
        solver = highs.Quiet()
        solver.passModel(lp)
        solver.run()
        status = solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise UnsolvedError(f"HiGHS: {solver.modelStatusToString(status)}")
        return float(solver.getInfo().objective_function_value)
