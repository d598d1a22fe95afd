"""Where rigs go whom no plan moves: those that have left every pool."""

from __future__ import annotations

import dataclasses

import immutables
import pytest

import sample_farm
from handover_world import AI, KAS, SETTINGS, World
from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import machine
from switchyard.loop import steering

WAIT = SETTINGS.leave_seconds


def look(steer: steering.Steering, world: World, *, pools: bool = False, **over: object) -> machine.Advance | None:
    """One turn of rig r1, which belongs to no pool unless `pools`."""
    farm = world.farm()
    if pools:
        farm = dataclasses.replace(
            farm, pools=immutables.Map(main=sample_farm.pool()), pool_of=immutables.Map(r1="main")
        )
    job = world.jobs["tenant/train"]
    admitted = job.state is model.JobState.ADMITTED and any(each.rig == "r1" for each in job.placement)
    rig = dataclasses.replace(world.rig("r1"), **over)  # type: ignore[arg-type]
    return steer.step(farm, rig, world.record(), job if admitted else None, world.now)


def play(steer: steering.Steering, world: World, *, rounds: int = 60) -> None:
    for _ in range(rounds):
        advance = look(steer, world)
        if advance is None:
            return
        world.do(*advance.commands)
        world.round()
    raise AssertionError(f"not given back: {world.record()}")


def put_to_work(world: World) -> None:
    world.set_job(gpus_per_replica=3)
    world.admit("r1")
    world.do(*world.start(AI).commands)
    for _ in range(30):
        world.do(*world.advance().commands, *world.gang().commands)
        record = world.record()
        if record is not None and record.settled:
            return
        world.round()
    raise AssertionError(f"no work: {world.record()}")


@pytest.fixture
def world() -> World:
    return World()


def test_a_miner_without_a_pool_is_stopped_after_a_while_and_its_node_given_back(world: World) -> None:
    before = world.nodes["r1"]
    world.bring(KAS)
    steer = steering.Steering(SETTINGS)
    first = look(steer, world)
    assert first is not None
    assert first.commands == ()
    assert first.wake_at is not None
    assert (first.wake_at - world.now).total_seconds() == WAIT
    play(steer, world)
    assert world.pods == {}
    after = world.nodes["r1"]
    assert (after.labels, after.annotations, after.taints) == (before.labels, before.annotations, before.taints)


def test_a_pool_that_comes_back_in_time_stops_nobody(world: World) -> None:
    world.bring(KAS)
    steer = steering.Steering(SETTINGS)
    look(steer, world)
    world.tick(WAIT - 1)
    assert look(steer, world, pools=True) is not None
    world.tick(10)
    again = look(steer, world)
    assert again is not None
    assert again.commands == ()
    assert world.held() == "mining"


def test_a_gang_may_end_before_its_rig_is_given_back(world: World) -> None:
    put_to_work(world)
    steer = steering.Steering(SETTINGS)
    for _ in range(20):
        assert look(steer, world) is None
        world.tick(60)
    world.set_job(state=model.JobState.FINISHED, placement=())
    for key, pod in list(world.pods.items()):
        world.pods[key] = dataclasses.replace(pod, phase=model.PodPhase.SUCCEEDED)
    look(steer, world)
    world.tick(WAIT)
    play(steer, world)
    assert names.LABEL_MODE not in world.nodes["r1"].labels


def test_a_gang_that_is_being_stopped_gets_its_notice_without_a_pool(world: World) -> None:
    put_to_work(world)
    world.set_job(state=model.JobState.PREEMPTING)
    advance = look(steering.Steering(SETTINGS), world)
    assert advance is not None
    assert advance.record is not None
    assert (advance.record.step.value, advance.record.mode) == ("Notifying", model.IDLE)


def test_a_rig_under_maintenance_is_left_as_it_is(world: World) -> None:
    world.bring(KAS)
    steer = steering.Steering(SETTINGS)
    for _ in range(5):
        assert look(steer, world, maintenance=True) is None
        world.tick(WAIT)


def test_a_rig_that_nobody_took_is_not_given_back(world: World) -> None:
    steer = steering.Steering(SETTINGS)
    world.tick(WAIT)
    assert look(steer, world) is None


def test_the_node_is_given_back_in_one_guarded_patch(world: World) -> None:
    world.bring(model.IDLE)
    steer = steering.Steering(SETTINGS)
    look(steer, world)
    world.tick(WAIT)
    advance = look(steer, world)
    assert advance is not None
    assert advance.record is None
    (patch,) = advance.commands
    assert isinstance(patch, cmd.Patch)
    assert patch.resource_version == world.nodes["r1"].resource_version
