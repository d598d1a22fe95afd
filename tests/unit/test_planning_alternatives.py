"""What a rig could do instead, and what would have to differ for that."""

from __future__ import annotations

import dataclasses
import re

import pytest

import sample_farm as sample
import sample_world as worlds
from switchyard.fleet import model
from switchyard.planning import alternatives, choice, experts, policy
from switchyard.planning import request as planning
from switchyard.status import rig as rig_status

KAS = model.mining("kas")
RVN = model.mining("rvn")
RENTED = model.Mode(model.ModeKind.AI, "rented")
MARKET = sample.market(kas=4.0, rvn=3.0)


def found(reply: planning.PlanReply, rig: str, mode: model.Mode) -> planning.Alternative:
    (entry,) = [each for each in reply.decisions[rig].alternatives if each.mode == mode]
    return entry


def after_a_small_change(expert: str) -> planning.Decision:
    """A rig that mines one coin while the other leaves a little more, as one expert sees it."""
    names = choice.ALL if expert == "all" else frozenset((expert,))
    world = worlds.World(sample.farm(), settings=policy.Settings(names=names))
    world.run([MARKET] * 30)
    return world.step(sample.market(kas=4.0, rvn=4.05)).decisions["rig-0"]


@pytest.mark.parametrize(
    ("expert", "words"),
    [
        (experts.WORK_FUNCTION, r"\d\.\d{4} \$ of regret still to build up before the 0\.0119 \$ move pays"),
        # Coins are chosen by what was forgone, whoever leads.
        (experts.LOOK_AHEAD, r"\d\.\d{4} \$ of regret still to build up before the 0\.0119 \$ move pays"),
        (
            experts.STAY,
            r"Stay/Mining/kas leads: of late it was \d\.\d{4} \$ ahead of all who would move, "
            r"on all rigs of this kind",
        ),
    ],
)
def test_whoever_leads_says_what_the_second_best_lacks(expert: str, words: str) -> None:
    decision = after_a_small_change(expert)
    assert decision.reason == "RegretBelowCost"
    assert re.fullmatch(rf"Mining/rvn leaves 0\.0088 \$/h more; {words}", decision.message)
    assert decision.expert == ("Stay/Mining/kas" if expert == experts.STAY else expert)
    (lacking,) = [each for each in decision.alternatives if each.mode == RVN]
    assert re.fullmatch(words, lacking.lacks)


def test_the_look_ahead_says_what_staying_is_worth() -> None:
    """Power that is dear for an hour does not pay for powering off and on again."""
    sites = [sample.site(tariff=model.FixedTariff(usd_per_kwh=0.08))]
    world = worlds.World(sample.farm(sites=sites), settings=policy.Settings(names=frozenset((experts.LOOK_AHEAD,))))
    world.run([sample.market(kas=0.5, rvn=0.4)] * 30)
    reply = world.step(sample.market(kas=0.3, rvn=0.3))
    decision = reply.decisions["rig-0"]
    assert (decision.chosen, decision.reason) == (KAS, "RegretBelowCost")
    assert re.search(r"Off leaves .* more; staying is worth \d+\.\d{4} \$ more over the look-ahead", decision.message)


def renting(rigs: int, **over: object) -> planning.PlanReply:
    """Four rigs of six GPUs; for an hour a demand for some, one for other rigs, and one that pays less."""
    farm = sample.farm(
        rigs=[sample.rig(f"rig-{number}") for number in range(4)], pools=[sample.pool(max_switching="100%")]
    )
    world = worlds.World(farm)
    for _ in range(60):
        request = worlds.requested(world.farm, MARKET, memory=world.memory, now=world.now)
        classes = frozenset(request.classes)
        given = {"usd_per_gpu_hour": 0.3, "gpus_wanted": rigs * 6, "classes": classes, **over}
        demands = (
            planning.Demand(name="rented", **given),  # type: ignore[arg-type]
            planning.Demand(name="elsewhere", classes=frozenset(("barn",)), usd_per_gpu_hour=9.0, gpus_wanted=6),
            planning.Demand(name="cheap", classes=classes, usd_per_gpu_hour=0.01, gpus_wanted=6),
        )
        reply = world.carry_out(dataclasses.replace(request, demands=demands))
    return reply


def test_demands_are_alternatives_with_what_they_earn_when_wanted() -> None:
    reply = renting(2)
    serving = [rig for rig, decision in sorted(reply.decisions.items()) if decision.chosen == RENTED]
    assert len(serving) == 2
    (mining, _) = [rig for rig in sorted(reply.decisions) if rig not in serving]
    taken, left = found(reply, serving[0], RENTED), found(reply, mining, RENTED)
    assert taken.worth is not None
    assert taken.worth.revenue_usd_per_hour == pytest.approx(6 * 0.3)
    assert taken.worth.net_usd_per_hour == pytest.approx(6 * 0.3 - taken.worth.watts * 0.08 / 1000)
    assert taken.lacks == ""
    assert left.worth == taken.worth
    assert left.lacks == "wanted on 2 rigs of this kind, and this one is number 3 in line"
    assert found(reply, mining, _demand("elsewhere").mode).refusal is not None
    assert found(reply, mining, _demand("cheap").mode).lacks == "AI/rented is asked first for rigs of this kind"
    assert reply.decisions[mining].message.startswith("Mining/kas leaves most")


def test_a_demand_that_pays_less_says_how_much_it_is_short() -> None:
    reply = renting(2, usd_per_gpu_hour=0.1)
    assert {decision.chosen for decision in reply.decisions.values()} == {KAS}
    assert re.fullmatch(r"0\.\d{4} \$/h short of Mining/kas", found(reply, "rig-0", RENTED).lacks)


def test_a_rig_that_serves_a_demand_is_measured_by_what_that_pays() -> None:
    reply = renting(4)
    decision = reply.decisions["rig-0"]
    assert (decision.chosen, decision.reason, decision.held_by) == (RENTED, "Best", "")
    rented, kas = found(reply, "rig-0", RENTED), found(reply, "rig-0", KAS)
    assert rented.worth is not None
    assert kas.worth is not None
    short = rented.worth.net_usd_per_hour - kas.worth.net_usd_per_hour
    assert kas.lacks == f"{short:.4f} $/h short of AI/rented"


def _demand(name: str) -> planning.Demand:
    return planning.Demand(name=name, classes=frozenset(), usd_per_gpu_hour=0.3, gpus_wanted=6)


def test_a_rig_lists_its_own_job_the_best_that_wait_and_counts_the_others() -> None:
    waiting = [sample.job(f"waits-{number:02d}", bid_usd_per_gpu_hour=0.01 + number / 1e4) for number in range(30)]
    large = [
        sample.job(f"large-{number:02d}", requirements=model.Requirements(gpu_memory_mib=90_000)) for number in range(9)
    ]
    own = sample.job(
        "own",
        bid_usd_per_gpu_hour=0.5,
        state=model.JobState.ADMITTED,
        placement=(model.Placement(rig="rig-0", replicas=2),),
        started_at=sample.NOW,
    )
    farm = sample.farm(rigs=[sample.rig("rig-0"), sample.rig("rig-1")], jobs=[*waiting, *large, own])
    world = worlds.World(worlds.in_modes(farm, {"rig-0": own.mode, "rig-1": KAS}))
    reply = world.step(MARKET)
    best = {f"tenant/waits-{number:02d}" for number in range(30 - alternatives.MOST_JOBS, 30)}
    for rig, more in (("rig-0", {own.key}), ("rig-1", set())):
        decision = reply.decisions[rig]
        jobs = {each.mode.name for each in decision.alternatives if each.mode.kind is model.ModeKind.AI}
        assert {name for name in jobs if "large" not in name} == best | more
        assert len(jobs) == len(best | more) + 1, "one stands for all that lack the same"
        assert decision.unlisted == 40 - len(jobs)
        nets = [each.worth.net_usd_per_hour for each in decision.alternatives if each.worth is not None]
        assert nets == sorted(nets, reverse=True)
    told = rig_status.status(
        farm.rigs["rig-1"],
        now=sample.NOW,
        node=farm.nodes["rig-1"],
        pool=farm.pools["main"],
        record=None,
        decision=reply.decisions["rig-1"],
    )
    assert f"({40 - alternatives.MOST_JOBS - 1} more jobs not shown)" in told["decision"]["message"]
    assert told["decision"]["expert"] == reply.decisions["rig-1"].expert != ""
