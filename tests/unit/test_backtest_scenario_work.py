"""Demand and jobs: from lists and series to what a farm could have been asked for."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from scene_file import built, hours, write
from switchyard.backtest import arrivals, scenario, script


def rented(**wanted: Any) -> dict[str, Any]:
    return {"d": {"group": "g", "usdPerGpuHour": 0.25, "fee": 0.2, "wanted": wanted}}


def listed(**more: Any) -> dict[str, Any]:
    return {"file": "j.csv", "time": "t", "duration": {"column": "s"}, "gpus": {"column": "n"}, "quiet": "1d", **more}


def gangs(**more: Any) -> dict[str, Any]:
    given = {"list": listed(), "gpusPerReplica": 2, "bid": {"fixed": 0.3}, "patience": "1h"}
    return {"q": {**given, **more}}


def many_jobs(folder: pathlib.Path, count: int = 400) -> None:
    """A day of jobs; their arrivals are Unix seconds."""
    chance = np.random.default_rng(7)
    at = np.sort(chance.uniform(0, 86399, count))
    rows = [
        f"{1622505600 + each:.0f},{600 + length:.0f},{size}"
        for each, length, size in zip(at, chance.exponential(1800, count), chance.choice([1, 2, 4], count), strict=True)
    ]
    write(folder, "j.csv", "t,s,n", *rows)


def test_a_price_after_the_markets_fee(tmp_path: pathlib.Path) -> None:
    made = built(tmp_path, demands=rented(gpus=3)).demands[0]
    np.testing.assert_allclose(made.usd_per_gpu_hour, 0.2)
    np.testing.assert_array_equal(made.gpus_wanted, 3)


def test_a_price_series_in_another_currency(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "a.csv", "t,v", *hours(24, values=[12] * 24))
    price = {"file": "a.csv", "time": "t", "column": "v", "unit": "EUR/day", "usdPerUnit": 1.1}
    demands = {"d": {"group": "g", "usdPerGpuHour": price, "wanted": {"gpus": 1}}}
    np.testing.assert_allclose(built(tmp_path, demands=demands).demands[0].usd_per_gpu_hour, 0.55)


def test_availability_is_a_share_of_the_group(tmp_path: pathlib.Path) -> None:
    assert (built(tmp_path, demands=rented(availability=0.5)).demands[0].gpus_wanted == 4).all()
    with pytest.raises(scenario.ScenarioError, match=r"demands\.d\.wanted\.availability: must lie between 0 and 1"):
        built(tmp_path, demands=rented(availability=1.5))


def test_a_series_is_scaled_and_cut_at_what_there_is(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "n.csv", "t,v", *hours(24))
    series = {"file": "n.csv", "time": "t", "column": "v"}
    wanted = built(tmp_path, demands=rented(series=series, scale=0.5)).demands[0].gpus_wanted
    np.testing.assert_array_equal(wanted[[0, 2, 16, 23]], [0, 1, 8, 8])
    loaded = built(tmp_path, demands=rented(series=series, load=0.6)).demands[0].gpus_wanted
    assert loaded.max() == 8
    assert loaded.mean() == pytest.approx(0.6 * 8, abs=0.05)


def test_columns_and_queues_are_added_up(tmp_path: pathlib.Path) -> None:
    rows = [f"2021-06-01T{hour:02d}:00Z,{name},1,{more}" for name, more in (("a", 1), ("b", 2)) for hour in range(24)]
    write(tmp_path, "n.csv", "t,queue,run,wait", *rows)
    series = {"file": "n.csv", "time": "t", "column": ["run", "wait"], "sumOver": "queue"}
    np.testing.assert_array_equal(built(tmp_path, demands=rented(series=series)).demands[0].gpus_wanted, 5)


def test_a_queue_without_a_row_is_not_taken_for_nothing(tmp_path: pathlib.Path) -> None:
    rows = [f"2021-06-01T{hour:02d}:00Z,{name},1" for name in "ab" for hour in range(24) if (name, hour) != ("b", 7)]
    write(tmp_path, "n.csv", "t,queue,run", *rows)
    series = {"file": "n.csv", "time": "t", "column": "run", "sumOver": "queue"}
    with pytest.raises(scenario.ScenarioError, match=r"n\.csv:33: nothing for 1h from 2021-06-01T07:00:00Z"):
        built(tmp_path, demands=rented(series=series))
    made = built(tmp_path, demands=rented(series={**series, "repair": {"gaps": "hold"}}))
    assert [(each.kind, each.count) for each in made.repairs] == [("gap", 1)]


def test_jobs_make_demand_as_if_each_began_on_arrival(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "j.csv",
        "t,s,n",
        "2021-05-31T23:00:00Z,7200,1",  # before the start, and still running
        "2021-06-01T02:00:00Z,3600,4",
        "2021-06-01T02:30:00Z,3600,2",  # half of two steps
        "2021-06-01T23:00:00Z,60,8",
    )
    wanted = built(tmp_path, demands=rented(jobs=listed())).demands[0].gpus_wanted
    np.testing.assert_array_equal(wanted[:5], [1, 0, 5, 1, 0])


def test_demand_of_jobs_is_sampled_with_the_seed(tmp_path: pathlib.Path) -> None:
    many_jobs(tmp_path)
    demands = rented(jobs=listed(), load=0.5, sample={"keep": 0.7, "jitter": "20m"})
    first, again, other = (built(tmp_path, seed=seed, demands=demands).demands[0].gpus_wanted for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.mean() == pytest.approx(4, abs=0.1)
    assert other.mean() == pytest.approx(4, abs=0.1)


def test_a_series_is_sampled_with_the_seed(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "n.csv", "t,v", *hours(24, values=[6] * 24))
    series = {"file": "n.csv", "time": "t", "column": "v"}
    demands = rented(series=series, sample={"sigma": 0.4, "halfLife": "2h"})
    first, other = (built(tmp_path, seed=seed, demands=demands).demands[0].gpus_wanted for seed in (1, 2))
    assert (first != other).any()
    assert 3 < first.mean() <= 8


@pytest.mark.parametrize(
    ("gpus", "replicas"), [(1, 1), (4, 1), (5, 5), (6, 2), (8, 2), (9, 3), (12, 3), (7, 7), (10, 5)]
)
def test_large_jobs_become_equal_replicas(gpus: int, replicas: int) -> None:
    assert arrivals.gang(gpus, most=4) == replicas


def test_jobs_as_they_are_listed(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "j.csv",
        "t,s,n,bid,by",
        "2021-06-01T03:00:00Z,600,4,0.5,2021-06-01T04:00:00Z",
        "2021-06-01T02:00:00Z,300,1,0.25,",
        "2021-05-31T22:00:00Z,300,1,0.25,",
    )
    late, early = sorted(
        built(
            tmp_path,
            jobs=gangs(bid={"column": {"column": "bid"}}, fee=0.2, deadline={"column": "by"}),
        ).jobs,
        key=lambda job: -job.arrival_seconds,
    )
    assert early == script.JobScript(
        key="q-3",
        arrival_seconds=7200,
        replicas=1,
        gpus_per_replica=1,
        duration_seconds=300,
        bid_usd_per_gpu_hour=0.2,
        patience_seconds=3600,
    )
    assert (late.key, late.replicas, late.gpus_per_replica) == ("q-2", 2, 2)
    assert late.deadline_seconds == 14400
    assert late.bid_usd_per_gpu_hour == pytest.approx(0.4)


def test_durations_from_begin_and_end(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "j.csv", "t,b,e,n", "3600,7200,9000,1", "3600,,9000,1", "80000,80000,80600,0")
    times = {"timeFormat": "elapsedSeconds", "timeOrigin": "2021-06-01", "begin": "b", "end": "e"}
    layout = {key: value for key, value in listed(**times, keep={"n": {"least": 1}}).items() if key != "duration"}
    with pytest.raises(scenario.ScenarioError, match=r"j\.csv:3: this is no job: e or b is empty \(1 such rows\)"):
        built(tmp_path, jobs=gangs(list=layout))
    made = built(tmp_path, jobs=gangs(list={**layout, "repair": {"notNumbers": "gap"}}))
    assert [(job.arrival_seconds, job.duration_seconds) for job in made.jobs] == [(3600, 1800)]
    assert [(each.file, each.kind, each.count) for each in made.repairs] == [("j.csv", "notNumber", 1)]


def offered(made: script.Script) -> float:
    length = made.steps * made.step_seconds
    return sum(
        job.replicas * job.gpus_per_replica * min(job.duration_seconds, length - job.arrival_seconds)
        for job in made.jobs
    ) / (8 * length)


@pytest.mark.parametrize("load", [0.3, 1.0, 4.0])
def test_load_is_met_by_thinning_or_by_copies(tmp_path: pathlib.Path, load: float) -> None:
    many_jobs(tmp_path)
    made = built(tmp_path, jobs=gangs(load=load))
    assert offered(made) == pytest.approx(load, rel=0.02)
    keys = [job.key for job in made.jobs]
    assert len(set(keys)) == len(keys)
    assert all(0 <= job.arrival_seconds < 86400 for job in made.jobs)
    other = built(tmp_path, seed=3, jobs=gangs(load=load))
    assert [job.key for job in other.jobs] != keys
    if load > 2:
        assert any(key.endswith("-1") and key.count("-") == 2 for key in keys)


def test_bids_are_drawn_with_the_seed(tmp_path: pathlib.Path) -> None:
    many_jobs(tmp_path)
    bids = [
        job.bid_usd_per_gpu_hour
        for job in built(tmp_path, jobs=gangs(bid={"lognormal": {"median": 0.25, "sigma": 0.6}})).jobs
    ]
    assert np.median(bids) == pytest.approx(0.25, rel=0.15)
    assert np.std(np.log(bids)) == pytest.approx(0.6, rel=0.15)
    even = [
        job.bid_usd_per_gpu_hour
        for job in built(tmp_path, jobs=gangs(bid={"uniform": {"least": 0.1, "most": 0.2}})).jobs
    ]
    assert 0.1 <= min(even) < max(even) <= 0.2


def test_deadlines_by_factor_and_cuts(tmp_path: pathlib.Path) -> None:
    many_jobs(tmp_path)
    made = built(
        tmp_path, jobs=gangs(list=listed(maxGpus=2, maxDuration="40m", minDuration="12m"), deadline={"factor": 3})
    )
    assert {job.replicas * job.gpus_per_replica for job in made.jobs} == {1, 2}
    assert all(720 <= job.duration_seconds <= 2400 for job in made.jobs)
    job = made.jobs[0]
    assert job.deadline_seconds == pytest.approx(job.arrival_seconds + 3 * job.duration_seconds)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2021-06-01T05:00:00Z,-60,1", "its duration is not a number above 0"),
        ("2021-06-01T05:00:00Z,soon,1", "its duration is not a number above 0"),
        ("2021-06-01T05:00:00Z,60,0", "its GPUs are not a whole number of at least 1"),
        ("2021-06-01T05:00:00Z,60,1.5", "its GPUs are not a whole number of at least 1"),
        ("yesterday,60,1", "cannot read this time"),
    ],
)
def test_rows_that_are_no_jobs(tmp_path: pathlib.Path, row: str, message: str) -> None:
    write(tmp_path, "j.csv", "t,s,n", "2021-06-01T04:00:00Z,60,1", row, "2021-06-01T06:00:00Z,60,1")
    with pytest.raises(scenario.ScenarioError, match=rf"j\.csv:3: .*{message}"):
        built(tmp_path, jobs=gangs())


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        (gangs(gpusPerReplica=3), r"jobs\.q\.gpusPerReplica: no rig has so many GPUs, the widest has 2"),
        (gangs(groups=["nowhere"]), r"jobs\.q\.groups: there is no group 'nowhere'; there is g"),
        (gangs(list=listed(maxDuration="1s")), "leave no job"),
        (gangs(list=listed(keep={"n": {"least": 99}})), "no row is within keep"),
        (gangs(list=listed(quiet="10m")), r"the jobs begin 4h after the start of the scenario"),
        (gangs(deadline={"column": "t"}), r"j\.csv:2: the deadline in column 't' is not after the job's arrival"),
        (gangs(bid={"column": {"column": "word"}}), r"j\.csv:2: 'high' in column 'word' is no bid"),
        (gangs(list=listed(gpus={"column": "big"})), r"the largest job wants 64 GPUs and the groups have 8"),
    ],
)
def test_jobs_that_do_not_fit_the_scenario(tmp_path: pathlib.Path, jobs: dict[str, Any], message: str) -> None:
    write(tmp_path, "j.csv", "t,s,n,word,big", "2021-06-01T04:00:00Z,60,1,high,64", "2021-06-01T06:00:00Z,60,1,low,1")
    with pytest.raises(scenario.ScenarioError, match=message):
        built(tmp_path, jobs=jobs)


def test_arrivals_at_local_times(tmp_path: pathlib.Path) -> None:
    rows = ["2021-11-07T01:30:00,60,1", "2021-11-07T03:00:00,60,1", "2021-11-07T01:10:00,60,1"]
    write(tmp_path, "j.csv", "t,s,n", *rows)
    made = built(tmp_path, start="2021-11-07T05:00Z", jobs=gangs(list=listed(timeZone="America/Chicago")))
    assert [job.arrival_seconds for job in made.jobs] == [4200, 5400, 14400]
    assert [(each.kind, each.count) for each in made.repairs] == [("doubledHour", 2)]
