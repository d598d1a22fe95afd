"""What a farm learns from the jobs it has seen."""

from __future__ import annotations

import datetime
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.planning import arrivals

START = datetime.datetime(2030, 3, 4, tzinfo=datetime.UTC)
EDGES = (0.0, 0.5, 1.0, 4.0, 24.0)
HERE = frozenset({"a", "b"})


def hours(count: float) -> datetime.timedelta:
    return datetime.timedelta(hours=count)


def job(
    at: float, *, gpus: int = 4, length: float = 2.0, bid: float = 0.3, classes: frozenset[str] = HERE
) -> arrivals.Arrival:
    return arrivals.Arrival(at=START + hours(at), gpus=gpus, hours=length, usd_per_gpu_hour=bid, classes=classes)


def history(*jobs: arrivals.Arrival) -> arrivals.History:
    found = arrivals.History(START)
    for each in jobs:
        found.add(each)
    return found


def total(expected: tuple[arrivals.Expected, ...]) -> float:
    return sum(sum(each.gpus) for each in expected)


def by_set(expected: tuple[arrivals.Expected, ...]) -> dict[frozenset[str], list[float]]:
    """GPUs, GPU-hours, $ and GPUs squared, by the classes of rigs that they fit."""
    found: dict[frozenset[str], list[float]] = {}
    for each in expected:
        gpus = sum(each.gpus)
        work = gpus * each.hours
        sums = found.setdefault(each.classes, [0.0] * 4)
        for at, figure in enumerate((gpus, work, work * each.usd_per_gpu_hour, gpus * each.gang_gpus)):
            sums[at] += figure
    return found


def test_a_farm_without_a_past_expects_nothing() -> None:
    assert history().expected(START + hours(100), EDGES) == ()


def test_a_steady_stream_is_expected_to_go_on() -> None:
    seen = history(*(job(at, bid=0.2 if at % 2 else 0.4) for at in range(96)))
    expected = seen.expected(START + hours(96), EDGES)
    assert total(expected) == pytest.approx(24 * 4, rel=0.01)
    assert [round(each.usd_per_gpu_hour, 6) for each in expected] == [0.4, 0.2]
    assert all(each.hours == pytest.approx(2) and each.gang_gpus == pytest.approx(4) for each in expected)
    assert all(each.classes == HERE for each in expected)
    assert [sum(each.gpus[step] for each in expected) for step in range(4)] == pytest.approx([2, 2, 12, 80], rel=0.05)


def test_quiet_days_count_too() -> None:
    seen = history(*(job(at) for at in range(24)))
    early = total(seen.expected(START + hours(24), EDGES))
    late = total(seen.expected(START + hours(96), EDGES))
    assert late == pytest.approx(early / 4, rel=0.1)


def test_the_first_hours_are_not_taken_for_a_day() -> None:
    assert total(history(job(0.1)).expected(START + hours(0.2), (0.0, 1.0))) < 1


def test_what_is_older_than_two_weeks_is_forgotten() -> None:
    seen = history(job(1.0), job(24.0 * 15))
    assert len(seen.dump()["days"]) == 1
    assert seen.expected(START + hours(24 * 40), EDGES) == ()


def test_the_time_of_day_counts_with_enough_jobs_and_hardly_with_few() -> None:
    def ratio(each_day: int) -> float:
        jobs = [job(24 * day + 9 + at / each_day) for day in range(10) for at in range(each_day)]
        expected = history(*jobs).expected(START + hours(240), tuple(float(edge) for edge in range(25)))
        steps = [sum(each.gpus[step] for each in expected) for step in range(24)]
        return steps[9] / (sum(steps) / 24)

    assert ratio(50) > 8
    assert ratio(1) < 2


def test_bids_are_told_apart_in_eight_classes_of_equal_work() -> None:
    expected = history(*(job(at / 10, bid=0.1 * 1.03**at) for at in range(100))).expected(START + hours(24), EDGES)
    assert len(expected) == arrivals.BID_CLASSES
    parts = [sum(each.gpus) * each.hours for each in expected]
    assert max(parts) < 2 * min(parts)


def test_many_sets_of_classes_are_folded_into_those_most_like_them() -> None:
    sets = [frozenset({f"c{at}", "x"}) for at in range(30)]
    seen = history(*(job(at / 10, classes=classes) for at, classes in enumerate(sets)), job(4, classes=sets[0] | {"y"}))
    expected = seen.expected(START + hours(24), EDGES)
    assert len({each.classes for each in expected}) == 12
    assert total(expected) == pytest.approx(31 * 4, rel=0.05)


@pytest.mark.parametrize(
    "odd",
    [
        job(-1.0),
        job(1.0, gpus=0),
        job(1.0, length=0.0),
        job(1.0, length=math.inf),
        job(1.0, bid=0.0),
        job(1.0, bid=math.nan),
        job(1.0, classes=frozenset()),
    ],
)
def test_what_cannot_be_counted_is_left_out(odd: arrivals.Arrival) -> None:
    assert history(odd).dump() == history().dump()


@given(
    st.lists(
        st.builds(
            job,
            st.floats(0, 24 * 30),
            gpus=st.integers(1, 64),
            length=st.floats(0.01, 500),
            bid=st.floats(0.01, 5),
            classes=st.sampled_from([HERE, frozenset({"a"}), frozenset({"c"})]),
        ),
        max_size=30,
    )
)
def test_a_dump_says_all(jobs: list[arrivals.Arrival]) -> None:
    seen = history(*sorted(jobs, key=lambda each: each.at))
    dump = json.loads(json.dumps(seen.dump()))
    again = arrivals.History.load(dump)
    assert again.dump() == dump
    now = START + hours(24 * 30)
    before, after = seen.expected(now, EDGES), again.expected(now, EDGES)
    # Figures are written with six digits: what bids the same may change places, and no more.
    assert by_set(after) == {classes: pytest.approx(sums, rel=1e-4) for classes, sums in by_set(before).items()}
    assert all(amount >= 0 for each in before for amount in each.gpus)
    assert len(dump["days"]) <= arrivals.DAYS


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({}, "version"),
        ({"version": 9}, "version"),
        ({"version": 1, "since": "never", "sets": [], "days": {}}, "never"),
        ({"version": 1, "since": "2030-01-01T00:00:00", "sets": [], "days": {}}, "since"),
        (
            {
                "version": 1,
                "since": "2030-01-01T00:00:00+00:00",
                "sets": [],
                "days": {"7": {"jobs": [0] * 24, "cells": [[0, 1, 1, 1.0, 1.0, 1.0, 1.0]]}},
            },
            r"days\[7\]",
        ),
        ({"version": 1, "since": "2030-01-01T00:00:00+00:00", "sets": [], "days": {"7": 3}}, "history"),
    ],
)
def test_a_broken_dump_is_refused(broken: dict[str, object], named: str) -> None:
    with pytest.raises(arrivals.HistoryError, match=named):
        arrivals.History.load(broken)
