"""The files of one scenario: found, read once each, and put on its steps, with every repair counted."""

from __future__ import annotations

import datetime
import pathlib
import zlib
from typing import Final

import numpy as np

from switchyard.backtest import columns, reading, scenario, script, table, timeline

Floats = table.Floats

_OUTSIDE: Final = "${DATA}"


class Sources:
    """What builders of a script share: steps, files, seeds and the count of repairs."""

    def __init__(self, scene: scenario.Scenario, *, axis: timeline.Axis, seed: int, data: pathlib.Path | None) -> None:
        self.scene = scene
        self.axis = axis
        self._seed = seed
        self._data = data
        self._sheets: dict[tuple[pathlib.Path, str, str], table.Sheet] = {}
        self._repairs: dict[tuple[str, str, str], dict[str, int]] = {}

    def over(self, axis: timeline.Axis) -> Sources:
        """The same files and counts on other steps."""
        other = Sources(self.scene, axis=axis, seed=self._seed, data=self._data)
        other._sheets, other._repairs = self._sheets, self._repairs
        return other

    @property
    def repairs(self) -> tuple[script.Repair, ...]:
        """All repairs until now, in the order of their first occurrence."""
        return tuple(
            script.Repair(file=file, kind=kind, count=int(sum(counts.values())), detail=detail)
            for (file, kind, detail), counts in self._repairs.items()
        )

    def error(self, place: str, what: str) -> reading.ScenarioError:
        """A complaint about a field of the scenario."""
        return reading.ScenarioError(f"{self.scene.path}: {place}: {what}")

    def chance(self, *names: str) -> np.random.Generator:
        """Random numbers of one part of the scenario: the same with the same seed, whatever other parts draw."""
        return np.random.default_rng([self._seed % 2**63, *(zlib.crc32(name.encode()) for name in names)])

    def seconds(self, moment: datetime.datetime) -> float:
        """A moment of the scenario in seconds since 1970."""
        return self.scene.moment(moment).timestamp()

    def origin(self, layout: columns.Table) -> float:
        """The moment that 0 elapsed seconds of a file stand for."""
        return 0.0 if layout.time_origin is None else self.seconds(layout.time_origin)

    def count(self, sheet: table.Sheet, layout: columns.Table, *, part: str = "") -> table.Count:
        """Takes note of repairs of a file.

        Rows that are read twice, for another of their columns, are counted once; other rows of the file add up.
        """
        rows = f"{layout.where} {part}"

        def note(kind: str, number: int, detail: str) -> None:
            counts = self._repairs.setdefault((sheet.path.name, kind, detail), {})
            counts[rows] = max(counts.get(rows, 0), number)

        return note

    def sheet(self, layout: columns.Table) -> table.Sheet:
        """The rows of a file that count.

        Raises:
            MissingDataError: it should come from outside and is not there.
            ScenarioError: it cannot be used.
        """
        path = self._path(layout.file)
        whole, part = (path, layout.delimiter, ""), (path, layout.delimiter, str(sorted(layout.where.items())))
        if whole not in self._sheets:
            self._sheets[whole] = table.read(path, delimiter=layout.delimiter)
        if part not in self._sheets:
            self._sheets[part] = table.chosen(self._sheets[whole], layout.where)
        return self._sheets[part]

    def steps(self, series: columns.Series) -> Floats:
        """A series, one value per step; of money in whole units of its currency, as its file has them."""
        sheet = self.sheet(series)
        if series.sum_over is None:
            return self._line(sheet, series).on(self.axis)
        texts = np.array(sheet.column(series.sum_over))
        total = np.zeros(self.axis.steps)
        for text in np.unique(texts).tolist():
            total += self._line(sheet.only(np.flatnonzero(texts == text)), series, part=text).on(self.axis)
        return total

    def line(self, series: columns.Series, *, reach: tuple[float, float]) -> timeline.Line:
        """A series beyond the scenario's ends, as far as its file goes."""
        return self._line(self.sheet(series), series, reach=reach)

    def number(self, value: float | columns.Series) -> Floats:
        """A number or a series, one value per step."""
        return self.steps(value) if isinstance(value, columns.Series) else np.full(self.axis.steps, float(value))

    def money(self, value: float | columns.MoneySeries) -> Floats:
        """A price or a series of prices in $ per kWh, hour, or hour and GH/s (Sol/s), one value per step.

        Numbers are taken as they stand.
        """
        if not isinstance(value, columns.MoneySeries):
            return np.full(self.axis.steps, float(value))
        return self.steps(value) * self.dollars(value)

    def dollars(self, series: columns.MoneySeries) -> Floats:
        """What the numbers of a series of prices must be multiplied by, one factor per step."""
        rate = np.ones(self.axis.steps) if series.usd_per_unit is None else self.number(series.usd_per_unit)
        return rate * columns.money_unit(series.unit).factor

    def _line(
        self,
        sheet: table.Sheet,
        series: columns.Series,
        *,
        part: str = "",
        reach: tuple[float, float] | None = None,
    ) -> timeline.Line:
        return timeline.line(
            sheet,
            series,
            since=self.axis.start,
            until=self.axis.end,
            reach=reach,
            origin=self.origin(series),
            count=self.count(sheet, series, part=part),
        )

    def _path(self, file: str) -> pathlib.Path:
        scene = self.scene
        full = file if file.startswith(_OUTSIDE) or pathlib.Path(file).is_absolute() else f"{scene.data}/{file}"
        if not full.startswith(_OUTSIDE):
            path = scene.path.parent / full
            if not path.is_file():
                raise reading.ScenarioError(
                    f"{scene.path}: there is no file {path}; correct file or data, which are relative to the scenario"
                )
            return path
        if self._data is None:
            raise reading.MissingDataError(
                f"{scene.name} reads {file} from a folder given from outside, and none is given"
            )
        if not self._data.is_dir():
            raise reading.MissingDataError(f"{scene.name} reads {file} from {self._data}, which is no folder")
        path = self._data / full.removeprefix(_OUTSIDE).lstrip("/")
        if not path.is_file():
            raise reading.MissingDataError(f"{scene.name} reads {path.name}, and {self._data} has no such file")
        return path
