from __future__ import annotations

import dataclasses

import pytest

import handover_world as hw
from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import gangs
from switchyard.handover import record as rec

Kind = gangs.VerdictKind


def advance_all(world: hw.World, rounds: int = 12, *, gang: bool = True) -> None:
    for _ in range(rounds):
        for rig in world.nodes:
            world.do(*world.advance(rig).commands)
        if gang:
            world.do(*world.gang().commands)
        world.round()


def admitted() -> hw.World:
    """Two idle rigs on their way into the gang."""
    world = hw.World(rigs=("r1", "r2"))
    for rig in ("r1", "r2"):
        world.bring(model.IDLE, rig)
    world.admit("r1", "r2")
    for rig in ("r1", "r2"):
        world.do(*world.start(hw.AI, rig).commands)
    return world


def running() -> hw.World:
    world = admitted()
    advance_all(world)
    assert world.gang().verdict.kind is Kind.RUNNING
    return world


def preempted() -> hw.World:
    world = running()
    world.set_job(state=model.JobState.PREEMPTING)
    for rig in ("r1", "r2"):
        world.do(*world.start(model.IDLE, rig, reason="OutBid").commands)
    return world


def test_the_job_is_created_only_when_every_rig_lets_its_pods_in() -> None:
    world = admitted()
    for _ in range(20):
        advance = world.gang()
        open_rigs = [rig for rig in ("r1", "r2") if names.LABEL_CLAIM in world.nodes[rig].labels]
        if advance.commands:
            break
        assert advance.verdict.kind is Kind.WAITING
        assert len(open_rigs) < 2
        for rig in ("r1", "r2")[: 1 if len(open_rigs) == 0 else 2]:
            world.do(*world.advance(rig).commands)
        world.round()
    assert len(open_rigs) == 2
    assert [command.ref.plural for command in advance.commands] == ["services", "jobs"]
    assert advance.verdict.kind is Kind.STARTING
    world.do(*advance.commands)
    assert world.gang().commands == ()
    assert world.gang().verdict.kind is Kind.STARTING


def test_it_runs_when_every_rig_is_settled() -> None:
    world = running()
    assert world.gang().commands == ()


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"complete": True}, Kind.SUCCEEDED, "Completed"),
        ({"broken": True, "message": "BackoffLimitExceeded"}, Kind.FAILED, "JobFailed"),
    ],
)
@pytest.mark.parametrize("state", [model.JobState.ADMITTED, model.JobState.PREEMPTING, model.JobState.FINISHED])
def test_the_end_of_the_job_is_the_end_of_the_gang(
    changes: dict[str, object], kind: gangs.VerdictKind, reason: str, state: model.JobState
) -> None:
    world = running()
    world.set_job(state=state)
    key, found = next(iter(world.kube_jobs.items()))
    world.kube_jobs[key] = dataclasses.replace(found, **changes)  # type: ignore[arg-type]
    advance = world.gang()
    assert (advance.verdict.kind, advance.verdict.reason) == (kind, reason)
    assert advance.commands == ()


def test_a_rig_that_goes_back_breaks_the_gang() -> None:
    world = admitted()
    world.faults.silent.add("r2")
    world.tick(1)
    advance_all(world, rounds=40)
    verdict = world.gang().verdict
    assert verdict.kind is Kind.BROKEN
    assert verdict.reason == "AgentSilent"
    assert "r2" in verdict.message
    assert not world.kube_jobs


def test_a_node_that_vanishes_breaks_the_gang() -> None:
    world = running()
    del world.nodes["r2"]
    assert world.gang().verdict.reason == "NodeGone"


def test_a_node_that_is_lost_breaks_the_gang_when_its_pods_are() -> None:
    world = running()
    world.nodes["r2"] = dataclasses.replace(world.nodes["r2"], ready=False)
    assert world.gang().verdict.kind is Kind.RUNNING
    for key, found in world.pods.items():
        if found.node_name == "r2":
            world.pods[key] = dataclasses.replace(found, deleting_since=world.now)
    assert world.gang().verdict.reason == "NodeLost"


def test_a_lost_claim_breaks_the_gang_when_a_pod_is_lost_and_the_next_admission_mends_it() -> None:
    world = running()
    node = world.nodes["r1"]
    world.nodes["r1"] = dataclasses.replace(
        node,
        labels={**node.labels, names.LABEL_CLAIM: "nonsense"},
        annotations={**node.annotations, names.ANNOTATION_HANDOVER: "{}"},
    )
    advance_all(world, rounds=2)
    found = world.record("r1")
    assert found is not None
    assert (found.mode, found.step, found.claim) == (hw.AI, rec.Step.SETTLED, "nonsense")
    assert world.gang().verdict.kind is Kind.RUNNING, "work that runs is not stopped for a label"

    lost = next(key for key, pod in world.pods.items() if pod.node_name == "r1")
    world.pods[lost] = dataclasses.replace(world.pods[lost], phase=model.PodPhase.FAILED, ready=False)
    advance_all(world)
    assert (world.gang().verdict.kind, world.gang().verdict.reason) == (Kind.BROKEN, "ClaimLost")

    world.set_job(state=model.JobState.PREEMPTING)
    for rig in ("r1", "r2"):
        world.do(*world.start(model.IDLE, rig, reason="Preempted").commands)
    advance_all(world, rounds=1)
    survivor = next(pod for pod in world.pods.values() if pod.node_name == "r2")
    assert survivor.notice_deadline is not None
    assert survivor.deleting_since is None, "the other rig's work has its notice"
    advance_all(world, rounds=60)
    assert world.gang().verdict.kind is Kind.STOPPED
    world.admit("r1", "r2")
    for rig in ("r1", "r2"):
        world.do(*world.start(hw.AI, rig).commands)
    advance_all(world)
    assert world.gang().verdict.kind is Kind.RUNNING
    assert {node.labels[names.LABEL_CLAIM] for node in world.nodes.values()} == {world.jobs["tenant/train"].uid}
    assert all(world.owners(rig) == {"work:train"} for rig in ("r1", "r2"))


def test_a_rig_that_is_never_claimed_breaks_the_gang_after_a_while() -> None:
    world = hw.World(rigs=("r1", "r2"))
    world.bring(hw.KAS, "r1")
    world.admit("r1", "r2")
    assert world.gang().verdict.kind is Kind.WAITING
    world.tick(61)
    assert world.gang().verdict.reason == "RigNotClaimed"


def test_an_earlier_life_of_the_job_on_a_rig_does_not_break_the_next() -> None:
    world = preempted()
    advance_all(world, rounds=60)
    assert world.gang().verdict.kind is Kind.STOPPED
    world.tick(10)
    world.admit("r1", "r2")
    record = world.record("r1")
    assert record is not None
    assert record.origin == hw.AI
    assert world.gang().verdict.kind is Kind.WAITING


def test_preempted_the_job_goes_when_its_pods_are_going() -> None:
    world = preempted()
    for _ in range(60):
        advance = world.gang()
        for command in advance.commands:
            assert isinstance(command, cmd.Delete)
            assert command.ref.kind == "Job"
            assert command.uid
            # No disruption budget would be asked for a Pod that still lives.
            assert not any(pod.deleting_since is None and pod.node_name for pod in world.pods.values())
        assert not any(names.LABEL_CLAIM in node.labels for node in world.nodes.values())
        if advance.verdict.kind is Kind.STOPPED:
            break
        assert advance.verdict.kind is Kind.STOPPING
        world.do(*advance.commands)
        advance_all(world, rounds=1, gang=False)
    assert advance.verdict.kind is Kind.STOPPED
    assert not world.pods
    assert not world.kube_jobs


def test_admitted_again_the_gang_has_a_new_job() -> None:
    world = preempted()
    advance_all(world, rounds=60)
    world.admit("r1", "r2")
    for rig in ("r1", "r2"):
        world.do(*world.start(hw.AI, rig).commands)
    advance_all(world, rounds=3, gang=False)
    advance = world.gang()
    assert [command.ref.kind for command in advance.commands if isinstance(command, cmd.Create)] == ["Service", "Job"]
    assert advance.verdict.kind is Kind.STARTING
    world.do(*advance.commands)
    advance_all(world)
    assert world.gang().verdict.kind is Kind.RUNNING


def test_a_gang_is_not_stopped_while_evictions_are_refused() -> None:
    world = running()
    world.faults.budget = True
    world.set_job(state=model.JobState.PREEMPTING)
    for rig in ("r1", "r2"):
        world.do(*world.start(model.IDLE, rig).commands)
    advance_all(world, rounds=120)
    record = world.record("r1")
    assert record is not None
    assert (record.step, record.mode, record.reason) == (rec.Step.SETTLED, hw.AI, "EvictionRefused")
    advance = world.gang()
    assert advance.verdict.kind is Kind.STOPPING
    assert advance.commands == ()
    assert world.kube_jobs


def test_withdrawn_before_anything_was_created() -> None:
    world = admitted()
    world.set_job(state=model.JobState.PREEMPTING)
    assert world.gang().verdict.kind is Kind.STOPPING
    for rig in ("r1", "r2"):
        world.do(*world.withdraw(rig).commands)
    advance_all(world, rounds=3)
    assert world.gang().verdict.kind is Kind.STOPPED
    assert not world.kube_jobs
