"""The whole operator on a real control plane: rigs that do not let go. Nobody gets two owners, and people are told why.

Hand-overs are given a twentieth of their usual patience: an agent six seconds, a stuck Pod fifteen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import farmyard
from controlplane import launcher
from farmyard import things
from switchyard.cluster import names

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    folder = tmp_path_factory.mktemp("yard")
    with farmyard.Yard(control_plane, folder, arguments=["--handover-patience=0.05"]) as started:
        yield started


@pytest.fixture
def yard(running: farmyard.Yard) -> Iterator[farmyard.Yard]:
    yield running
    running.clear()


def mines(yard: farmyard.Yard) -> list[dict[str, object]]:
    return [things.site(), things.pool(coins=["ant"]), *yard.coin("ant", 0.01)]


def warned(yard: farmyard.Yard, rig: str, reason: str, words: str) -> None:
    said = [(event["reason"], event["note"]) for event in yard.events("Rig", rig) if event["type"] == "Warning"]
    assert any(told == reason and words in note for told, note in said), said


def pinned(yard: farmyard.Yard, rig: str, pin: str) -> None:
    yard.patch("Rig", rig, {"spec": {"pin": pin}})


def test_an_agent_that_says_nothing_gets_no_miner(yard: farmyard.Yard) -> None:
    yard.build(rigs_there=[things.machine("mute-1"), things.machine("mute-2")], absent=["mute-1"], objects=mines(yard))
    yard.agents.faults("mute-1").silent = True
    yard.control_plane.create_nodes([things.machine("mute-1").node()])
    yard.eventually(lambda: yard.expect_modes({"mute-2": "Mining/ant"}))

    def gave_up() -> None:
        warned(yard, "mute-1", "SwitchFailed", "the agent has said nothing")
        decision = yard.get("Rig", "mute-1")["status"]["decision"]
        assert decision["heldBy"] == "BackingOff", decision
        assert "AgentSilent" in decision["message"], decision

    yard.eventually(gave_up)
    yard.eventually(lambda: yard.expect("Rig", "mute-1", "Ready", "True", words=["The last switch failed"]))
    assert not yard.miners("mute-1")
    assert not [each for each in yard.all("Pod") if each["spec"].get("nodeName") == "mute-1"], "nobody may come"
    yard.agents.faults("mute-1").silent = False
    yard.eventually(lambda: yard.expect_modes({"mute-1": "Mining/ant", "mute-2": "Mining/ant"}), seconds=60)


def test_gpu_memory_that_is_not_freed_keeps_work_away(yard: farmyard.Yard) -> None:
    yard.build(rigs_there=[things.machine("full-1")], objects=mines(yard))
    yard.eventually(lambda: yard.expect_modes({"full-1": "Mining/ant"}))
    yard.agents.faults("full-1").held_mib = 4000
    yard.apply(things.aijob("blocked"))
    yard.eventually(lambda: warned(yard, "full-1", "SwitchFailed", "4000 MiB of GPU memory in use, 512 are allowed"))
    assert not yard.workers("blocked")
    yard.agents.faults("full-1").held_mib = 0
    yard.eventually(lambda: yard.job("blocked", "Running", "True"), seconds=60)
    assert yard.agents.owners.overlaps == ()


def test_a_pod_stuck_terminating_keeps_everybody_else_off(yard: farmyard.Yard) -> None:
    yard.build(rigs_there=[things.machine("stuck-1")], objects=mines(yard))
    yard.eventually(lambda: yard.expect_modes({"stuck-1": "Mining/ant"}))
    yard.agents.faults("stuck-1").stuck_pods = True
    yard.eventually(lambda: _labelled(yard, "stuck-1"))
    miner = yard.miners("stuck-1")[0]["metadata"]["name"]
    yard.apply(things.aijob("waits"))
    yard.eventually(
        lambda: yard.expect(
            "Rig", "stuck-1", "Ready", "False", reason="StuckTerminating", words=[miner, "will not terminate"]
        )
    )
    yard.eventually(lambda: warned(yard, "stuck-1", "StuckTerminating", miner))

    def nobody_else() -> None:
        here = [each for each in yard.all("Pod") if each["spec"].get("nodeName") == "stuck-1"]
        assert [each["metadata"]["name"] for each in here] == [miner]
        node = yard.get("Node", "stuck-1")
        assert names.LABEL_CLAIM not in node["metadata"]["labels"]
        assert {"key": names.TAINT_HELD, "value": names.SWITCHING, "effect": "NoSchedule"} in node["spec"]["taints"]

    yard.always(nobody_else, seconds=4)
    yard.agents.faults("stuck-1").stuck_pods = False
    yard.eventually(lambda: yard.job("waits", "Running", "True"))
    yard.eventually(lambda: yard.expect_modes({"stuck-1": f"AI/{things.TENANT}/waits"}))
    assert yard.agents.owners.overlaps == ()


def test_a_budget_that_forbids_the_eviction_is_obeyed(yard: farmyard.Yard) -> None:
    yard.build(rigs_there=[things.machine("safe-1")], objects=mines(yard))
    yard.eventually(lambda: yard.expect_modes({"safe-1": "Mining/ant"}))
    miner = yard.miners("safe-1")[0]["metadata"]
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "keep", "namespace": things.MINERS},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {names.LABEL_RIG: "safe-1"}}},
    }
    yard.apply(budget)
    yard.eventually(lambda: _counted(yard))
    pinned(yard, "safe-1", "Idle")
    yard.eventually(lambda: warned(yard, "safe-1", "SwitchFailed", "may not be evicted"))

    def went_back() -> None:
        yard.expect_modes({"safe-1": "Mining/ant"})
        yard.expect("Rig", "safe-1", "Ready", "True", words=[miner["name"], "may not be evicted"])
        assert "EvictionRefused" in yard.get("Rig", "safe-1")["status"]["decision"]["message"]

    yard.eventually(went_back)
    assert yard.miners("safe-1")[0]["metadata"]["uid"] == miner["uid"]
    yard.delete("PodDisruptionBudget", "keep", namespace=things.MINERS)
    yard.eventually(lambda: yard.expect_modes({"safe-1": "Idle"}), seconds=60)
    assert yard.agents.owners.overlaps == ()


def test_a_stranger_on_the_gpus_is_left_in_peace(yard: farmyard.Yard) -> None:
    yard.build(rigs_there=[things.machine("guest-1")], absent=["guest-1"], objects=mines(yard))
    yard.control_plane.create_nodes([things.machine("guest-1").node()])
    pinned_before = time.monotonic()
    yard.eventually(lambda: yard.get("Rig", "guest-1"))
    yard.apply(things.gpu_pod("stranger", "guest-1"))
    yard.eventually(lambda: pinned(yard, "guest-1", "Idle"))
    yard.eventually(lambda: yard.expect_modes({"guest-1": "Idle"}), seconds=60)
    assert time.monotonic() > pinned_before
    pinned(yard, "guest-1", "Mining")
    yard.eventually(
        lambda: warned(yard, "guest-1", "SwitchFailed", "default/stranger holds GPUs and is not Switchyard's to evict"),
        seconds=40,
    )
    stranger = yard.get("Pod", "stranger", "default")
    assert "deletionTimestamp" not in stranger["metadata"]
    assert not [each for each in yard.miners("guest-1") if each["spec"].get("nodeName")]
    assert yard.agents.owners.overlaps == ()
    yard.delete("Pod", "stranger", namespace="default")
    yard.eventually(lambda: yard.expect_modes({"guest-1": "Mining/ant"}), seconds=60)
    assert yard.agents.owners.overlaps == ()


def _labelled(yard: farmyard.Yard, rig: str) -> None:
    assert all(pod["metadata"]["labels"].get("switchyard.farm/sim-stuck") == "true" for pod in yard.miners(rig))


def _counted(yard: farmyard.Yard) -> None:
    assert yard.get("PodDisruptionBudget", "keep", things.MINERS)["status"]["currentHealthy"] == 1
