"""The whole operator on a real control plane: which Nodes become Rigs, and what becomes of a Rig without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import farmyard
from controlplane import launcher, nodes
from farmyard import things
from switchyard.cluster import names
from switchyard.simulate import machines

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard")) as started:
        yield started


@pytest.fixture
def yard(running: farmyard.Yard) -> Iterator[farmyard.Yard]:
    yield running
    running.clear()


def expect_rigs(yard: farmyard.Yard, names_: set[str]) -> None:
    assert {rig["metadata"]["name"] for rig in yard.all("Rig")} == names_


def test_gpu_nodes_of_a_site_become_rigs(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[
            things.machine("reg-1"),
            things.machine("reg-2", gpus=4),
            things.machine("reg-3", zone="elsewhere"),
        ],
        objects=[things.site()],
    )
    yard.control_plane.create_nodes([nodes.node(name="reg-plain", labels={machines.ZONE: "yard"})])
    yard.eventually(lambda: expect_rigs(yard, {"reg-1", "reg-2"}))

    def complete() -> None:
        rig = yard.get("Rig", "reg-2")
        hardware = rig["status"]["hardware"]
        assert [card["model"] for card in hardware["gpus"]] == [things.CARD] * 4
        assert {card["memoryMiB"] for card in hardware["gpus"]} == {things.MIB}
        assert {card["computeCapability"] for card in hardware["gpus"]} == {"8.6"}
        assert (hardware["hostMemoryMiB"], hardware["cpuCores"]) == (8192, 4)
        # What no label says comes from the agent.
        assert {card["hostLinkGigabytesPerSecond"] for card in hardware["gpus"]} == {"0.4"}
        yard.expect("Rig", "reg-2", "NodePresent", "True", reason="NodeReady")
        yard.expect("Rig", "reg-2", "Ready", "False", reason="NoPool")
        yard.expect("Site", "yard", "Ready", "True")
        assert yard.get("Site", "yard")["status"]["rigs"] == 2

    yard.eventually(complete)
    rig = yard.get("Rig", "reg-2")
    assert rig["spec"]["nodeName"] == "reg-2"
    assert rig["spec"]["siteRef"] == {"name": "yard"}
    labels = rig["metadata"]["labels"]
    assert labels[names.LABEL_SITE] == "yard"
    assert labels[machines.ZONE] == "yard"
    assert labels["nvidia.com/gpu.product"] == things.CARD
    # The Node of another zone and the one without GPUs have had as much time as the others.
    expect_rigs(yard, {"reg-1", "reg-2"})
    # Nobody has asked for anything to be done with them.
    for name in ("reg-1", "reg-2"):
        node = yard.get("Node", name)
        assert "taints" not in node["spec"]
        assert not [key for key in node["metadata"]["labels"] if key.startswith(names.GROUP)]


def test_a_second_site_takes_over_where_the_first_has_none(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("two-1", zone="one"), things.machine("two-2", zone="two")],
        objects=[things.site("first", zone="one")],
    )
    yard.eventually(lambda: expect_rigs(yard, {"two-1"}))
    yard.apply(things.site("second", zone="two"))
    yard.eventually(lambda: expect_rigs(yard, {"two-1", "two-2"}))
    assert yard.get("Rig", "two-2")["spec"]["siteRef"] == {"name": "second"}


def test_a_rig_outlives_its_node_and_knows_it_again(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("gone-1"), things.machine("gone-2")],
        objects=[things.site(), things.pool(coins=["ant"]), *yard.coin("ant", 0.01)],
    )
    mining = {"gone-1": "Mining/ant", "gone-2": "Mining/ant"}
    yard.eventually(lambda: yard.expect_modes(mining))
    uid = yard.get("Rig", "gone-1")["metadata"]["uid"]
    yard.delete("Node", "gone-1")

    def noticed() -> None:
        yard.expect("Rig", "gone-1", "NodePresent", "False", reason="NodeGone", words=["gone-1"])
        yard.expect("Rig", "gone-1", "Ready", "False", reason="NodeGone")
        status = yard.get("Site", "yard")["status"]
        assert (status["rigs"], status["rigsGone"]) == (2, 1)
        assert "mode" not in yard.get("Rig", "gone-1")["status"], "a rig without a Node does nothing"

    yard.eventually(noticed)
    yard.expect_modes({"gone-2": "Mining/ant"})
    assert yard.operator is not None
    assert yard.operator.metrics()["switchyard_rigs_gone", (("site", "yard"),)] == 1
    # It comes back as a machine does whose Node somebody deleted by mistake: its miner has never stopped.
    before = [pod["metadata"]["uid"] for pod in yard.miners("gone-1")]
    yard.control_plane.create_nodes([things.machine("gone-1").node()])
    yard.eventually(lambda: yard.expect_modes(mining))
    yard.eventually(lambda: yard.expect("Rig", "gone-1", "NodePresent", "True"))
    assert yard.get("Rig", "gone-1")["metadata"]["uid"] == uid
    assert [pod["metadata"]["uid"] for pod in yard.miners("gone-1")] == before
    yard.eventually(lambda: yard.expect_status("Site", "yard", rigs=2, rigsGone=0))
    assert yard.agents.owners.overlaps == ()
