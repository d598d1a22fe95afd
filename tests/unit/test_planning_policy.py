"""What single rigs are told to do."""

from __future__ import annotations

import dataclasses
import datetime
import json

import pytest

import sample_farm as sample
import sample_world as worlds
from switchyard.fleet import model
from switchyard.handover import reasons, record
from switchyard.planning import choice, compose, experts, memory, policy
from switchyard.planning import request as planning

KAS = model.Mode(model.ModeKind.MINING, "kas")
RVN = model.Mode(model.ModeKind.MINING, "rvn")
MARKET = sample.market(kas=4.0, rvn=3.0)
FLIPPED = sample.market(kas=3.0, rvn=4.0)


def alternative(reply: planning.PlanReply, rig: str, mode: model.Mode) -> planning.Alternative:
    (found,) = [each for each in reply.decisions[rig].alternatives if each.mode == mode]
    return found


def rigs(count: int) -> list[model.Rig]:
    return [sample.rig(f"rig-{index}") for index in range(count)]


def test_a_fresh_rig_takes_what_pays_at_once_and_then_stays() -> None:
    world = worlds.World(sample.farm())
    first, *later = world.run([MARKET] * 200)
    (move,) = first.moves
    assert move.to == KAS
    assert move.reason == "FirstChoice"
    assert move.gain_usd_per_hour > 0
    assert not any(reply.moves for reply in later)
    decision = later[-1].decisions["rig-0"]
    assert decision.reason == "Best"
    assert [each.mode for each in decision.alternatives] == [KAS, RVN, model.OFF, model.IDLE]
    assert decision.alternatives[1].lacks == f"{6 * 0.03 * 1.0 * 0.9801:.4f} $/h short of Mining/kas"


def test_a_rig_still_on_its_way_into_care_makes_its_first_choice_when_it_has_arrived() -> None:
    world = worlds.World(sample.farm())
    coming = worlds.settled(
        model.IDLE, step=record.Step.RELEASING, deadline=sample.NOW + datetime.timedelta(minutes=2), reason="Claimed"
    )
    world.farm = worlds.with_record(world.farm, "rig-0", coming)
    assert not world.step(MARKET).moves
    world.farm = worlds.in_modes(world.farm, {"rig-0": model.IDLE})
    assert [move.to for move in world.step(MARKET).moves] == [KAS]


def test_a_rig_that_idled_for_want_of_prices_starts_with_the_first_of_them() -> None:
    world = worlds.World(sample.farm(pools=[sample.pool(off=False)]))
    assert not any(reply.moves for reply in world.run([sample.market()] * 5))
    assert [move.to for move in world.step(MARKET).moves] == [KAS]


def test_a_fresh_rig_stays_where_nothing_pays() -> None:
    world = worlds.World(sample.farm(pools=[sample.pool(off=False)]))
    replies = world.run([sample.market(kas=0.1, rvn=0.1)] * 50)
    assert not any(reply.moves for reply in replies)
    assert replies[-1].decisions["rig-0"].chosen == model.IDLE


@pytest.mark.parametrize(
    "names",
    [choice.ALL, frozenset({experts.WORK_FUNCTION}), frozenset({experts.LOOK_AHEAD})],
    ids=["all experts", "the work function alone", "the look-ahead alone"],
)
def test_a_better_coin_is_taken_when_what_was_forgone_has_paid_for_the_move(names: frozenset[str]) -> None:
    world = worlds.World(sample.farm(), settings=policy.Settings(names=names))
    world.run([MARKET] * 10)
    moved = None
    for minute in range(60):
        reply = world.step(FLIPPED)
        if reply.moves:
            moved = minute, reply.moves[0]
            break
        decision = reply.decisions["rig-0"]
        assert decision.reason == "RegretBelowCost"
        assert "of regret still to build up before the" in alternative(reply, "rig-0", RVN).lacks
    assert moved is not None
    minute, move = moved
    # 0.0029 $ a minute against there and back at 0.0114 $ each: 45 s of the dearer coin, and wear.
    assert 5 <= minute <= 10
    assert (move.to, move.reason) == (RVN, "BetterMode")
    assert move.gain_usd_per_hour == pytest.approx(6 * 0.03 * 0.9801)
    assert move.cost_usd > move.cost.usd > 0


def test_prices_that_swing_fast_are_sat_out() -> None:
    world = worlds.World(sample.farm())
    world.step(MARKET)
    replies = world.run([FLIPPED if minute // 3 % 2 else MARKET for minute in range(240)])
    assert sum(len(reply.moves) for reply in replies) == 0


def test_a_rig_keeps_a_coin_whose_quote_has_died() -> None:
    world = worlds.World(sample.farm())
    world.run([MARKET] * 5)
    replies = world.run([sample.market(rvn=9.0)] * 60)
    assert not any(reply.moves for reply in replies)
    decision = replies[-1].decisions["rig-0"]
    assert decision.reason == decision.held_by == "NoTrustedPrice"
    assert "kas-usd" in decision.message


def test_a_price_of_power_that_died_holds_every_rig() -> None:
    sites = [sample.site(tariff=model.FeedTariff(feed="ercot", adder_usd_per_kwh=0.0))]
    farm = worlds.in_modes(sample.farm(sites=sites, jobs=[sample.job()]), {"rig-0": KAS})
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert not reply.moves
    assert not reply.admissions
    assert reply.decisions["rig-0"].reason == "NoTrustedPrice"
    assert reply.decisions["rig-0"].chosen == KAS
    assert reply.refusals[0].reason == "PriceUntrusted"


def test_a_challenger_counts_for_what_its_quote_is_trusted() -> None:
    world = worlds.World(sample.farm())
    world.run([MARKET] * 5)
    weak = {**sample.market(kas=3.0).quotes, **sample.market(rvn=4.0, trust=0.7).quotes}
    replies = world.run([dataclasses.replace(MARKET, quotes=weak)] * 60)
    assert not any(reply.moves for reply in replies)
    assert "counting its price for 0.70" in alternative(replies[-1], "rig-0", RVN).lacks


def test_an_outage_is_not_one_giant_tick() -> None:
    world = worlds.World(sample.farm())
    world.run([MARKET] * 5)
    world.now += datetime.timedelta(days=3)
    barely = sample.market(kas=4.0, rvn=4.3)
    assert not world.step(barely).moves


def test_a_new_coin_joins_without_a_jump() -> None:
    world = worlds.World(sample.farm(coins=[sample.coin("kas")]))
    world.run([MARKET] * 5)
    world.farm = dataclasses.replace(world.farm, coins=world.farm.coins.set("rvn", sample.coin("rvn")))
    reply = world.step(MARKET)
    assert not reply.moves
    regret = alternative(reply, "rig-0", RVN).regret_usd
    assert regret is not None
    assert regret > 0


def test_a_coin_that_left_the_pool_is_left() -> None:
    farm = worlds.in_modes(sample.farm(pools=[sample.pool(coins=("rvn",))]), {"rig-0": KAS})
    (move,) = policy.plan(worlds.requested(farm, MARKET)).moves
    assert (move.to, move.reason) == (RVN, "ModeGone")
    poor = sample.market(kas=0.0, rvn=0.0)
    (move,) = policy.plan(worlds.requested(farm, poor)).moves
    assert move.to == model.OFF
    bare = sample.pool(coins=(), idle=False, off=False)
    farm = worlds.in_modes(sample.farm(pools=[bare]), {"rig-0": KAS})
    (move,) = policy.plan(worlds.requested(farm, MARKET)).moves
    assert move.to == model.IDLE


def test_power_spikes_idle_or_switch_off_and_cheap_power_brings_back() -> None:
    def sites(price: float) -> dict[str, model.Site]:
        return {"barn": sample.site(tariff=model.FixedTariff(usd_per_kwh=price))}

    world = worlds.World(sample.farm())
    world.run([MARKET] * 5)
    world.farm = dataclasses.replace(world.farm, sites=world.farm.sites.update(sites(2.0)))
    world.run([MARKET] * 30)
    assert world.mode("rig-0") == model.OFF
    world.farm = dataclasses.replace(world.farm, sites=world.farm.sites.update(sites(0.05)))
    world.run([MARKET] * 120)
    assert world.mode("rig-0") == KAS


@pytest.mark.parametrize(
    ("pin", "expected"),
    [(model.Pin.IDLE, model.IDLE), (model.Pin.OFF, model.OFF), (model.Pin.AI, model.IDLE), (model.Pin.MINING, None)],
)
def test_a_pin_is_followed_whatever_it_costs(pin: model.Pin, expected: model.Mode | None) -> None:
    farm = worlds.in_modes(sample.farm(rigs=[sample.rig("rig-0", pin=pin)]), {"rig-0": KAS})
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert [move.to for move in reply.moves] == ([expected] if expected else [])
    if expected:
        assert reply.moves[0].reason == reply.decisions["rig-0"].reason == "Pinned"
        assert reply.moves[0].gain_usd_per_hour < 0


def test_a_pin_to_what_is_not_to_be_had_is_told() -> None:
    rig = sample.rig("rig-0", pin=model.Pin.OFF)
    farm = worlds.in_modes(sample.farm(rigs=[rig], pools=[sample.pool(off=False)]), {"rig-0": KAS})
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert not reply.moves
    assert reply.decisions["rig-0"].reason == "Pinned"
    assert "not to be had" in reply.decisions["rig-0"].message


def test_held_rigs_stay_and_say_why() -> None:
    farm = sample.farm(
        rigs=[
            sample.rig("a", maintenance=True),
            sample.rig("b"),
            sample.rig("c"),
            sample.rig("d", labels={}),
        ],
        nodes=[sample.node("a"), sample.node("b", ready=False), sample.node("d")],
    )
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert not reply.moves
    assert {name: decision.held_by for name, decision in reply.decisions.items()} == {
        "a": "Maintenance",
        "b": "NodeNotReady",
        "c": "NodeGone",
        "d": "NoPool",
    }


def test_a_rig_that_is_off_may_be_woken_though_its_node_is_not_ready() -> None:
    farm = sample.farm(nodes=[sample.node("rig-0", ready=False)])
    farm = worlds.in_modes(farm, {"rig-0": model.OFF})
    assert policy.plan(worlds.requested(farm, MARKET)).decisions["rig-0"].held_by == ""


def test_budgets_clip_by_gain_and_are_told() -> None:
    big = [sample.rig(f"big-{index}", hardware=sample.hardware(8)) for index in range(3)]
    farm = sample.farm(rigs=[*rigs(5), *big], pools=[sample.pool(max_switching=3)])
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert [move.rig for move in reply.moves] == ["big-0", "big-1", "big-2"]
    decision = reply.decisions["rig-0"]
    assert decision.reason == "Budget"
    assert decision.held_by == "budget switching.maxConcurrent (3 of 3)"
    assert alternative(reply, "rig-0", KAS).lacks == "the move pays already and is held back"


def test_hand_overs_under_way_count_against_the_budget() -> None:
    farm = sample.farm(rigs=rigs(4), pools=[sample.pool(max_switching="50%")])
    under_way = worlds.settled(
        KAS,
        origin=model.IDLE,
        step=record.Step.STARTING,
        deadline=sample.NOW + datetime.timedelta(minutes=5),
    )
    farm = worlds.with_record(farm, "rig-3", under_way)
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert [move.rig for move in reply.moves] == ["rig-0"]
    assert reply.decisions["rig-3"].reason == "Switching"


def test_a_target_that_failed_waits_and_others_do_not() -> None:
    retry = sample.NOW + datetime.timedelta(minutes=4)
    went_back = worlds.settled(model.IDLE, origin=KAS, reason=reasons.START_TIMED_OUT, attempt=2, retry_at=retry)
    farm = worlds.with_record(sample.farm(), "rig-0", went_back)
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert [move.to for move in reply.moves] == [RVN]
    assert "failed here, not tried again before 12:04:00" in alternative(reply, "rig-0", KAS).lacks
    rig_at_fault = dataclasses.replace(went_back, reason=reasons.AGENT_SILENT)
    farm = worlds.with_record(sample.farm(), "rig-0", rig_at_fault)
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert not reply.moves
    assert reply.decisions["rig-0"].held_by == "BackingOff"
    later = policy.plan(worlds.requested(farm, MARKET, now=retry))
    assert [move.to for move in later.moves] == [KAS]


def test_a_memory_that_was_written_down_decides_like_the_one_that_was_not() -> None:
    world, other = worlds.World(sample.farm()), worlds.World(sample.farm())
    for each in (world, other):
        each.run([MARKET] * 10)
        each.step(FLIPPED)
    kept = memory.load(json.loads(json.dumps(memory.dump(other.memory))))
    other.memory = dataclasses.replace(kept, at=other.memory.at)
    for _ in range(30):
        one, two = world.step(FLIPPED), other.step(FLIPPED)
        assert [(move.rig, move.to) for move in one.moves] == [(move.rig, move.to) for move in two.moves]
    assert world.mode("rig-0") == RVN


@pytest.mark.parametrize("garbage", [7, {}, {"modes": ["Dancing"]}, {"modes": [], "ranks": []}, None])
def test_a_line_that_cannot_be_read_is_not_remembered(garbage: object) -> None:
    world = worlds.World(sample.farm())
    world.run([MARKET] * 3)
    written = memory.dump(world.memory)
    (key,) = written["lines"]
    written["lines"][key] = garbage
    told: list[str] = []
    assert memory.load(written, on_trouble=lambda line, problem: told.append(line)).lines == {}
    assert told == [key]
    assert memory.load({"lines": 7}).lines == {}


def test_what_gangs_have_forgone_comes_back_from_statuses() -> None:
    status = {"decision": {"alternatives": [{"mode": "AI/tenant/train", "regretUsd": "0.25"}, {"mode": "Idle"}]}}
    farm = worlds.changed_rig(sample.farm(), "rig-0", status=status)
    assert compose.recall(farm).work_usd == {"rig-0": {model.Mode(model.ModeKind.AI, "tenant/train"): 0.25}}
    assert compose.recall(farm).at is None
    garbled = worlds.changed_rig(
        sample.farm(), "rig-0", status={"decision": {"alternatives": [{"mode": "Dancing", "regretUsd": "1"}, 7, None]}}
    )
    assert compose.recall(garbled).work_usd == {}


def test_recommending_pools_are_planned_but_get_no_jobs() -> None:
    farm = sample.farm(pools=[sample.pool(enforce=False)], jobs=[sample.job(bid_usd_per_gpu_hour=5.0)])
    reply = policy.plan(worlds.requested(farm, MARKET))
    assert [move.to for move in reply.moves] == [KAS]
    assert reply.refusals[0].reason == "NotEnoughRigs"
    assert "1 only recommended for" in reply.refusals[0].message


def test_a_coin_without_its_wallet_is_not_begun_and_not_left() -> None:
    world = worlds.World(sample.farm(pools=[sample.pool(off=False)], missing_secrets=frozenset({"wallet"})))
    replies = world.run([MARKET] * 3)
    assert not any(reply.moves for reply in replies)
    assert "no Secret wallet" in alternative(replies[-1], "rig-0", KAS).lacks
    world.farm = dataclasses.replace(world.farm, missing_secrets=frozenset())
    assert [move.to for move in world.step(MARKET).moves] == [KAS]
    world.run([MARKET] * 5)
    world.farm = dataclasses.replace(world.farm, missing_secrets=frozenset({"wallet"}))
    assert not any(reply.moves for reply in world.run([MARKET] * 60))
    assert world.step(MARKET).decisions["rig-0"].chosen == KAS
