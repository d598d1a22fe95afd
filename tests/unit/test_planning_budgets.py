"""The purse: whether a move may start, by budgets, shares and circuits."""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from typing import Any

import pytest

import sample_farm as sample
import sample_world as worlds
from switchyard.fleet import model
from switchyard.handover import record
from switchyard.market import quotes
from switchyard.planning import budgets, compose, draw, policy
from switchyard.planning import request as planning

KAS = model.Mode(model.ModeKind.MINING, "kas")
RVN = model.Mode(model.ModeKind.MINING, "rvn")
GONE = model.Mode(model.ModeKind.MINING, "gone")
TRAIN = model.Mode(model.ModeKind.AI, "tenant/train")
MARKET = sample.market(kas=4.0, rvn=3.0)
# A sample rig of six cards, whole: mining, AI work, at rest, off; and by what is printed on its cards.
MINES, WORKS, RESTS, OFF, NAMEPLATE = 860, 1280, 140, 5, 1400


def farm(
    modes: dict[str, model.Mode], *, limit: int = 5000, market: quotes.Market = MARKET, **over: Any
) -> planning.PlanRequest:
    """Rigs on one circuit that carries 0.8 of `limit`."""
    rigs = over.pop("rigs", None) or [sample.rig(name, circuit="c1") for name in modes]
    site = sample.site(circuits={"c1": model.Circuit(name="c1", limit_watts=limit)})
    pools = [sample.pool(**{"max_switching": "100%", **over.pop("pool", {})})]
    made = sample.farm(rigs=rigs, sites=[site], pools=pools, **over)
    return worlds.requested(worlds.in_modes(made, modes), market)


def view(request: planning.PlanRequest, name: str) -> planning.RigView:
    (found,) = [each for each in request.rigs if each.name == name]
    return found


# --- circuits -------------------------------------------------------------------------------------------------


def test_a_circuit_carries_its_share_of_the_limit_and_not_a_watt_more() -> None:
    modes = {f"rig-{index}": KAS for index in range(4)} | {"rig-4": model.IDLE}
    fits = farm(modes, limit=round((4 * MINES + MINES) / 0.8))
    assert budgets.Purse(fits).refusal(view(fits, "rig-4"), KAS) == ""
    tight = dataclasses.replace(fits, circuits={"barn/c1": planning.Circuit(key="barn/c1", limit_watts=4299.0)})
    assert budgets.Purse(tight).refusal(view(tight, "rig-4"), KAS) == "circuit barn/c1: 4,300 of 4,299 W would be drawn"
    assert budgets.Purse(tight).refusal(view(tight, "rig-4"), model.OFF) == ""


@pytest.mark.parametrize("short_watts", [0, 1])
def test_a_rig_takes_the_second_best_where_the_best_has_no_room(short_watts: int) -> None:
    lean = sample.coin("rvn", benchmarks={sample.GPU: model.Benchmark(hashrate=0.03, watts=70)})
    # Six cards draw 60 W each less than with the other coin.
    limit = 2 * MINES - 6 * 60 - short_watts
    modes = {"rig-0": KAS, "rig-1": model.IDLE}
    request = farm(modes, limit=math.ceil(limit / 0.8), coins=[sample.coin("kas"), lean])
    request = dataclasses.replace(
        request, circuits={"barn/c1": planning.Circuit(key="barn/c1", limit_watts=float(limit))}
    )
    reply = policy.plan(request)
    moves = {move.rig: move.to for move in reply.moves}
    assert moves == ({} if short_watts else {"rig-1": RVN})
    told = reply.decisions["rig-1"]
    if short_watts:
        assert (told.reason, told.chosen) == ("LimitReached", model.IDLE)
    else:
        assert told.chosen == RVN
        assert "there is no room for Mining/kas: circuit barn/c1: 1,720 of 1,360 W would be drawn" in told.message


def test_no_rig_settles_for_less_while_watts_may_come_free() -> None:
    lean = sample.coin("rvn", benchmarks={sample.GPU: model.Benchmark(hashrate=0.03, watts=70)})
    modes = {"rig-0": model.IDLE, "rig-1": model.IDLE}
    request = farm(modes, limit=math.ceil((2 * MINES - 6 * 60) / 0.8), coins=[sample.coin("kas"), lean])
    assert [(move.rig, move.to) for move in policy.plan(request).moves] == [("rig-0", KAS)]


def test_watts_that_a_move_frees_are_not_given_out_before_they_are_free() -> None:
    request = farm({"rig-0": KAS, "rig-1": model.IDLE}, limit=round((MINES + RESTS) / 0.8))
    purse = budgets.Purse(request)
    purse.take(view(request, "rig-0"), model.IDLE)
    assert "1,720 of 1,000 W" in purse.refusal(view(request, "rig-1"), KAS)
    done = farm({"rig-0": model.IDLE, "rig-1": model.IDLE}, limit=round((MINES + RESTS) / 0.8))
    assert budgets.Purse(done).refusal(view(done, "rig-1"), KAS) == ""


def test_what_was_taken_counts_and_what_lowers_the_draw_is_always_welcome() -> None:
    request = farm({"rig-0": model.IDLE, "rig-1": model.IDLE, "rig-2": KAS}, limit=round((2 * MINES + RESTS) / 0.8))
    purse = budgets.Purse(request)
    assert purse.watts_left("barn/c1") == pytest.approx(MINES - RESTS)
    purse.take(view(request, "rig-0"), KAS)
    assert purse.watts_left("barn/c1") == pytest.approx(0)
    assert purse.refusal(view(request, "rig-1"), KAS)
    over = farm({"rig-0": KAS, "rig-1": KAS, "rig-2": KAS}, limit=1000)
    assert budgets.Purse(over).refusal(view(over, "rig-0"), model.IDLE) == ""
    assert budgets.Purse(over).refusal(view(over, "rig-0"), RVN) == ""  # the same watts


def test_a_rig_being_handed_over_counts_with_the_greater_of_both_ends() -> None:
    going = worlds.settled(
        model.IDLE, origin=TRAIN, step=record.Step.STOPPING, deadline=sample.NOW + datetime.timedelta(minutes=1)
    )
    made = sample.farm(
        rigs=[sample.rig("rig-0", circuit="c1"), sample.rig("rig-1", circuit="c1")],
        sites=[sample.site(circuits={"c1": model.Circuit(name="c1", limit_watts=10_000)})],
    )
    request = worlds.requested(worlds.with_record(made, "rig-0", going), MARKET)
    meter = draw.Meter(request)
    assert view(request, "rig-0").origin == TRAIN
    assert meter.now(view(request, "rig-0")) == WORKS
    assert meter.settled(view(request, "rig-0")) == RESTS
    assert budgets.Purse(request).watts_left("barn/c1") == pytest.approx(8000 - WORKS - RESTS)


def test_ai_work_counts_with_every_gpu() -> None:
    job = sample.job(replicas=1, gpus_per_replica=1)
    request = farm({"rig-0": model.IDLE}, limit=round((WORKS - 1) / 0.8), jobs=[job])
    assert request.classes[view(request, "rig-0").class_key].worths[job.mode].watts == 80 + 6 * 200
    assert budgets.Purse(request).refusal(view(request, "rig-0"), job.mode)


@pytest.mark.parametrize(
    ("over", "watts"),
    [
        ({"maintenance": True}, NAMEPLATE),
        ({"labels": {}}, NAMEPLATE),  # in no pool: without value
        ({"hardware": sample.hardware(0)}, 80),  # nobody knows its cards
        ({"pin": model.Pin.IDLE}, RESTS),
    ],
)
def test_a_rig_that_may_be_doing_anything_counts_with_its_nameplate(over: dict[str, Any], watts: float) -> None:
    rigs = [sample.rig("rig-0", circuit="c1", **over)]
    request = farm({"rig-0": model.IDLE}, limit=10_000, rigs=rigs)
    assert budgets.Purse(request).watts_left("barn/c1") == pytest.approx(8000 - watts)


def test_a_coin_whose_price_is_gone_still_draws_its_watts_and_one_that_is_gone_the_most_there_is() -> None:
    unpriced = farm({"rig-0": KAS}, market=sample.market(rvn=3.0))
    assert draw.Meter(unpriced).now(view(unpriced, "rig-0")) == MINES
    gone = farm({"rig-0": GONE})
    meter = draw.Meter(gone)
    assert meter.now(view(gone, "rig-0")) == WORKS
    assert not meter.lowers(view(gone, "rig-0"), KAS)  # it may have drawn less than this
    assert meter.lowers(view(gone, "rig-0"), model.IDLE)
    dark = sample.site(
        tariff=model.FeedTariff(feed="power", adder_usd_per_kwh=0.0),
        circuits={"c1": model.Circuit(name="c1", limit_watts=5000)},
    )
    made = sample.farm(rigs=[sample.rig("rig-0", circuit="c1")], sites=[dark])
    request = worlds.requested(worlds.in_modes(made, {"rig-0": KAS}), MARKET)
    assert view(request, "rig-0").held == planning.HELD_NO_TRUSTED_PRICE
    assert draw.Meter(request).feared(view(request, "rig-0")) == MINES


def read(watts: int, *, ago: float = 1.0) -> model.Readback:
    at = sample.NOW - datetime.timedelta(minutes=ago)
    return model.Readback(profile="mining.kas", since=at, gpu_memory_used_mib=0, watts=watts, observed_at=at)


def measured(*watts: int, ago: float = 1.0, since: float = 30.0) -> planning.PlanRequest:
    rigs = [sample.rig(f"rig-{index}", circuit="c1", readback=read(each, ago=ago)) for index, each in enumerate(watts)]
    made = sample.farm(
        rigs=[*rigs, sample.rig("new", circuit="c1")],
        sites=[sample.site(circuits={"c1": model.Circuit(name="c1", limit_watts=10_000)})],
    )
    begun = worlds.settled(KAS, since=sample.NOW - datetime.timedelta(minutes=since))
    for rig in rigs:
        made = worlds.with_record(made, rig.name, begun)
    return worlds.requested(made, MARKET)


def test_what_agents_read_corrects_figures_upwards() -> None:
    request = measured(920, 920)
    meter = draw.Meter(request)
    assert meter.now(view(request, "rig-0")) == pytest.approx(1000)
    # Others of the class will draw as much when they mine it: none is let in on the figure that was wrong.
    assert meter.more(view(request, "new"), KAS) == pytest.approx(1000 - RESTS)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (measured(400), "less than planned"),
        (measured(820), "within the meter's error"),
        (measured(2000, ago=11), "old"),
        (measured(2000, since=0.5), "of the mode before"),
    ],
)
def test_readings_that_do_not_count(request_: planning.PlanRequest, why: str) -> None:
    assert draw.Meter(request_).now(view(request_, "rig-0")) == MINES, why


def test_people_are_told_what_is_measured_where_it_is() -> None:
    request = measured(400, 920)
    (load,) = draw.loads(request).values()
    assert load.rigs == 3
    assert load.drawn == pytest.approx(480 + 1000 + RESTS)


def test_a_circuit_that_its_site_does_not_have_limits_nothing() -> None:
    rigs = [sample.rig("rig-0", circuit="c9"), sample.rig("rig-1")]
    request = farm({"rig-0": model.IDLE, "rig-1": model.IDLE}, limit=1, rigs=rigs)
    assert [each.circuit for each in request.rigs] == ["", ""]
    assert budgets.Purse(request).refusal(view(request, "rig-0"), KAS) == ""


def test_circuits_of_one_name_at_two_sites_are_two() -> None:
    sites = [
        sample.site(name, circuits={"c1": model.Circuit(name="c1", limit_watts=watts)})
        for name, watts in (("barn", 1000), ("shed", 2000))
    ]
    rigs = [sample.rig("rig-0", circuit="c1"), sample.rig("rig-1", circuit="c1", site="shed")]
    request = worlds.requested(sample.farm(rigs=rigs, sites=sites), MARKET)
    assert {key: circuit.limit_watts for key, circuit in request.circuits.items()} == {"barn/c1": 800, "shed/c1": 1600}
    assert [each.circuit for each in request.rigs] == ["barn/c1", "shed/c1"]


# --- pools that only recommend --------------------------------------------------------------------------------


def test_what_is_only_recommended_spends_no_budget_and_takes_no_watts() -> None:
    rigs = [sample.rig(f"rig-{index}", circuit="c1") for index in range(3)]
    rigs += [sample.rig(f"side-{index}", circuit="c1", labels={"pool": "side"}) for index in range(2)]
    made = sample.farm(
        rigs=rigs,
        sites=[sample.site(circuits={"c1": model.Circuit(name="c1", limit_watts=round((5 * MINES) / 0.8))})],
        pools=[
            sample.pool("main", enforce=True, max_switching="100%"),
            sample.pool("side", enforce=False, max_switching=1),
        ],
    )
    request = worlds.requested(worlds.in_modes(made, {rig.name: model.IDLE for rig in rigs}), MARKET)
    purse = budgets.Purse(request)
    for name in ("side-0", "side-1"):
        assert purse.refusal(view(request, name), KAS) == ""
        purse.take(view(request, name), KAS)
    assert purse.left("side") == 1
    assert purse.watts_left("barn/c1") == pytest.approx(5 * MINES - 5 * RESTS)
    # Advice keeps to the circuit all the same: with the advice before it, three more would be too many.
    low = dataclasses.replace(request, circuits={"barn/c1": planning.Circuit(key="barn/c1", limit_watts=2000.0)})
    purse = budgets.Purse(low)
    purse.take(view(low, "side-0"), KAS)
    assert "circuit barn/c1" in purse.refusal(view(low, "side-1"), KAS)
    assert purse.refusal(view(low, "rig-0"), KAS) == ""


def test_every_recommendation_is_made_at_once_whatever_may_switch_at_the_same_time() -> None:
    rigs = [sample.rig(f"rig-{index}") for index in range(5)]
    made = sample.farm(rigs=rigs, pools=[sample.pool(enforce=False, max_switching=1)])
    reply = policy.plan(worlds.requested(made, MARKET))
    assert {move.rig for move in reply.moves} == {rig.name for rig in rigs}
    assert {decision.reason for decision in reply.decisions.values()} == {"Best"}
    assert not any(decision.held_by for decision in reply.decisions.values())


def test_somebody_elses_work_in_a_pool_that_only_recommends_counts_with_the_nameplate() -> None:
    made = sample.farm(
        rigs=[sample.rig("rig-0", circuit="c1"), sample.rig("rig-1", circuit="c1", readback=read(600))],
        sites=[sample.site(circuits={"c1": model.Circuit(name="c1", limit_watts=10_000)})],
        pools=[sample.pool(enforce=False)],
    )
    request = worlds.requested(made, MARKET)
    assert budgets.Purse(request).watts_left("barn/c1") == pytest.approx(8000 - NAMEPLATE - 680)


# --- shares ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("floor", "most", "rigs", "expected"),
    [
        (0, None, 7, (0, None)),
        ("25%", "50%", 7, (2, 3)),
        ("10%", "10%", 30, (3, 3)),
        ("30%", "33%", 4, (1, 1)),
        (5, 2, 9, (2, 2)),
        ("100%", "100%", 0, (0, 0)),
    ],
)
def test_shares_in_rigs_keep_their_word(
    floor: int | str, most: int | str | None, rigs: int, expected: tuple[int, int | None]
) -> None:
    found = budgets.share(sample.pool(), model.Share(kind=model.ModeKind.AI, floor=floor, most=most), rigs)
    assert (found.floor, found.most) == expected
    assert (found.pool, found.kind) == ("main", model.ModeKind.AI)


def shared(**share: Any) -> planning.PlanRequest:
    shares = (model.Share(kind=model.ModeKind.MINING, **share),)
    modes = {"rig-0": KAS, "rig-1": KAS, "rig-2": model.IDLE, "rig-3": model.OFF}
    return farm(modes, limit=100_000, pool={"shares": shares})


def test_no_rig_leaves_a_kind_of_mode_where_fewer_would_be_left_than_its_floor() -> None:
    request = shared(floor=2)
    purse = budgets.Purse(request)
    one, idle = view(request, "rig-0"), view(request, "rig-2")
    assert purse.refusal(one, model.IDLE) == "share of GPUPool main: 2 rigs at Mining, floor 2"
    assert purse.refusal(one, RVN) == ""  # still mining
    assert purse.refusal(one, model.IDLE, forced=True) == ""
    assert purse.affords_all([(one, model.IDLE), (idle, KAS)])  # as many as before
    assert not purse.affords_all([(one, TRAIN), (view(request, "rig-1"), RVN)])
    purse.take(idle, KAS)
    assert purse.refusal(one, TRAIN) == ""


def test_no_rig_joins_a_kind_of_mode_where_more_would_be_there_than_may() -> None:
    request = shared(most=2)
    purse = budgets.Purse(request)
    idle = view(request, "rig-2")
    assert purse.refusal(idle, KAS) == "share of GPUPool main: 2 rigs at Mining, most 2"
    assert purse.refusal(view(request, "rig-0"), RVN) == ""
    assert purse.affordable(idle, KAS) == model.IDLE
    purse.take(view(request, "rig-0"), model.OFF)
    assert purse.refusal(idle, KAS) == ""
    assert purse.affordable(idle, KAS) == KAS


def test_a_floor_that_is_broken_already_keeps_rigs_but_brings_none_back() -> None:
    request = shared(floor=4)
    reply = policy.plan(dataclasses.replace(request, memory=planning.Memory(at=sample.NOW)))
    assert "rig-0" not in {move.rig for move in reply.moves}
    assert budgets.Purse(request).refusal(view(request, "rig-0"), model.IDLE)
    assert budgets.Purse(request).refusal(view(request, "rig-2"), KAS) == ""


def test_the_decision_names_the_share_or_the_circuit_that_holds_a_rig_back() -> None:
    dear = sample.market(kas=0.1, rvn=0.1)
    world = worlds.World(
        sample.farm(
            rigs=[sample.rig(f"rig-{index}") for index in range(2)],
            pools=[sample.pool(shares=(model.Share(kind=model.ModeKind.MINING, floor="100%"),))],
        )
    )
    world.run([MARKET] * 3)
    replies = world.run([dear] * 120)
    decision = replies[-1].decisions["rig-0"]
    assert (decision.reason, decision.held_by) == (
        "LimitReached",
        "share of GPUPool main: 2 rigs at Mining, floor 2",
    )
    request = farm({"rig-0": KAS, "rig-1": model.IDLE}, limit=round(1500 / 0.8))
    held = policy.plan(request).decisions["rig-1"]
    assert (held.reason, held.held_by) == ("LimitReached", "circuit barn/c1: 1,720 of 1,500 W would be drawn")


# --- gangs ----------------------------------------------------------------------------------------------------


def test_a_gang_is_placed_where_circuits_have_room_for_it() -> None:
    job = sample.job(replicas=2, gpus_per_replica=6, bid_usd_per_gpu_hour=3.0)
    site = sample.site(
        circuits={
            "full": model.Circuit(name="full", limit_watts=round((RESTS * 2 + 100) / 0.8)),
            "half": model.Circuit(name="half", limit_watts=round((WORKS + RESTS) / 0.8)),
            "free": model.Circuit(name="free", limit_watts=9000),
        }
    )
    rigs = [
        sample.rig(f"{circuit}-{index}", circuit=circuit) for circuit in ("full", "half", "free") for index in range(2)
    ]
    modes = {rig.name: model.IDLE for rig in rigs}
    market = sample.market()
    made = sample.farm(rigs=rigs, sites=[site], jobs=[job], pools=[sample.pool(max_switching="100%")])
    reply = policy.plan(worlds.requested(worlds.in_modes(made, modes), market))
    (admission,) = reply.admissions
    assert {placement.rig for placement in admission.placement} == {"free-0", "free-1"}

    large = worlds.in_modes(
        dataclasses.replace(made, jobs=made.jobs.set(job.key, dataclasses.replace(job, replicas=4))), modes
    )
    reply = policy.plan(worlds.requested(large, market))
    (refusal,) = reply.refusals
    assert refusal.reason == "LimitReached"
    assert "circuit barn/" in refusal.message


def test_a_gang_that_is_stopped_goes_where_its_circuit_allows() -> None:
    # Mining takes more than AI work here, so that the way out is the greater end.
    thirsty = sample.coin("kas", benchmarks={sample.GPU: model.Benchmark(hashrate=0.03, watts=230)})
    job = sample.job(replicas=2, gpus_per_replica=6, suspend=True)
    rigs = [sample.rig(f"rig-{index}", circuit="c1") for index in range(2)]
    made = sample.farm(
        rigs=rigs,
        jobs=[job],
        coins=[thirsty],
        pools=[sample.pool(coins=("kas",), max_switching="100%")],
        sites=[sample.site(circuits={"c1": model.Circuit(name="c1", limit_watts=round((WORKS + 1460) / 0.8))})],
    )
    made = worlds.changed_job(
        made,
        job.key,
        state=model.JobState.ADMITTED,
        placement=tuple(model.Placement(rig=rig.name, replicas=1) for rig in rigs),
        started_at=sample.NOW - datetime.timedelta(hours=1),
    )
    request = worlds.requested(worlds.in_modes(made, {rig.name: job.mode for rig in rigs}), sample.market(kas=9.0))
    (preemption,) = policy.plan(request).preemptions
    assert sorted(preemption.targets.values()) == [model.IDLE, KAS]


# --- time -----------------------------------------------------------------------------------------------------


def test_thousands_of_rigs_are_counted_at_once() -> None:
    rigs = [sample.rig(f"rig-{index}", circuit=f"c{index % 100}") for index in range(3000)]
    circuits = {f"c{index}": model.Circuit(name=f"c{index}", limit_watts=40_000) for index in range(100)}
    made = sample.farm(rigs=rigs, sites=[sample.site(circuits=circuits)])
    modes = [model.IDLE, KAS, RVN]
    request = worlds.requested(
        worlds.in_modes(made, {rig.name: modes[index % 3] for index, rig in enumerate(rigs)}), MARKET
    )
    started = time.perf_counter()
    purse = budgets.Purse(request)
    for each in request.rigs:
        purse.refusal(each, RVN)
    elapsed = time.perf_counter() - started
    assert elapsed < 0.5  # a tenth of that where nothing else runs


def test_keys_of_circuits_name_their_site() -> None:
    assert compose.circuit_key("barn", "c1") == "barn/c1"
