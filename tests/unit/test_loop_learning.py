"""What the loop learns from hand-overs, miners and gangs, played on a small cluster."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import immutables
import pytest

import sample_farm
from handover_world import AI, KAS, RVN, World, after
from switchyard.fleet import model
from switchyard.handover import gangs, reasons
from switchyard.handover import record as rec
from switchyard.loop import learning as loop
from switchyard.valuation import checkpoints, switching_cost
from switchyard.valuation import learned as learning

CARD = sample_farm.GPU
RIG_HARDWARE = sample_farm.hardware(2)
KIND = learning.kind_of(RIG_HARDWARE)
SEED = model.Benchmark(hashrate=0.03, watts=130)
_Phase = learning.Phase


class Farm:
    """A world with a pool, and a learner who watches it as the loop does."""

    def __init__(self) -> None:
        self.world = World(rigs=("r1", "r2"))
        self.learner = loop.Learner()
        for name in ("kas", "rvn"):
            self.world.coins[name] = dataclasses.replace(self.world.coins[name], benchmarks={CARD: SEED})
        self.look()

    def farm(self) -> model.Farm:
        farm = self.world.farm()
        rigs = immutables.Map(
            {name: dataclasses.replace(rig, hardware=RIG_HARDWARE) for name, rig in farm.rigs.items()}
        )
        return dataclasses.replace(
            farm,
            rigs=rigs,
            pools=immutables.Map(main=sample_farm.pool()),
            pool_of=immutables.Map({"r1": "main", "r2": "main"}),
        )

    def look(self, rig: str = "r1") -> None:
        farm = self.farm()
        self.learner.look(farm, farm.rigs[rig], self.world.record(rig), self.world.now)

    def step(self, rig: str = "r1") -> None:
        before, farm = self.world.record(rig), self.farm()
        self.look(rig)
        self.world.do(*self.world.advance(rig).commands)
        self.learner.switched(farm, farm.rigs[rig], before, self.world.record(rig))

    def switch(self, target: model.Mode, *, each_seconds: float = 5.0) -> rec.Record:
        self.world.do(*self.world.start(target).commands)
        return self.finish(each_seconds=each_seconds)

    def finish(self, *, each_seconds: float = 5.0) -> rec.Record:
        for _ in range(80):
            self.step()
            self.world.do(*self.world.gang().commands)
            record = self.world.record()
            if record is not None and record.settled:
                return record
            self.world.round(each_seconds)
        raise AssertionError(f"not settled: {self.world.record()}")

    def say(self, *rates: model.Measured) -> None:
        """The agent of r1 has looked, now."""
        found = self.world.readbacks["r1"]
        self.world.readbacks["r1"] = dataclasses.replace(found, benchmarks=rates, observed_at=self.world.now)
        self.look()

    def seconds(self, phase: learning.Phase, what: str = "") -> float | None:
        """What was learned of a phase by itself, without the prior; None where nothing was."""
        key = switching_cost.key(phase, kind=KIND, coin=what, workload_class=what)
        found = self.learner.learned.phases.known.get(key)
        return None if found is None else found.mean

    def learned(self) -> set[str]:
        return {key.phase.value for key in self.learner.learned.phases.known}


def rate(hashes: float, watts: int = 120, coin: str = "kas") -> model.Measured:
    return model.Measured(gpu=CARD, coin=coin, hashes_per_second=hashes, watts=watts)


def work() -> Farm:
    farm = Farm()
    farm.world.set_job(gpus_per_replica=3)
    farm.world.admit("r1")
    farm.switch(AI)
    return farm


def test_a_miners_start_and_stop_are_timed_in_farm_time() -> None:
    farm = Farm()
    started = farm.switch(KAS, each_seconds=7.0)
    assert farm.learned() == {"Release", "StartMiner"}
    # Two rounds: the Pod is bound in one and runs in the next.
    assert farm.seconds(_Phase.START_MINER, "kas") == 14.0
    farm.switch(RVN, each_seconds=3.0)
    assert farm.seconds(_Phase.STOP_MINER) == 3.0
    assert farm.seconds(_Phase.START_MINER, "rvn") == 6.0
    assert started.mode == KAS


def test_off_and_on_again_are_their_own_phases() -> None:
    farm = Farm()
    farm.switch(model.OFF)
    assert farm.learned() == {"PowerDown"}
    farm.switch(model.IDLE)
    assert farm.learned() == {"PowerDown", "Boot"}


def test_a_checkpoint_is_timed_from_the_notice_to_the_answer() -> None:
    farm = work()
    assert farm.seconds(_Phase.START_WORK, "Training") == 5.0
    farm.world.set_job(state=model.JobState.PREEMPTING)
    farm.world.do(*farm.world.start(KAS).commands)
    for _ in range(3):
        farm.step()
        farm.world.tick(7)
    farm.world.save()
    farm.finish()
    assert farm.learner.learned.phases.known[checkpoints.key("Training")].mean == 21.0
    assert farm.seconds(_Phase.STOP_WORK, "Training") is not None


def test_work_that_had_no_answer_teaches_nothing_about_checkpoints() -> None:
    farm = work()
    farm.world.set_job(state=model.JobState.PREEMPTING)
    farm.switch(KAS, each_seconds=20.0)
    assert "Checkpoint" not in farm.learned()
    assert "StopWork" in farm.learned()


def test_a_switch_that_failed_says_nothing_of_what_one_takes() -> None:
    farm = Farm()
    farm.world.faults.no_image.add("r1")
    farm.switch(KAS, each_seconds=30.0)
    record = farm.world.record()
    assert record is not None
    assert record.reason in reasons.WENT_BACK
    assert "StartMiner" not in farm.learned()


def test_a_step_that_began_before_the_operator_is_not_timed() -> None:
    farm = Farm()
    farm.world.do(*farm.world.start(KAS).commands)
    farm.step()
    farm.world.tick(60)
    farm.learner = loop.Learner()
    farm.look()
    farm.world.round()
    farm.finish()
    # The step in which it was killed is passed over, those after it are not.
    assert farm.learned() == {"StartMiner"}


def test_a_miner_loads_from_its_start_until_it_hashes() -> None:
    farm = Farm()
    settled = farm.switch(KAS)
    farm.world.tick(12)
    farm.say()
    farm.world.tick(9)
    farm.say(rate(3e7))
    assert farm.seconds(_Phase.LOAD_MINER, "kas") == (farm.world.now - settled.since).total_seconds() == 21
    farm.world.tick(9)
    farm.say(rate(3e7))
    assert farm.seconds(_Phase.LOAD_MINER, "kas") == 21


def test_work_loads_until_its_readiness_probe_says_so_and_says_nothing_without_one() -> None:
    farm = work()
    assert "LoadWork" not in farm.learned()
    farm.look()
    assert "LoadWork" not in farm.learned(), "its Pods were ready at once"

    probed = work()
    pods = probed.world.pods
    for key, pod in list(pods.items()):
        pods[key] = dataclasses.replace(pod, ready=False)
    probed.look()
    probed.world.tick(40)
    for key, pod in list(pods.items()):
        pods[key] = dataclasses.replace(pod, ready=True)
    probed.look()
    assert probed.seconds(_Phase.LOAD_WORK, "Training") == 40


def test_rates_are_taken_from_warm_miners_and_not_too_often() -> None:
    farm = Farm()
    farm.switch(KAS)
    coin = farm.world.coins["kas"]
    farm.world.tick(60)
    farm.say(rate(2.9e7))
    assert farm.learner.measured(coin) == {}, "a cold miner counts badly"
    farm.world.tick(120)
    farm.say(rate(2.9e7, watts=124))
    first = farm.learner.measured(coin)[CARD]
    assert first.hashrate == pytest.approx((3.8 * 0.030 + 0.029) / 4.8)
    assert 124 < first.watts < 130
    farm.world.tick(60)
    farm.say(rate(2.9e7, watts=124))
    assert farm.learner.measured(coin)[CARD] == first
    farm.world.tick(600)
    farm.say(rate(2.9e7), rate(1e7, coin="rvn"), dataclasses.replace(rate(1e7), gpu="unheard of"))
    assert farm.learner.learned.yields.samples(CARD, "kas") > 1
    assert farm.learner.measured(farm.world.coins["rvn"]) == {}


def said(kind: gangs.VerdictKind, failed: int = 0) -> gangs.GangAdvance:
    return gangs.GangAdvance(commands=(), verdict=gangs.Verdict(kind=kind), failed_pods=failed)


def stops(*steps: tuple[float, gangs.VerdictKind, int], uid: str = "uid") -> tuple[float, float]:
    """Seconds run and stops counted after a gang was seen so, at moments in seconds."""
    learner = loop.Learner()
    job = sample_farm.job(uid=uid)
    for at, kind, failed in steps:
        learner.gang(model.Farm(), job, said(kind, failed), after(at))
    return learner.learned.stops.known.get("Batch", (0.0, 0.0))


def test_crashes_and_lost_rigs_are_stops_and_ends_by_our_will_are_none() -> None:
    kinds = gangs.VerdictKind
    assert stops((0, kinds.STARTING, 0), (100, kinds.RUNNING, 0)) == (0.0, 0.0)
    assert stops((0, kinds.RUNNING, 0), (100, kinds.SUCCEEDED, 0)) == (100.0, 0.0)
    assert stops((0, kinds.RUNNING, 0), (100, kinds.STOPPING, 0), (200, kinds.STOPPING, 0)) == (100.0, 0.0)
    assert stops((0, kinds.RUNNING, 0), (100, kinds.BROKEN, 0), (101, kinds.BROKEN, 0)) == (100.0, 1.0)
    # Two Pods that crash together, then one more; the Job has counted two already when it is first seen.
    ran, count = stops((0, kinds.RUNNING, 2), (50, kinds.RUNNING, 4), (60, kinds.STARTING, 4), (100, kinds.RUNNING, 5))
    assert (round(ran), round(count)) == (100, 2)


def test_what_was_learned_goes_on_after_a_restart() -> None:
    farm = Farm()
    farm.switch(KAS)
    again = loop.Learner()
    again.load(farm.learner.dump())
    assert again.dump() == farm.learner.dump()
    with pytest.raises(ValueError, match="expected"):
        again.load({"phases": 7})
    assert again.dump() == farm.learner.dump()


@pytest.mark.parametrize(
    ("over", "left"),
    [({"step": rec.Step.RELEASING}, None), ({"reason": reasons.MEMORY_HELD, "step": rec.Step.SETTLED}, None)],
)
def test_only_a_step_that_ended_well_is_a_time(over: dict[str, Any], left: None) -> None:
    farm = Farm().farm()
    before = rec.Record(
        mode=KAS,
        origin=RVN,
        step=rec.Step.RELEASING,
        since=after(0),
        deadline=after(100),
        started=after(0),
        reason="Best",
    )
    ended = dataclasses.replace(before, since=before.since + datetime.timedelta(seconds=30), **over)
    assert loop.of_step(farm, farm.rigs["r1"], before, ended) is left
