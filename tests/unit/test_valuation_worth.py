"""Worths per class, and what a move costs."""

from __future__ import annotations

import dataclasses
import datetime
import math
import time

import immutables
import pytest
from hypothesis import given
from hypothesis import strategies as st

import handover_world
import sample_farm as sample
from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.valuation import nameplate, revenue, switching_cost, values, worth

KAS = model.Mode(model.ModeKind.MINING, "kas")
RVN = model.Mode(model.ModeKind.MINING, "rvn")


def one(farm: model.Farm, market: quotes.Market) -> values.ClassValue:
    valuation = worth.value(farm, market, sample.NOW)
    (found,) = valuation.classes.values()
    return found


def test_a_coin_pays_fees_in_turn_and_power() -> None:
    coins = [sample.coin("kas", pool_fee=0.10, dev_fee=0.05), sample.coin("rvn")]
    found = one(sample.farm(coins=coins), sample.market(kas=4.0, rvn=3.0))
    kas = found.worths[KAS]
    assert kas.revenue_usd_per_hour == pytest.approx(6 * 0.03 * 4.0)
    assert kas.fees_usd_per_hour == pytest.approx(kas.revenue_usd_per_hour * (1 - 0.90 * 0.95))
    assert kas.watts == 80 + 6 * 130
    assert kas.power_usd_per_hour == pytest.approx(0.860 * 0.08)
    assert kas.net_usd_per_hour == pytest.approx(6 * 0.03 * 4.0 * 0.855 - 0.0688)


def test_pue_multiplies_and_a_negative_price_pays_for_drawing() -> None:
    sites = [sample.site(tariff=model.FixedTariff(usd_per_kwh=-0.01), pue=1.5)]
    found = one(sample.farm(sites=sites), sample.market(kas=0.0, rvn=0.0))
    assert found.worths[KAS].net_usd_per_hour == pytest.approx(0.860 * 1.5 * 0.01)
    assert found.worths[KAS].net_usd_per_hour > found.worths[model.IDLE].net_usd_per_hour > 0


def test_cards_without_benchmark_or_memory_rest() -> None:
    small = sample.gpu(memory_mib=4096)
    other = sample.gpu(model="NVIDIA-CMP-170HX")
    rigs = [sample.rig("rig-0", hardware=sample.hardware(gpus=(sample.gpu(), small, other)))]
    found = one(sample.farm(rigs=rigs), sample.market(kas=4.0, rvn=3.0))
    assert found.worths[KAS].revenue_usd_per_hour == pytest.approx(0.03 * 4.0)
    assert found.worths[KAS].watts == 80 + 130 + 10 + 15


def test_a_coin_nobody_can_mine_is_refused_with_figures() -> None:
    coins = [sample.coin("kas", min_gpu_memory_mib=9216), sample.coin("rvn", benchmarks={})]
    found = one(sample.farm(coins=coins), sample.market(kas=4.0, rvn=3.0))
    assert found.refusals[KAS].lacks == "needs 9.0 GiB of GPU memory, the rig's cards have 8.0"
    assert found.refusals[RVN].reason == "NoBenchmark"


def test_dead_quotes_refuse_and_weak_ones_are_told() -> None:
    found = one(sample.farm(), sample.market(kas=4.0, trust=0.4))
    assert found.worths[KAS].trust == 0.4
    assert found.refusals[RVN].reason == "NoTrustedPrice"
    assert found.worths[model.IDLE].trust == 1.0


def test_without_a_price_of_power_everything_is_refused() -> None:
    sites = [sample.site(tariff=model.FeedTariff(feed="ercot", adder_usd_per_kwh=0.0))]
    found = one(sample.farm(sites=sites, jobs=[sample.job()]), sample.market(kas=4.0, rvn=3.0))
    assert found.usd_per_kwh is None
    assert not found.worths
    assert {refusal.reason for refusal in found.refusals.values()} == {"NoTrustedPrice"}
    assert found.slots == {"tenant/train": 2}


def test_idle_and_off_only_where_the_pool_allows() -> None:
    found = one(sample.farm(pools=[sample.pool(idle=False, off=False)]), sample.market(kas=4.0, rvn=3.0))
    assert found.refusals[model.IDLE].reason == found.refusals[model.OFF].reason == "NotAllowed"
    allowed = one(sample.farm(), sample.market(kas=4.0, rvn=3.0))
    assert allowed.worths[model.IDLE].watts == 140
    assert allowed.worths[model.OFF].watts == 5


def test_ai_counts_whole_replicas_and_leaves_the_rest_at_rest() -> None:
    job = sample.job(gpus_per_replica=4)
    found = one(sample.farm(jobs=[job]), sample.market(kas=4.0, rvn=3.0))
    ai = found.worths[job.mode]
    assert ai.revenue_usd_per_hour == pytest.approx(4 * 0.20)
    assert ai.watts == 80 + 4 * 200 + 2 * 10
    finished = dataclasses.replace(job, state=model.JobState.FINISHED)
    assert job.mode not in one(sample.farm(jobs=[finished]), sample.market(kas=4.0)).worths


def test_rigs_that_cannot_be_valued_say_why() -> None:
    rigs = [
        sample.rig("no-pool", labels={}),
        sample.rig("no-site", site="moon"),
        sample.rig("no-gpus", hardware=model.Hardware()),
    ]
    valuation = worth.value(sample.farm(rigs=rigs), sample.market(), sample.NOW)
    assert {name: refusal.reason for name, refusal in valuation.unvalued.items()} == {
        "no-pool": "NoPool",
        "no-site": "NoSite",
        "no-gpus": "NoHardware",
    }


def test_one_class_for_like_rigs_whatever_their_uuids_and_slots() -> None:
    cards = (sample.gpu(uuid="a"), sample.gpu(model="B", uuid="b"))
    rigs = [
        sample.rig("a", hardware=sample.hardware(gpus=cards)),
        sample.rig("b", hardware=sample.hardware(gpus=(sample.gpu(model="B", uuid="x"), sample.gpu(uuid="y")))),
        sample.rig("c", hardware=sample.hardware(gpus=cards), base_watts=120),
    ]
    valuation = worth.value(sample.farm(rigs=rigs), sample.market(kas=4.0, rvn=3.0), sample.NOW)
    assert valuation.class_of["a"] == valuation.class_of["b"] != valuation.class_of["c"]


@given(price=st.floats(-0.5, 2.0), revenue=st.floats(0, 50), pue=st.floats(1, 3))
def test_net_is_always_revenue_less_fees_less_power(price: float, revenue: float, pue: float) -> None:
    sites = [sample.site(tariff=model.FixedTariff(usd_per_kwh=price), pue=pue)]
    found = one(sample.farm(sites=sites, jobs=[sample.job()]), sample.market(kas=revenue, rvn=revenue / 2))
    for each in found.worths.values():
        assert 0 <= each.fees_usd_per_hour <= each.revenue_usd_per_hour
        assert math.isclose(each.power_usd_per_hour, each.watts / 1000 * pue * price, abs_tol=1e-12)


def test_moves_cost_what_the_published_figures_say() -> None:
    job = sample.job(state=model.JobState.ADMITTED)
    farm = sample.farm(jobs=[job])
    valuation = worth.value(farm, sample.market(kas=4.0, rvn=3.0), sample.NOW)
    (key,) = valuation.classes
    costs = switching_cost.costs(farm, valuation)
    assert costs[key, KAS, KAS] == switching_cost.STAY
    assert 40 <= costs[key, KAS, job.mode].seconds <= 120
    assert 30 <= costs[key, job.mode, KAS].seconds - switching_cost.CHECKPOINT_SECONDS <= 60
    assert costs[key, KAS, RVN].usd < costs[key, KAS, model.IDLE].usd == costs[key, KAS, job.mode].usd
    for target in (KAS, model.IDLE, job.mode):
        assert costs[key, model.OFF, target].seconds > switching_cost.BOOT_SECONDS
    assert len(costs) == len(list(costs)) == 5 * 4
    with pytest.raises(KeyError):
        costs["unknown", KAS, RVN]


def test_leaving_ai_costs_the_checkpoint_or_the_unsaved_work() -> None:
    def leave(job: model.Job) -> values.SwitchCost:
        farm = sample.farm(jobs=[job])
        valuation = worth.value(farm, sample.market(kas=4.0, rvn=3.0), sample.NOW)
        (key,) = valuation.classes
        return switching_cost.costs(farm, valuation)[key, job.mode, model.IDLE]

    noticed = leave(sample.job(notice_seconds=20.0))
    unnoticed = leave(sample.job(notice_seconds=0.0))
    finished = leave(sample.job(state=model.JobState.FINISHED))
    assert noticed.seconds == unnoticed.seconds + 20.0
    assert unnoticed.usd - noticed.usd == pytest.approx(0.20 * 6 * 785 / 3600, rel=1e-3)
    assert finished.seconds == unnoticed.seconds
    assert finished.usd == noticed.usd


def test_work_without_notice_loses_what_came_since_its_last_checkpoint() -> None:
    job = sample.job(notice_seconds=0.0)

    def lost(*minutes_ago: float | None) -> float:
        pods = [
            handover_world.pod(
                f"pod-{index}",
                job=job.name,
                checkpoint_at=None if ago is None else sample.NOW - datetime.timedelta(minutes=ago),
            )
            for index, ago in enumerate(minutes_ago)
        ]
        farm = dataclasses.replace(
            sample.farm(jobs=[job]), pods=immutables.Map({f"{pod.namespace}/{pod.name}": pod for pod in pods})
        )
        valuation = worth.value(farm, sample.market(kas=4.0, rvn=3.0), sample.NOW)
        (key,) = valuation.classes
        found = switching_cost.costs(farm, valuation, now=sample.NOW)[key, job.mode, model.IDLE]
        return found.usd - switching_cost.costs(farm, valuation)[key, KAS, model.IDLE].usd

    per_minute = 0.20 * 6 / 60
    # The gang goes back to the oldest of its Pods' last checkpoints.
    assert lost(3, 10) == pytest.approx(10 * per_minute)
    assert lost(3, None) == pytest.approx(3 * per_minute)
    assert lost(-1) == 0.0
    assert lost(None) == lost() == pytest.approx(785 / 60 * per_minute, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("NVIDIA-GeForce-RTX-3070", 220),
        ("NVIDIA GeForce RTX 3070", 220),
        ("RTX 3080 12GB", 320),
        ("Tesla-T4", 70),
        ("P106-100", 120),
        ("Abacus 9000", 250),
    ],
)
def test_nameplates_know_a_model_by_any_of_its_names(name: str, watts: int) -> None:
    assert nameplate.profile(name).ai_watts == watts


def test_a_thousand_rigs_are_valued_in_no_time() -> None:
    rigs = [
        sample.rig(
            f"rig-{index}",
            hardware=sample.hardware(gpus=tuple(sample.gpu(uuid=f"{index}-{slot}") for slot in range(8))),
        )
        for index in range(1000)
    ]
    names = [f"c{index}" for index in range(5)]
    farm = sample.farm(rigs=rigs, coins=[sample.coin(name) for name in names], pools=[sample.pool(coins=tuple(names))])
    market = sample.market(dict.fromkeys(names, 3.0))
    started = time.perf_counter()
    worth.value(farm, market, sample.NOW)
    elapsed = time.perf_counter() - started
    assert elapsed < 0.3  # 20 ms where nothing else runs


@pytest.mark.parametrize(
    ("quantity", "unit", "words"),
    [
        (quotes.Quantity.COIN_PRICE, "USD/coin", "quotes CoinPrice, not CoinRevenue"),
        (quotes.Quantity.COIN_REVENUE, "USD/(Sol/s)/hour", "but the coin's hash rates are in MH/s"),
    ],
)
def test_a_feed_of_another_thing_is_no_revenue(quantity: quotes.Quantity, unit: str, words: str) -> None:
    quote = quotes.Quote(feed="kas-usd", quantity=quantity, value=9.0, as_of=sample.NOW, trust=1.0, unit=unit)
    market = quotes.Market(at=sample.NOW, quotes={"kas-usd": quote})
    refusal = revenue.quoted(sample.coin("kas"), market)
    assert isinstance(refusal, values.Refusal)
    # The word that keeps rigs where they are: nothing is known of what the coin pays.
    assert refusal.reason == "NoTrustedPrice"
    assert words in refusal.lacks
