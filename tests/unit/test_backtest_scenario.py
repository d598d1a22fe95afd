from __future__ import annotations

import datetime
import pathlib
import re
from typing import Any

import numpy as np
import pytest
import yaml

from scene_file import built, farm, hours, tariff, write
from switchyard.backtest import build, scenario, schema, script
from switchyard.fleet import model

ROOT = pathlib.Path(__file__).parents[2]


def test_a_constant_scenario_is_as_written(tmp_path: pathlib.Path) -> None:
    made = built(tmp_path, warmup="6h")
    assert (made.name, made.steps, made.step_seconds, made.warmup_steps) == ("scene", 24, 3600, 6)
    assert made.start == datetime.datetime(2021, 6, 1, tzinfo=datetime.UTC)
    np.testing.assert_allclose(made.sites[0].usd_per_kwh, 0.05)
    # 0.024 $ per MH/s and day are 1 $ per GH/s and hour; 50 MH/s are 0.05 GH/s.
    np.testing.assert_allclose(made.coins[0].usd_per_unit_hour, 1.0)
    assert made.groups[0].yields["one"] == script.Yield(hashrate=0.05, watts=120)
    assert made.repairs == ()


@pytest.mark.parametrize(
    ("unit", "more", "usd_per_kwh"),
    [
        ("USD/MWh", {}, 0.05),
        ("USD/kWh", {}, 50.0),
        ("EUR/MWh", {"usdPerUnit": 1.2}, 0.06),
        ("ct/kWh", {"usdPerUnit": 1.2}, 0.6),
        ("USD/MWh", {"scale": 2}, 0.1),
    ],
)
def test_units_of_power(tmp_path: pathlib.Path, unit: str, more: dict[str, Any], usd_per_kwh: float) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24, values=[50] * 24))
    made = built(tmp_path, sites=tariff(unit=unit, **more))
    np.testing.assert_allclose(made.sites[0].usd_per_kwh, usd_per_kwh)


def test_currency_rates_may_be_a_series(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24, values=[100] * 24))
    write(tmp_path, "fx.csv", "d,rate", "2021-05-30,1.0", "2021-06-01T12:00,1.5")
    rates = {"file": "fx.csv", "time": "d", "timeZone": "UTC", "column": "rate", "untilNext": True}
    made = built(tmp_path, sites=tariff(unit="EUR/MWh", usdPerUnit=rates))
    np.testing.assert_allclose(made.sites[0].usd_per_kwh, [0.1] * 12 + [0.15] * 12)


def test_one_file_holds_several_markets_and_other_habits(tmp_path: pathlib.Path) -> None:
    rows = [
        f"{hour:02d}:00 01.06.2021;{name};{base + hour},5"
        for name, base in (("a", 0), ("b", 100))
        for hour in range(24)
    ]
    write(tmp_path, "p.csv", "when;market;price", *rows)
    habits = {"time": "when", "timeFormat": "%H:%M %d.%m.%Y", "timeZone": "UTC", "delimiter": ";", "decimalComma": True}
    made = built(tmp_path, sites=tariff(column="price", where={"market": "b"}, **habits))
    np.testing.assert_allclose(made.sites[0].usd_per_kwh, (100.5 + np.arange(24)) / 1000)


@pytest.mark.parametrize(
    ("more", "rows"),
    [
        ({"timeFormat": "unixSeconds"}, [f"{1622505600 + 3600 * hour},{hour}" for hour in range(24)]),
        ({"timeFormat": "unixMilliseconds"}, [f"{1622505600000 + 3600000 * hour},{hour}" for hour in range(24)]),
        (
            {"timeFormat": "elapsedSeconds", "timeOrigin": "2021-06-01"},
            [f"{3600.0 * hour},{hour}" for hour in range(24)],
        ),
        ({"timeShift": "-1h"}, hours(24, first="2021-06-01T01:00", zone="+00:00")),
        ({}, hours(24, first="2021-05-31T19:00", zone="-05:00")),
        ({"timeZone": "America/Chicago"}, hours(24, first="2021-05-31T19:00", zone="")),
    ],
)
def test_times_of_many_kinds(tmp_path: pathlib.Path, more: dict[str, Any], rows: list[str]) -> None:
    write(tmp_path, "p.csv", "t,v", *rows)
    made = built(tmp_path, sites=tariff(**more))
    np.testing.assert_allclose(made.sites[0].usd_per_kwh, np.arange(24) / 1000)


def test_finer_rows_are_averaged_and_coarser_ones_hold(tmp_path: pathlib.Path) -> None:
    start = datetime.datetime.fromisoformat("2021-06-01T00:00")
    quarters = [f"{(start + datetime.timedelta(minutes=15 * n)).isoformat()}Z,{n}" for n in range(96)]
    write(tmp_path, "p.csv", "t,v", *quarters)
    np.testing.assert_allclose(built(tmp_path, sites=tariff()).sites[0].usd_per_kwh, (1.5 + 4 * np.arange(24)) / 1000)
    write(tmp_path, "p.csv", "t,v", *hours(24))
    fine = built(tmp_path, sites=tariff(), step="10m").sites[0].usd_per_kwh
    np.testing.assert_allclose(fine, np.repeat(np.arange(24) / 1000, 6), rtol=1e-12)


def test_steps_that_do_not_fit_the_rows_are_weighted_by_time(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24))
    made = built(tmp_path, sites=tariff(), step="45m", duration="18h").sites[0].usd_per_kwh
    np.testing.assert_allclose(
        made[:4] * 1000, [0, (0.25 * 0 + 0.5 * 1) / 0.75, (0.5 * 1 + 0.25 * 2) / 0.75, (0.75 * 2.0 + 0) / 0.75]
    )


def test_daily_values_are_joined_between_the_middles_of_days(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "c.csv", "d,usd", "2021-05-31,24", "2021-06-01,48", "2021-06-02,48")
    series = {"file": "c.csv", "time": "d", "timeZone": "UTC", "column": "usd", "unit": "USD/(GH/s)/day"}
    coins = {"one": {"unit": "MH/s", "revenue": {"series": {**series, "interpolate": True}}}}
    found = built(tmp_path, coins=coins).coins[0].usd_per_unit_hour
    # From 24 at noon of May 31 to 48 at noon of June 1; the first step's middle is 12.5 hours after the former.
    assert found[0] == pytest.approx((24 + 24 * 12.5 / 24) / 24)
    np.testing.assert_allclose(found[12:], 2.0)
    held = built(tmp_path, coins={"one": {"unit": "MH/s", "revenue": {"series": series}}}).coins[0].usd_per_unit_hour
    np.testing.assert_allclose(held, 2.0)


def test_time_of_use_follows_local_windows(tmp_path: pathlib.Path) -> None:
    window = {"days": ["Tue"], "from": "22:00", "to": "06:00", "usdPerKilowattHour": 0.02}
    use = {"windows": [window], "otherwise": 0.1}
    sites = {"here": {"timeZone": "America/Chicago", "tariff": {"timeOfUse": use, "adderUsdPerKilowattHour": 0.01}}}
    prices = built(tmp_path, sites=sites, duration="2d").sites[0].usd_per_kwh
    # 2021-06-01 is a Tuesday; Chicago is 5 hours behind, so 22:00 there is 03:00 UTC of Wednesday.
    cheap = np.zeros(48, dtype=bool)
    cheap[27:35] = True
    np.testing.assert_allclose(prices, np.where(cheap, 0.03, 0.11))


def test_forecasts_are_published_day_by_day_and_not_before(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24 * 4, first="2021-06-01T00:00"))
    sites = tariff()
    sites["here"]["timeZone"] = "America/Chicago"
    sites["here"]["tariff"]["forecast"] = {"column": "v", "publishedAt": "14:00"}
    sites["here"]["tariff"]["adderUsdPerKilowattHour"] = 0.5
    made = built(tmp_path, sites=sites, start="2021-06-01T05:00Z", duration="2d")
    today, tomorrow, third = made.sites[0].publications
    assert [each.step for each in (today, tomorrow, third)] == [0, 14, 38]
    assert today.start == datetime.datetime(2021, 6, 1, 5, tzinfo=datetime.UTC)
    assert (tomorrow.interval_seconds, len(tomorrow.usd_per_kwh)) == (3600, 24)
    np.testing.assert_allclose(tomorrow.usd_per_kwh, 0.5 + (29 + np.arange(24)) / 1000)
    assert third.start == datetime.datetime(2021, 6, 3, 5, tzinfo=datetime.UTC)


def test_forecasts_of_days_on_which_clocks_change(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "p.csv", "t,v", *hours(24 * 5, first="2021-11-06T00:00"))
    sites = tariff()
    sites["here"]["timeZone"] = "America/Chicago"
    sites["here"]["tariff"]["forecast"] = {"column": "v", "publishedAt": "14:00"}
    made = built(tmp_path, sites=sites, start="2021-11-06T05:00Z", duration="3d")
    assert [len(each.usd_per_kwh) for each in made.sites[0].publications] == [24, 25, 24, 24][
        : len(made.sites[0].publications)
    ]
    assert made.sites[0].publications[1].start == datetime.datetime(2021, 11, 7, 5, tzinfo=datetime.UTC)


def test_revenue_from_network_figures(tmp_path: pathlib.Path) -> None:
    by_rate = {"usdPerCoin": 100, "issuedPerDay": 9, "feesPerDay": 1, "hashrate": 2000, "hashrateUnit": "TH/s"}
    coins = {"one": {"unit": "MH/s", "revenue": {"network": by_rate}}}
    # 1,000 $ a day for 2e6 GH/s.
    np.testing.assert_allclose(built(tmp_path, coins=coins).coins[0].usd_per_unit_hour, 1000 / 2e6 / 24)
    by_difficulty = {"usdPerCoin": 100, "blockReward": 2, "difficulty": 1000, "hashesPerDifficulty": 2**32}
    coins = {"one": {"unit": "MH/s", "revenue": {"network": by_difficulty}}}
    expected = 100 * 2 * 3600 * 1e9 / (1000 * 2**32)
    np.testing.assert_allclose(built(tmp_path, coins=coins).coins[0].usd_per_unit_hour, expected)


def test_revenue_per_gpu_makes_a_coin_per_model(tmp_path: pathlib.Path) -> None:
    group = {**farm()["groups"]["g"], "yields": {"c": {"watts": 100}}}
    groups = {"g": group, "h": {**group, "gpu": "other"}}
    made = built(tmp_path, groups=groups, coins={"c": {"revenue": {"perGpu": {"card": 2.4, "other": 1.2}}}})
    assert [coin.name for coin in made.coins] == ["c@card", "c@other"]
    np.testing.assert_allclose(made.coins[0].usd_per_unit_hour, 0.1)
    assert dict(made.groups[1].yields) == {"c@other": script.Yield(hashrate=1.0, watts=100)}


def test_a_yield_that_changes_is_part_of_the_coins_revenue(tmp_path: pathlib.Path) -> None:
    changing = [{"hashrate": 50, "watts": 120}, {"from": "2021-06-01T12:00Z", "hashrate": 5, "watts": 120}]
    groups = {"g": {**farm()["groups"]["g"], "yields": {"one": changing}}}
    made = built(tmp_path, groups=groups)
    np.testing.assert_allclose(made.coins[0].usd_per_unit_hour, [1.0] * 12 + [0.1] * 12)
    assert made.groups[0].yields["one"].hashrate == 0.05


def test_a_coin_that_begins_needs_no_figures_before(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "c.csv", "d,usd", "2021-06-01T12:00Z,24", "2021-06-01T13:00Z,24", "2021-06-01T14:00Z,24")
    series = {"file": "c.csv", "time": "d", "column": "usd", "unit": "USD/(GH/s)/day"}
    coin = {"unit": "MH/s", "from": "2021-06-01T12:00Z", "until": "2021-06-01T15:00Z", "revenue": {"series": series}}
    found = built(tmp_path, coins={"one": coin}).coins[0].usd_per_unit_hour
    np.testing.assert_allclose(found, [0.0] * 12 + [1.0] * 3 + [0.0] * 9)


def test_switching_costs_by_pairs(tmp_path: pathlib.Path) -> None:
    moves = [
        {"from": ["Mining", "Idle"], "to": "Off", "usd": 0.003},
        {"from": "Mining", "to": "Mining", "seconds": 180},
    ]
    switching = built(tmp_path, switching={"referenceUsdPerGpuHour": 0.2, "moves": moves}).switching
    assert switching.usd_per_gpu(model.ModeKind.IDLE, model.ModeKind.OFF) == 0.003
    assert switching.usd_per_gpu(model.ModeKind.MINING, model.ModeKind.MINING, scale=4) == pytest.approx(0.04)


def test_folders_from_outside(tmp_path: pathlib.Path) -> None:
    with pytest.raises(scenario.MissingDataError, match=r"scene reads p\.csv from a folder given from outside"):
        _outside(tmp_path, None)
    with pytest.raises(scenario.MissingDataError, match="which is no folder"):
        _outside(tmp_path, tmp_path / "none")
    (tmp_path / "traces").mkdir()
    with pytest.raises(scenario.MissingDataError, match="has no such file"):
        _outside(tmp_path, tmp_path / "traces")
    write(tmp_path / "traces", "p.csv", "t,v", *hours(24))
    assert _outside(tmp_path, tmp_path / "traces").sites[0].usd_per_kwh[5] == 0.005


def _outside(folder: pathlib.Path, data: pathlib.Path | None) -> script.Script:
    path = folder / "scene.yaml"
    path.write_text(yaml.safe_dump({**farm(sites=tariff()), "data": "${DATA}"}))
    return build.build(scenario.load(path), seed=0, data=data)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "backtest").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_build(path: pathlib.Path) -> None:
    made = build.build(scenario.load(path), seed=1, data=None)
    assert made.repairs == ()
    assert np.isfinite(made.sites[0].usd_per_kwh).all()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests" / "bench" / "scenarios").glob("*.yaml")), ids=lambda path: path.stem
)
def test_scenarios_of_the_bench_are_well_formed_and_want_data_from_outside(path: pathlib.Path) -> None:
    scene = scenario.load(path)
    assert scene.half == path.stem.partition("-")[0]
    with pytest.raises(scenario.MissingDataError):
        build.build(scene, seed=0, data=None)


def test_the_schema_on_disk_is_that_of_the_models(tmp_path: pathlib.Path) -> None:
    assert schema.main(["--check", str(ROOT / "docs" / "backtest.schema.json")]) == 0
    (tmp_path / "old.json").write_text("{}")
    assert schema.main(["--check", str(tmp_path / "old.json")]) == 1


def test_the_example_in_the_documentation_builds(tmp_path: pathlib.Path) -> None:
    page = (ROOT / "docs" / "backtest.md").read_text()
    (text,) = (
        part for part in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL) if part.startswith("description:")
    )
    (tmp_path / "scene.yaml").write_text(text)
    write(tmp_path, "prices.csv", "when,price", *hours(7 * 24, first="2021-10-11T00:00", zone=""))
    made = build.build(scenario.load(tmp_path / "scene.yaml"), seed=0, data=None)
    assert made.steps == 7 * 24
