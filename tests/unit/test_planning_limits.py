"""What no plan may break, on random farms that carry it out tick by tick: circuits, shares, budgets, gangs, pins."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

import sample_farm as sample
import sample_world as worlds
from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.planning import request as planning

CASES = settings(max_examples=50, deadline=None)
COINS = ("kas", "rvn", "erg")
MODES = [model.IDLE, model.OFF, *(model.Mode(model.ModeKind.MINING, coin) for coin in COINS)]
CIRCUITS = ("c1", "c2")
FORCED = {"Pinned", "ModeGone", "WorkDone", "CircuitOverLimit"}
PEOPLE = {"Suspended", "Pinned", "Maintenance"}
FLOORS: st.SearchStrategy[int | str] = st.sampled_from([0, 1, 3, "30%"])
MOSTS: st.SearchStrategy[int | str | None] = st.sampled_from([None, None, 2, 4, "50%"])
# Watts of a card of the samples' by what it does.
CARD = {"kas": 130, "rvn": 160, "erg": 110, "AI": 200, "Idle": 10}


def watts_of(rig: model.Rig, mode: model.Mode) -> float:
    """What a rig of the samples draws; counted here once more, apart from the operator's own figures."""
    if mode == model.OFF:
        return 5.0
    per_card = CARD[mode.name] if mode.kind is model.ModeKind.MINING else CARD[str(mode.kind)]
    return 80.0 + per_card * len(rig.hardware.gpus)


class Carried(worlds.World):
    """Only what pools enforce is carried out."""

    def _settle(self, rig: str, mode: model.Mode) -> None:
        if self.farm.pools[self.farm.pool_of[rig]].enforce:
            super()._settle(rig, mode)


def site(limits: Mapping[str, int]) -> model.Site:
    return sample.site(circuits={key: model.Circuit(name=key, limit_watts=watts) for key, watts in limits.items()})


@st.composite
def limits(draw: st.DrawFn) -> dict[str, int]:
    return {key: draw(st.sampled_from([500, 1500, 3000, 5000, 20000])) for key in CIRCUITS}


@st.composite
def shares(draw: st.DrawFn) -> tuple[model.Share, ...]:
    found = []
    for kind in (model.ModeKind.AI, model.ModeKind.MINING):
        if draw(st.booleans()):
            floor: int | str = draw(FLOORS)
            most: int | str | None = draw(MOSTS)
            found.append(model.Share(kind=kind, floor=floor, most=most))
    return tuple(found)


@st.composite
def pools(draw: st.DrawFn, name: str) -> model.Pool:
    return sample.pool(
        name,
        coins=tuple(draw(st.lists(st.sampled_from(COINS), unique=True))),
        idle=draw(st.sampled_from([True, True, False])),
        off=draw(st.booleans()),
        enforce=draw(st.sampled_from([True, True, True, False])),
        max_switching=draw(st.sampled_from([1, 2, 5, "25%", "100%"])),
        shares=draw(shares()),
    )


@st.composite
def farms(draw: st.DrawFn) -> model.Farm:
    rigs = [
        sample.rig(
            f"rig-{index}",
            labels={"pool": draw(st.sampled_from(["main", "main", "side"]))},
            pin=draw(st.sampled_from([*[model.Pin.AUTO] * 8, *model.Pin])),
            maintenance=draw(st.sampled_from([False] * 9 + [True])),
            hardware=sample.hardware(draw(st.sampled_from([1, 4, 6]))),
            circuit=draw(st.sampled_from([*CIRCUITS, *CIRCUITS, "", "unknown"])),
        )
        for index in range(draw(st.integers(2, 9)))
    ]
    jobs = [
        sample.job(
            f"job-{index}",
            replicas=draw(st.integers(1, 5)),
            gpus_per_replica=draw(st.sampled_from([1, 2, 3])),
            bid_usd_per_gpu_hour=draw(st.floats(0, 2)),
            preemptible=draw(st.booleans()),
            suspend=draw(st.sampled_from([False, False, False, False, True])),
            min_runtime_seconds=draw(st.sampled_from([0.0, 7200.0])),
        )
        for index in range(draw(st.integers(0, 4)))
    ]
    farm = sample.farm(
        rigs=rigs,
        jobs=jobs,
        sites=[site(draw(limits()))],
        pools=[draw(pools("main")), draw(pools("side"))],
        coins=[
            sample.coin(coin, benchmarks={sample.GPU: model.Benchmark(hashrate=0.03, watts=CARD[coin])})
            for coin in COINS
        ],
    )
    free = [rig.name for rig in rigs if farm.pools[rig.labels["pool"]].enforce]
    for job in jobs:
        placing: bool = draw(st.booleans())
        if free and placing:
            count = draw(st.integers(1, min(3, len(free))))
            placed, free = free[:count], free[count:]
            farm = worlds.changed_job(
                farm,
                job.key,
                state=model.JobState.ADMITTED,
                placement=tuple(model.Placement(rig=rig, replicas=1) for rig in placed),
                started_at=sample.NOW - datetime.timedelta(hours=1),
            )
            farm = worlds.in_modes(farm, dict.fromkeys(placed, job.mode))
    at_work = {placement.rig for job in farm.jobs.values() for placement in job.placement}
    return worlds.in_modes(farm, {rig.name: draw(st.sampled_from(MODES)) for rig in rigs if rig.name not in at_work})


@st.composite
def markets(draw: st.DrawFn) -> quotes.Market:
    return sample.market({coin: draw(st.floats(0, 10)) for coin in COINS})


def targets(farm: model.Farm, reply: planning.PlanReply) -> dict[str, model.Mode]:
    """Where the reply sends rigs."""
    found = {move.rig: move.to for move in reply.moves}
    for preemption in reply.preemptions:
        found |= preemption.targets
    for admission in reply.admissions:
        found |= {placement.rig: farm.jobs[admission.job].mode for placement in admission.placement}
    return found


def check_circuits(farm: model.Farm, modes: Mapping[str, model.Mode], goes: Mapping[str, model.Mode]) -> None:
    for name, circuit in farm.sites["barn"].circuits.items():
        rigs = [rig for rig in farm.rigs.values() if rig.circuit == name]
        enforced = [rig for rig in rigs if farm.pools[farm.pool_of[rig.name]].enforce]
        before = sum(watts_of(rig, modes[rig.name]) for rig in rigs)
        # While rigs are handed over, the greater end of each hand-over may be drawn.
        during = before + sum(
            max(0.0, watts_of(rig, goes.get(rig.name, modes[rig.name])) - watts_of(rig, modes[rig.name]))
            for rig in enforced
        )
        assert during <= max(before, circuit.budget_watts) + 1e-6, (name, before, during)
        advised = before + sum(
            max(0.0, watts_of(rig, goes.get(rig.name, modes[rig.name])) - watts_of(rig, modes[rig.name]))
            for rig in rigs
            if rig not in enforced
        )
        assert advised <= max(before, circuit.budget_watts) + 1e-6, (name, before, advised)


def check_shares(request: planning.PlanRequest, reply: planning.PlanReply, goes: Mapping[str, model.Mode]) -> None:
    views = {view.name: view for view in request.rigs}
    forced = {move.rig for move in reply.moves if move.reason in FORCED}
    for preemption in reply.preemptions:
        if preemption.reason in {*PEOPLE, "CircuitOverLimit"}:
            forced |= set(preemption.targets)
    for share in request.shares:
        ours = [view for view in views.values() if view.pool == share.pool]
        before = sum(view.mode.kind is share.kind for view in ours)
        after = sum(goes.get(view.name, view.mode).kind is share.kind for view in ours)
        out = sum(view.mode.kind is share.kind and view.name in forced for view in ours)
        into = sum(goes.get(view.name, view.mode).kind is share.kind and view.name in forced for view in ours)
        assert after >= min(before, share.floor) - out, share
        if share.most is not None:
            assert after <= max(before, share.most) + into, share


def check_gangs_and_pins(farm: model.Farm, request: planning.PlanRequest, reply: planning.PlanReply) -> None:
    views = {view.name: view for view in request.rigs}
    for admission in reply.admissions:
        job = farm.jobs[admission.job]
        assert sum(placement.replicas for placement in admission.placement) == job.replicas
    for preemption in reply.preemptions:
        job = farm.jobs[preemption.job]
        assert preemption.reason in PEOPLE or job.preemptible
        taken = {placement.rig for admission in reply.admissions for placement in admission.placement}
        there = {placement.rig for placement in job.placement if views[placement.rig].mode == job.mode}
        assert there == set(preemption.targets) | (there & taken)
    for move in reply.moves:
        view = views[move.rig]
        assert view.pin is model.Pin.AUTO or move.reason != "CircuitOverLimit"
        assert not view.held
        assert not view.switching
        assert move.to.kind is not model.ModeKind.AI


def check_budgets(request: planning.PlanRequest, reply: planning.PlanReply, goes: Mapping[str, model.Mode]) -> None:
    beyond = {move.rig for move in reply.moves if move.reason == "CircuitOverLimit"}
    for preemption in reply.preemptions:
        if preemption.reason in {*PEOPLE, "CircuitOverLimit"}:
            beyond |= set(preemption.targets)
    spent = Counter(
        view.pool
        for view in request.rigs
        if view.enforced and view.name not in beyond and goes.get(view.name, view.mode) != view.mode
    )
    for pool, count in spent.items():
        assert request.budgets[pool].used + count <= request.budgets[pool].limit


@given(farms(), st.lists(markets(), min_size=1, max_size=4), limits())
@CASES
def test_no_plan_breaks_a_limit(farm: model.Farm, weather: list[quotes.Market], later: dict[str, int]) -> None:
    world = Carried(farm, tick=datetime.timedelta(minutes=10))
    for tick in range(12):
        if tick == 6:
            sites = world.farm.sites.set("barn", site(later))
            world.farm = dataclasses.replace(world.farm, sites=sites)
        modes = {rig: world.mode(rig) for rig in world.farm.rigs}
        request = worlds.requested(world.farm, weather[tick // 4 % len(weather)], memory=world.memory, now=world.now)
        before = world.farm
        reply = world.carry_out(request)
        goes = targets(before, reply)
        check_circuits(before, modes, goes)
        check_shares(request, reply, goes)
        check_gangs_and_pins(before, request, reply)
        check_budgets(request, reply, goes)


@given(farms(), markets())
@CASES
def test_a_circuit_that_carries_too_much_is_relieved(farm: model.Farm, market: quotes.Market) -> None:
    world = Carried(farm)
    for _ in range(3):
        reply = world.step(market)
        assert set(dict(reply.decisions)) == set(farm.rigs)  # every one is put into words
    modes = {rig: world.mode(rig) for rig in farm.rigs}
    staying = {
        placement.rig
        for job in world.farm.jobs.values()
        if job.state is model.JobState.ADMITTED
        and (not job.preemptible or any(not movable(farm, placement.rig) for placement in job.placement))
        for placement in job.placement
    }
    for name, circuit in farm.sites["barn"].circuits.items():
        rigs = [rig for rig in farm.rigs.values() if rig.circuit == name]
        if sum(watts_of(rig, modes[rig.name]) for rig in rigs) <= circuit.budget_watts + 1e-6:
            continue
        for rig in rigs:
            if movable(farm, rig.name) and rig.name not in staying:
                pool = farm.pools[farm.pool_of[rig.name]]
                least = model.OFF if pool.off else model.IDLE
                assert watts_of(rig, modes[rig.name]) <= watts_of(rig, least), rig.name


def movable(farm: model.Farm, name: str) -> bool:
    rig = farm.rigs[name]
    return rig.pin is model.Pin.AUTO and not rig.maintenance and farm.pools[farm.pool_of[name]].enforce


@given(farms(), markets())
@settings(max_examples=25, deadline=None)
def test_limits_come_to_rest(farm: model.Farm, market: quotes.Market) -> None:
    """Nothing is stopped for its watts and started again, over and over."""
    world = Carried(farm, tick=datetime.timedelta(minutes=10))
    replies = world.run([market] * 100)
    enforced = {name for name in farm.rigs if farm.pools[farm.pool_of[name]].enforce}
    for reply in replies[-20:]:
        assert not {move.rig for move in reply.moves} & enforced
        assert not reply.admissions
