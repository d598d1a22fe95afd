"""Circuits that carry too much."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import sample_farm as sample
import sample_world as worlds
from switchyard.fleet import model
from switchyard.handover import record
from switchyard.planning import budgets, gangs, policy, shedding, standing
from switchyard.planning import request as planning

KAS = model.Mode(model.ModeKind.MINING, "kas")
RVN = model.Mode(model.ModeKind.MINING, "rvn")
MARKET = sample.market(kas=6.0, rvn=4.0)
MINES, WORKS, RESTS, OFF = 860, 1280, 140, 5
LONG_AGO = sample.NOW - datetime.timedelta(hours=1)


def barn(**limits: int) -> model.Site:
    """A site whose circuits carry exactly so many watts for hours."""
    return sample.site(
        circuits={
            key: model.Circuit(name=key, limit_watts=watts, continuous_fraction=1.0) for key, watts in limits.items()
        }
    )


def farm(modes: dict[str, model.Mode], limit: int, **over: Any) -> model.Farm:
    rigs = over.pop("rigs", None) or [sample.rig(name, circuit="c1") for name in modes]
    return worlds.in_modes(sample.farm(rigs=rigs, sites=[barn(c1=limit)], **over), modes)


def with_gang(found: model.Farm, job: model.Job, *rigs: str) -> model.Farm:
    placement = tuple(model.Placement(rig=rig, replicas=2) for rig in rigs)
    found = dataclasses.replace(found, jobs=found.jobs.set(job.key, job))
    found = worlds.changed_job(found, job.key, state=model.JobState.ADMITTED, placement=placement, started_at=LONG_AGO)
    return worlds.in_modes(found, dict.fromkeys(rigs, job.mode))


def stopped(reply: planning.PlanReply) -> dict[str, model.Mode]:
    return {move.rig: move.to for move in reply.moves if move.reason == "CircuitOverLimit"}


def test_the_rigs_that_lose_least_for_each_watt_stop_and_no_more_than_must() -> None:
    # rvn earns less than kas for the same watts; the pool may switch one rig at a time, and that does not matter.
    modes = {"rig-0": KAS, "rig-1": RVN, "rig-2": RVN, "rig-3": KAS}
    made = farm(modes, 2 * MINES + 2 * RESTS, pools=[sample.pool(max_switching=1, off=False)])
    reply = policy.plan(worlds.requested(made, MARKET))
    assert stopped(reply) == {"rig-1": model.IDLE, "rig-2": model.IDLE}
    assert len(reply.moves) == 2
    (move, _) = reply.moves
    assert move.gain_usd_per_hour < 0
    assert move.cost_usd > 0
    decision = reply.decisions["rig-1"]
    assert (decision.reason, decision.chosen) == ("CircuitOverLimit", model.IDLE)
    assert "barn/c1" in decision.message


def test_a_limit_that_is_kept_moves_nobody() -> None:
    made = farm({"rig-0": KAS, "rig-1": KAS}, 2 * MINES)
    assert not stopped(policy.plan(worlds.requested(made, MARKET)))


def test_a_lowered_limit_is_kept_from_the_next_tick_on_and_the_rigs_stay_stopped() -> None:
    world = worlds.World(farm({f"rig-{index}": KAS for index in range(6)}, 10_000))
    assert not any(reply.moves for reply in world.run([MARKET] * 5))
    limit = 3 * MINES + 3 * RESTS
    world.farm = dataclasses.replace(world.farm, sites=world.farm.sites.set("barn", barn(c1=limit)))
    first, *later = world.run([MARKET] * 300)
    assert len(stopped(first)) == 3
    mining = [rig for rig in world.farm.rigs if world.mode(rig) == KAS]
    assert len(mining) == 3
    assert not any(reply.moves for reply in later[5:])
    # The rigs that stand still know why.
    still = next(rig for rig in world.farm.rigs if world.mode(rig) != KAS)
    assert later[-1].decisions[still].held_by.startswith("circuit barn/c1: ")


def test_rigs_that_are_held_or_pinned_are_left_alone_and_counted() -> None:
    rigs = [
        sample.rig("pinned", circuit="c1", pin=model.Pin.MINING),
        sample.rig("serviced", circuit="c1", maintenance=True),
        sample.rig("rig-0", circuit="c1"),
    ]
    made = farm({rig.name: KAS for rig in rigs}, 2 * MINES + RESTS, rigs=rigs, pools=[sample.pool(off=False)])
    assert stopped(policy.plan(worlds.requested(made, MARKET))) == {"rig-0": model.IDLE}
    nobody = farm({"pinned": KAS, "serviced": KAS}, 1000, rigs=rigs[:2])
    assert not policy.plan(worlds.requested(nobody, MARKET)).moves


def test_a_rig_that_is_on_its_way_to_rest_is_not_waited_for_by_stopping_others() -> None:
    made = farm({"rig-0": KAS, "rig-1": KAS}, MINES + RESTS)
    leaving = worlds.settled(
        model.IDLE, origin=KAS, step=record.Step.STOPPING, deadline=sample.NOW + datetime.timedelta(minutes=1)
    )
    reply = policy.plan(worlds.requested(worlds.with_record(made, "rig-0", leaving), MARKET))
    assert not reply.moves


def test_rigs_at_rest_are_powered_off_where_that_is_still_too_much() -> None:
    rigs = [sample.rig("pinned", circuit="c1", pin=model.Pin.MINING), sample.rig("rig-0", circuit="c1")]
    made = farm({"pinned": KAS, "rig-0": model.IDLE}, MINES + 100, rigs=rigs)
    assert stopped(policy.plan(worlds.requested(made, MARKET))) == {"rig-0": model.OFF}


def test_a_rig_rests_idle_where_its_pool_allows_no_rest_at_all() -> None:
    made = farm({"rig-0": KAS}, 500, pools=[sample.pool(idle=False, off=False)])
    assert stopped(policy.plan(worlds.requested(made, MARKET))) == {"rig-0": model.IDLE}


def test_a_gang_at_work_stops_last_whole_and_only_if_it_may() -> None:
    rigs = [sample.rig(f"rig-{index}", circuit="c1" if index < 3 else "") for index in range(4)]
    job = sample.job(replicas=4, gpus_per_replica=3, bid_usd_per_gpu_hour=0.01, min_runtime_seconds=36_000.0)
    made = with_gang(farm({"rig-0": KAS}, 0, rigs=rigs), job, "rig-2", "rig-3")

    def planned(limit: int, **over: Any) -> planning.PlanReply:
        found = worlds.changed_job(made, job.key, **over)
        found = dataclasses.replace(found, sites=found.sites.set("barn", barn(c1=limit)))
        return policy.plan(worlds.requested(worlds.in_modes(found, {"rig-1": KAS}), MARKET))

    enough = planned(WORKS + 2 * RESTS)
    assert set(stopped(enough)) == {"rig-0", "rig-1"}
    assert not enough.preemptions

    whole = planned(3 * RESTS)
    assert set(stopped(whole)) == {"rig-0", "rig-1"}
    (preemption,) = whole.preemptions
    assert (preemption.job, preemption.reason) == (job.key, "CircuitOverLimit")
    assert set(preemption.targets) == {"rig-2", "rig-3"}
    assert all(mode in (model.IDLE, model.OFF) for mode in preemption.targets.values())
    assert "circuit barn/c1 carries" in preemption.message

    protected = planned(3 * RESTS, preemptible=False)
    assert not protected.preemptions
    assert set(stopped(protected)) == {"rig-0", "rig-1"}


def test_a_gang_that_cannot_be_weighed_any_more_is_stopped_all_the_same() -> None:
    # Five of six cards have dropped off the bus: the job does not fit any more, and the one that is left draws power.
    rigs = [sample.rig("rig-0", circuit="c1", hardware=sample.hardware(1))]
    job = sample.job(replicas=2, gpus_per_replica=3)
    reply = policy.plan(worlds.requested(with_gang(farm({}, 200, rigs=rigs), job, "rig-0"), MARKET))
    (preemption,) = reply.preemptions
    assert (preemption.job, preemption.reason) == (job.key, "CircuitOverLimit")


def test_rigs_that_people_send_away_are_counted_where_they_go() -> None:
    rigs = [sample.rig(f"rig-{index}", circuit="c1") for index in range(3)]
    job = sample.job(replicas=2, gpus_per_replica=3, suspend=True)
    made = with_gang(farm({}, WORKS + MINES + RESTS, rigs=rigs), job, "rig-0")
    made = worlds.in_modes(made, {"rig-1": KAS, "rig-2": KAS})
    reply = policy.plan(worlds.requested(made, MARKET))
    (preemption,) = reply.preemptions
    assert preemption.reason == "Suspended"
    assert not stopped(reply)  # the gang leaves, and that is enough


def test_a_great_rig_that_frees_enough_alone_spares_the_small_ones() -> None:
    rigs = [
        *(sample.rig(f"small-{index}", circuit="c1", hardware=sample.hardware(1)) for index in range(2)),
        sample.rig("great", circuit="c1", hardware=sample.hardware(8)),
    ]
    # One card draws 210 mining, 90 at rest; eight draw 1120 and 160. 700 W too many: the small free 240 together.
    made = farm({rig.name: KAS for rig in rigs}, 2 * 210 + 1120 - 700, rigs=rigs, pools=[sample.pool(off=False)])
    assert stopped(policy.plan(worlds.requested(made, MARKET))) == {"great": model.IDLE}


def test_a_measured_overdraw_stops_rigs_and_does_not_let_them_in_again() -> None:
    at = sample.NOW
    # 130 W a card on paper; the cards draw 150.
    reading = model.Readback(profile="mining.kas", since=LONG_AGO, gpu_memory_used_mib=0, watts=900, observed_at=at)
    rigs = [sample.rig(f"rig-{index}", circuit="c1", readback=reading) for index in range(4)]
    made = sample.farm(rigs=rigs, sites=[barn(c1=4 * 900)], pools=[sample.pool(off=False)])
    for rig in rigs:
        made = worlds.with_record(made, rig.name, worlds.settled(KAS, since=LONG_AGO))
    reply = policy.plan(worlds.requested(made, MARKET))
    assert len(stopped(reply)) == 1
    (rested,) = stopped(reply)
    quiet = dataclasses.replace(reading, watts=60)
    after = worlds.with_record(
        worlds.changed_rig(made, rested, readback=quiet), rested, worlds.settled(model.IDLE, since=LONG_AGO)
    )
    request = worlds.requested(after, MARKET)
    view = next(view for view in request.rigs if view.name == rested)
    assert budgets.Purse(request).refusal(view, KAS) == "circuit barn/c1: 3,920 of 3,600 W would be drawn"
    assert not policy.plan(request).moves


def test_a_pool_that_only_recommends_is_told_and_nothing_counts_on_it() -> None:
    rigs = [
        *(sample.rig(f"rig-{index}", circuit="c1") for index in range(2)),
        sample.rig("side-0", circuit="c1", labels={"pool": "side"}),
    ]
    pools = [sample.pool("main", off=False), sample.pool("side", enforce=False, off=False)]
    made = farm({rig.name: KAS for rig in rigs}, MINES + 2 * RESTS, rigs=rigs, pools=pools)
    assert set(stopped(policy.plan(worlds.requested(made, MARKET)))) == {"rig-0", "rig-1"}
    tighter = dataclasses.replace(made, sites=made.sites.set("barn", barn(c1=MINES)))
    assert set(stopped(policy.plan(worlds.requested(tighter, MARKET)))) == {"rig-0", "rig-1", "side-0"}


def test_what_stays_over_its_limit_is_said() -> None:
    made = farm({"rig-0": KAS, "rig-1": KAS}, 100, pools=[sample.pool(off=False)])
    request = worlds.requested(made, MARKET)
    desk = standing.Desk(request)
    purse = budgets.Purse(request)
    shed = shedding.shed(desk, purse, working=gangs.weigh(desk))
    assert {move.rig for move in shed.moves} == {"rig-0", "rig-1"}
    assert shed.held == {"barn/c1": "180 W too many stay on circuit barn/c1"}
    # Taken from the purse: what is free is free only when the rigs have stopped.
    assert purse.left("main") == 0


# --- watts for a gang -----------------------------------------------------------------------------------------


def short_of_watts(bid: float) -> worlds.World:
    """Two rigs that mine on a circuit that carries both, but not one at AI work beside another that mines."""
    found = farm(dict.fromkeys(("rig-0", "rig-1"), KAS), WORKS + MINES - 1, pools=[sample.pool(max_switching="100%")])
    job = sample.job(replicas=1, gpus_per_replica=6, bid_usd_per_gpu_hour=bid)
    return worlds.World(dataclasses.replace(found, jobs=found.jobs.set(job.key, job)))


def test_a_gang_gets_the_watts_of_a_rig_that_mines() -> None:
    world = short_of_watts(1.0)
    reply = world.step(MARKET)
    (move,) = reply.moves
    assert (move.to, move.reason) == (model.OFF, "MakesRoom")
    (refusal,) = reply.refusals
    assert (refusal.reason, refusal.message) == ("LimitReached", "waits for watts that come free on circuit barn/c1")
    decision = reply.decisions[move.rig]
    assert (decision.reason, decision.chosen) == ("MakesRoom", model.OFF)
    assert decision.message == "Mining/kas rests: a job pays more for the watts of circuit barn/c1"
    later = world.step(MARKET)
    (admission,) = later.admissions
    assert {placement.rig for placement in admission.placement} == {"rig-0", "rig-1"} - {move.rig}
    assert not later.moves
    assert not world.step(MARKET).moves, "the rig that rests does not take the watts back"


def test_a_gang_that_pays_too_little_for_the_watts_waits() -> None:
    # The rig alone asks for about 0.19 $/GPU-h; the one that would rest forgoes 0.16 more.
    reply = short_of_watts(0.25).step(MARKET)
    assert not reply.moves
    (refusal,) = reply.refusals
    assert refusal.reason == "LimitReached"
    assert "circuit barn/c1: 2,140 of 2,139 W would be drawn" in refusal.message


def test_rigs_that_people_have_pinned_do_not_rest_for_a_gang() -> None:
    world = short_of_watts(1.0)
    pinned = {name: dataclasses.replace(rig, pin=model.Pin.MINING) for name, rig in world.farm.rigs.items()}
    world.farm = dataclasses.replace(world.farm, rigs=world.farm.rigs.set("rig-1", pinned["rig-1"]))
    reply = world.step(MARKET)
    assert not reply.moves
    assert not reply.admissions
