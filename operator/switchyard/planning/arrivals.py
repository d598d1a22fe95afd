"""What work is to be expected, learned from the jobs that this farm has seen in the last two weeks.

A history counts GPUs per day in cells: where the work fits, what it bids (a grid of equal ratios) and how long it runs
(a few classes). So it stays small however many jobs come, and its eight classes of bids follow the market. The time of
day counts as far as there are jobs enough to tell it from chance. Of a farm without a past nothing is expected.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

DAYS: Final = 14
BID_CLASSES: Final = 8
HOURS_CLASSES: Final = (0.5, 4.0, 24.0)
"""Limits between the classes of length, hours."""

_BID_RATIO: Final = 1.15
"""Between two lines of the grid of bids."""

_SETS: Final = 12
"""Sets of classes that are told apart; later ones count as the one they have most in common with."""

_PRIOR_JOBS: Final = 24.0
"""An hour of the day differs from the mean by half of what is seen when so many jobs have been seen in it."""

_VERSION: Final = 1


class HistoryError(ValueError):
    """A dump that is none. The message names the field."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A job that somebody brought.

    Attributes:
        at: when.
        gpus: of the whole gang.
        hours: that it said it would work.
        usd_per_gpu_hour: its bid.
        classes: keys of the classes of rigs that it fits.
    """

    at: datetime.datetime
    gpus: int
    hours: float
    usd_per_gpu_hour: float
    classes: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Work to be expected of one bid class, one class of length and one set of classes of rigs.

    Attributes:
        usd_per_gpu_hour: mean bid, by GPU-hours.
        hours: mean length, by GPUs.
        gang_gpus: mean GPUs of a gang, by GPUs: what a GPU of it would say that its gang has.
        classes: keys of the classes of rigs that it fits.
        gpus: expected to arrive in each step of the look-ahead.
    """

    usd_per_gpu_hour: float
    hours: float
    gang_gpus: float
    classes: frozenset[str]
    gpus: tuple[float, ...]


_Cell = tuple[int, int, int]
"""Number of the set, line of the grid of bids, class of length."""


@dataclasses.dataclass(slots=True)
class _Day:
    """Sums over one day: per cell [GPUs, GPU-hours, $, GPUs squared]; per hour jobs."""

    cells: dict[_Cell, list[float]] = dataclasses.field(default_factory=dict)
    jobs: list[int] = dataclasses.field(default_factory=lambda: [0] * 24)


class History:
    """Jobs seen since a moment, as sums per day; days older than two weeks are forgotten."""

    def __init__(self, since: datetime.datetime) -> None:
        self.since = since
        self._sets: list[frozenset[str]] = []
        self._days: dict[int, _Day] = {}

    def __eq__(self, other: object) -> bool:
        """Whether both have seen the same."""
        if not isinstance(other, History):
            return NotImplemented
        return (self.since, self._sets, self._days) == (other.since, other._sets, other._days)

    __hash__ = None  # type: ignore[assignment]

    def add(self, arrival: Arrival) -> None:
        """Count a job. One from before `since`, or that says nothing that can be counted, is left out."""
        if arrival.at < self.since or not arrival.classes or arrival.gpus < 1:
            return
        if not (0 < arrival.hours < math.inf and 0 < arrival.usd_per_gpu_hour < math.inf):
            return
        number = _day(arrival.at)
        day = self._days.setdefault(number, _Day())
        line = math.floor(math.log(arrival.usd_per_gpu_hour) / math.log(_BID_RATIO))
        length = int(np.searchsorted(HOURS_CLASSES, arrival.hours))
        sums = day.cells.setdefault((self._set(arrival.classes), line, length), [0.0] * 4)
        work = arrival.gpus * arrival.hours
        for at, more in enumerate((arrival.gpus, work, work * arrival.usd_per_gpu_hour, arrival.gpus**2)):
            sums[at] += more
        day.jobs[arrival.at.astimezone(datetime.UTC).hour] += 1
        self._forget(max(self._days))

    def grown(self, arrivals: Sequence[Arrival]) -> History:
        """This history with more jobs; this one stays as it is."""
        if not arrivals:
            return self
        found = History(self.since)
        found._sets = list(self._sets)
        found._days = dict(self._days)
        fresh: set[int] = set()
        for arrival in arrivals:
            number = _day(arrival.at)
            if number in found._days and number not in fresh:
                day = found._days[number]
                found._days[number] = _Day({cell: list(sums) for cell, sums in day.cells.items()}, list(day.jobs))
            fresh.add(number)
            found.add(arrival)
        return found

    def expected(self, now: datetime.datetime, edges_hours: Sequence[float]) -> tuple[Expected, ...]:
        """What is expected after `now` in steps between `edges_hours`, best bids first."""
        today = _day(now)
        days = {number: day for number, day in self._days.items() if today - DAYS < number <= today}
        first = max(self.since, now - datetime.timedelta(days=DAYS - 1))
        first = max(self.since, first.astimezone(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0))
        seen_hours = (now - first).total_seconds() / 3600
        if not days or seen_hours <= 0:
            return ()
        cells: dict[_Cell, list[float]] = {}
        for _, day in sorted(days.items()):
            for cell, sums in day.cells.items():
                known = cells.setdefault(cell, [0.0] * 4)
                for at, figure in enumerate(sums):
                    known[at] += figure
        weights = _weights(now, edges_hours, self._hourly(days, first, now))
        # One day's jobs are one draw: before a day is over the rate is not to be trusted in full.
        weights = weights / max(seen_hours, 24.0)
        return tuple(self._gathered(cells, weights))

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "version": _VERSION,
            "since": self.since.isoformat(),
            "sets": [sorted(classes) for classes in self._sets],
            "days": {
                str(number): {
                    "jobs": day.jobs,
                    "cells": [
                        [*cell, *(float(f"{figure:.6g}") for figure in sums)] for cell, sums in day.cells.items()
                    ],
                }
                for number, day in sorted(self._days.items())
            },
        }

    @classmethod
    def load(cls, dump: Mapping[str, Any]) -> History:
        """What `dump` has written. Raises HistoryError."""
        try:
            if dump["version"] != _VERSION:
                raise HistoryError(f"version: {dump['version']} is not {_VERSION}; start with an empty history")
            found = cls(datetime.datetime.fromisoformat(dump["since"]))
            if found.since.tzinfo is None:
                raise HistoryError("since: has no time zone")
            found._sets = [frozenset(map(str, classes)) for classes in dump["sets"]]
            for number, day in dump["days"].items():
                cells = {
                    (int(row[0]), int(row[1]), int(row[2])): [float(figure) for figure in row[3:7]]
                    for row in day["cells"]
                }
                jobs = [int(count) for count in day["jobs"]]
                lost = any(not 0 <= cell[0] < len(found._sets) for cell in cells)
                if lost or len(jobs) != 24 or any(len(sums) != 4 for sums in cells.values()):
                    raise HistoryError(f"days[{number}]: cells or jobs do not fit")
                found._days[int(number)] = _Day(cells=cells, jobs=jobs)
        except (KeyError, TypeError, IndexError, AttributeError) as problem:
            raise HistoryError(f"not a history of arrivals: {problem!r}") from problem
        except ValueError as problem:
            raise HistoryError(str(problem)) from problem
        return found

    def _set(self, classes: frozenset[str]) -> int:
        if classes in self._sets:
            return self._sets.index(classes)
        if len(self._sets) < _SETS:
            self._sets.append(classes)
            return len(self._sets) - 1
        alike = [len(known & classes) / len(known | classes) for known in self._sets]
        return alike.index(max(alike))

    def _forget(self, last: int) -> None:
        for number in [number for number in self._days if number <= last - DAYS]:
            del self._days[number]

    def _hourly(self, days: Mapping[int, _Day], first: datetime.datetime, now: datetime.datetime) -> list[float]:
        """By hour of the day: how the rate of arrivals compares with the mean, drawn towards 1."""
        jobs = np.sum([day.jobs for day in days.values()], axis=0)
        starts = np.arange(first.timestamp(), now.timestamp(), 600.0)
        seen = np.bincount((starts // 3600 % 24).astype(int), minlength=24) / 6.0
        mean = jobs.sum() / seen.sum()
        usual = mean * seen
        return [float(factor) for factor in (jobs + _PRIOR_JOBS) / (usual + _PRIOR_JOBS)]

    def _gathered(self, cells: Mapping[_Cell, list[float]], weights: np.ndarray[Any, Any]) -> list[Expected]:
        """Cells gathered into classes of bids: equal parts of the GPU-hours of each set of classes."""
        found: list[Expected] = []
        for number, classes in enumerate(self._sets):
            mine = sorted((cell[1], cell[2], sums) for cell, sums in cells.items() if cell[0] == number)
            total = sum(sums[1] for _, _, sums in mine)
            before, line_before = 0.0, None
            groups: dict[tuple[int, int], list[float]] = {}
            for line, length, sums in mine:
                if line != line_before:
                    bid_class = min(BID_CLASSES - 1, int(BID_CLASSES * before / total))
                    line_before = line
                group = groups.setdefault((bid_class, length), [0.0] * 4)
                for at, figure in enumerate(sums):
                    group[at] += figure
                before += sums[1]
            found += [
                Expected(
                    usd_per_gpu_hour=usd / work,
                    hours=work / gpus,
                    gang_gpus=squares / gpus,
                    classes=classes,
                    gpus=tuple(float(gpus * weight) for weight in weights),
                )
                for gpus, work, usd, squares in groups.values()
            ]
        return sorted(found, key=lambda each: (-each.usd_per_gpu_hour, each.hours, sorted(each.classes)))


def _day(at: datetime.datetime) -> int:
    return at.astimezone(datetime.UTC).date().toordinal()


def _weights(now: datetime.datetime, edges_hours: Sequence[float], hourly: Sequence[float]) -> np.ndarray[Any, Any]:
    """Hours of mean arrivals that each step is worth, by the time of day that it covers."""
    start = now.timestamp()
    weights = []
    for begin, end in itertools.pairwise(edges_hours):
        parts = max(1, math.ceil((end - begin) * 4))
        moments = start / 3600 + begin + (np.arange(parts) + 0.5) * (end - begin) / parts
        factors = np.asarray(hourly)[(moments % 24).astype(int)]
        weights.append((end - begin) * float(factors.mean()))
    return np.array(weights)
