"""A farm's own price history, in whatever CSV or JSON lines its owner has: read, checked, written in one plain form.

Names of columns that are recognised without being told, in this order: time, timestamp, ts, date, datetime, utc_time,
time_utc, ts_utc, hour for the moment; price, usd_per_mwh, usd_per_kwh, value, lmp, spp for the price. Others are named
with --market-time and --market-value.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Final

from switchyard.simulate import series

TIME_NAMES: Final = ("time", "timestamp", "ts", "date", "datetime", "utc_time", "time_utc", "ts_utc", "hour")
VALUE_NAMES: Final = ("price", "usd_per_mwh", "usd_per_kwh", "value", "lmp", "spp")
UNITS: Final = {"USD/MWh": 1.0, "USD/kWh": 1000.0}
"""Unit and its factor to USD/MWh."""


class HistoryError(ValueError):
    """The file cannot be used. The message says why, and which columns it has."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the owner said about the file; None is guessed.

    Attributes:
        time: column of moments.
        value: column of prices.
        where: only rows whose columns have exactly these texts (a long file holds several markets).
        unit: USD/MWh or USD/kWh; None takes it from the column's name, else USD/MWh.
    """

    time: str | None = None
    value: str | None = None
    where: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unit: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A price history in USD/MWh. `notes` says what was assumed, for people."""

    rows: tuple[tuple[datetime.datetime, float], ...]
    notes: tuple[str, ...]

    @property
    def series(self) -> series.Series:
        """The prices as steps, USD/MWh."""
        return series.Series.of(self.rows)

    def write(self, path: pathlib.Path) -> None:
        """Write `time,usd_per_mwh` with times in UTC."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["time", "usd_per_mwh"])
            writer.writerows((moment.strftime("%Y-%m-%dT%H:%M:%SZ"), f"{value:.4f}") for moment, value in self.rows)

    def liveliest(self, hours: float) -> datetime.datetime:
        """The start of the stretch of so many hours, on a whole day, in which prices move the most (max - min).

        Raises:
            HistoryError: the file spans less than that.
        """
        first, last = self.rows[0][0], self.rows[-1][0]
        length = datetime.timedelta(hours=hours)
        if last - first < length:
            raise HistoryError(f"the file spans {last - first}, less than the {hours:g} hours to be played")
        best, best_spread = first, -1.0
        start, low = first, 0
        while start + length <= last:
            while self.rows[low][0] < start:
                low += 1
            high = low
            values = []
            while high < len(self.rows) and self.rows[high][0] < start + length:
                values.append(self.rows[high][1])
                high += 1
            if values and max(values) - min(values) > best_spread:
                best, best_spread = start, max(values) - min(values)
            start += datetime.timedelta(days=1)
        return best


def read(path: pathlib.Path, layout: Layout) -> History:
    """Read a history from a .csv, or a .jsonl, .ndjson or .json file of one object per line.

    Raises:
        HistoryError: it cannot be used; see there.
    """
    try:
        rows = list(_records(path))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise HistoryError(f"cannot read {path}: {problem}") from None
    if not rows:
        raise HistoryError(f"{path} has no rows")
    columns = list(rows[0])
    time = _column(columns, layout.time, TIME_NAMES, what="times", option="--market-time", path=path)
    value = _column(columns, layout.value, VALUE_NAMES, what="prices", option="--market-value", path=path)
    for column in layout.where:
        if column not in columns:
            raise HistoryError(f"{path} has no column {column!r} for --market-where; it has {', '.join(columns)}")
    unit = layout.unit or ("USD/kWh" if value.lower().endswith("kwh") else "USD/MWh")
    factor = UNITS[unit]
    chosen = [row for row in rows if all(row.get(column) == text for column, text in layout.where.items())]
    if not chosen:
        raise HistoryError(f"{path} has no row where {_described(layout.where)}; {_hint(rows, layout.where)}")

    of_which = f", {_described(layout.where)}" if layout.where else ""
    notes = [f"prices from {path.name}: column {value!r} in {unit}{of_which}"]
    parsed: dict[datetime.datetime, float] = {}
    naive = doubled = skipped = 0
    for row in chosen:
        moment, was_naive = _moment(row[time], path=path, column=time)
        naive += was_naive
        price = _price(row[value], path=path, column=value)
        if price is None:
            skipped += 1
            continue
        doubled += moment in parsed
        parsed.setdefault(moment, price * factor)
    if len(parsed) < 2:
        raise HistoryError(f"{path} has no two rows with a price in column {value!r}; it has {', '.join(columns)}")
    if doubled > max(2, len(parsed) // 1000):
        raise HistoryError(
            f"{path}: {doubled} rows repeat a time: it holds more than one series; choose one with "
            f"--market-where column=value. It has {', '.join(columns)}"
        )
    if naive:
        notes.append(f"times in {time!r} have no zone: taken as UTC")
    if doubled:
        notes.append(f"{doubled} repeated times: the first price of each is kept")
    if skipped:
        notes.append(f"{skipped} rows without a price are left out; the price before them holds on")
    return History(rows=tuple(sorted(parsed.items())), notes=tuple(notes))


def _records(path: pathlib.Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        if path.suffix in {".jsonl", ".ndjson", ".json"}:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                except ValueError:
                    raise HistoryError(f"{path}:{line}: not JSON; one object per line is expected") from None
                if not isinstance(row, dict):
                    raise HistoryError(f"{path}:{line}: not a JSON object")
                yield {str(key): "" if each is None else str(each) for key, each in row.items()}
        else:
            for row in csv.DictReader(file):
                yield {key.strip(): (each or "").strip() for key, each in row.items() if isinstance(key, str)}


def _column(
    columns: list[str], told: str | None, names: tuple[str, ...], *, what: str, option: str, path: pathlib.Path
) -> str:
    if told is not None:
        if told not in columns:
            raise HistoryError(f"{path} has no column {told!r}; it has {', '.join(columns)}")
        return told
    lower = {column.lower(): column for column in reversed(columns)}
    for name in names:
        if name in lower:
            return lower[name]
    raise HistoryError(f"which column of {path} holds the {what}? Say it with {option}; it has {', '.join(columns)}")


def _moment(text: str, *, path: pathlib.Path, column: str) -> tuple[datetime.datetime, bool]:
    """The moment in UTC, and whether the text had no zone."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.datetime.fromtimestamp(float(text), tz=datetime.UTC), False
        except (ValueError, OverflowError, OSError):
            raise HistoryError(f"{path}: {text!r} in column {column!r} is neither ISO 8601 nor Unix seconds") from None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=datetime.UTC), True
    return moment.astimezone(datetime.UTC), False


def _price(text: str, *, path: pathlib.Path, column: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise HistoryError(f"{path}: {text!r} in column {column!r} is not a price") from None
    return value if math.isfinite(value) else None


def _described(where: Mapping[str, str]) -> str:
    return " and ".join(f"{column}={text}" for column, text in where.items())


def _hint(rows: list[dict[str, str]], where: Mapping[str, str]) -> str:
    column = next(iter(where))
    found = sorted({row.get(column, "") for row in rows})
    return f"column {column!r} holds {', '.join(found[:12])}" + (", ..." if len(found) > 12 else "")
