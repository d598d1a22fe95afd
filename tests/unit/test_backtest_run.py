"""`switchyard backtest`: files in, figures out, and plain words where something is wrong."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sample_script as sample
from switchyard import cli
from switchyard.backtest import build, course, output, rewards, stream, world
from switchyard.backtest import scenario as scenes
from switchyard.backtest import script as scripts
from switchyard.backtest.policies import naming
from switchyard.fleet import model

SCENARIO = """
description: Two coins and a little AI on eight cards
start: 2026-01-01
duration: 1d
step: 10m
sites:
  barn:
    tariff:
      timeOfUse:
        windows: [{from: "08:00", to: "20:00", usdPerKilowattHour: 0.30}]
        otherwise: 0.05
coins:
  kas: {unit: GH/s, revenue: {fixed: {value: 2.4, unit: USD/(GH/s)/day}}}
groups:
  shed:
    site: barn
    rigs: 8
    gpu: RTX 3070
    aiWatts: 180
    idleWatts: 12
    offWatts: 2
    yields: {kas: {hashrate: 0.3, watts: 130}}
demands:
  market:
    group: shed
    usdPerGpuHour: 0.2
    wanted: {gpus: 2}
switching:
  referenceUsdPerGpuHour: 0.05
  evictionUsdPerGpu: 0.01
  moves:
    - {from: [Idle, Off, AI], to: Mining, seconds: 60}
    - {from: Mining, to: [Off, AI], seconds: 60}
"""

JOBS = """jobs:
  customers:
    list:
      file: jobs.csv
      time: arrival
      duration: {column: minutes, scale: 60}
      gpus: {column: gpus}
      repair: {notNumbers: gap}
    gpusPerReplica: 1
    bid: {fixed: 0.4}
    patience: 2h
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "little.yaml"
    path.write_text(SCENARIO)
    return path


def told(*words: str | Path) -> int:
    return cli.main(["backtest", *map(str, words)])


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_table_for_people_and_records_for_machines(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    words = ["--policy", "greedy", "--policy", "clairvoyant", "--cost-scale", "1", "--cost-scale", "4", "--seed", "7"]
    assert told(scenario, *words, "--json", out) == 0
    shown = capsys.readouterr().out
    assert "little, switching costs x4" in shown
    assert "greedy" in shown
    found = read(out)
    assert [(each["policy"], each["cost_scale"]) for each in found["results"]] == [
        ("greedy", 1.0),
        ("clairvoyant", 1.0),
        ("greedy", 4.0),
        ("clairvoyant", 4.0),
    ]
    assert {each["seed"] for each in found["results"]} == {7}
    first, best = found["results"][:2]
    assert first["gpus"] == 8
    assert first["steps"] == 144
    assert first["pct_of_clairvoyant"] == pytest.approx(100 * first["profit_usd"] / best["profit_usd"])
    assert best["pct_of_clairvoyant"] == pytest.approx(100.0)
    assert best["bound"] == "exact"
    assert set(found["versions"]) == {"python", "switchyard", "numpy", "highspy"}


def test_without_timings_the_file_is_the_same_twice_and_by_two_processes(scenario: Path, tmp_path: Path) -> None:
    files = []
    for number, processes in enumerate(("1", "1", "2")):
        out = tmp_path / f"{number}.json"
        words = ["--cost-scale", "1", "--cost-scale", "3", "--no-timings", "--jobs", processes]
        words += ["--policy", "switchyard", "--policy", "tuned-threshold", "--policy", "clairvoyant"]
        assert told(scenario, *words, "--json", out) == 0
        files.append(out.read_bytes())
    assert files[0] == files[1] == files[2]
    assert b"plan_seconds" not in files[0]


def test_a_report_with_pictures(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert told(scenario, "--policy", "greedy", "--policy", "clairvoyant", "--html", out) == 0
    assert "little" in out.read_text()


def with_gangs(scenario: Path) -> Path:
    """Jobs in a file that has to be mended, so that solvers are asked and repairs are counted."""
    scenario.write_text(SCENARIO.replace(SCENARIO[SCENARIO.index("demands:") : SCENARIO.index("switching:")], JOBS))
    rows = [
        f"2026-01-01T{hour:02}:00:00Z,{gpus},{minutes}" for hour, gpus, minutes in ((3, 4, 90), (5, 6, "?"), (7, 8, 60))
    ]
    (scenario.parent / "jobs.csv").write_text("\n".join(["arrival,gpus,minutes", *rows, ""]))
    return scenario


def test_json_to_standard_output_is_nothing_but_json(scenario: Path) -> None:
    # In a process of its own: solvers written in C print past sys.stdout, and what they print comes at its end.
    words = [str(with_gangs(scenario)), "--policy", "switchyard", "--policy", "best-static", "--json", "-"]
    main = "import sys; from switchyard import cli; sys.exit(cli.main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", main, "backtest", *words], capture_output=True, text=True, check=True)
    ours, static = json.loads(done.stdout)["results"]
    assert ours["bound"] == "bound"
    assert ours["repairs"][0]["count"] == 1
    assert static["capture"] == pytest.approx(0.0)


def test_figures_are_plain_numbers(scenario: Path) -> None:
    played = course.Course(build.build(scenes.load(with_gangs(scenario)), seed=0, data=None), seed=0)
    for policy in ("clairvoyant", "switchyard", "greedy"):
        record = output.record(played.play(policy, scale=2.0))
        assert {type(value) for value in record.values()} <= {str, int, float, list, type(None)}
        assert [type(repair["count"]) for repair in record["repairs"]] == [int]


def test_the_usual_policies_are_those_that_fit_the_scenario(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert told(scenario, "--json", out) == 0
    assert [each["policy"] for each in read(out)["results"]] == list(naming.DEFAULT)

    scenario = tmp_path / "mining.yaml"
    scenario.write_text(SCENARIO.replace(SCENARIO[SCENARIO.index("demands:") : SCENARIO.index("switching:")], ""))
    assert told(scenario, "--json", out) == 0
    played = [each["policy"] for each in read(out)["results"]]
    assert played == [name for name in naming.DEFAULT if name != "static:ai"]
    assert told(scenario, "--policy", "static:ai") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--policy", "best"], "there is no policy 'best'"),
        (["--cost-scale", "-1"], "at least 0 expected"),
        (["--jobs", "0"], "at least 1 expected"),
    ],
)
def test_words_that_mean_nothing(
    scenario: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        told(scenario, *words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_bad_input_is_one_clear_line(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(SCENARIO.replace("rigs: 8", "rigs: many"))
    assert told(bad, "--policy", "greedy") == 1
    said = capsys.readouterr().err.strip()
    assert "bad.yaml" in said
    assert "rigs" in said
    assert told(tmp_path / "none.yaml") == 1
    assert "none.yaml" in capsys.readouterr().err
    assert told(scenario, "--policy", "static:doge") == 1
    assert "no rig can be in 'doge'" in capsys.readouterr().err


def test_what_lacks_its_data_is_skipped(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lacking = tmp_path / "lacking.yaml"
    lacking.write_text(
        SCENARIO.replace(
            "usdPerGpuHour: 0.2", "usdPerGpuHour: {file: gone.csv, time: t, column: v, unit: USD/hour}"
        ).replace("start:", "data: ${DATA}\nstart:")
    )
    assert told(lacking, "--policy", "greedy", "--data", tmp_path) == 3
    assert "gone.csv" in capsys.readouterr().err
    out = tmp_path / "out.json"
    assert told(lacking, scenario, "--policy", "greedy", "--data", tmp_path, "--json", out) == 0
    assert len(read(out)["results"]) == 1
    assert list(read(out)["skipped"]) == [str(lacking)]


# --- jobs ---------------------------------------------------------------------------------------------------------


class Scripted:
    """Orders by step."""

    def __init__(self, orders: dict[int, world.Orders]) -> None:
        self._orders = orders

    def decide(self, present: stream.Stream, yard: world.Yard) -> world.Orders:
        del yard
        return self._orders.get(present.step, world.Orders())


def job(**over: Any) -> scripts.JobScript:
    given: dict[str, Any] = {
        "key": "train",
        "arrival_seconds": 0.0,
        "replicas": 3,
        "gpus_per_replica": 1,
        "duration_seconds": 1500.0,
        "bid_usd_per_gpu_hour": 6.0,
        "patience_seconds": 1200.0,
        "checkpoint_seconds": 60.0,
    }
    return scripts.JobScript(**{**given, **over})


def play(orders: dict[int, world.Orders], *jobs: scripts.JobScript, steps: int = 8) -> world.Played:
    group = sample.group(gpus_per_rig=2, rigs=3)
    given = sample.script(steps=steps, demand=False, groups=(group,), jobs=jobs)
    (site,) = given.sites
    given = dataclasses.replace(given, sites=(dataclasses.replace(site, usd_per_kwh=np.zeros(steps)),))
    present = stream.Stream(given, revenue=stream.observed(given, seed=0))
    return world.play(given, rewards.tables(given), Scripted(orders), present, scale=2.0)


def test_a_gang_is_paid_for_its_work_to_the_second() -> None:
    played = play({1: world.Orders(admissions={"train": {0: 2, 1: 1}})}, job())
    assert played.work is not None
    # Three GPUs at 6 $/h: two whole steps and half of the third.
    assert played.work.usd.tolist() == pytest.approx([0, 3.0, 3.0, 1.5, 0, 0, 0, 0])
    (path,) = played.paths
    assert len(set(path[1:, 0].tolist())) == 1, "the rig stays at work that is over until it is moved"


def test_a_preempted_gang_loses_what_it_has_not_saved_and_waits_again() -> None:
    stop = world.Orders(preemptions={"train": {0: model.OFF, 1: model.IDLE}})
    again = world.Orders(admissions={"train": {2: 2, 1: 1}})
    played = play({0: world.Orders(admissions={"train": {0: 2, 1: 1}}), 1: stop, 2: again}, job())
    assert played.work is not None
    lost = 3 * 6.0 * 60 / 3600
    left = 1500 - 540
    assert played.work.usd.tolist() == pytest.approx([3.0, -lost, 3.0, 3.0 * (left - 600) / 600, 0, 0, 0, 0])
    assert played.work.evicted_gpus.tolist() == [0, 3, 0, 0, 0, 0, 0, 0]
    assert played.work.eviction_usd[1] == pytest.approx(3 * 0.05 * 2)
    assert played.work.lost_gpu_hours.sum() == pytest.approx(3 / 60)
    assert played.work.usd.sum() == pytest.approx(3 * 6.0 * 1500 / 3600), "every second of work is paid for once"


def test_a_job_goes_when_it_has_waited_long_enough() -> None:
    admit = world.Orders(admissions={"train": {0: 2, 1: 1}})
    play({2: admit}, job())
    with pytest.raises(world.ImpossibleError, match="does not wait"):
        play({3: admit}, job())
    with pytest.raises(world.ImpossibleError, match="does not wait"):
        play({1: admit}, job(deadline_seconds=2000.0))
    play({0: admit}, job(deadline_seconds=2000.0))


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        (world.Orders(admissions={"train": {0: 2}}), "has 3 replicas, not 2"),
        (world.Orders(admissions={"train": {0: 3}}), "3 replicas of job train do not fit"),
        (world.Orders(moves={0: model.Mode(model.ModeKind.MINING, "doge")}), "cannot go to Mining/doge"),
        (world.Orders(moves={0: rewards.WORK}), "cannot go to AI"),
        (world.Orders(preemptions={"train": {}}), "does not run"),
    ],
)
def test_what_makes_no_sense_is_an_error(orders: world.Orders, message: str) -> None:
    with pytest.raises(world.ImpossibleError, match=message):
        play({0: orders}, job())


def test_a_job_that_must_not_be_stopped_is_not() -> None:
    orders = {0: world.Orders(admissions={"train": {0: 2, 1: 1}}), 1: world.Orders(preemptions={"train": {}})}
    with pytest.raises(world.ImpossibleError, match="must not be stopped"):
        play(orders, job(preemptible=False))
    orders[1] = world.Orders(moves={0: model.IDLE})
    with pytest.raises(world.ImpossibleError, match="works for train"):
        play(orders, job())


def test_pictures_have_every_gpu_at_every_step_and_the_money_adds_up() -> None:
    given = sample.script(2, steps=100, groups=(sample.group(gpus_per_rig=2),))
    given = dataclasses.replace(given, jobs=sample.jobs(2, count=20, steps=100))
    for policy in ("switchyard", "greedy"):
        found = course.Course(given, seed=0).play(policy, scale=1.0, pictures=True)
        assert found.lanes is not None
        assert np.sum(list(found.lanes.gpus_in_mode.values()), axis=0).tolist() == [8.0] * 100
        assert found.lanes.profit_usd[-1] == pytest.approx(found.measures.profit_usd)


def test_the_dearest_decisions_are_moves_and_the_dearest_come_first() -> None:
    given = sample.script(3, steps=300)
    played = course.Course(given, seed=0)
    found = played.play("greedy", scale=4.0, pictures=True)
    assert found.lanes is not None
    usd = [decision.usd for decision in found.lanes.dearest]
    assert usd == sorted(usd, reverse=True)
    assert 0 < len(usd) <= 10
    assert "rig" in found.lanes.dearest[0].what
    best = played.play("clairvoyant", scale=4.0, pictures=True)
    assert best.lanes is not None
    assert sum(decision.usd for decision in best.lanes.dearest) < 0.01 * sum(usd)
