"""Admission, refusal and preemption of whole gangs."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

import sample_farm as sample
import sample_world as worlds
from switchyard.fleet import model
from switchyard.handover import record
from switchyard.market import quotes
from switchyard.planning import policy
from switchyard.planning import request as planning

KAS = model.Mode(model.ModeKind.MINING, "kas")
MARKET = sample.market(kas=4.0, rvn=3.0)


def mining(count: int, **pool: Any) -> model.Farm:
    rigs = [sample.rig(f"rig-{index}") for index in range(count)]
    farm = sample.farm(rigs=rigs, pools=[sample.pool(**{"max_switching": "100%", **pool})])
    return worlds.in_modes(farm, {rig.name: KAS for rig in rigs})


def with_jobs(farm: model.Farm, *jobs: model.Job) -> model.Farm:
    return dataclasses.replace(farm, jobs=farm.jobs.update({job.key: job for job in jobs}))


def plan(farm: model.Farm, market: quotes.Market = MARKET) -> planning.PlanReply:
    return policy.plan(worlds.requested(farm, market))


def refused(farm: model.Farm) -> planning.JobRefusal:
    reply = plan(farm)
    assert not reply.admissions
    (refusal,) = reply.refusals
    return refusal


def test_a_bid_above_the_reserve_is_admitted_whole_on_the_fewest_rigs() -> None:
    reply = plan(with_jobs(mining(4), sample.job(replicas=4, gpus_per_replica=3, bid_usd_per_gpu_hour=0.25)))
    (admission,) = reply.admissions
    assert admission.placement == (
        model.Placement(rig="rig-0", replicas=2),
        model.Placement(rig="rig-1", replicas=2),
    )
    # Mining leaves 0.1061 $/GPU-h, AI work draws 0.0171: the rest is the way there and back.
    assert 0.1232 < admission.reserve_usd_per_gpu_hour < 0.15
    assert reply.decisions["rig-0"].reason == "Admitted"
    assert reply.decisions["rig-0"].chosen == model.Mode(model.ModeKind.AI, "tenant/train")
    assert not reply.moves


def test_a_bid_below_the_reserve_says_both_figures() -> None:
    refusal = refused(with_jobs(mining(2), sample.job(bid_usd_per_gpu_hour=0.10)))
    assert refusal.reason == "BidTooLow"
    assert refusal.message == "bid 0.10 $/GPU-h, needs 0.13"
    # Forgone, power, and 145 s there and back with wear spread over two hours.
    net, revenue = 0.72 * 0.9801 - 0.0688, 0.72 * 0.9801
    moves = 145 / 3600 * revenue + 2 * 6 * 0.003
    assert refusal.reserve_usd_per_gpu_hour == pytest.approx((net + 1.280 * 0.08 + moves / 2) / 6)


def test_the_reserve_is_the_threshold() -> None:
    low = refused(with_jobs(mining(2), sample.job(bid_usd_per_gpu_hour=0.10))).reserve_usd_per_gpu_hour
    assert low is not None
    assert plan(with_jobs(mining(2), sample.job(bid_usd_per_gpu_hour=low + 1e-6))).admissions
    assert not plan(with_jobs(mining(2), sample.job(bid_usd_per_gpu_hour=low - 1e-6))).admissions


def test_what_a_rig_could_earn_counts_not_what_it_happens_to_do() -> None:
    job = sample.job(replicas=1, bid_usd_per_gpu_hour=0.01)
    at_work = refused(with_jobs(mining(1), job)).reserve_usd_per_gpu_hour
    at_rest = refused(with_jobs(worlds.in_modes(mining(1), {"rig-0": model.IDLE}), job)).reserve_usd_per_gpu_hour
    assert at_work is not None
    assert at_rest == pytest.approx(at_work, rel=0.02)


def test_a_rig_needed_in_part_does_not_pay_for_all_of_its_cards() -> None:
    farm = with_jobs(mining(1), sample.job(replicas=1, gpus_per_replica=1, bid_usd_per_gpu_hour=0.10))
    refusal = refused(farm)
    assert refusal.reason == "BidTooLow"
    # One card at work: the whole rig's mining is forgone for it, but power only for one.
    assert refusal.reserve_usd_per_gpu_hour == pytest.approx(0.637 + 0.0264, abs=0.1)


def test_the_rest_of_a_gang_goes_where_it_is_cheapest() -> None:
    small = sample.rig("small", hardware=sample.hardware(1))
    farm = sample.farm(
        rigs=[sample.rig("rig-0"), sample.rig("rig-1"), small], pools=[sample.pool(max_switching="100%")]
    )
    farm = worlds.in_modes(farm, dict.fromkeys(farm.rigs, KAS))
    job = sample.job(replicas=7, gpus_per_replica=1, bid_usd_per_gpu_hour=1.0)
    (admission,) = plan(with_jobs(farm, job)).admissions
    assert admission.placement == (
        model.Placement(rig="rig-0", replicas=6),
        model.Placement(rig="small", replicas=1),
    )


@pytest.mark.parametrize(
    ("shed_usd_per_kwh", "bid", "near"),
    [(0.10, 0.20, True), (0.60, 0.17, False), (0.30, 0.134, False)],
    ids=["a little dearer", "much dearer", "more than it bids"],
)
def test_a_gang_stays_on_one_site_where_that_costs_little_more(shed_usd_per_kwh: float, bid: float, near: bool) -> None:
    barn = [sample.rig(f"barn-{index}", site="barn") for index in range(2)]
    shed = [sample.rig(f"shed-{index}", site="shed") for index in range(3)]
    farm = sample.farm(
        sites=[
            sample.site("barn", tariff=model.FixedTariff(usd_per_kwh=0.08)),
            sample.site("shed", tariff=model.FixedTariff(usd_per_kwh=shed_usd_per_kwh)),
        ],
        rigs=[*barn, *shed],
        pools=[sample.pool(max_switching="100%")],
    )
    farm = worlds.in_modes(farm, dict.fromkeys(farm.rigs, KAS))
    job = sample.job(replicas=3, gpus_per_replica=6, bid_usd_per_gpu_hour=bid, duration_seconds=1e6)
    (admission,) = plan(with_jobs(farm, job)).admissions
    on_shed = [placement.rig for placement in admission.placement if placement.rig.startswith("shed")]
    assert len(admission.placement) == 3
    assert (len(on_shed) == 3) == near


def test_no_rig_fits_and_the_commonest_lack_is_told() -> None:
    job = sample.job(requirements=model.Requirements(gpu_memory_mib=12288))
    refusal = refused(with_jobs(mining(3), job))
    assert refusal.reason == "NoEligibleRig"
    assert refusal.message == "needs 12.0 GiB of GPU memory, the rig's cards have 8.0 (3 of 3 rigs)"


def test_too_few_rigs_say_how_many_replicas_fit() -> None:
    farm = mining(2)
    farm = worlds.changed_rig(farm, "rig-1", pin=model.Pin.MINING)
    refusal = refused(with_jobs(farm, sample.job(replicas=4, bid_usd_per_gpu_hour=1.0)))
    assert refusal.reason == "NotEnoughRigs"
    assert refusal.message == "2 of 4 replicas fit; other rigs: 1 pinned to Mining"


def test_a_rig_whose_coin_has_no_trusted_price_is_not_sold_for_the_power_of_it() -> None:
    farm = with_jobs(mining(1), sample.job(replicas=1, bid_usd_per_gpu_hour=0.06))
    # The other coin is known, and pays next to nothing: the bid would beat that.
    unknown, known = sample.market(rvn=0.1), sample.market(kas=4.0, rvn=0.1)
    (refusal,) = plan(farm, unknown).refusals
    assert (refusal.reason, refusal.message) == (
        "PriceUntrusted",
        "every rig that fits mines a coin without a trusted price",
    )
    assert [refusal.reason for refusal in plan(farm, known).refusals] == ["BidTooLow"]
    # A rig that idles is known; one of two is not enough.
    pair = with_jobs(mining(2), sample.job(replicas=2, gpus_per_replica=6, bid_usd_per_gpu_hour=5.0))
    (refusal,) = plan(worlds.in_modes(pair, {"rig-0": model.IDLE}), unknown).refusals
    assert refusal.message == "1 of 2 replicas fit; other rigs: 1 mining without a trusted price"


def test_suspended_and_hopeless_jobs_wait() -> None:
    assert refused(with_jobs(mining(2), sample.job(suspend=True))).reason == "Suspended"
    late = sample.job(deadline=sample.NOW + datetime.timedelta(hours=1), bid_usd_per_gpu_hour=1.0)
    assert refused(with_jobs(mining(2), late)).reason == "DeadlinePassed"
    halfway = dataclasses.replace(late, progress=0.6)
    assert plan(with_jobs(mining(2), halfway)).admissions


def test_budgets_keep_gangs_whole_and_single_moves_out_of_their_way() -> None:
    farm = mining(6, max_switching=2)
    under_way = worlds.settled(KAS, step=record.Step.STARTING, deadline=sample.NOW + datetime.timedelta(minutes=5))
    farm = worlds.with_record(farm, "rig-5", under_way)
    farm = worlds.in_modes(farm, {"rig-4": model.IDLE})
    job = sample.job(replicas=4, bid_usd_per_gpu_hour=1.0)
    reply = plan(with_jobs(farm, job))
    assert not reply.admissions
    assert reply.refusals[0].reason == "BudgetSpent"
    assert not reply.moves
    assert "kept for AIJob tenant/train" in reply.decisions["rig-4"].held_by
    assert plan(farm).moves
    never = refused(with_jobs(mining(6, max_switching=1), job))
    assert never.reason == "BudgetSpent"
    assert "1 ever (switching.maxConcurrent)" in never.message


def test_the_higher_bid_chooses_first() -> None:
    jobs = [
        sample.job("cheap", bid_usd_per_gpu_hour=0.30, created_at=sample.NOW - datetime.timedelta(hours=2)),
        sample.job("dear", bid_usd_per_gpu_hour=0.40),
    ]
    reply = plan(with_jobs(mining(1), *jobs))
    assert [admission.job for admission in reply.admissions] == ["tenant/dear"]
    assert reply.refusals[0].job == "tenant/cheap"
    assert reply.refusals[0].reason == "NotEnoughRigs"


def running(count: int = 2, **over: Any) -> worlds.World:
    world = worlds.World(with_jobs(mining(count), sample.job(**{"replicas": 2 * count, **over})))
    world.step(MARKET)
    assert world.farm.jobs["tenant/train"].state is model.JobState.ADMITTED
    return world


def test_a_short_spike_does_not_stop_a_gang_and_a_long_one_does() -> None:
    spike = {"barn": sample.site(tariff=model.FixedTariff(usd_per_kwh=1.5))}
    calm = {"barn": sample.site()}
    world = running()
    world.run([MARKET] * 15)
    world.farm = dataclasses.replace(world.farm, sites=world.farm.sites.update(spike))
    replies = world.run([MARKET] * 3)
    assert not any(reply.preemptions for reply in replies)
    assert replies[-1].decisions["rig-0"].reason == "RegretBelowCost"
    assert world.memory.work_usd["rig-0"][model.Mode(model.ModeKind.AI, "tenant/train")] > 0
    world.farm = dataclasses.replace(world.farm, sites=world.farm.sites.update(calm))
    world.run([MARKET] * 10)
    assert world.memory.work_usd["rig-0"][model.Mode(model.ModeKind.AI, "tenant/train")] == 0
    world.farm = dataclasses.replace(world.farm, sites=world.farm.sites.update(spike))
    replies = world.run([MARKET] * 60)
    stopped = [reply.preemptions[0] for reply in replies if reply.preemptions]
    assert len(stopped) == 1
    assert stopped[0].reason == "NotWorthwhile"
    assert set(stopped[0].targets) == {"rig-0", "rig-1"}
    assert set(stopped[0].targets.values()) == {model.OFF}
    assert replies[-1].refusals[0].reason == "BidTooLow"


@pytest.mark.parametrize("over", [{"preemptible": False}, {"min_runtime_seconds": 1e6}])
def test_promises_to_a_gang_are_kept_through_a_spike(over: dict[str, Any]) -> None:
    world = running(**over)
    world.farm = dataclasses.replace(
        world.farm, sites=world.farm.sites.set("barn", sample.site(tariff=model.FixedTariff(usd_per_kwh=1.5)))
    )
    replies = world.run([MARKET] * 60)
    assert not any(reply.preemptions for reply in replies)
    assert replies[-1].decisions["rig-0"].held_by


def test_people_stop_gangs_at_once() -> None:
    world = running(preemptible=False)
    farm = world.farm
    (suspended,) = plan(worlds.changed_job(farm, "tenant/train", suspend=True)).preemptions
    assert suspended.reason == "Suspended"
    assert suspended.targets == {"rig-0": KAS, "rig-1": KAS}
    (pinned,) = plan(worlds.changed_rig(farm, "rig-1", pin=model.Pin.IDLE)).preemptions
    assert pinned.reason == "Pinned"
    assert pinned.targets == {"rig-0": KAS, "rig-1": model.IDLE}
    (serviced,) = plan(worlds.changed_rig(farm, "rig-0", maintenance=True)).preemptions
    assert serviced.reason == "Maintenance"
    assert serviced.targets == {"rig-0": model.IDLE, "rig-1": KAS}


def test_rigs_whose_job_is_over_choose_anew() -> None:
    world = running()
    world.farm = worlds.changed_job(world.farm, "tenant/train", state=model.JobState.FINISHED)
    reply = world.step(MARKET)
    assert {(move.rig, move.to, move.reason) for move in reply.moves} == {
        ("rig-0", KAS, "WorkDone"),
        ("rig-1", KAS, "WorkDone"),
    }
    world.farm = dataclasses.replace(world.farm, jobs=world.farm.jobs.delete("tenant/train"))
    assert not any(reply.moves for reply in world.run([MARKET] * 60))


def test_rigs_go_from_job_to_job_without_mining_between() -> None:
    world = running()
    world.farm = worlds.changed_job(world.farm, "tenant/train", state=model.JobState.FINISHED)
    world.farm = with_jobs(world.farm, sample.job("next", replicas=4))
    reply = world.step(MARKET)
    assert [admission.job for admission in reply.admissions] == ["tenant/next"]
    assert not reply.moves


def test_a_clearly_better_bid_takes_a_gangs_rigs_and_a_slightly_better_one_does_not() -> None:
    world = running()
    world.run([MARKET] * 15)
    farm = world.farm
    now = world.now

    def against(bid: float) -> planning.PlanReply:
        other = with_jobs(farm, sample.job("other", replicas=2, bid_usd_per_gpu_hour=bid))
        return policy.plan(worlds.requested(other, MARKET, memory=world.memory, now=now))

    assert not against(0.22).preemptions
    reply = against(2.0)
    (preemption,) = reply.preemptions
    assert preemption.job == "tenant/train"
    assert preemption.reason == "Displaced"
    (admission,) = reply.admissions
    taken = {placement.rig for placement in admission.placement}
    assert len(taken) == 1
    assert set(preemption.targets) == {"rig-0", "rig-1"} - taken
    assert set(preemption.targets.values()) == {KAS}
    protected = worlds.changed_job(farm, "tenant/train", preemptible=False)
    protected = with_jobs(protected, sample.job("other", replicas=2, bid_usd_per_gpu_hour=2.0))
    assert not policy.plan(worlds.requested(protected, MARKET, now=now)).preemptions


def test_a_gang_that_leaves_comes_back_only_when_it_pays_again() -> None:
    world = running()
    world.run([MARKET] * 15)
    rich = sample.market(kas=9.0, rvn=3.0)
    replies = world.run([rich] * 120)
    assert sum(len(reply.preemptions) for reply in replies) == 1
    assert not any(reply.admissions for reply in replies)
    assert world.mode("rig-0") == KAS
    replies = world.run([MARKET] * 60)
    assert sum(len(reply.admissions) for reply in replies) == 1
