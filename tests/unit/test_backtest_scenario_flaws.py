"""Flaws of files and scenarios: an error that says where and what to do, or a repair that was asked for and counted."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import pytest

from scene_file import built, farm, hours, tariff, write
from switchyard.backtest import build, scenario, script

CHICAGO = {"timeZone": "America/Chicago"}


def refused(folder: pathlib.Path, **changes: Any) -> str:
    with pytest.raises(scenario.ScenarioError) as caught:
        built(folder, **changes)
    return str(caught.value)


def prices(made: script.Script) -> list[float]:
    return [round(float(each) * 1000, 6) for each in made.sites[0].usd_per_kwh]


def repairs(made: script.Script) -> dict[str, int]:
    assert all(each.file == "p.csv" and each.detail for each in made.repairs)
    return {each.kind: each.count for each in made.repairs}


def without(rows: list[str], *gone: int) -> list[str]:
    return [row for index, row in enumerate(rows) if index not in gone]


def test_a_column_that_is_not_there(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24))
    assert "p.csv:1: there is no column 'price'; the file has t, v" in refused(tmp_path, sites=tariff(column="price"))
    assert "there is no column 'when'" in refused(tmp_path, sites=tariff(time="when"))
    assert "there is no column 'hub'" in refused(tmp_path, sites=tariff(where={"hub": "x"}))


def test_where_that_fits_nothing_tells_what_there_is(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,hub,v", *(row.replace(",", ",west,") for row in hours(24)))
    message = refused(tmp_path, sites=tariff(where={"hub": "east"}))
    assert "no row has 'east' in column 'hub'; it holds west" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.csv is empty"),
        ("t,v\n", "has a header and no rows"),
        ("t,v,v\n", "p.csv:1: the column 'v' is there twice"),
        ("t,v\n2021-06-01T00:00Z,1\n2021-06-01T01:00Z\n", "p.csv:3: 1 columns where the header has 2"),
        ('t,v\n2021-06-01T00:00Z,"1\n', "cannot read .*p.csv"),
    ],
)
def test_files_that_are_no_tables(tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    assert re.search(message, refused(tmp_path, sites=tariff()))


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    message = refused(tmp_path, sites=tariff(file="sub/q.csv"))
    assert "there is no file" in message
    assert "sub/q.csv; correct file or data" in message


def test_gaps(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *without(hours(24), 5, 6, 12))
    message = refused(tmp_path, sites=tariff())
    assert "p.csv:7: nothing for 2h from 2021-06-01T05:00:00Z (after line 6); add the rows" in message
    assert "repair: {gaps: hold, maxGap: 2h}" in message
    held = built(tmp_path, sites=tariff(repair={"gaps": "hold"}))
    assert prices(held)[4:8] == [4, 4, 4, 7]
    assert repairs(held) == {"gap": 3}
    joined = built(tmp_path, sites=tariff(repair={"gaps": "interpolate"}))
    assert prices(joined) == list(range(24))
    assert repairs(joined) == {"gap": 3}
    assert "nothing for 2h" in refused(tmp_path, sites=tariff(repair={"gaps": "hold", "maxGap": "1h"}))


def test_gaps_outside_the_scenario_do_not_matter(tmp_path: pathlib.Path) -> None:
    rows = hours(24 * 9, first="2021-05-28T00:00")
    write(tmp_path, "p.csv", "t,v", *without(rows, 10, 11, 12, 13, 200, 201))
    made = built(tmp_path, sites=tariff())
    assert (prices(made)[0], repairs(made)) == (96, {})


@pytest.mark.parametrize(("rule", "value"), [("first", 3), ("last", 100), ("mean", 51.5)])
def test_repeated_times(tmp_path: pathlib.Path, rule: str, value: float) -> None:
    rows = hours(24)
    write(tmp_path, "p.csv", "t,v", *rows[:4], "2021-06-01T03:00Z,100", *rows[4:])
    message = refused(tmp_path, sites=tariff())
    assert "p.csv:6: the time 2021-06-01T03:00Z repeats that of line 5; keep one of them" in message
    made = built(tmp_path, sites=tariff(repair={"duplicates": rule}))
    assert prices(made)[2:5] == [2, value, 4]
    assert repairs(made) == {"duplicate": 1}


def test_rows_out_of_order(tmp_path: pathlib.Path) -> None:
    rows = hours(24)
    write(tmp_path, "p.csv", "t,v", *rows[:7], rows[8], rows[7], *rows[9:])
    message = refused(tmp_path, sites=tariff())
    assert "p.csv:10: the time 2021-06-01T07:00Z is earlier than that of line 9; sort the rows" in message
    made = built(tmp_path, sites=tariff(repair={"unsorted": "sort"}))
    assert prices(made) == list(range(24))
    assert repairs(made) == {"unsorted": 1}


@pytest.mark.parametrize("text", ["", "nan", "n/a", "inf", "1.2.3"])
def test_values_that_are_no_numbers(tmp_path: pathlib.Path, text: str) -> None:
    rows = hours(24)
    rows[9] = f"2021-06-01T09:00Z,{text}"
    write(tmp_path, "p.csv", "t,v", *rows)
    message = refused(tmp_path, sites=tariff())
    assert f"p.csv:11: {text!r} in column 'v' is no number; mend it" in message
    assert "nothing for 1h" in refused(tmp_path, sites=tariff(repair={"notNumbers": "gap"}))
    made = built(tmp_path, sites=tariff(repair={"notNumbers": "gap", "gaps": "hold"}))
    assert prices(made)[8:11] == [8, 8, 10]
    assert repairs(made) == {"notNumber": 1, "gap": 1}


@pytest.mark.parametrize("text", ["soon", "2021-02-30T00:00Z", "2021-02-30", "06/01/2021", ""])
def test_times_that_are_no_times(tmp_path: pathlib.Path, text: str) -> None:
    rows = hours(24, zone="" if "-" in text and "Z" not in text else "Z")
    write(tmp_path, "p.csv", "t,v", *rows[:3], f"{text},1", *rows[3:])
    assert "p.csv:5: cannot read this time" in refused(tmp_path, sites=tariff(timeZone="UTC"))


def test_times_without_a_zone(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24, zone=""))
    assert "p.csv:2: the time 2021-06-01T00:00 has no zone; give the file a timeZone" in refused(
        tmp_path, sites=tariff()
    )
    message = refused(tmp_path, sites=tariff(timeZone="America/Springfield"))
    assert "sites.here.tariff.series.timeZone: not a time zone of the IANA database" in message


def test_a_series_that_does_not_reach(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(22, first="2021-06-01T01:00"))
    message = refused(tmp_path, sites=tariff())
    assert "p.csv: column 'v' begins 2021-06-01T01:00:00Z, 1h after the first moment that is needed" in message
    made = built(tmp_path, sites=tariff(repair={"ends": "hold"}))
    assert (prices(made)[:2], prices(made)[-2:]) == ([0, 0], [21, 21])
    assert [(each.kind, each.count) for each in made.repairs] == [("end", 1), ("end", 1)]
    assert "has no value between" in refused(tmp_path, sites=tariff(), start="2022-01-01")


def test_one_row_has_no_interval(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", "2021-06-01T00:00Z,7")
    assert "one row tells nothing of its interval; give interval" in refused(tmp_path, sites=tariff())
    assert set(prices(built(tmp_path, sites=tariff(interval="1d")))) == {7}
    assert set(prices(built(tmp_path, sites=tariff(untilNext=True)))) == {7}


# Clocks in Chicago went forward on 2021-03-14 at 02:00 (08:00 UTC) and back on 2021-11-07 at 02:00 (07:00 UTC).


def test_the_hour_that_clocks_skip_may_be_absent(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *without(hours(24, first="2021-03-14T00:00", zone=""), 2))
    made = built(tmp_path, sites=tariff(**CHICAGO), start="2021-03-14T06:00Z", duration="23h")
    assert prices(made)[:4] == [0, 1, 3, 4]
    assert repairs(made) == {}


def test_the_hour_that_clocks_skip_is_an_error_or_dropped(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24, first="2021-03-14T00:00", zone=""))
    when: dict[str, Any] = {"start": "2021-03-14T06:00Z", "duration": "23h"}
    message = refused(tmp_path, sites=tariff(**CHICAGO), **when)
    assert "p.csv:4: the time 2021-03-14T02:00 never was in America/Chicago: clocks went forward" in message
    made = built(tmp_path, sites=tariff(**CHICAGO, repair={"clockChange": "twentyFourHours"}), **when)
    assert prices(made)[:4] == [0, 1, 3, 4]
    assert repairs(made) == {"skippedHour": 1}


def test_the_hour_that_comes_twice_is_read_in_order(tmp_path: pathlib.Path) -> None:
    rows = hours(24, first="2021-11-07T00:00", zone="")
    write(tmp_path, "p.csv", "t,v", *rows[:2], "2021-11-07T01:00,100", *rows[2:])
    made = built(tmp_path, sites=tariff(**CHICAGO), start="2021-11-07T05:00Z", duration="25h")
    assert prices(made)[:4] == [0, 1, 100, 2]
    assert repairs(made) == {}


def test_both_passes_of_finer_rows(tmp_path: pathlib.Path) -> None:
    halves = [
        f"2021-11-07T{hour:02d}:{minute},{value}"
        for value, (hour, minute) in enumerate(
            [(0, "00"), (0, "30"), (1, "00"), (1, "30"), (1, "00"), (1, "30"), (2, "00"), (2, "30")]
        )
    ]
    write(tmp_path, "p.csv", "t,v", *halves)
    made = built(tmp_path, sites=tariff(**CHICAGO), start="2021-11-07T05:00Z", duration="4h", step="30m")
    assert prices(made) == list(range(8))


def test_the_hour_that_comes_twice_but_stands_once(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24, first="2021-11-07T00:00", zone=""))
    when: dict[str, Any] = {"start": "2021-11-07T05:00Z", "duration": "25h"}
    message = refused(tmp_path, sites=tariff(**CHICAGO), **when)
    assert "p.csv:4: nothing for 1h from 2021-11-07T07:00:00Z" in message
    assert "clocks go back there" in message
    made = built(tmp_path, sites=tariff(**CHICAGO, repair={"clockChange": "twentyFourHours"}), **when)
    assert prices(made)[:4] == [0, 1, 1, 2]
    assert repairs(made) == {"doubledHour": 1}


def test_a_whole_year_of_days_of_24_hours(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(365 * 24, first="2021-01-01T00:00", zone=""))
    sites = tariff(**CHICAGO, repair={"clockChange": "twentyFourHours"})
    made = built(tmp_path, sites=sites, timeZone="America/Chicago", start="2021-01-01", duration=None, end="2022-01-01")
    assert made.steps == 365 * 24
    assert repairs(made) == {"skippedHour": 1, "doubledHour": 1}
    np.testing.assert_allclose(np.unique(np.diff(made.sites[0].usd_per_kwh * 1000).round(6)), [0, 1, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (tariff(unit="EUR/MWh"), "prices in EUR need usdPerUnit"),
        (tariff(unit="ct/kWh"), "prices in ct need usdPerUnit"),
        (tariff(usdPerUnit=1.1), "usdPerUnit is for other currencies than USD"),
        (tariff(unit="USD/(MH/s)/day"), r"unit USD/\(MH/s\)/day does not fit here: write one such as USD/MWh"),
        (tariff(unit="dollars"), "'dollars' is no unit of a price"),
        (tariff(untilNext=True, interval="1h"), "untilNext excludes interval"),
        (tariff(timeFormat="epoch"), "timeFormat: must be iso, unixSeconds"),
        (tariff(timeFormat="elapsedSeconds"), "timeFormat elapsedSeconds and timeOrigin need each other"),
        ({"here": {"tariff": {}}}, "must have exactly one of fixed, timeOfUse, series, and has 0"),
        ({"here": {"tariff": {"fixed": 50}}}, "sites.here.tariff.fixed: Input should be less than 10"),
        ({}, "sites: Dictionary should have at least 1 item"),
    ],
)
def test_power_that_makes_no_sense(tmp_path: pathlib.Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24))
    assert re.search(message, refused(tmp_path, sites=changes))


def coin(**changes: Any) -> dict[str, Any]:
    return {"coins": {"one": {"unit": "MH/s", "revenue": {"fixed": {"value": 1, "unit": "USD/(MH/s)/day"}}, **changes}}}


def group(**changes: Any) -> dict[str, Any]:
    return {"groups": {"g": {**farm()["groups"]["g"], **changes}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (coin(unit="Sol/s"), r"revenue.fixed.unit USD/\(MH/s\)/day does not fit: write USD/\(Sol/s\)/day"),
        ({"coins": {"one": {"revenue": coin()["coins"]["one"]["revenue"]}}}, "needs unit, the unit of the hash rates"),
        (coin(fee=1), "coins.one.fee: Input should be less than 1"),
        (coin(**{"from": "2022-01-01"}), "coins.one: is never mined within the scenario"),
        (coin(algorithm="x"), "coins.one.algorithm: there is no such field here"),
        (coin(revenue={"network": {"usdPerCoin": 1, "issuedPerDay": 1}}), "needs either issuedPerDay, hashrate and"),
        (coin(revenue={"perGpu": {"x": 1}}), "needs unit, .* unless revenue is perGpu"),
        ({"coins": {}}, "groups.g.yields: there is no coin 'one'; there is none"),
        (group(rigs=0), "groups.g.rigs: Input should be greater than or equal to 1"),
        (group(gpusPerRig=0), "groups.g.gpusPerRig: Input should be greater than or equal to 1"),
        (group(site="there"), "groups.g.site: there is no site 'there'; there is here"),
        (group(circuit="hall"), "groups.g.circuit: there is no circuit 'hall'"),
        (group(yields={}), "coins.one: no group has yields for it"),
        (group(yields={"one": {"watts": 1}}), "groups.g.yields.one: needs hashrate"),
        (group(aiWatts=-1), "groups.g.aiWatts: Input should be greater than or equal to 0"),
        (
            group(
                yields={"one": [{"hashrate": 1, "watts": 1}, {"from": "2021-06-01T05:00", "hashrate": 1, "watts": 2}]}
            ),
            "watts must not change within the scenario",
        ),
        (
            group(yields={"one": [{"hashrate": 1, "watts": 1}, {"hashrate": 2, "watts": 1}]}),
            "the first entry must have no from, and all others must",
        ),
        ({"demands": {"d": {"group": "h", "usdPerGpuHour": 1, "wanted": {"gpus": 1}}}}, "demands.d.group: there is no"),
        ({"demands": {"d": {"group": "g", "usdPerGpuHour": 1, "wanted": {"gpus": 9}}}}, "is 9, and the group has 8"),
        (
            {"demands": {"d": {"group": "g", "usdPerGpuHour": 1, "wanted": {"gpus": 1, "load": 1}}}},
            "are for series and",
        ),
        ({"start": "June"}, "start: not a moment such as"),
        ({"duration": None}, "must have exactly one of end, duration, steps, and has 0"),
        ({"duration": "-1d"}, "duration: not a duration"),
        ({"duration": "25m"}, "no whole number of steps"),
        ({"duration": None, "end": "2021-05-01"}, "end: must be after start"),
        ({"warmup": "1d"}, "warmup: leaves no step to be counted"),
        ({"step": "0s"}, "step: must be longer than 0"),
        (
            {"switching": {"referenceUsdPerGpuHour": 1, "moves": [{"from": "Off", "to": "Off"}]}},
            "Off to Off is no move",
        ),
        ({"switching": {"referenceUsdPerGpuHour": 1, "moves": [{"from": "Off", "to": "AI"}] * 2}}, "is there twice"),
        ({"switching": {"referenceUsdPerGpuHour": 1, "moves": [{"from": "Away", "to": "AI"}]}}, "moves.0.from"),
    ],
)
def test_scenarios_that_make_no_sense(tmp_path: pathlib.Path, changes: dict[str, Any], message: str) -> None:
    assert re.search(message, refused(tmp_path, **changes))


def test_groups_whose_yields_change_differently(tmp_path: pathlib.Path) -> None:
    one = farm()["groups"]["g"]
    later = [{"hashrate": 50, "watts": 120}, {"from": "2021-06-01T05:00", "hashrate": 5, "watts": 120}]
    message = refused(tmp_path, groups={"g": one, "h": {**one, "yields": {"one": later}}})
    assert "groups.h.yields.one: changes otherwise than in group g" in message


def test_revenue_below_zero(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "c.csv", "t,v", *hours(24, values=[1] * 20 + [-1] * 4))
    series = {"file": "c.csv", "time": "t", "column": "v", "unit": "USD/(MH/s)/day"}
    assert "coins.one: is below 0 somewhere" in refused(tmp_path, **coin(revenue={"series": series}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "scene.yaml:1: a scenario is a mapping"),
        ("- a\n", "scene.yaml:1: a scenario is a mapping"),
        ("a: 1\nb: [\n", "scene.yaml:3: "),
        ("start: 2021-06-01\nstep: 1h\nstart: 2021-06-02\n", "scene.yaml:3: the key 'start' stands here and in line 1"),
        ("start: 2021-06-01\nstap: 1h\n", "scene.yaml:2: stap: there is no such field here"),
        ("start: 2021-06-01\n", "scene.yaml:1: description: is missing"),
    ],
)
def test_files_that_are_no_scenarios(tmp_path: pathlib.Path, text: str, message: str) -> None:
    path = tmp_path / "scene.yaml"
    path.write_text(text)
    with pytest.raises(scenario.ScenarioError, match=re.escape(message)):
        scenario.load(path)
    with pytest.raises(scenario.ScenarioError, match="cannot read"):
        scenario.load(tmp_path / "none.yaml")


def test_yaml_is_read_as_people_mean_it(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(48))
    (tmp_path / "scene.yaml").write_text(
        """
description: bare dates, hours of the day and the words off and no
start: 2021-06-01
duration: 1d
step: 1h
x-power: &power {file: p.csv, time: t, column: v, unit: USD/kWh}
sites:
  no:
    tariff:
      series: {<<: *power, unit: USD/MWh}
      forecast: {column: v, publishedAt: 14:00}
groups:
  off: {site: no, rigs: 1, gpu: card, off: true, aiWatts: 1e2, idleWatts: .5}
switching: {referenceUsdPerGpuHour: 1, moves: [{from: Idle, to: Off, usd: 1}]}
"""
    )
    made = build.build(scenario.load(tmp_path / "scene.yaml"), seed=0, data=None)
    assert made.sites[0].publications[1].step == 14
    assert (made.groups[0].name, made.groups[0].ai_watts, made.groups[0].idle_watts) == ("off", 100, 0.5)
    assert prices(made)[3] == 3
