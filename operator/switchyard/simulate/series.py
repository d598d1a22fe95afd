"""Values that hold from their moment until the next one's: prices as steps, with exact integrals."""

from __future__ import annotations

import bisect
import csv
import dataclasses
import datetime
import itertools
import pathlib
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Series:
    """A step function of time. Before its first moment it has the first value, after its last the last.

    Attributes:
        moments: Unix seconds, rising, at least one.
        values: one per moment, in whatever unit the maker says.
    """

    moments: tuple[float, ...]
    values: tuple[float, ...]
    _areas: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.moments or len(self.moments) != len(self.values):
            raise ValueError("a series needs as many moments as values, and at least one")
        if any(later <= earlier for earlier, later in itertools.pairwise(self.moments)):
            raise ValueError("the moments of a series must rise")
        spans = (later - earlier for earlier, later in itertools.pairwise(self.moments))
        areas = itertools.accumulate(
            (value * span / 3600 for value, span in zip(self.values, spans, strict=False)), initial=0.0
        )
        object.__setattr__(self, "_areas", tuple(areas))

    def at(self, moment: float) -> float:
        """The value in force at a moment (Unix seconds)."""
        return self.values[max(0, bisect.bisect_right(self.moments, moment) - 1)]

    def area(self, start: float, end: float) -> float:
        """Value times hours between two moments (Unix seconds): $/kWh make $ per kW drawn all the time."""
        return self._area_before(end) - self._area_before(start)

    def _area_before(self, moment: float) -> float:
        index = max(0, bisect.bisect_right(self.moments, moment) - 1)
        return self._areas[index] + self.values[index] * (moment - self.moments[index]) / 3600

    def transformed(self, *, factor: float = 1.0, offset: float = 0.0) -> Series:
        """The series with every value times `factor` plus `offset`."""
        return Series(moments=self.moments, values=tuple(value * factor + offset for value in self.values))

    @classmethod
    def constant(cls, value: float) -> Series:
        """The same value at all times."""
        return cls(moments=(0.0,), values=(value,))

    @classmethod
    def of(cls, rows: Sequence[tuple[datetime.datetime, float]]) -> Series:
        """A series of aware moments with their values, in rising order. Raises ValueError if they are not."""
        return cls(
            moments=tuple(moment.timestamp() for moment, _ in rows), values=tuple(float(value) for _, value in rows)
        )


def read_csv(path: pathlib.Path, *, time: str, value: str, where: Mapping[str, str] | None = None) -> Series:
    """Read a series from a CSV file with zoned ISO 8601 times, in rising order.

    Args:
        path: the file; its first line names the columns.
        time: the column of times.
        value: the column of values.
        where: only rows whose columns have exactly these texts.

    Raises:
        ValueError: no such row, a column is missing, or a cell is not what it should be; the message names the file.
    """
    wanted = dict(where or {})
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                (datetime.datetime.fromisoformat(row[time]), float(row[value]))
                for row in csv.DictReader(file)
                if all(row[column] == text for column, text in wanted.items())
            ]
    except KeyError as missing:
        raise ValueError(f"{path} has no column {missing}") from None
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    if not rows:
        such = " and ".join(f"{column}={text}" for column, text in wanted.items())
        raise ValueError(f"{path} has no row" + (f" with {such}" if such else ""))
    return Series.of(rows)
