"""CSV files, read once: columns of texts, their numbers and their moments, with the line of every row.

Moments are seconds since 1970 in UTC, as floats. Nothing is mended here without being asked for and counted.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import pathlib
import re
import zoneinfo
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.backtest import columns, reading
from switchyard.market.sources import moments

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_LOCAL: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?)?", re.ASCII)
_SHOWN: Final = 12

ScenarioError = reading.ScenarioError
Count = Callable[[str, int, str], None]
"""Takes note of a repair: its kind, how often, and words for people."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """Rows of a file, as text.

    Attributes:
        path: of the file.
        texts: by column, one per row.
        lines: numbers of the rows in the file; the header is line 1.
        known: moments of columns that have been read before, which takes long in large files.
    """

    path: pathlib.Path
    texts: dict[str, list[str]]
    lines: Ints
    known: dict[tuple[str, str, float], tuple[Floats, Bools]] = dataclasses.field(default_factory=dict)

    def column(self, name: str) -> list[str]:
        """The texts of a column. Raises ScenarioError."""
        if name not in self.texts:
            raise ScenarioError(
                f"{self.path}:1: there is no column {name!r}; the file has {', '.join(self.texts)}: name one of these"
            )
        return self.texts[name]

    def only(self, rows: Ints) -> Sheet:
        """The same file with these rows."""
        if rows.size == self.lines.size:
            return self
        picked = rows.tolist()
        return Sheet(
            path=self.path,
            texts={name: [texts[row] for row in picked] for name, texts in self.texts.items()},
            lines=self.lines[rows],
        )

    def error(self, row: int, what: str) -> ScenarioError:
        """A complaint about a row."""
        return ScenarioError(f"{self.path}:{self.lines[row]}: {what}")


def read(path: pathlib.Path, *, delimiter: str = ",") -> Sheet:
    """Read a CSV file with a header. Raises ScenarioError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if not header:
                raise ScenarioError(f"{path} is empty; it needs a header line and rows")
            doubled = sorted({name for name in header if header.count(name) > 1})
            if doubled:
                raise ScenarioError(f"{path}:1: the column {doubled[0]!r} is there twice; rename one")
            rows, lines = [], []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise ScenarioError(
                        f"{path}:{reader.line_num}: {len(row)} columns where the header has {len(header)}; mend the "
                        "line, or name another delimiter"
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise ScenarioError(f"cannot read {path}: {problem}") from None
    if not rows:
        raise ScenarioError(f"{path} has a header and no rows")
    texts = {name: [text.strip() for text in each] for name, each in zip(header, zip(*rows, strict=True), strict=True)}
    return Sheet(path=path, texts=texts, lines=np.array(lines, dtype=np.int64))


def chosen(sheet: Sheet, where: dict[str, str | list[str]]) -> Sheet:
    """The rows whose columns have these texts. Raises ScenarioError where there is none."""
    kept = np.ones(sheet.lines.size, dtype=np.bool_)
    for name, wanted in where.items():
        texts = sheet.column(name)
        allowed = frozenset([wanted] if isinstance(wanted, str) else wanted)
        missing = sorted(allowed.difference(texts))
        if missing:
            found = sorted(set(texts))
            shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
            raise ScenarioError(f"{sheet.path}: no row has {missing[0]!r} in column {name!r}; it holds {shown}")
        kept &= np.fromiter((text in allowed for text in texts), dtype=np.bool_, count=len(texts))
    if not kept.any():
        raise ScenarioError(f"{sheet.path}: no row fits where: {', '.join(f'{k}={v}' for k, v in where.items())}")
    return sheet.only(np.flatnonzero(kept))


def numbers(texts: Sequence[str], *, decimal_comma: bool = False) -> Floats:
    """Texts as numbers; NaN for what is none: empty, infinite, words."""
    if decimal_comma:
        texts = [text.replace(",", ".") for text in texts]
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        values = np.array([_number(text) for text in texts], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def times(sheet: Sheet, layout: columns.Table, *, column: str = "", origin: float = 0.0) -> tuple[Floats, Bools]:
    """Moments of a column, and which of them are local times that still need their zone.

    Args:
        sheet: the rows.
        layout: how times are written.
        column: which; default the layout's own.
        origin: the moment that 0 elapsed seconds stand for.

    Raises:
        ScenarioError: a text is no time.
    """
    name, form = column or layout.time, layout.time_format
    key = (name, form, origin)
    if key not in sheet.known:
        sheet.known[key] = _times(sheet, layout, name, form=form, origin=origin)
    values, naive = sheet.known[key]
    return values.copy(), naive


def _times(sheet: Sheet, layout: columns.Table, column: str, *, form: str, origin: float) -> tuple[Floats, Bools]:
    texts = sheet.column(column)
    count = len(texts)
    if form in ("unixSeconds", "unixMilliseconds", "elapsedSeconds"):
        values = numbers(texts, decimal_comma=layout.decimal_comma)
        bad = np.flatnonzero(np.isnan(values))
        if bad.size:
            raise sheet.error(int(bad[0]), f"{texts[int(bad[0])]!r} is no number of seconds; timeFormat is {form}")
        seconds = values / 1000 if form == "unixMilliseconds" else values
        return seconds + (origin if form == "elapsedSeconds" else 0.0), np.zeros(count, dtype=np.bool_)
    ending = next((end for end in ("Z", "+00:00") if texts[0].endswith(end)), "")
    plain = [text.removesuffix(ending) for text in texts] if ending else texts
    if form == "iso" and all(text.endswith(ending) for text in texts) and all(map(_LOCAL.fullmatch, plain)):
        try:
            stamps = np.array(plain, dtype="datetime64[us]")
        except ValueError:
            pass  # one of them is no date of the calendar; the slow way finds its line
        else:
            return stamps.astype(np.int64) / 1e6, np.full(count, not ending)
    found = np.empty(count)
    naive = np.zeros(count, dtype=np.bool_)
    for row, text in enumerate(texts):
        try:
            moment = _parsed(text, form)
        except ValueError as problem:
            raise sheet.error(row, f"cannot read this time: {problem}") from None
        naive[row] = moment.tzinfo is None
        found[row] = (moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment).timestamp()
    return found, naive


def _parsed(text: str, form: str) -> datetime.datetime:
    if form != "iso":
        return datetime.datetime.strptime(text, form)  # noqa: DTZ007  the zone comes after, from the layout
    try:
        return moments.parse(text)
    except moments.NaiveMomentError as naive:
        return naive.local


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Localized:
    """Local times as moments.

    Attributes:
        first: the moment; of an hour that comes twice, its first pass.
        second: of an hour that comes twice, its second pass; else as `first`.
        skipped: which of them the clocks never showed.
    """

    first: Floats
    second: Floats
    skipped: Bools

    @property
    def doubled(self) -> Bools:
        """Which of them came twice."""
        doubled: Bools = self.second > self.first
        return doubled


def localize(local: Floats, zone: zoneinfo.ZoneInfo) -> Localized:
    """Turn local clock times (seconds, as if in UTC) into moments."""
    if not local.size:
        return Localized(first=local, second=local, skipped=np.zeros(0, dtype=np.bool_))
    changes, offsets = _changes(zone, since=float(local.min()) - 2 * 86400, until=float(local.max()) + 2 * 86400)
    before, after = offsets[:-1], offsets[1:]
    # A change at the moment T turns local clocks from T + before to T + after.
    early = np.searchsorted(changes + np.minimum(before, after), local, side="right")
    late = np.searchsorted(changes + np.maximum(before, after), local, side="right")
    between = early != late
    forward = np.zeros(local.size, dtype=np.bool_)
    forward[between] = (after > before)[late[between]]
    first = local - offsets[late]
    second = np.where(between & ~forward, local - offsets[early], first)
    return Localized(first=first, second=second, skipped=forward)


def _changes(zone: zoneinfo.ZoneInfo, *, since: float, until: float) -> tuple[Floats, Floats]:
    """Moments at which a zone's offset changes, and its offsets before, between and after them, in seconds."""
    moment, offset = since, _offset(zone, since)
    changes, offsets = [], [offset]
    while moment < until:
        ahead = moment + 86400
        if _offset(zone, ahead) != offset:
            low, high = moment, ahead
            while high - low > 0.5:
                middle = (low + high) / 2
                low, high = (low, middle) if _offset(zone, middle) != offset else (middle, high)
            changes.append(float(round(high)))
            offset = _offset(zone, ahead)
            offsets.append(offset)
        moment = ahead
    return np.array(changes, dtype=np.float64), np.array(offsets, dtype=np.float64)


def _offset(zone: zoneinfo.ZoneInfo, moment: float) -> float:
    delta = datetime.datetime.fromtimestamp(moment, tz=zone).utcoffset()
    return 0.0 if delta is None else delta.total_seconds()


def series_times(
    sheet: Sheet, layout: columns.Table, *, window: tuple[float, float], origin: float, count: Count
) -> tuple[Floats, Ints]:
    """Moments of the rows of one series in rising order, and which row each is of; a row may stand for two moments.

    Local times: the hour that clocks skip is usually absent, and an error if it is there. In the hour that comes
    twice, a time that is not after the row before it is the second pass. Files with 24 hours on every day are mended
    if `repair.clockChange` asks for it. Moments may repeat: who knows the values says what then. Changes of clocks
    outside the window are neither errors nor counted.

    Raises:
        ScenarioError: a time cannot be read, has no zone, never was, or is before that of the row above it.
    """
    values, naive = times(sheet, layout, origin=origin)
    rows = np.arange(values.size)
    extra: Ints = np.zeros(0, dtype=np.int64)
    second = values
    if naive.any():
        zone = _zone(sheet, layout, int(np.flatnonzero(naive)[0]))
        values, second, rows, extra = _clock_changes(
            sheet, layout, values=values, naive=naive, zone=zone, window=window, count=count
        )
    falls = np.flatnonzero(np.diff(values[rows]) < 0)
    if falls.size:
        row, above = int(rows[falls[0] + 1]), int(rows[falls[0]])
        if layout.repair.unsorted is None:
            raise sheet.error(
                row,
                f"the time {sheet.column(layout.time)[row]} is earlier than that of line {sheet.lines[above]}; sort "
                "the rows, choose one series with where, or allow repair: {unsorted: sort}",
            )
        count("unsorted", int(falls.size), "rows that were earlier than the row above them: sorted")
    moments_ = np.concatenate((values[rows], second[extra]))
    order = np.argsort(moments_, kind="stable")
    return moments_[order] + layout.time_shift, np.concatenate((rows, extra))[order]


def event_times(sheet: Sheet, layout: columns.Table, *, column: str, origin: float, count: Count) -> Floats:
    """Moments of events in a column, in any order.

    One in an hour that comes twice is taken to be in its first pass; one in an hour that clocks skip is an hour later,
    if `repair.clockChange` allows it. Both are counted.

    Raises:
        ScenarioError: a time cannot be read, has no zone, or never was.
    """
    values, naive = times(sheet, layout, column=column, origin=origin)
    if naive.any():
        local = localize(values[naive], _zone(sheet, layout, int(np.flatnonzero(naive)[0]), column=column))
        if local.skipped.any():
            if layout.repair.clock_change is None:
                raise _skipped_error(
                    sheet, layout, int(np.flatnonzero(naive)[np.flatnonzero(local.skipped)[0]]), column
                )
            count("skippedHour", int(local.skipped.sum()), f"{column}: local times that never were, an hour later")
        if local.doubled.any():
            count(
                "doubledHour",
                int(local.doubled.sum()),
                f"{column}: in the hour that came twice, taken as its first pass",
            )
        values[naive] = local.first
    return values + layout.time_shift


def _zone(sheet: Sheet, layout: columns.Table, row: int, *, column: str = "") -> zoneinfo.ZoneInfo:
    if layout.zone is None:
        text = sheet.column(column or layout.time)[row]
        raise sheet.error(
            row, f"the time {text} has no zone; give the file a timeZone, such as UTC or America/New_York"
        )
    return layout.zone


def _skipped_error(sheet: Sheet, layout: columns.Table, row: int, column: str = "") -> ScenarioError:
    text = sheet.column(column or layout.time)[row]
    return sheet.error(
        row,
        f"the time {text} never was in {layout.time_zone}: clocks went forward; correct timeZone, or, if the file has "
        "24 hours on every local day, allow repair: {clockChange: twentyFourHours}",
    )


def _clock_changes(
    sheet: Sheet,
    layout: columns.Table,
    *,
    values: Floats,
    naive: Bools,
    zone: zoneinfo.ZoneInfo,
    window: tuple[float, float],
    count: Count,
) -> tuple[Floats, Floats, Ints, Ints]:
    """Moments of all rows, their second passes, the rows that are kept, and those that stand for both passes."""
    mend = layout.repair.clock_change is not None
    where = np.flatnonzero(naive)
    local = localize(values[where], zone)
    first, second = values.copy(), values.copy()
    first[where], second[where] = local.first, local.second
    skipped = where[local.skipped]
    near = skipped[(first[skipped] >= window[0]) & (first[skipped] < window[1])]
    if near.size:
        if not mend:
            raise _skipped_error(sheet, layout, int(near[0]))
        count("skippedHour", int(near.size), "rows of the hour that clocks skipped are left out")
    occurrences: dict[float, list[int]] = {}
    for row in where[local.doubled].tolist():
        occurrences.setdefault(float(values[row]), []).append(row)
        if row and first[row] <= first[row - 1] < second[row]:
            first[row] = second[row]
    alone = [rows[0] for rows in occurrences.values() if len(rows) == 1 and first[rows[0]] < second[rows[0]]]
    if not mend:
        alone = []
    number = sum(window[0] <= second[row] < window[1] for row in alone)
    if number:
        count("doubledHour", number, "the one row of an hour that came twice holds for both")
    kept = np.setdiff1d(np.arange(values.size), skipped)
    return first, second, kept, np.array(alone, dtype=np.int64)
