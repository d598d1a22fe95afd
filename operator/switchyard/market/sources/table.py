"""Files of times and values, read once into a table that answers by bisection. Pure: text in, table out.

A row is valid from its time until the next row's: such a file lists changes. What cannot be trusted is never filled in:

- Times must rise from row to row. One that cannot be read, or does not rise, spoils the whole file, for then nobody
  knows which row is in force.
- A value that is not a number spoils only the readings in its own row's span.
"""

from __future__ import annotations

import bisect
import csv
import dataclasses
import datetime
import io
import json
import zoneinfo
from collections.abc import Iterator, Mapping

from switchyard.market import cleaning
from switchyard.market.sources import moments


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which parts of a file hold what.

    Attributes:
        json_lines: one JSON object per line; else CSV with a header line.
        time_column: name of the column (or key) of times.
        value_column: name of the column (or key) of values.
        where: only rows whose columns have exactly these texts count.
        zone: what times without a zone are in; None refuses them.
    """

    json_lines: bool
    time_column: str
    value_column: str
    where: Mapping[str, str]
    zone: zoneinfo.ZoneInfo | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row: its moment, its value as written (CSV: a float if it is one), its line, and if it is the last."""

    moment: datetime.datetime
    value: object
    line: int
    last: bool


class Table:
    """Rows in rising order of time."""

    def __init__(self, rows: list[tuple[datetime.datetime, object, int]]) -> None:
        self._moments = [moment for moment, _, _ in rows]
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first(self) -> datetime.datetime | None:
        """The moment of the first row, None in an empty table."""
        return self._moments[0] if self._moments else None

    def between(self, start: datetime.datetime, end: datetime.datetime) -> list[tuple[datetime.datetime, object, int]]:
        """Moment, value and line of the rows from `start` to `end`, and of the last one before them."""
        first = max(0, bisect.bisect_left(self._moments, start) - 1)
        return self._rows[first : bisect.bisect_right(self._moments, end)]

    def at(self, moment: datetime.datetime) -> Row | None:
        """The row in force: the last one whose time is not after `moment`; None before the first row."""
        index = bisect.bisect_right(self._moments, moment) - 1
        if index < 0:
            return None
        return Row(*self._rows[index], last=index == len(self._rows) - 1)


class TableError(ValueError):
    """The file is not what the feed says it is."""

    def __init__(self, *, reason: str, message: str) -> None:
        super().__init__(message)
        self.trouble = cleaning.Trouble(reason=reason, message=message)


def parse(text: str, *, layout: Layout, name: str) -> Table:
    """Read a file's text.

    Args:
        text: all of it.
        layout: which columns count.
        name: the file's name, for messages.

    Raises:
        TableError: with what is wrong and, where it is a row, `name:line`.
    """
    read = _json_rows if layout.json_lines else _csv_rows
    rows: list[tuple[datetime.datetime, object, int]] = []
    before: datetime.datetime | None = None
    for raw_time, value, line in read(text, layout=layout, name=name):
        moment = _moment(raw_time, layout=layout, before=before, at=f"{name}:{line}")
        if moment is None:
            continue
        if before is not None and moment <= before:
            what = "repeats" if moment == before else "is earlier than"
            raise TableError(
                reason="TimesNotRising",
                message=f"{name}:{line}: the time {raw_time} {what} that of line {rows[-1][2]}; "
                "sort the rows by time and keep one row per time",
            )
        rows.append((moment, value, line))
        before = moment
    return Table(rows)


def _moment(raw: object, *, layout: Layout, before: datetime.datetime | None, at: str) -> datetime.datetime | None:
    """The row's moment in UTC; None for a local time that was skipped when clocks went forward."""
    try:
        try:
            return moments.parse(raw)
        except moments.NaiveMomentError as naive:
            if layout.zone is None:
                raise
            return moments.in_zone(naive.local, zone=layout.zone, after=before)
    except moments.NaiveMomentError:
        raise TableError(
            reason="BadTime",
            message=f"{at}: the time {raw} has no time zone; write it with Z or an offset such as -05:00, "
            "or give the source a timeZone",
        ) from None
    except ValueError as problem:
        raise TableError(reason="BadTime", message=f"{at}: cannot read this time: {problem}") from None


def _csv_rows(text: str, *, layout: Layout, name: str) -> Iterator[tuple[object, object, int]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        if not header:
            raise TableError(reason="NoSample", message=f"{name} is empty")
        time_at = _column(header, layout.time_column, name=name)
        value_at = _column(header, layout.value_column, name=name)
        where = [(_column(header, column, name=name), wanted) for column, wanted in layout.where.items()]
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise TableError(
                    reason="BadRow",
                    message=f"{name}:{reader.line_num}: {len(row)} columns where the header has {len(header)}",
                )
            if all(row[index] == wanted for index, wanted in where):
                yield row[time_at], _csv_value(row[value_at]), reader.line_num
    except csv.Error as problem:
        raise TableError(reason="BadRow", message=f"{name}:{reader.line_num}: not CSV: {problem}") from None


def _column(header: list[str], wanted: str, *, name: str) -> int:
    match header.count(wanted):
        case 1:
            return header.index(wanted)
        case 0:
            found = ", ".join(header)
            message = f"{name} has no column {wanted!r}; it has {found[:200]}"
        case many:
            message = f"{name} has {many} columns {wanted!r}"
    raise TableError(reason="ColumnMissing", message=message)


def _csv_value(text: str) -> object:
    # float() would also take 1_000, which no price file means.
    if "_" in text:
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _json_rows(text: str, *, layout: Layout, name: str) -> Iterator[tuple[object, object, int]]:
    # Not splitlines(): JSON strings may hold its more exotic line ends.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError):
            raise TableError(reason="BadRow", message=f"{name}:{line}: not JSON") from None
        if not isinstance(row, dict):
            raise TableError(reason="BadRow", message=f"{name}:{line}: not a JSON object")
        if any(_json_text(row.get(column)) != wanted for column, wanted in layout.where.items()):
            continue
        for key in (layout.time_column, layout.value_column):
            if key not in row:
                raise TableError(reason="ColumnMissing", message=f"{name}:{line}: has no key {key!r}")
        yield row[layout.time_column], row[layout.value_column], line


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
