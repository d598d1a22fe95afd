"""What a back-test says can be believed: it counts as the operator counts, and adds nothing of its own."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np
import pytest

import sample_script as sample
from switchyard.backtest import account as accounts
from switchyard.backtest import course, farm, output, rewards, stream, world
from switchyard.backtest import script as scripts
from switchyard.backtest.policies import planned
from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.planning import request as planning
from switchyard.valuation import worth


def market(given: scripts.Script, step: int) -> quotes.Market:
    power, coin = quotes.Quantity.ELECTRICITY_PRICE, quotes.Quantity.COIN_REVENUE
    found = {farm.power_feed(each.name): (power, float(each.usd_per_kwh[step])) for each in given.sites}
    found |= {farm.coin_feed(each.name): (coin, float(each.usd_per_unit_hour[step])) for each in given.coins}
    now = sample.START
    return quotes.Market(
        at=now,
        quotes={
            name: quotes.Quote(feed=name, quantity=quantity, value=value, as_of=now, trust=1.0)
            for name, (quantity, value) in found.items()
        },
    )


@pytest.mark.parametrize("gpus", [1, 6])
def test_the_world_pays_what_the_operator_values(gpus: int) -> None:
    group = sample.group(gpus_per_rig=gpus, rigs=2, ai_watts=180.5, idle_watts=12.25)
    given = sample.script(1, steps=40, groups=(group,))
    (table,) = rewards.tables(given)
    (hire,) = table.hires
    job = dataclasses.replace(sample.jobs(count=1)[0], replicas=gpus, bid_usd_per_gpu_hour=0.09)
    run = world.Run(script=job, number=0, arrived_seconds=0.0)
    built = farm.build(given)
    present = stream.Stream(given, revenue=stream.observed(given, seed=0))
    present.advance()
    work = planned.waiting_job(run, present)
    built = dataclasses.replace(built, jobs=built.jobs.set(work.key, work))
    for step in range(given.steps):
        valuation = worth.value(built, market(given, step), sample.START)
        (value,) = valuation.classes.values()
        for place, mode in enumerate(table.modes):
            if mode.kind is model.ModeKind.AI:
                continue
            assert value.worths[mode].net_usd_per_hour == pytest.approx(table.rates[step, place], rel=1e-12)
            assert value.worths[mode].watts == pytest.approx(table.watts[place])
        full = table.rates[step, hire.mode] + gpus * hire.premium[step]
        assert value.worths[work.mode].net_usd_per_hour == pytest.approx(full, rel=1e-12)
        assert value.worths[work.mode].watts == pytest.approx(table.watts[hire.mode] + gpus * table.working_watts)


def counted_again(given: scripts.Script, paths: tuple[accounts.Path, ...], scale: float) -> float:
    """The profit of paths by plain sums over rigs and steps, from the Script alone."""
    total = 0.0
    hours = given.step_seconds / 3600
    coins = {coin.name: coin for coin in given.coins}
    sites = {site.name: site for site in given.sites}
    for group, path in zip(given.groups, paths, strict=True):
        site, gpus = sites[group.site], group.gpus_per_rig
        modes = [(model.ModeKind.MINING, name) for name in group.yields] + [(model.ModeKind.IDLE, "")]
        modes += [(model.ModeKind.OFF, "")] if group.off else []
        demands = [demand for demand in given.demands if demand.group == group.name]
        modes += [(model.ModeKind.AI, demand.name) for demand in demands]
        before = [(model.ModeKind.IDLE, "")] * group.rigs
        for step in range(given.steps):
            power = float(site.usd_per_kwh[step]) * site.pue / 1000
            here = [modes[place] for place in path[step].tolist()]
            for demand in demands:
                mode = (model.ModeKind.AI, demand.name)
                wanted = min(int(demand.gpus_wanted[step]), group.rigs * gpus)
                served = min(wanted, gpus * here.count(mode))
                total += (
                    served
                    * (float(demand.usd_per_gpu_hour[step]) - (group.ai_watts - group.idle_watts) * power)
                    * hours
                )
                stayed = sum(1 for x, y in zip(before, here, strict=True) if x == y == mode)
                evicted = max(0, min(wanted, gpus * before.count(mode)) - gpus * stayed)
                total -= evicted * given.switching.eviction_usd_per_gpu * scale
            for x, (kind, name) in zip(before, here, strict=True):
                if kind is model.ModeKind.MINING:
                    gross = coins[name].usd_per_unit_hour[step] * group.yields[name].hashrate * (1 - coins[name].fee)
                    watts = group.base_watts + gpus * group.yields[name].watts
                    total += (gpus * float(gross) - watts * power) * hours
                elif kind is model.ModeKind.OFF:
                    total -= group.off_watts * power * hours
                else:
                    total -= (group.base_watts + gpus * group.idle_watts) * power * hours
                if x != (kind, name):
                    total -= gpus * given.switching.usd_per_gpu(x[0], kind, scale=scale)
            before = here
    return total


@pytest.mark.parametrize("policy", ["switchyard", "greedy", "tuned-threshold", "best-static", "clairvoyant"])
@pytest.mark.parametrize("gpus", [1, 3])
def test_profit_is_what_plain_sums_over_the_modes_give(policy: str, gpus: int) -> None:
    groups = (sample.group(gpus_per_rig=gpus), sample.group("cellar", rigs=2, off=False, ai=False))
    given = sample.script(7, steps=150, groups=groups)
    for scale in (1.0, 3.0):
        played = course.Course(given, seed=0)
        found = played.play(policy, scale=scale)
        if policy == "clairvoyant":
            # Its figure is the programme's, by ranks; what the farm pays for the path differs by evictions.
            again = counted_again(given, played.paths(policy, scale=scale), scale)
            assert found.measures.profit_usd == pytest.approx(again, rel=1e-3)
            continue
        again = counted_again(given, played.paths(policy, scale=scale), scale)
        assert found.measures.profit_usd == pytest.approx(again, rel=1e-9)


@pytest.mark.parametrize("demand", [False, True])
@pytest.mark.parametrize("policy", ["switchyard", "wfa"])
def test_with_free_switching_our_policy_earns_all_there_is(policy: str, demand: bool) -> None:
    free = sample.switching(moves={}, eviction_usd_per_gpu=0.0)
    # The first steps are for finding out: which expert leads, what demand is like.
    given = sample.script(8, steps=700, demand=demand, switching=free, warmup_steps=450)
    played = course.Course(given, seed=0)
    (table,) = (
        dataclasses.replace(
            table,
            rates=table.rates[450:],
            hires=tuple(
                dataclasses.replace(hire, wanted=hire.wanted[450:], premium=hire.premium[450:]) for hire in table.hires
            ),
        )
        for table in rewards.tables(given)
    )
    own = table.rates.max(axis=1)
    most = own.sum() * table.group.rigs
    for hire in table.hires:
        most += (np.maximum(0.0, table.rates[:, hire.mode] + hire.premium - own) * hire.wanted).sum()
    most *= given.step_seconds / 3600
    assert played.best(1.0)[0] == pytest.approx(most)
    assert most * 0.999 <= played.play(policy, scale=1.0).measures.profit_usd <= most + 1e-9


@pytest.mark.parametrize("policy", ["switchyard", "wfa", "greedy", "threshold:10:1h", "tuned-threshold"])
def test_constant_prices_make_nobody_move(policy: str) -> None:
    given = sample.script(9, steps=200)
    still = dataclasses.replace(
        given,
        warmup_steps=50,
        sites=tuple(dataclasses.replace(each, usd_per_kwh=np.full(200, 0.08)) for each in given.sites),
        coins=tuple(
            dataclasses.replace(each, usd_per_unit_hour=np.full(200, float(each.usd_per_unit_hour[0])))
            for each in given.coins
        ),
        demands=tuple(dataclasses.replace(each, gpus_wanted=np.full(200, 2, dtype=np.int64)) for each in given.demands),
    )
    assert course.Course(still, seed=0).play(policy, scale=1.0).measures.switches_per_gpu_day == 0.0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    given = sample.script(10, steps=150, noise=scripts.Noise(sigma=0.1))
    given = dataclasses.replace(given, jobs=sample.jobs(10, count=30, steps=150))

    def document(seed: int) -> str:
        played = course.Course(given, seed=seed)
        found = [played.play(policy, scale=1.0) for policy in ("switchyard", "wfa", "greedy", "clairvoyant")]
        return output.document([dataclasses.replace(each, seed=0) for each in found], {}, timings=False)

    assert document(1) == document(1)
    assert document(1) != document(2)


def test_noise_is_as_wide_and_as_long_as_it_says() -> None:
    noise = scripts.Noise(sigma=0.05, half_life_seconds=3600.0)
    given = sample.script(0, steps=60_000, noise=noise)
    seen = stream.observed(given, seed=3)
    for coin in given.coins:
        z = np.log(seen[coin.name] / coin.usd_per_unit_hour)
        assert np.std(z) == pytest.approx(0.05, rel=0.05)
        assert np.corrcoef(z[:-6], z[6:])[0, 1] == pytest.approx(0.5, abs=0.04)
    first, second = (np.log(seen[coin.name] / coin.usd_per_unit_hour) for coin in given.coins)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_policies_pay_the_true_price_for_what_they_saw_wrongly() -> None:
    quiet = sample.script(12, steps=200)
    loud = dataclasses.replace(quiet, noise=scripts.Noise(sigma=0.8))
    results = [course.Course(each, seed=0) for each in (quiet, loud)]
    assert results[0].best(1.0) == results[1].best(1.0)
    earned = [each.play("greedy", scale=1.0).measures.profit_usd for each in results]
    assert earned[1] < earned[0]


class Recorder:
    """Keeps the requests; plans nothing."""

    def __init__(self) -> None:
        self.requests: list[planning.PlanRequest] = []

    def __call__(self, request: planning.PlanRequest) -> planning.PlanReply:
        self.requests.append(request)
        return planning.PlanReply(
            moves=(),
            admissions=(),
            refusals=(),
            preemptions=(),
            reserve_usd_per_gpu_hour={},
            decisions={},
            memory=request.memory,
        )


def test_the_plan_is_asked_as_the_operator_asks_it() -> None:
    groups = (sample.group(circuit="left"), sample.group("cellar", gpus_per_rig=2, ai=False))
    given = sample.script(1, steps=3, groups=groups)
    (site,) = given.sites
    forecast = scripts.Publication(step=1, start=sample.START, interval_seconds=3600, usd_per_kwh=(0.1, 0.2))
    given = dataclasses.replace(
        given, sites=(dataclasses.replace(site, circuits={"left": 900.0}, publications=(forecast,)),)
    )
    recorder = Recorder()
    policy = planned.Planned(given, scale=2.0, plan=recorder)
    present = stream.Stream(given, revenue=stream.observed(given, seed=0))
    world.play(given, rewards.tables(given), policy, present, scale=2.0)
    first, second, _ = recorder.requests
    assert [view.mode for view in first.rigs] == [model.IDLE] * 8
    assert {view.circuit for view in first.rigs} == {"barn/left", ""}
    assert first.circuits["barn/left"].limit_watts == 900.0
    assert second.rigs is first.rigs, "nothing has moved, so the views are the same"
    (demand,) = first.demands
    assert demand.gpus_wanted == given.demands[0].gpus_wanted[0]
    assert demand.eviction_usd_per_gpu == 0.1
    (key,) = demand.classes
    into = first.costs[key, model.IDLE, demand.mode]
    assert into.seconds == 0.0
    assert into.usd == pytest.approx(2 * (480 / 3600 * 0.2 + 0.003))
    pool = {value.rig_class.pool: name for name, value in first.classes.items()}
    assert first.costs[pool["cellar"], model.IDLE, model.Mode(model.ModeKind.MINING, "kas")].usd == pytest.approx(
        2 * 2 * (180 / 3600 * 0.2 + 0.003)
    )


def forecast(given: scripts.Script, *, days: int) -> scripts.Script:
    """Power that is dear for half of some days and cheap on others, told at 14:00 for the day after."""
    chance = np.random.default_rng(5)
    hours = np.where(np.arange(24) < 12, 1.0, chance.choice([0.3, 4.0], size=(days + 1, 1))).ravel() * 0.08
    (site,) = given.sites
    told = tuple(
        scripts.Publication(
            step=day * 144 - 60,
            start=sample.START + datetime.timedelta(days=day),
            interval_seconds=3600,
            usd_per_kwh=tuple(hours[24 * day : 24 * day + 24].tolist()),
        )
        for day in range(1, days)
    )
    prices = np.repeat(hours, 6)[: given.steps]
    return dataclasses.replace(given, sites=(dataclasses.replace(site, usd_per_kwh=prices, publications=told),))


@pytest.mark.parametrize("scale", [1.0, 4.0, 16.0])
def test_forecasts_of_other_days_do_no_great_harm(scale: float) -> None:
    # Five days with a handful of moves: one alone may lose 20 points to a single decision, or gain 40 by it.
    safe, wrong, best = 0.0, 0.0, 0.0
    for seed in range(11, 15):
        given = forecast(sample.script(seed, steps=9 * 144, groups=(sample.group(rigs=2),)), days=9)
        given = dataclasses.replace(given, warmup_steps=4 * 144)
        played = course.Course(given, seed=0)
        shuffled = course.Course(given, seed=0, shuffle_forecasts=True)
        safe += played.play("wfa", scale=scale).measures.profit_usd
        wrong += shuffled.play("switchyard", scale=scale).measures.profit_usd
        best += played.best(scale)[0]
    assert wrong >= safe - 0.02 * best


def test_shuffled_forecasts_are_the_same_forecasts_on_other_days() -> None:
    given = forecast(sample.script(13, steps=6 * 144), days=6)

    def told(*, shuffle: bool) -> list[tuple[datetime.datetime, tuple[float, ...]]]:
        present = stream.Stream(given, revenue=stream.observed(given, seed=0), shuffle_forecasts=shuffle)
        found = {}
        while present.advance():
            for publication in present.published("barn"):
                found[publication.start] = publication.usd_per_kwh
        return sorted(found.items())

    right, wrong = told(shuffle=False), told(shuffle=True)
    assert [start for start, _ in right] == [start for start, _ in wrong]
    assert sorted(values for _, values in right) == sorted(values for _, values in wrong)
    assert right != wrong
