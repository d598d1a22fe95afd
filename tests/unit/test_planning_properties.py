"""What holds of every plan, on random farms."""

from __future__ import annotations

import dataclasses
import datetime
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import sample_farm as sample
import sample_world as worlds
from switchyard.fleet import model
from switchyard.handover import reasons, record
from switchyard.market import quotes
from switchyard.planning import policy, standing
from switchyard.planning import request as planning
from switchyard.valuation import values

COINS = ("kas", "rvn", "erg")
PEOPLE = {"Suspended", "Pinned", "Maintenance"}
CASES = settings(max_examples=100, deadline=None)


def mode_of(draw: st.DrawFn) -> model.Mode:
    return draw(
        st.sampled_from(
            [model.IDLE, model.OFF, *(model.Mode(model.ModeKind.MINING, coin) for coin in (*COINS, "gone"))]
        )
    )


@st.composite
def markets(draw: st.DrawFn) -> quotes.Market:
    found: dict[str, quotes.Quote] = {}
    for coin in COINS:
        value = draw(st.floats(0, 10))
        trust = draw(st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.0]))
        found.update(sample.market({coin: value}, trust=trust).quotes)
    price = quotes.Quote(
        feed="power",
        quantity=quotes.Quantity.ELECTRICITY_PRICE,
        value=draw(st.floats(-0.1, 2.0)),
        as_of=sample.NOW,
        trust=draw(st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.0])),
    )
    return quotes.Market(at=sample.NOW, quotes={**found, "power": price})


@st.composite
def pools(draw: st.DrawFn, name: str) -> model.Pool:
    return sample.pool(
        name,
        coins=tuple(draw(st.lists(st.sampled_from(COINS), unique=True))),
        idle=draw(st.booleans()),
        off=draw(st.booleans()),
        enforce=draw(st.sampled_from([True, True, False])),
        max_switching=draw(st.sampled_from([1, 2, 5, "25%", "100%"])),
    )


@st.composite
def farms(draw: st.DrawFn) -> model.Farm:
    sites = [
        sample.site("barn", tariff=model.FixedTariff(usd_per_kwh=draw(st.floats(-0.05, 1.0)))),
        sample.site("shed", tariff=model.FeedTariff(feed="power", adder_usd_per_kwh=0.01)),
    ]
    rigs = [
        sample.rig(
            f"rig-{index}",
            site=draw(st.sampled_from(["barn", "shed"])),
            labels={"pool": draw(st.sampled_from(["main", "side"]))},
            pin=draw(st.sampled_from([*[model.Pin.AUTO] * 6, *model.Pin])),
            maintenance=draw(st.sampled_from([False] * 8 + [True])),
            hardware=sample.hardware(draw(st.sampled_from([0, 1, 4, 6]))),
        )
        for index in range(draw(st.integers(1, 8)))
    ]
    jobs = [
        sample.job(
            f"job-{index}",
            replicas=draw(st.integers(1, 6)),
            gpus_per_replica=draw(st.sampled_from([1, 2, 3])),
            bid_usd_per_gpu_hour=draw(st.floats(0, 2)),
            preemptible=draw(st.booleans()),
            suspend=draw(st.sampled_from([False, False, False, True])),
            min_runtime_seconds=draw(st.sampled_from([0.0, 7200.0])),
            notice_seconds=draw(st.sampled_from([0.0, 120.0])),
        )
        for index in range(draw(st.integers(0, 4)))
    ]
    farm = sample.farm(
        rigs=rigs,
        jobs=jobs,
        sites=sites,
        pools=[draw(pools("main")), draw(pools("side"))],
        coins=[sample.coin(coin) for coin in COINS],
    )
    free = [rig.name for rig in rigs]
    for job in jobs:
        placing: bool = draw(st.booleans())
        if free and placing:
            count = draw(st.integers(1, min(3, len(free))))
            placed, free = free[:count], free[count:]
            farm = worlds.changed_job(
                farm,
                job.key,
                state=draw(
                    st.sampled_from([model.JobState.ADMITTED, model.JobState.ADMITTED, model.JobState.PREEMPTING])
                ),
                placement=tuple(model.Placement(rig=rig, replicas=1) for rig in placed),
                started_at=sample.NOW - datetime.timedelta(hours=1),
            )
            farm = worlds.in_modes(farm, dict.fromkeys(placed, job.mode))
    for rig in free:
        if draw(st.booleans()):
            farm = worlds.with_record(farm, rig, drawn_record(draw))
    return farm


def drawn_record(draw: st.DrawFn) -> record.Record:
    mode = mode_of(draw)
    kind = draw(st.sampled_from(["settled", "settled", "switching", "failed", "over"]))
    if kind == "over":
        return worlds.settled(model.Mode(model.ModeKind.AI, "tenant/long-gone"))
    if kind == "switching":
        return worlds.settled(
            mode, step=record.Step.STARTING, deadline=sample.NOW + datetime.timedelta(minutes=1), origin=model.IDLE
        )
    if kind == "failed":
        return worlds.settled(
            mode,
            origin=mode_of(draw),
            reason=draw(st.sampled_from([reasons.START_TIMED_OUT, reasons.AGENT_SILENT])),
            attempt=1,
            retry_at=sample.NOW + datetime.timedelta(minutes=1),
        )
    return worlds.settled(mode)


@st.composite
def memories(draw: st.DrawFn, farm: model.Farm) -> planning.Memory:
    work: dict[str, dict[model.Mode, float]] = {}
    for rig in farm.rigs:
        if draw(st.booleans()):
            known = [
                model.IDLE,
                *(model.Mode(model.ModeKind.MINING, coin) for coin in draw(st.sets(st.sampled_from(COINS)))),
            ]
            work[rig] = {mode: draw(st.floats(0, 0.5)) for mode in known}
    for job in farm.jobs.values():
        for placement in job.placement:
            work[placement.rig] = {job.mode: draw(st.floats(0, 5))}
    return planning.Memory(work_usd=work, at=sample.NOW - datetime.timedelta(minutes=draw(st.integers(0, 30))))


@st.composite
def requests(draw: st.DrawFn) -> planning.PlanRequest:
    farm = draw(farms())
    return worlds.requested(farm, draw(markets()), memory=draw(memories(farm)))


def moved(reply: planning.PlanReply) -> list[str]:
    """Every rig that the reply touches, once for each time."""
    return [
        *(move.rig for move in reply.moves),
        *(placement.rig for admission in reply.admissions for placement in admission.placement),
        *(rig for preemption in reply.preemptions for rig in preemption.targets),
    ]


@given(requests())
@CASES
def test_every_plan_is_sound(request: planning.PlanRequest) -> None:
    reply = policy.plan(request)
    views = {view.name: view for view in request.rigs}
    jobs = {job.key: job for job in request.jobs}

    touched = moved(reply)
    assert len(touched) == len(set(touched))

    by_people = {rig for preemption in reply.preemptions if preemption.reason in PEOPLE for rig in preemption.targets}
    for rig in touched:
        view = views[rig]
        assert not view.switching
        assert not view.held or rig in by_people

    for move in reply.moves:
        view = views[move.rig]
        assert move.to != view.mode
        assert move.to.kind is not model.ModeKind.AI
        assert move.to not in view.barred
        assert move.to in standing.within_pin(view.pin, [move.to])
        assert move.gain_usd_per_hour >= 0 or move.reason == "Pinned"
        value = request.classes[view.class_key]
        assert move.to in value.worths or move.to == model.IDLE

    for admission in reply.admissions:
        job = jobs[admission.job]
        assert job.state is model.JobState.PENDING
        assert sum(placement.replicas for placement in admission.placement) == job.replicas
        assert job.bid_usd_per_gpu_hour > admission.reserve_usd_per_gpu_hour
        for placement in admission.placement:
            view = views[placement.rig]
            assert 1 <= placement.replicas <= request.classes[view.class_key].slots[job.key]
            assert view.pin in (model.Pin.AUTO, model.Pin.AI)
            assert view.enforced

    stopped = [preemption.job for preemption in reply.preemptions]
    assert len(stopped) == len(set(stopped))
    taken = {placement.rig for admission in reply.admissions for placement in admission.placement}
    for preemption in reply.preemptions:
        job = jobs[preemption.job]
        assert job.state is model.JobState.ADMITTED
        assert preemption.reason in PEOPLE or job.preemptible
        held = {placement.rig for placement in job.placement if views[placement.rig].mode == job.mode}
        assert set(preemption.targets) | (held & taken) == {rig for rig in held if not views[rig].switching}

    waiting = {job.key for job in request.jobs if job.state is model.JobState.PENDING}
    assert Counter([*(each.job for each in reply.admissions), *(each.job for each in reply.refusals)]) == Counter(
        waiting
    )

    # What is only recommended spends nothing.
    paying = [rig for rig in touched if rig not in by_people and views[rig].enforced]
    spent = Counter(views[rig].pool for rig in paying if starts(views, jobs, reply, rig))
    for pool, count in spent.items():
        budget = request.budgets[pool]
        assert budget.used + count <= max(budget.limit, budget.used)

    # Rigs of a gang that stays do not move.
    gangs = {
        placement.rig
        for job in request.jobs
        if job.state in (model.JobState.ADMITTED, model.JobState.PREEMPTING) and job.key not in stopped
        for placement in job.placement
    }
    assert not gangs & set(touched)


def starts(
    views: Mapping[str, planning.RigView], jobs: Mapping[str, model.Job], reply: planning.PlanReply, rig: str
) -> bool:
    """Whether a rig that the reply touches has a hand-over before it."""
    modes = {
        placement.rig: jobs[admission.job].mode for admission in reply.admissions for placement in admission.placement
    }
    return modes.get(rig) != views[rig].mode


@given(requests())
@CASES
def test_every_decision_tells_everything(request: planning.PlanRequest) -> None:
    reply = policy.plan(request)
    assert set(reply.decisions) == {view.name for view in request.rigs}
    for view in request.rigs:
        decision = reply.decisions[view.name]
        assert decision.reason
        assert decision.message
        if view.class_key not in request.classes:
            continue
        value = request.classes[view.class_key]
        assert {each.mode for each in decision.alternatives} == {*value.worths, *value.refusals}
        for each in decision.alternatives:
            assert (each.worth is None) is not (each.refusal is None)
            assert each.lacks or each.mode == decision.chosen, (each, decision)
            assert each.regret_usd is None or each.regret_usd >= 0
        nets = [each.worth.net_usd_per_hour for each in decision.alternatives if each.worth is not None]
        assert nets == sorted(nets, reverse=True)


@given(requests(), st.randoms(use_true_random=False))
@CASES
def test_the_order_of_things_does_not_matter(request: planning.PlanRequest, shuffle: random.Random) -> None:
    rigs, jobs = list(request.rigs), list(request.jobs)
    shuffle.shuffle(rigs)
    shuffle.shuffle(jobs)
    classes = list(request.classes.items())
    shuffle.shuffle(classes)
    other = dataclasses.replace(request, rigs=tuple(rigs), jobs=tuple(jobs), classes=dict(classes))
    assert plain(policy.plan(other)) == plain(policy.plan(request))


def plain(value: Any) -> Any:
    """The same in tuples, lists and dicts: what holds arrays cannot be compared as it is."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (type(value), *(plain(getattr(value, field.name)) for field in dataclasses.fields(value)))
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return value


@given(farms(), markets())
@settings(max_examples=25, deadline=None)
def test_constant_prices_come_to_rest(farm: model.Farm, market: quotes.Market) -> None:
    world = worlds.World(farm, tick=datetime.timedelta(minutes=10))
    replies = world.run([market] * 150)
    # What is said of gangs that people stop is said until they are gone; nothing else may still move.
    assert not any(moved(reply) for reply in replies[-20:])


@given(farms(), markets())
@settings(max_examples=60, deadline=None)
def test_free_moves_follow_the_best_every_tick(farm: model.Farm, market: quotes.Market) -> None:
    request = worlds.requested(farm, market, memory=planning.Memory(at=sample.NOW - datetime.timedelta(minutes=1)))
    free = dataclasses.replace(
        request,
        costs={move: values.SwitchCost(seconds=0.0, usd=0.0) for move in request.costs},
        jobs=(),
        budgets={name: dataclasses.replace(budget, limit=100, used=0) for name, budget in request.budgets.items()},
    )
    for reply in (
        (seeded := policy.plan(free)),
        policy.plan(dataclasses.replace(free, memory=dataclasses.replace(seeded.memory, at=free.memory.at))),
    ):
        last = reply
    targets = {move.rig: move.to for move in last.moves}
    for view in free.rigs:
        value = free.classes.get(view.class_key)
        if value is None or view.held or view.switching or view.barred or view.pin is not model.Pin.AUTO:
            continue
        if value.worths.get(view.mode) is None or view.mode.kind is model.ModeKind.AI:
            continue
        if any(worth.trust < 1 for worth in value.worths.values()):
            continue
        best = max(worth.net_usd_per_hour for mode, worth in value.worths.items() if mode.kind is not model.ModeKind.AI)
        chosen = value.worths[targets.get(view.name, view.mode)]
        assert chosen.net_usd_per_hour >= best - 1e-9


@given(requests())
@settings(max_examples=60, deadline=None)
def test_what_is_remembered_is_about_the_farm_and_never_negative(request: planning.PlanRequest) -> None:
    memory = policy.plan(request).memory
    assert memory.at == request.now
    assert set(memory.work_usd) <= {view.name for view in request.rigs}
    assert all(usd >= 0 for work in memory.work_usd.values() for usd in work.values())


def test_a_thousand_rigs_are_planned_in_half_a_second() -> None:
    names = [f"c{index}" for index in range(5)]
    rigs = [sample.rig(f"rig-{index}", hardware=sample.hardware(4 + index % 5)) for index in range(1000)]
    jobs = [sample.job(f"job-{index}", replicas=8, bid_usd_per_gpu_hour=0.05 + index / 100) for index in range(20)]
    farm = sample.farm(
        rigs=rigs,
        jobs=jobs,
        coins=[sample.coin(name) for name in names],
        pools=[sample.pool(coins=tuple(names))],
    )
    modes = [model.IDLE, *(model.Mode(model.ModeKind.MINING, name) for name in names)]
    farm = worlds.in_modes(farm, {rig.name: modes[index % 6] for index, rig in enumerate(rigs)})
    market = sample.market({name: 3.0 + index / 10 for index, name in enumerate(names)})
    chance = random.Random(1)
    # The worst case: no two rigs share a past.
    memory = planning.Memory(
        work_usd={rig.name: {mode: chance.random() / 10 for mode in (*modes, model.OFF)} for rig in rigs},
        at=sample.NOW - datetime.timedelta(minutes=1),
    )
    request = worlds.requested(farm, market, memory=memory)
    started = time.perf_counter()
    reply = policy.plan(request)
    elapsed = time.perf_counter() - started
    assert reply.moves
    assert reply.admissions
    assert elapsed < 2.0  # a quarter of that where nothing else runs
