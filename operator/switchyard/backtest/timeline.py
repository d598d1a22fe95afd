"""Series on the steps of a scenario: rows with intervals become one value per step, and flaws errors or repairs."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np

from switchyard.backtest import columns, table

Floats = table.Floats
Ints = table.Ints

# Moments in files carry milliseconds; two that differ by less are the same.
_SAME = 1e-3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Equal steps of time. `start` is in seconds since 1970, UTC."""

    start: float
    step_seconds: float
    steps: int

    @property
    def end(self) -> float:
        """First moment after the last step."""
        return self.start + self.steps * self.step_seconds

    @property
    def edges(self) -> Floats:
        """The `steps + 1` moments between steps."""
        return self.start + self.step_seconds * np.arange(self.steps + 1, dtype=np.float64)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A function of time that is constant between `edges` (one more than `values`)."""

    edges: Floats
    values: Floats
    interpolate: bool

    def on(self, axis: Axis) -> Floats:
        """Its mean over each step; with `interpolate`, the straight lines between the middles at each step's middle."""
        edges = axis.edges
        if self.interpolate:
            middles = (self.edges[:-1] + self.edges[1:]) / 2
            return np.interp((edges[:-1] + edges[1:]) / 2, middles, self.values)
        index = np.searchsorted(self.edges, edges[:-1], side="right") - 1
        index = np.clip(index, 0, self.values.size - 1)
        means: Floats = self.values[index].astype(np.float64)
        split = np.flatnonzero(edges[1:] > self.edges[index + 1] + _SAME)
        if split.size:
            total = np.concatenate(([0.0], np.cumsum(self.values * np.diff(self.edges))))
            inside = np.interp(edges, self.edges, total)
            means[split] = (inside[split + 1] - inside[split]) / axis.step_seconds
        return means


def line(
    sheet: table.Sheet,
    series: columns.Series,
    *,
    since: float,
    until: float,
    reach: tuple[float, float] | None = None,
    origin: float,
    count: table.Count,
) -> Line:
    """A series of a file between two moments.

    Args:
        sheet: the rows that belong to it.
        series: what the scenario says of them.
        since: from when it is needed.
        until: until when.
        reach: rows within these wider bounds are taken too if they are there.
        origin: the moment that 0 elapsed seconds stand for.
        count: takes note of repairs.

    Raises:
        ScenarioError: a flaw that the scenario does not allow to be mended, with file and line.
    """
    nearest, farthest = reach or (since, until)
    times, rows = table.series_times(sheet, series, window=(nearest, farthest), origin=origin, count=count)
    interval = np.inf if series.until_next else _interval(sheet, series, times)
    # One row on each side of the window is enough for straight lines; flaws farther out do not matter.
    margin = 86400.0 if series.until_next else 2 * interval
    low = max(int(np.searchsorted(times, nearest - margin, side="left")) - int(series.until_next), 0)
    high = int(np.searchsorted(times, farthest + (0.0 if series.until_next else margin), side="left"))
    times, rows = times[low:high], rows[low:high]
    values = np.zeros(rows.size)
    for column in series.columns:
        texts = sheet.column(column)
        values += table.numbers([texts[row] for row in rows.tolist()], decimal_comma=series.decimal_comma)
    values *= series.scale
    times, rows, values = _without_bad(sheet, series, times=times, rows=rows, values=values, count=count)
    times, rows, values = _without_doubles(sheet, series, times=times, rows=rows, values=values, count=count)
    if not times.size:
        raise table.ScenarioError(
            f"{sheet.path}: column {_named(series)} has no value between {shown(since)} and {shown(until)}; "
            "choose another period or file"
        )
    return _joined(
        sheet, series, times=times, rows=rows, values=values, interval=interval, since=since, until=until, count=count
    )


def _interval(sheet: table.Sheet, series: columns.Series, times: Floats) -> float:
    if series.interval is not None:
        return series.interval
    distances = np.diff(times)
    distances = distances[distances > _SAME]
    if not distances.size:
        raise table.ScenarioError(f"{sheet.path}: one row tells nothing of its interval; give interval, such as 1h")
    found, counts = np.unique(np.round(distances, 3), return_counts=True)
    return float(found[np.argmax(counts)])


def _without_bad(
    sheet: table.Sheet, series: columns.Series, *, times: Floats, rows: Ints, values: Floats, count: table.Count
) -> tuple[Floats, Ints, Floats]:
    bad = np.isnan(values)
    if not bad.any():
        return times, rows, values
    row = int(rows[np.flatnonzero(bad)[0]])
    if series.repair.not_numbers is None:
        texts = " and ".join(repr(sheet.column(column)[row]) for column in series.columns)
        raise sheet.error(
            row,
            f"{texts} in column {_named(series)} is no number; mend it, or allow repair: {{notNumbers: gap}} together "
            "with gaps",
        )
    count("notNumber", int(bad.sum()), f"column {_named(series)}, first in line {sheet.lines[row]}: left out")
    return times[~bad], rows[~bad], values[~bad]


def _without_doubles(
    sheet: table.Sheet, series: columns.Series, *, times: Floats, rows: Ints, values: Floats, count: table.Count
) -> tuple[Floats, Ints, Floats]:
    doubles = np.flatnonzero(np.diff(times) <= _SAME)
    if not doubles.size:
        return times, rows, values
    row, above = int(rows[doubles[0] + 1]), int(rows[doubles[0]])
    rule = series.repair.duplicates
    if rule is None:
        raise sheet.error(
            row,
            f"the time {sheet.column(series.time)[row]} repeats that of line {sheet.lines[above]}; keep one of them, "
            "choose one series with where or sumOver, or allow repair: {duplicates: first}",
        )
    count("duplicate", int(doubles.size), f"rows that repeat a time, first in line {sheet.lines[row]}: {rule}")
    begins = np.concatenate(([0], np.flatnonzero(np.diff(times) > _SAME) + 1))
    ends = np.concatenate((begins[1:], [times.size]))
    if rule == "mean":
        merged = np.add.reduceat(values, begins) / (ends - begins)
    else:
        merged = values[begins if rule == "first" else ends - 1]
    return times[begins], rows[begins], merged


def _joined(
    sheet: table.Sheet,
    series: columns.Series,
    *,
    times: Floats,
    rows: Ints,
    values: Floats,
    interval: float,
    since: float,
    until: float,
    count: table.Count,
) -> Line:
    repair = series.repair
    last = until if series.until_next else times[-1] + interval
    edges = np.append(times, max(last, times[-1] + _SAME))
    lengths = np.diff(times)
    gaps = np.flatnonzero(lengths > interval + _SAME)
    gaps = gaps[(times[gaps] + interval < until) & (times[gaps + 1] > since)]
    missing = np.round(lengths[gaps] / interval).astype(np.int64) - 1 if gaps.size else np.zeros(0, dtype=np.int64)
    for gap in gaps.tolist():
        length = lengths[gap] - interval
        if repair.gaps is None or length > repair.max_gap + _SAME:
            raise sheet.error(
                int(rows[gap + 1]),
                _gap_words(sheet, series, begin=times[gap] + interval, length=length, above=int(rows[gap])),
            )
    if gaps.size:
        longest = float((lengths[gaps] - interval).max())
        count(
            "gap",
            max(int(missing.sum()), gaps.size),
            f"missing rows, {repair.gaps}; the longest gap is {span(longest)}",
        )
    # Outside the window a gap may stand: nobody looks at it.
    if repair.gaps == "interpolate" and gaps.size:
        inserted, between = [], []
        for gap, number in zip(gaps.tolist(), missing.tolist(), strict=True):
            moments = times[gap] + interval * np.arange(1, number + 1)
            moments = moments[moments < times[gap + 1] - _SAME]
            inserted.append(moments)
            between.append(np.interp(moments, times[gap : gap + 2], values[gap : gap + 2]))
        edges = np.concatenate((edges, *inserted))
        order = np.argsort(edges, kind="stable")
        edges = edges[order]
        values = np.concatenate((values, [np.nan], *between))[order][:-1]
    low, high = since - edges[0], edges[-1] - until
    for lacking, side, edge in ((-low, "begins", edges[0]), (-high, "ends", edges[-1])):
        if lacking <= _SAME:
            continue
        if repair.ends is None or lacking > repair.max_gap + _SAME:
            raise table.ScenarioError(
                f"{sheet.path}: column {_named(series)} {side} {shown(edge)}, {span(lacking)} "
                f"{'after the first' if side == 'begins' else 'before the last'} moment that is needed, "
                f"{shown(since if side == 'begins' else until)}; choose another period, or allow "
                f"repair: {{ends: hold, maxGap: {span(lacking)}}}"
            )
        count("end", 1, f"the series {side} {span(lacking)} {'late' if side == 'begins' else 'early'}: held")
    edges[0], edges[-1] = min(edges[0], since), max(edges[-1], until)
    return Line(edges=edges, values=values, interpolate=series.interpolate)


def _gap_words(sheet: table.Sheet, series: columns.Series, *, begin: float, length: float, above: int) -> str:
    words = (
        f"nothing for {span(length)} from {shown(begin)} (after line {sheet.lines[above]}); add the rows, or allow "
        f"repair: {{gaps: hold, maxGap: {span(length)}}}"
    )
    zone = series.zone
    if zone is not None:
        before, after = (datetime.datetime.fromtimestamp(at, tz=zone) for at in (begin - 3600, begin + length))
        if before.utcoffset() != after.utcoffset():
            words += (
                "; clocks go back there: if the file has 24 hours on every local day, allow "
                "repair: {clockChange: twentyFourHours}"
            )
    return words


def _named(series: columns.Series) -> str:
    return " + ".join(repr(column) for column in series.columns)


def shown(moment: float) -> str:
    """A moment for people."""
    return datetime.datetime.fromtimestamp(moment, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time as it may be written into a scenario, rounded up to whole seconds."""
    rest = int(np.ceil(seconds - _SAME))
    parts = []
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{letter}")
    return "".join(parts) or "0s"
