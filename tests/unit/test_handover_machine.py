from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

import pytest

import handover_world as hw
from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import machine, pods
from switchyard.handover import record as rec

SECONDS = hw.SETTINGS


def evictions(advance: machine.Advance) -> list[str]:
    return [command.ref.name for command in advance.commands if isinstance(command, cmd.Evict)]


def notices(advance: machine.Advance) -> dict[str, Any]:
    found = {}
    for command in advance.commands:
        if isinstance(command, cmd.Patch) and command.ref.plural == "pods":
            text = command.body["metadata"]["annotations"][names.ANNOTATION_NOTICE]
            found[command.ref.name] = None if text is None else json.loads(text)
    return found


def only_the_lock(advance: machine.Advance) -> cmd.Patch:
    assert len(advance.commands) == 1
    patch = advance.commands[0]
    assert isinstance(patch, cmd.Patch)
    assert patch.ref.plural == "nodes"
    return patch


def turn(world: hw.World, rig: str = "r1") -> rec.Record:
    """One turn of the operator alone."""
    world.do(*world.advance(rig).commands)
    record = world.record(rig)
    assert record is not None
    return record


def mining() -> hw.World:
    world = hw.World()
    world.bring(hw.KAS)
    return world


def working() -> hw.World:
    """One rig at work for a gang of two."""
    world = hw.World()
    world.admit("r1")
    world.set_job(gpus_per_replica=3)
    world.do(*world.start(hw.AI).commands)
    for _ in range(10):
        world.do(*world.advance().commands, *world.gang().commands)
        world.round()
    record = world.record()
    assert record is not None
    assert record.settled
    assert record.mode == hw.AI
    return world


# --- the way there -----------------------------------------------------------------------------------------------


def test_the_first_patch_is_the_lock_and_nothing_else() -> None:
    world = hw.World()
    before = world.nodes["r1"]
    advance = world.start(hw.KAS)
    patch = only_the_lock(advance)
    assert patch.resource_version == before.resource_version
    assert patch.body["metadata"]["labels"] == {names.LABEL_MODE: "mining", names.LABEL_MODE_STATE: "switching"}
    assert patch.body["spec"]["taints"] == [
        {"key": "theirs", "value": "x", "effect": "NoSchedule"},
        {"key": names.TAINT_HELD, "value": "switching", "effect": "NoSchedule"},
    ]
    assert set(patch.body["metadata"]["annotations"]) == {names.ANNOTATION_HANDOVER, names.ANNOTATION_RESTORE}


def test_to_mining_step_by_step() -> None:
    world = hw.World()
    world.do(*world.start(hw.KAS).commands)
    assert turn(world).step is rec.Step.RELEASING
    assert world.nodes["r1"].annotations[names.ANNOTATION_PROFILE] == "mining.kas"
    assert world.held() == "switching"
    assert world.advance().commands == ()
    world.tick(5)
    world.agent("r1")
    only_the_lock(world.advance())
    record = turn(world)
    assert record.step is rec.Step.STARTING
    assert record.deadline == world.now + datetime.timedelta(seconds=330)
    assert world.held() == "mining"
    assert world.nodes["r1"].labels[names.LABEL_MODE_STATE] == "switching"
    (create,) = world.advance().commands
    assert isinstance(create, cmd.Create)
    assert create.ref.name == pods.miner_name("r1", "kas", record.started)
    world.do(create, create)
    assert world.advance().commands == ()
    world.round()
    world.round()
    record = turn(world)
    assert record.settled
    assert record.deadline is None
    assert world.nodes["r1"].labels[names.LABEL_MODE_STATE] == "mining"
    assert world.as_said("r1")
    assert world.advance().commands == ()


@pytest.mark.parametrize(("target", "word"), [(model.IDLE, "idle"), (model.OFF, "off")])
def test_to_rest(target: model.Mode, word: str) -> None:
    world = mining()
    record = world.bring(target)
    assert record.mode == target
    assert record.origin == hw.KAS
    assert world.held() == word
    assert world.readbacks["r1"].profile == word
    assert not world.pods


def test_from_coin_to_coin_the_old_miner_is_gone_before_the_new_profile() -> None:
    world = mining()
    world.do(*world.start(hw.RVN).commands)
    assert world.nodes["r1"].annotations[names.ANNOTATION_PROFILE] == "mining.kas"
    advance = world.advance()
    assert evictions(advance) == [next(iter(world.pods.values())).name]
    world.do(*advance.commands)
    assert turn(world).step is rec.Step.STOPPING
    world.round()
    assert turn(world).step is rec.Step.RELEASING
    assert world.nodes["r1"].annotations[names.ANNOTATION_PROFILE] == "mining.rvn"
    assert world.settle().mode == hw.RVN


def test_to_work_the_claim_comes_last() -> None:
    world = mining()
    world.admit("r1")
    world.set_job(gpus_per_replica=3)
    world.do(*world.start(hw.AI).commands)
    while (record := turn(world)).step is not rec.Step.STARTING:
        assert names.LABEL_CLAIM not in world.nodes["r1"].labels
        assert world.held() == "switching"
        world.round()
    assert record.claim == world.jobs["tenant/train"].uid
    assert world.nodes["r1"].labels[names.LABEL_CLAIM] == record.claim
    assert world.held() == "ai"
    world.add(hw.work_pod("train-0"))
    assert not turn(world).settled
    world.add(hw.work_pod("train-1"))
    assert turn(world).settled


def test_evictions_are_repeated_but_not_at_every_turn() -> None:
    world = mining()
    world.faults.budget = True
    world.do(*world.start(hw.RVN).commands)
    asked = 0
    for _ in range(10):
        advance = world.advance()
        asked += len(evictions(advance))
        world.do(*advance.commands)
        world.tick(5)
    assert asked == 4


def test_nothing_is_done_that_the_node_does_not_say() -> None:
    world = mining()
    started = world.start(hw.RVN).record
    advance = machine.advance(started, world.look(), now=world.now, settings=SECONDS)
    only_the_lock(advance)


# --- notice ------------------------------------------------------------------------------------------------------


def test_work_is_told_and_left_alone_until_it_has_saved() -> None:
    world = working()
    world.do(*world.start(hw.KAS, reason="OutBid").commands)
    told = notices(world.advance())
    record = world.record()
    assert record is not None
    assert record.deadline == world.now + datetime.timedelta(seconds=120)
    assert {notice["reason"] for notice in told.values()} == {"OutBid"}
    assert {datetime.datetime.fromisoformat(notice["deadline"]) for notice in told.values()} == {record.deadline}
    assert len(told) == 2
    assert names.LABEL_CLAIM not in world.nodes["r1"].labels
    world.do(*world.advance().commands)
    assert world.advance().commands == ()
    world.tick(30)
    key = next(iter(world.pods))
    world.pods[key] = dataclasses.replace(world.pods[key], checkpoint_at=world.now)
    assert turn(world).step is rec.Step.NOTIFYING
    world.save()
    only_the_lock(world.advance())
    assert turn(world).step is rec.Step.STOPPING
    assert len(evictions(world.advance())) == 2


def test_the_deadline_of_a_notice_ends_it() -> None:
    world = working()
    world.do(*world.start(hw.KAS).commands)
    turn(world)
    world.tick(119)
    assert turn(world).step is rec.Step.NOTIFYING
    world.tick(1)
    record = turn(world)
    assert record.step is rec.Step.STOPPING
    # The Pods' own grace (here from the notice) comes on top of the time to stop.
    assert record.deadline == world.now + datetime.timedelta(seconds=240)


def test_work_that_nobody_told_gets_its_whole_notice_once() -> None:
    world = working()
    world.do(*world.start(hw.KAS).commands)
    world.tick(500)
    record = turn(world)
    assert record.step is rec.Step.NOTIFYING
    assert record.reason == "NoticeLate"
    assert record.deadline == world.now + datetime.timedelta(seconds=120)
    assert len(notices(world.advance())) == 2
    world.tick(120)
    assert turn(world).step is rec.Step.STOPPING
    # Still nobody has told it, but it had its time twice.
    assert len(evictions(world.advance())) == 2


def test_work_that_has_not_begun_needs_no_notice() -> None:
    world = working()
    for key, found in world.pods.items():
        world.pods[key] = dataclasses.replace(found, phase=model.PodPhase.PENDING)
    world.do(*world.start(hw.KAS).commands)
    record = world.record()
    assert record is not None
    assert record.step is rec.Step.STOPPING
    assert len(evictions(world.advance())) == 2


@pytest.mark.parametrize("told", [True, False], ids=["others were told", "none was at work"])
def test_work_that_begins_as_it_is_to_stop_gets_notice_first(told: bool) -> None:
    world = working()
    keys = sorted(world.pods)[1:] if told else sorted(world.pods)
    begun = [found.name for key in keys if (found := world.pods[key])]
    for key in keys:
        world.pods[key] = dataclasses.replace(world.pods[key], phase=model.PodPhase.PENDING)
    world.do(*world.start(hw.KAS, reason="OutBid").commands)
    if told:
        assert turn(world).step is rec.Step.NOTIFYING
        world.tick(10)
        world.save()
        turn(world)
    stopping = world.record()
    assert stopping is not None
    assert stopping.step is rec.Step.STOPPING

    world.tick(1)
    world.kubelet()

    assert evictions(world.advance()) == []
    record = turn(world)
    assert record.step is rec.Step.NOTIFYING
    assert record.deadline == world.now + datetime.timedelta(seconds=120)
    assert set(begun) <= set(notices(world.advance()))
    turn(world)
    world.tick(5)
    world.save()
    assert turn(world).step is rec.Step.STOPPING
    assert set(begun) <= set(evictions(world.advance()))


def test_work_that_begins_before_its_eviction_arrives_is_spared_and_told() -> None:
    world = working()
    for key, found in world.pods.items():
        world.pods[key] = dataclasses.replace(found, phase=model.PodPhase.PENDING)
    world.do(*world.start(hw.KAS).commands)
    decided = world.advance().commands
    world.kubelet()

    world.do(*decided)

    assert world.outcomes[-2:] == [cmd.Outcome.CONFLICT] * 2
    assert all(found.deleting_since is None for found in world.pods.values())
    assert turn(world).step is rec.Step.NOTIFYING
    assert len(notices(world.advance())) == 2


def test_a_gang_waits_for_the_checkpoints_on_its_other_rigs() -> None:
    world = hw.World(rigs=("r1", "r2"))
    world.bring(model.IDLE, "r1")
    world.bring(model.IDLE, "r2")
    world.admit("r1", "r2")
    for rig in ("r1", "r2"):
        world.do(*world.start(hw.AI, rig).commands)
    for _ in range(10):
        world.do(*world.advance("r1").commands, *world.advance("r2").commands, *world.gang().commands)
        world.round()
    world.set_job(state=model.JobState.PREEMPTING)
    for rig in ("r1", "r2"):
        world.do(*world.start(hw.KAS, rig).commands)
    turn(world, "r1")
    world.tick(10)
    for key, found in world.pods.items():
        if found.node_name == "r1":
            world.pods[key] = dataclasses.replace(found, checkpoint_at=world.now)
    assert turn(world, "r1").step is rec.Step.NOTIFYING
    world.save()
    assert turn(world, "r1").step is rec.Step.STOPPING


# --- ways back ---------------------------------------------------------------------------------------------------


def test_refused_evictions_lead_back_to_the_origin() -> None:
    world = working()
    world.faults.budget = True
    world.do(*world.start(hw.KAS).commands)
    record = world.settle(rounds=120)
    assert record.mode == hw.AI
    assert record.reason == "EvictionRefused"
    assert record.attempt == 1
    assert world.nodes["r1"].labels[names.LABEL_CLAIM] == world.jobs["tenant/train"].uid
    assert world.held() == "ai"
    turn(world)
    assert all(found.notice_deadline is None for found in world.pods.values())
    assert len(world.pods) == 2
    # Not at once again, whatever the target.
    for target in (hw.KAS, hw.RVN):
        assert not machine.may_start(record, target, world.now)
        assert world.start(target).record == record
    assert record.retry_at is not None
    world.now = record.retry_at
    world.faults.budget = False
    again = world.start(hw.KAS).record
    assert again is not None
    assert again.attempt == 1
    assert world.bring(hw.KAS).mode == hw.KAS


def test_time_that_ran_out_unused_is_given_again() -> None:
    world = mining()
    world.do(*world.start(hw.RVN).commands)
    world.tick(1000)
    advance = world.advance()
    assert len(evictions(advance)) == 1
    world.do(*advance.commands)
    world.round()
    assert world.settle().mode == hw.RVN


def test_stuck_pods_keep_the_rig_and_the_record_says_so_once() -> None:
    world = mining()
    world.faults.stuck.add("r1")
    world.do(*world.start(hw.RVN).commands)
    told = []
    for _ in range(200):
        before = world.record()
        advance = world.advance()
        if before is not None and advance.record is not None and advance.record.reason != before.reason:
            told.append(advance.record.reason)
        world.do(*advance.commands)
        world.round(10)
    record = world.record()
    assert record is not None
    assert record.step is rec.Step.STOPPING
    assert record.reason == "StuckTerminating"
    assert record.deadline is not None
    assert record.deadline > world.now
    assert told == ["StuckTerminating"]
    assert world.held() == "switching"
    world.faults.clear()
    record = world.settle()
    assert record.mode == hw.RVN
    assert record.reason == "Best"


def test_foreign_pods_block_and_are_never_evicted() -> None:
    world = hw.World()
    world.add(hw.pod("theirs"))
    world.do(*world.start(hw.KAS).commands)
    record = turn(world)
    assert record.reason == "ForeignPod"
    assert "tenant/theirs" in record.message
    assert turn(world).step is rec.Step.STOPPING
    assert not evictions(world.advance())
    world.tick(120)
    record = turn(world)
    assert record.settled
    assert record.mode == model.IDLE
    assert record.reason == "ForeignPod"
    assert world.held() == "idle"
    assert "tenant/theirs" in world.pods
    assert not machine.may_start(record, hw.RVN, world.now)


@pytest.mark.parametrize(
    ("fault", "reason"), [("silent", "AgentSilent"), ("full", "MemoryHeld"), ("other", "ProfileNotApplied")]
)
def test_gpus_that_are_not_released_leave_the_rig_idle_and_fenced(fault: str, reason: str) -> None:
    world = mining()
    if fault == "other":
        world.faults.silent.add("r1")
    else:
        getattr(world.faults, fault).add("r1")
    world.do(*world.start(hw.RVN).commands)
    for _ in range(40):
        world.do(*world.advance().commands)
        world.round()
        if fault == "other":
            world.readbacks["r1"] = dataclasses.replace(
                world.readbacks["r1"], observed_at=world.now, gpu_memory_used_mib=0
            )
    record = world.record()
    assert record is not None
    assert record.settled
    assert record.mode == model.IDLE
    assert record.reason == reason
    assert record.origin == hw.RVN
    assert world.held() == "idle"
    assert not world.pods


def test_a_readback_from_before_the_step_is_not_believed() -> None:
    world = hw.World()
    world.do(*world.start(hw.KAS).commands)
    world.readbacks["r1"] = model.Readback(
        profile="mining.kas", since=hw.after(-50), gpu_memory_used_mib=0, watts=1, observed_at=hw.after(-1)
    )
    world.do(*world.advance().commands)
    assert turn(world).step is rec.Step.RELEASING
    # The profile may well be in force for long: what counts is when the agent looked.
    world.readbacks["r1"] = dataclasses.replace(world.readbacks["r1"], observed_at=world.now)
    assert turn(world).step is rec.Step.STARTING


def test_waits_grow_with_every_failure_and_end_somewhere() -> None:
    world = hw.World()
    world.faults.silent.add("r1")
    waits = []
    for attempt in range(1, 6):
        record = world.bring(hw.KAS)
        assert record.attempt == attempt
        assert record.retry_at is not None
        waits.append((record.retry_at - record.since).total_seconds())
        world.now = record.retry_at
    assert waits == [60, 120, 240, 240, 240]
    world.faults.clear()
    world.bring(hw.KAS)
    world.tick(1000)
    again = world.start(hw.RVN).record
    assert again is not None
    assert again.attempt == 0


def test_a_miner_that_does_not_start_is_stopped() -> None:
    world = hw.World()
    world.faults.no_image.add("r1")
    world.do(*world.start(hw.KAS).commands)
    for _ in range(10):
        world.do(*world.advance().commands)
        world.round()
    for key, found in world.pods.items():
        world.pods[key] = dataclasses.replace(found, reason="CreateContainerConfigError: secret wallet not found")
    record = world.settle(rounds=100)
    assert record.mode == model.IDLE
    assert record.origin == hw.KAS
    assert record.reason == "StartTimedOut"
    assert "wallet" in record.message
    assert record.attempt == 1
    assert not world.pods
    # The coin is at fault, not the rig: another one may start at once.
    assert not machine.may_start(record, hw.KAS, world.now)
    assert machine.may_start(record, hw.RVN, world.now)


@pytest.mark.parametrize(
    ("change", "message"), [({"gpus_allocatable": 0}, "no GPUs"), ({"unschedulable": True}, "not ready")]
)
def test_why_no_miner_started(change: dict[str, Any], message: str) -> None:
    world = hw.World()
    world.nodes["r1"] = dataclasses.replace(world.nodes["r1"], **change)
    if not change.get("gpus_allocatable", 1):
        world.nodes["r1"] = dataclasses.replace(world.nodes["r1"], gpus_allocatable=0)
    else:
        world.faults.no_image.add("r1")
    world.do(*world.start(hw.KAS).commands)
    record = world.settle(rounds=100)
    assert record.reason == "StartTimedOut"
    assert message in record.message


def test_a_coin_that_is_gone_is_not_started() -> None:
    world = hw.World()
    del world.coins["kas"]
    record = world.bring(hw.KAS)
    assert (record.mode, record.reason) == (model.IDLE, "CoinMissing")
    world = mining()
    world.do(*world.start(hw.RVN).commands)
    while turn(world).step is not rec.Step.STARTING:
        world.round()
    del world.coins["rvn"]
    record = world.settle()
    assert (record.mode, record.reason) == (model.IDLE, "CoinMissing")


def test_a_job_that_is_gone_is_not_started() -> None:
    world = mining()
    world.admit("r1")
    world.do(*world.start(hw.AI).commands)
    del world.jobs["tenant/train"]
    record = world.settle()
    assert (record.mode, record.reason) == (model.IDLE, "JobMissing")


def test_a_job_created_anew_is_not_the_one_that_was_admitted() -> None:
    world = mining()
    world.admit("r1")
    world.do(*world.start(hw.AI).commands)
    while turn(world).step is not rec.Step.STARTING:
        world.round()
    world.set_job(uid="another")
    record = world.settle()
    assert (record.mode, record.reason) == (model.IDLE, "JobMissing")


def test_a_gang_that_does_not_start_gets_notice_before_it_is_stopped() -> None:
    world = mining()
    world.admit("r1")
    world.do(*world.start(hw.AI).commands)
    while turn(world).step is not rec.Step.STARTING:
        world.round()
    world.add(hw.work_pod("train-0"), hw.work_pod("train-1", phase=model.PodPhase.PENDING, reason="ErrImagePull"))
    world.tick(900)
    record = turn(world)
    assert record.step is rec.Step.NOTIFYING
    assert record.mode == model.IDLE
    assert record.reason == "StartTimedOut"
    assert "1 of 2 Pods run: tenant/train-1: ErrImagePull" in record.message


# --- withdrawing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_start_of_work_can_be_withdrawn_anywhere(steps: int) -> None:
    world = mining()
    world.admit("r1")
    world.do(*world.start(hw.AI).commands)
    for _ in range(steps):
        turn(world)
        world.round()
    world.do(*world.withdraw().commands)
    record = world.settle()
    assert record.mode == model.IDLE
    assert record.reason == "Withdrawn"
    assert names.LABEL_CLAIM not in world.nodes["r1"].labels


def test_only_a_start_of_work_can_be_withdrawn() -> None:
    world = mining()
    assert world.withdraw().record == world.record()
    world.do(*world.start(hw.RVN).commands)
    withdrawn = world.withdraw().record
    assert withdrawn is not None
    assert withdrawn.mode == hw.RVN


def test_a_target_is_not_changed_under_way() -> None:
    world = mining()
    world.do(*world.start(hw.RVN).commands)
    other = world.start(model.OFF).record
    assert other is not None
    assert other.mode == hw.RVN


# --- upkeep ------------------------------------------------------------------------------------------------------


def test_what_people_edit_is_put_back() -> None:
    world = mining()
    node = world.nodes["r1"]
    labels = {**node.labels, names.LABEL_MODE: "ai", names.LABEL_CLAIM: "x"}
    world.nodes["r1"] = dataclasses.replace(node, labels=labels, taints=node.taints[:1])
    patch = only_the_lock(world.advance())
    assert patch.body["metadata"]["labels"] == {names.LABEL_MODE: "mining", names.LABEL_CLAIM: None}
    world.do(patch)
    assert world.as_said("r1")
    assert world.nodes["r1"].taints[0].key == "theirs"


def test_a_lost_miner_comes_back_at_once_and_then_more_slowly() -> None:
    world = mining()
    waited = []
    for _ in range(3):
        world.pods.clear()
        lost_at = world.now
        while turn(world).settled:
            world.tick(5)
        waited.append((world.now - lost_at).total_seconds())
        record = world.settle()
        assert record.mode == hw.KAS
        assert record.reason == "MinerLost"
    assert waited[0] == 0
    assert 0 < waited[1] < waited[2]
    world.tick(1000)
    world.pods.clear()
    assert turn(world).step is rec.Step.STARTING


def test_a_failed_miner_is_cleared_away_and_replaced() -> None:
    world = mining()
    key, found = next(iter(world.pods.items()))
    world.pods[key] = dataclasses.replace(found, phase=model.PodPhase.FAILED, ready=False)
    assert turn(world).step is rec.Step.STARTING
    record = world.settle()
    assert record.settled
    assert [each.phase for each in world.pods.values()] == [model.PodPhase.RUNNING]


def test_an_old_miner_is_evicted_while_work_holds_the_rig() -> None:
    world = working()
    world.add(hw.miner_pod("old"), hw.miner_pod("homeless", node_name="", phase=model.PodPhase.PENDING))
    advance = world.advance()
    assert sorted(evictions(advance)) == ["homeless", "old"]
    world.do(*advance.commands)
    record = world.record()
    assert record is not None
    assert record.settled


def test_stray_work_gets_notice_too() -> None:
    world = hw.World()
    world.bring(model.IDLE)
    world.add(hw.work_pod("stray"))
    assert "stray" in notices(world.advance())
    world.do(*world.advance().commands)
    assert world.advance().commands == ()
    assert world.advance().wake_at == world.now + datetime.timedelta(seconds=120)
    world.tick(120)
    assert evictions(world.advance()) == ["stray"]


def test_of_two_miners_of_the_right_coin_one_stays() -> None:
    world = mining()
    world.add(hw.miner_pod("a-second"))
    assert evictions(world.advance()) == ["a-second"]


def test_finished_work_stays_where_it_is_and_blocks_nobody() -> None:
    world = working()
    for key, found in world.pods.items():
        world.pods[key] = dataclasses.replace(found, phase=model.PodPhase.SUCCEEDED, ready=False)
    assert world.advance().commands == ()
    world.do(*world.start(hw.KAS).commands)
    for _ in range(3):
        turn(world)
        world.tick(5)
        world.agent("r1")
    record = world.record()
    assert record is not None
    assert record.step is rec.Step.STARTING


# --- odd Nodes ---------------------------------------------------------------------------------------------------


def test_no_node_nothing_to_do() -> None:
    world = mining()
    record = world.record()
    del world.nodes["r1"]
    assert record is not None
    for advance in (
        machine.advance(record, world.look(), now=world.now, settings=SECONDS),
        machine.withdraw(record, world.look(), now=world.now, settings=SECONDS),
        machine.release(record, world.look()),
        world.start(hw.RVN),
    ):
        assert advance.commands == ()


@pytest.mark.parametrize("build", [mining, working])
def test_a_garbled_record_is_made_anew_from_what_runs(build: Any) -> None:
    world = build()
    before = world.record()
    node = world.nodes["r1"]
    garbled = {**node.annotations, names.ANNOTATION_HANDOVER: "{"}
    world.nodes["r1"] = dataclasses.replace(node, annotations=garbled)
    # Even a plan that wants something else first lets the rig be settled in what it does.
    only_the_lock(world.start(model.OFF))
    record = turn(world)
    assert record.settled
    assert record.mode == before.mode
    assert record.claim == before.claim
    assert record.reason == "Adopted"
    assert world.advance().commands == ()


def test_a_garbled_record_without_pods_is_idle_and_fenced() -> None:
    world = hw.World()
    world.do(*world.start(hw.KAS).commands)
    node = world.nodes["r1"]
    world.nodes["r1"] = dataclasses.replace(node, annotations={names.ANNOTATION_HANDOVER: "gone"})
    record = turn(world)
    assert record.mode == model.IDLE
    assert world.held() == "idle"


def test_a_node_that_is_not_ours_is_left_alone() -> None:
    world = hw.World()
    assert world.advance() == machine.Advance(record=None)


def test_a_node_is_given_back_as_it_was() -> None:
    world = hw.World()
    node = world.nodes["r1"]
    fence = model.Taint(key=names.TAINT_HELD, value="join", effect="NoSchedule")
    world.nodes["r1"] = dataclasses.replace(node, taints=(*node.taints, fence))
    before = world.nodes["r1"]
    world.bring(hw.KAS)
    assert machine.release(world.record(), world.look()).commands == ()
    world.bring(model.IDLE)
    world.do(*machine.release(world.record(), world.look()).commands)
    after = world.nodes["r1"]
    assert (after.labels, after.annotations, after.taints) == (before.labels, before.annotations, before.taints)
    assert machine.release(None, world.look()).commands == ()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"labels": 1}', '{"labels": {}, "taints": [1]}'])
def test_a_garbled_keepsake_gives_back_a_clean_node(text: str) -> None:
    world = hw.World()
    before = world.nodes["r1"]
    world.bring(model.IDLE)
    node = world.nodes["r1"]
    world.nodes["r1"] = dataclasses.replace(node, annotations={**node.annotations, names.ANNOTATION_RESTORE: text})
    world.do(*machine.release(world.record(), world.look()).commands)
    after = world.nodes["r1"]
    assert (after.labels, after.annotations, after.taints) == (before.labels, before.annotations, before.taints)
