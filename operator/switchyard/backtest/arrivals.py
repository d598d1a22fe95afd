"""Lists of jobs: read, cut to size, and made into gangs with bids."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from switchyard.backtest import script, sources, table, timeline, work

Floats = table.Floats
Ints = table.Ints


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listed:
    """Jobs of a file, one entry per job; moments and durations in seconds.

    Attributes:
        arrival: since 1970, UTC.
        duration: of work.
        gpus: of the whole job.
        row: of the file's chosen rows.
        sheet: the file.
    """

    arrival: Floats
    duration: Floats
    gpus: Ints
    row: Ints
    sheet: table.Sheet

    def only(self, kept: table.Bools | Ints) -> Listed:
        """These jobs of them."""
        return dataclasses.replace(
            self,
            arrival=self.arrival[kept],
            duration=self.duration[kept],
            gpus=self.gpus[kept],
            row=self.row[kept],
        )


def read(files: sources.Sources, place: str, layout: work.JobList) -> Listed:
    """All jobs of a list that the scenario wants, also those before its start.

    Raises:
        ScenarioError: a row is no job, with file and line; or the list does not reach from the start to the end.
        MissingDataError: data from outside is not there.
    """
    sheet = _within(files.sheet(layout), layout)
    count, origin = files.count(sheet, layout), files.origin(layout)
    if isinstance(layout.gpus, int):
        gpus = np.full(sheet.lines.size, float(layout.gpus))
    else:
        gpus = _numbers(sheet, layout, layout.gpus.column) * layout.gpus.scale
    fine = (gpus >= 1) & (gpus % 1 == 0)
    _check(sheet, layout, fine=fine, what="its GPUs are not a whole number of at least 1", count=count)
    sheet, gpus = sheet.only(np.flatnonzero(fine)), gpus[fine]
    if layout.end is not None:
        columns = [layout.end, *([] if layout.begin is None else [layout.begin])]
        fine = np.array([all(cells) for cells in zip(*(sheet.column(name) for name in columns), strict=True)])
        _check(sheet, layout, fine=fine, what=f"{' or '.join(columns)} is empty", count=count)
        sheet, gpus = sheet.only(np.flatnonzero(fine)), gpus[fine]
    arrival = table.event_times(sheet, layout, column=layout.time, origin=origin, count=count)
    if layout.duration is not None:
        duration = _numbers(sheet, layout, layout.duration.column) * layout.duration.scale
    else:
        assert layout.end is not None  # noqa: S101  the model demands one of both
        begun = table.event_times(sheet, layout, column=layout.begin or layout.time, origin=origin, count=count)
        duration = table.event_times(sheet, layout, column=layout.end, origin=origin, count=count) - begun
    fine = duration > 0
    _check(sheet, layout, fine=fine, what="its duration is not a number above 0", count=count)
    _check_reach(files, sheet, layout, arrival=arrival)
    fine &= gpus <= (layout.max_gpus or np.inf)
    fine &= duration >= layout.min_duration
    fine &= duration <= (layout.max_duration or np.inf)
    if not fine.any():
        raise files.error(place, f"maxGpus, minDuration and maxDuration leave no job of {sheet.path}; widen them")
    jobs = Listed(
        arrival=arrival,
        duration=duration,
        gpus=np.nan_to_num(gpus).astype(np.int64),
        row=np.arange(arrival.size),
        sheet=sheet,
    )
    return jobs.only(fine)


def _numbers(sheet: table.Sheet, layout: work.JobList, column: str) -> Floats:
    return table.numbers(sheet.column(column), decimal_comma=layout.decimal_comma)


def _within(sheet: table.Sheet, layout: work.JobList) -> table.Sheet:
    """The rows whose numbers lie within the bounds of `keep`."""
    kept = np.ones(sheet.lines.size, dtype=np.bool_)
    for column, bounds in layout.keep.items():
        values = _numbers(sheet, layout, column)
        kept &= (values >= (-np.inf if bounds.least is None else bounds.least)) & (
            values <= (np.inf if bounds.most is None else bounds.most)
        )
    if not kept.any():
        raise table.ScenarioError(f"{sheet.path}: no row is within keep; widen its bounds")
    return sheet.only(np.flatnonzero(kept))


def _check(sheet: table.Sheet, layout: work.JobList, *, fine: table.Bools, what: str, count: table.Count) -> None:
    bad = np.flatnonzero(~fine)
    if not bad.size:
        return
    if layout.repair.not_numbers is None:
        raise sheet.error(
            int(bad[0]),
            f"this is no job: {what} ({bad.size} such rows); mend it, leave such rows out with keep, such as "
            "keep: {COLUMN: {least: 1}}, or allow repair: {notNumbers: gap}",
        )
    if bad.size == fine.size:
        raise sheet.error(int(bad[0]), f"not one row is a job: {what}; name another column")
    count("notNumber", int(bad.size), f"rows that are no job, first in line {sheet.lines[bad[0]]}: {what}")


def _check_reach(files: sources.Sources, sheet: table.Sheet, layout: work.JobList, *, arrival: Floats) -> None:
    first, last = float(arrival.min()), float(arrival.max())
    for late, side in ((first - files.axis.start, "begin"), (files.axis.end - last, "end")):
        if late > layout.quiet:
            raise table.ScenarioError(
                f"{sheet.path}: the jobs {side} {timeline.span(late)} "
                f"{'after the start' if side == 'begin' else 'before the end'} of the scenario (arrivals from "
                f"{timeline.shown(first)} to {timeline.shown(last)}); choose another period, correct timeOrigin, or "
                f"allow quiet: {timeline.span(late)}"
            )


def jobs(files: sources.Sources) -> tuple[script.JobScript, ...]:
    """All jobs that arrive within the scenario, by arrival. Raises ScenarioError and MissingDataError."""
    found = [job for name, each in files.scene.jobs.items() for job in _jobs(files, name, each)]
    return tuple(sorted(found, key=lambda job: (job.arrival_seconds, job.key)))


def _jobs(files: sources.Sources, name: str, jobs: work.Jobs) -> list[script.JobScript]:
    place, axis = f"jobs.{name}", files.axis
    fleet = _fleet(files, place, jobs)
    chance = files.chance("jobs", name)
    listed = read(files, f"{place}.list", jobs.list)
    if jobs.jitter:
        listed = dataclasses.replace(
            listed, arrival=listed.arrival + chance.uniform(-jobs.jitter, jobs.jitter, listed.arrival.size)
        )
    listed = listed.only((listed.arrival >= axis.start) & (listed.arrival < axis.end))
    if not listed.row.size:
        raise files.error(place, "no job of the list arrives within the scenario; choose another period")
    largest = int(listed.gpus.max())
    if largest > fleet:
        raise files.error(
            f"{place}.list.maxGpus",
            f"the largest job wants {largest} GPUs and the groups have {fleet}; write at most that",
        )
    listed = dataclasses.replace(listed, arrival=listed.arrival - axis.start)
    copies = np.zeros(listed.row.size, dtype=np.int64)
    if jobs.load is not None:
        wanted = jobs.load * fleet * (axis.end - axis.start)
        listed, copies = _loaded(listed, wanted=wanted, length=axis.end - axis.start, chance=chance)
    bids = _bids(files, place, listed, jobs, chance=chance)
    deadlines = _deadlines(files, listed, jobs)
    made = []
    for index, (arrival, duration, gpus, line, copy) in enumerate(
        zip(
            listed.arrival.tolist(),
            listed.duration.tolist(),
            listed.gpus.tolist(),
            listed.sheet.lines[listed.row].tolist(),
            copies.tolist(),
            strict=True,
        )
    ):
        replicas = gang(gpus, most=jobs.gpus_per_replica)
        made.append(
            script.JobScript(
                key=f"{name}-{line}" + (f"-{copy}" if copy else ""),
                arrival_seconds=arrival,
                replicas=replicas,
                gpus_per_replica=gpus // replicas,
                duration_seconds=duration,
                bid_usd_per_gpu_hour=bids[index] * (1 - jobs.fee),
                patience_seconds=jobs.patience,
                deadline_seconds=deadlines[index],
                checkpoint_seconds=jobs.checkpoint,
                preemptible=jobs.preemptible,
                groups=jobs.groups,
            )
        )
    return made


def gang(gpus: int, *, most: int) -> int:
    """The fewest equal replicas that a job is split into, with at most so many GPUs each."""
    return next(count for count in range(math.ceil(gpus / most), gpus + 1) if gpus % count == 0)


def _fleet(files: sources.Sources, place: str, jobs: work.Jobs) -> int:
    """GPUs of all groups that fit these jobs."""
    groups = files.scene.groups
    fitting = [groups[name] for name in jobs.groups] or [group for group in groups.values() if group.ai]
    widest = max((group.gpus_per_rig for group in fitting), default=0)
    if widest < jobs.gpus_per_replica:
        raise files.error(
            f"{place}.gpusPerReplica", f"no rig has so many GPUs, the widest has {widest}; write at most that"
        )
    return sum(group.gpus for group in fitting)


def _loaded(listed: Listed, *, wanted: float, length: float, chance: np.random.Generator) -> tuple[Listed, Ints]:
    """Jobs drawn until their work is as near as can be to `wanted` GPU-seconds; and which copy each of them is.

    Work counts as far as it could be done before the end, begun on arrival. The jobs themselves are drawn first, in
    random order; then copies of all of them, moved by a whole number of days and wrapped around at the end.
    """
    picked, shifted, copies, total, copy = [], [], [], 0.0, 0
    days = max(1, int(length // 86400))
    while total < wanted:
        order = chance.permutation(listed.row.size)
        shift = 0.0 if copy == 0 else 86400.0 * float(chance.integers(1, days + 1))
        arrival = (listed.arrival[order] + shift) % length
        work = listed.gpus[order] * np.minimum(listed.duration[order], length - arrival)
        sums = total + np.cumsum(work)
        # The draw that comes nearest, whether it is the last below or the first above.
        count = int(np.searchsorted(sums, wanted, side="left")) + 1
        if count <= sums.size and sums[count - 1] - wanted > wanted - (sums[count - 2] if count > 1 else total):
            count -= 1
        count = min(count, sums.size)
        picked.append(order[:count])
        shifted.append(arrival[:count])
        copies.append(np.full(count, copy, dtype=np.int64))
        if count < sums.size:
            break
        total, copy = float(sums[-1]), copy + 1
    drawn = dataclasses.replace(listed.only(np.concatenate(picked)), arrival=np.concatenate(shifted))
    return drawn, np.concatenate(copies)


def _bids(
    files: sources.Sources, place: str, listed: Listed, jobs: work.Jobs, *, chance: np.random.Generator
) -> list[float]:
    bid, count = jobs.bid, listed.row.size
    if bid.fixed is not None:
        return [bid.fixed] * count
    if bid.lognormal is not None:
        draws = bid.lognormal.median * np.exp(bid.lognormal.sigma * chance.standard_normal(count))
    elif bid.uniform is not None:
        draws = chance.uniform(bid.uniform.least, bid.uniform.most, count)
    else:
        assert bid.column is not None  # noqa: S101  the model demands one of the four
        draws = (_numbers(listed.sheet, jobs.list, bid.column.column) * bid.column.scale)[listed.row]
        bad = np.flatnonzero(~(draws >= 0))
        if bad.size:
            row = int(listed.row[bad[0]])
            text = listed.sheet.column(bid.column.column)[row]
            raise listed.sheet.error(row, f"{text!r} in column {bid.column.column!r} is no bid: a number, not below 0")
    found: list[float] = draws.tolist()
    return found


def _deadlines(files: sources.Sources, listed: Listed, jobs: work.Jobs) -> list[float | None]:
    """Seconds since the start, None for no deadline. A copy has as long from its arrival as the original."""
    deadline = jobs.deadline
    if deadline is None:
        return [None] * listed.row.size
    if deadline.factor is not None:
        after: list[float] = (listed.arrival + deadline.factor * listed.duration).tolist()
        return list(after)
    assert deadline.column is not None  # noqa: S101  the model demands one of both
    sheet, layout, origin = listed.sheet, jobs.list, files.origin(jobs.list)
    texts = sheet.column(deadline.column)
    given = np.array([bool(texts[row]) for row in listed.row.tolist()])
    rows, positions = np.unique(listed.row[given], return_inverse=True)
    part, count = sheet.only(rows), files.count(sheet, layout)
    if not rows.size:
        return [None] * listed.row.size
    until = table.event_times(part, layout, column=deadline.column, origin=origin, count=count)
    begun = table.event_times(part, layout, column=layout.time, origin=origin, count=count)
    early = np.flatnonzero(until <= begun)
    if early.size:
        raise part.error(int(early[0]), f"the deadline in column {deadline.column!r} is not after the job's arrival")
    found: list[float | None] = [None] * listed.row.size
    for index, left in zip(np.flatnonzero(given).tolist(), (until - begun)[positions].tolist(), strict=True):
        found[index] = float(listed.arrival[index]) + left
    return found
