"""Policies on a scenario: rules do what they are named for, and nobody sees the future."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import sample_script as sample
from switchyard.backtest import course, rewards, stream, world
from switchyard.backtest import script as scripts
from switchyard.backtest.policies import naming, rules
from switchyard.fleet import model

LIVE = ("switchyard", "wfa", "greedy", "threshold:10:1h", "static:ai")


class Prophet:
    """Wants to know tomorrow's prices."""

    def __init__(self, question: str) -> None:
        self._question = question

    def decide(self, present: stream.Stream, yard: world.Yard) -> world.Orders:
        del yard
        ask = getattr(present, self._question)
        name = {"usd_per_kwh": "barn", "usd_per_unit_hour": "kas"}.get(self._question, "market")
        assert ask(name) == ask(name, present.step)
        ask(name, max(0, present.step - 1))
        ask(name, present.step + 1)
        return world.Orders()


@pytest.mark.parametrize("question", ["usd_per_kwh", "usd_per_unit_hour", "usd_per_gpu_hour", "gpus_wanted"])
def test_who_asks_for_the_future_gets_an_error(question: str) -> None:
    given = sample.script(0, steps=20)
    present = stream.Stream(given, revenue=stream.observed(given, seed=0))
    with pytest.raises(stream.FutureError, match="step 1 was asked for at step 0"):
        world.play(given, rewards.tables(given), Prophet(question), present, scale=1.0)


def test_forecasts_and_jobs_are_known_when_they_are_published_and_not_before() -> None:
    given = sample.script(0, steps=6)
    (site,) = given.sites
    told = [
        scripts.Publication(step=step, start=sample.START, interval_seconds=3600, usd_per_kwh=(float(step),))
        for step in (4, 2)
    ]
    job = dataclasses.replace(sample.jobs(count=1)[0], arrival_seconds=1201.0)
    given = dataclasses.replace(given, sites=(dataclasses.replace(site, publications=tuple(told)),), jobs=(job,))
    present = stream.Stream(given, revenue=stream.observed(given, seed=0))
    known, came = [], []
    while present.advance():
        found = present.published("barn")
        known.append([publication.usd_per_kwh[0] for publication in found])
        came.append(len(present.arrivals()))
    assert known == [[], [], [2.0], [2.0], [2.0, 4.0], [2.0, 4.0]]
    assert came == [0, 0, 0, 1, 0, 0]


def later_changed(given: scripts.Script, step: int) -> scripts.Script:
    """The same until a step, and then everything else."""

    def mixed(values: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.where(np.arange(given.steps) < step, values, other)

    demands = tuple(
        dataclasses.replace(each, gpus_wanted=mixed(each.gpus_wanted, 4 - each.gpus_wanted)) for each in given.demands
    )
    coins = tuple(
        dataclasses.replace(each, usd_per_unit_hour=mixed(each.usd_per_unit_hour, 3 * each.usd_per_unit_hour[::-1]))
        for each in given.coins
    )
    sites = tuple(
        dataclasses.replace(each, usd_per_kwh=mixed(each.usd_per_kwh, 5 * each.usd_per_kwh)) for each in given.sites
    )
    now = (step - 1) * given.step_seconds
    jobs = tuple(
        each if each.arrival_seconds <= now else dataclasses.replace(each, bid_usd_per_gpu_hour=9.0)
        for each in given.jobs
    )
    return dataclasses.replace(given, coins=coins, sites=sites, demands=demands, jobs=jobs)


@pytest.mark.parametrize("policy", LIVE)
@pytest.mark.parametrize("jobs", [False, True])
def test_what_comes_later_changes_nothing_before(policy: str, jobs: bool) -> None:
    given = sample.script(2, steps=120, noise=scripts.Noise(sigma=0.05, half_life_seconds=7200.0))
    if jobs:
        given = dataclasses.replace(given, jobs=sample.jobs(2, count=40, steps=120))
    turn = 70
    paths = [
        course.Course(each, seed=1).paths(policy, scale=1.0)[0][:turn] for each in (given, later_changed(given, turn))
    ]
    assert len({each.tobytes() for each in paths}) == 1


def prices(rates: list[tuple[float, float]]) -> scripts.Script:
    """One rig, two coins at these $/h, free power."""
    kas, rvn = (np.array(each) for each in zip(*rates, strict=True))
    return sample.script(
        steps=len(rates),
        demand=False,
        groups=(
            sample.group(
                rigs=1,
                idle=True,
                off=False,
                yields={
                    "kas": scripts.Yield(hashrate=1.0, watts=0.0),
                    "rvn": scripts.Yield(hashrate=1.0, watts=0.0),
                },
                base_watts=0.0,
                idle_watts=0.0,
                ai_watts=0.0,
            ),
        ),
        sites=(scripts.SiteScript(name="barn", usd_per_kwh=np.zeros(len(rates))),),
        coins=(
            scripts.CoinScript(name="kas", usd_per_unit_hour=kas),
            scripts.CoinScript(name="rvn", usd_per_unit_hour=rvn),
        ),
    )


def modes(given: scripts.Script, policy: str) -> list[str]:
    (table,) = rewards.tables(given)
    (path,) = course.Course(given, seed=0).paths(policy, scale=1.0)
    return [table.modes[place].name for place in path[:, 0]]


def test_greedy_takes_the_best_and_a_threshold_waits_for_its_percent() -> None:
    given = prices([(1.0, 0.9), (1.0, 1.04), (1.0, 1.06), (1.0, 0.98), (1.0, 0.9)])
    assert modes(given, "greedy") == ["kas", "rvn", "rvn", "kas", "kas"]
    assert modes(given, "threshold:5:0") == ["kas", "kas", "rvn", "rvn", "kas"]


def test_a_dwell_holds_a_rig_after_its_move() -> None:
    given = prices([(1.0, 0.9), (1.0, 2.0), (1.0, 2.0), (1.0, 2.0), (1.0, 2.0)])
    assert modes(given, "threshold:5:30m") == ["kas", "kas", "kas", "rvn", "rvn"]


def test_percent_of_nearly_nothing_is_of_something_small() -> None:
    given = prices([(1e-9, 0.0), (1e-9, 4e-6), (1e-9, 2e-5)])
    assert modes(given, "threshold:10:0") == ["", "", "rvn"]


def test_ranks_follow_demand() -> None:
    given = sample.script(
        steps=4,
        demands=(
            scripts.DemandScript(
                name="market",
                group="shed",
                usd_per_gpu_hour=np.full(4, 5.0),
                gpus_wanted=np.array([0, 3, 1, 4], dtype=np.int64),
            ),
        ),
    )
    (table,) = rewards.tables(given)
    (hire,) = table.hires
    (path,) = course.Course(given, seed=0).paths("greedy", scale=1.0)
    assert (path == hire.mode).sum(axis=1).tolist() == [0, 3, 1, 4]


def test_a_short_circuit_is_kept_to_by_every_rule() -> None:
    group = sample.group(circuit="left", rigs=6)
    given = sample.script(4, steps=200, groups=(group,))
    (site,) = given.sites
    given = dataclasses.replace(given, sites=(dataclasses.replace(site, circuits={"left": 500.0}),))
    played = course.Course(given, seed=0)
    for policy in (*LIVE, "tuned-threshold", "best-static", "static:kas"):
        found = played.play(policy, scale=1.0).measures
        assert found.cap_violations == 0, policy
        assert found.bound == "bound"


def test_who_overloads_a_circuit_is_told_so() -> None:
    class Careless:
        def decide(self, present: stream.Stream, yard: world.Yard) -> world.Orders:
            del present
            return world.Orders(moves=dict.fromkeys(range(len(yard.rigs)), model.Mode(model.ModeKind.MINING, "kas")))

    from switchyard.backtest import account as accounts

    group = sample.group(circuit="left")
    given = sample.script(4, steps=5, groups=(group,), demand=False)
    (site,) = given.sites
    tables = rewards.tables(given)
    for watts, over in ((599.0, 5), (600.0, 0)):
        given = dataclasses.replace(given, sites=(dataclasses.replace(site, circuits={"left": watts}),))
        present = stream.Stream(given, revenue=stream.observed(given, seed=0))
        played = world.play(given, tables, Careless(), present, scale=1.0)
        account = accounts.account(given, tables, played.paths, scale=1.0)
        assert int(account.overloaded.sum()) == over


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("best", "there is no policy 'best'"),
        ("threshold:10", "threshold:PERCENT:DWELL expected"),
        ("threshold:10:1", "threshold:PERCENT:DWELL expected"),
        ("threshold:ten:1h", "threshold:PERCENT:DWELL expected"),
        ("static", "there is no policy 'static'"),
    ],
)
def test_names_that_mean_nothing_are_refused(name: str, message: str) -> None:
    with pytest.raises(naming.PolicyError, match=message):
        naming.parse(name)


def test_a_mode_that_no_rig_has_is_refused() -> None:
    with pytest.raises(naming.PolicyError, match="no rig can be in 'doge'; there are: ai, idle, kas, off, rvn"):
        course.Course(sample.script(steps=5), seed=0).play("static:doge", scale=1.0)


def test_the_tuned_threshold_is_the_best_of_its_pairs() -> None:
    given = sample.script(6, steps=150)
    played = course.Course(given, seed=0)
    names = [f"threshold:{pair.percent:g}:{pair.dwell_seconds:g}s" for pair in rules.PAIRS]
    most = max(played.play(name, scale=2.0).measures.profit_usd for name in names)
    assert played.play("tuned-threshold", scale=2.0).measures.profit_usd == pytest.approx(most)
