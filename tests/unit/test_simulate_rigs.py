"""Agents and programs at play, without an API server: what they see goes in, what they would write comes out."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import pytest

from switchyard.cluster import commands, names
from switchyard.kube import client, credentials
from switchyard.simulate import machines, rigs, work

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Clock:
    """Farm time that a test moves."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime.datetime:
        return self.moment

    def real_seconds(self, seconds: float) -> float:
        return seconds

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def forward(self, seconds: float) -> None:
        self.moment += datetime.timedelta(seconds=seconds)


def machine(name: str) -> machines.Machine:
    card = machines.Card(
        model="NVIDIA-GeForce-RTX-3080",
        memory_mib=10240,
        compute_capability=(8, 6),
        pcie_generation=3,
        pcie_width=1,
        link_gigabytes_per_second=0.8,
    )
    return machines.Machine(
        name=name, kind="k", zone="z", cards=(card, card), host_memory_mib=8192, cpu_cores=2, host_watts=80
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def farm(clock: Clock) -> rigs.Rigs:
    return rigs.Rigs(
        client=client.Client(credentials=credentials.from_kubeconfig("/nowhere")),
        clock=clock,
        rigs=[machine("rig-1"), machine("rig-2")],
        settings=rigs.Settings(apply_seconds=0.0, checkpoint_seconds=30.0, checkpoint_every_seconds=600.0),
    )


def see_node(farm: rigs.Rigs, name: str, profile: str, handover: str = "{}") -> None:
    notes = {names.ANNOTATION_PROFILE: profile, names.ANNOTATION_HANDOVER: handover}
    farm.apply("nodes", {"metadata": {"name": name, "annotations": notes}})


def see_worker(
    farm: rigs.Rigs,
    name: str,
    *,
    node: str = "rig-1",
    claim: str = "uid",
    notice: Mapping[str, Any] | None = None,
    replicas: int = 2,
    phase: str = "Running",
) -> None:
    notes = {work.WORK_SECONDS: "3600", work.REPLICAS: str(replicas)}
    if notice is not None:
        notes[names.ANNOTATION_NOTICE] = json.dumps(notice)
    farm.apply(
        "pods",
        {
            "metadata": {
                "name": name,
                "namespace": "ns",
                "uid": name,
                "labels": {names.LABEL_ROLE: names.ROLE_WORK, names.LABEL_AIJOB: "train"},
                "annotations": notes,
            },
            "spec": {
                "nodeName": node,
                "nodeSelector": {names.LABEL_CLAIM: claim},
                "containers": [{"name": "work", "image": "i", "resources": {"limits": {names.GPU_RESOURCE: "2"}}}],
            },
            "status": {"phase": phase},
        },
    )


def said(farm: rigs.Rigs) -> dict[str, Mapping[str, Any]]:
    """What each agent writes now."""
    found = {}
    for command in farm._play_agents():
        if isinstance(command, commands.Patch) and command.ref.plural == "rigs":
            assert command.type is commands.PatchType.APPLY
            assert command.subresource == "status"
            assert command.field_manager == names.MANAGER_AGENT
            found[command.ref.name] = command.body["status"]["agent"]
    return found


def patches(farm: rigs.Rigs) -> list[tuple[str, str, Mapping[str, Any]]]:
    """What is written to Pods now: name, subresource, body."""
    return [
        (command.ref.name, command.subresource, command.body)
        for command in farm._play_work()
        if isinstance(command, commands.Patch)
    ]


def test_an_agent_applies_the_profile_and_says_so(farm: rigs.Rigs, clock: Clock) -> None:
    assert said(farm)["rig-1"]["profile"] == "idle"
    clock.forward(60)
    see_node(farm, "rig-1", "mining.kas")
    told = said(farm)
    assert set(told) == {"rig-1"}
    assert told["rig-1"]["profile"] == "mining.kas"
    assert told["rig-1"]["gpuMemoryUsedMiB"] == 0
    assert told["rig-1"]["since"] == told["rig-1"]["observedAt"] == "2026-01-01T00:01:00Z"
    assert [gpu["hostLinkGigabytesPerSecond"] for gpu in told["rig-1"]["gpus"]] == ["0.8", "0.8"]
    assert said(farm) == {}


def test_a_new_step_with_the_same_profile_is_answered_too(farm: rigs.Rigs, clock: Clock) -> None:
    see_node(farm, "rig-1", "stock", handover="one")
    said(farm)
    clock.forward(60)
    see_node(farm, "rig-1", "stock", handover="two")
    told = said(farm)["rig-1"]
    assert told["observedAt"] == "2026-01-01T00:01:00Z"
    assert told["since"] == "2026-01-01T00:00:00Z"


def test_memory_is_in_use_while_pods_are_there(farm: rigs.Rigs) -> None:
    see_worker(farm, "a")
    assert said(farm)["rig-1"]["gpuMemoryUsedMiB"] > 0
    farm.remove("pods", "ns", "a")
    assert said(farm)["rig-1"]["gpuMemoryUsedMiB"] == 0


def test_faults(farm: rigs.Rigs) -> None:
    said(farm)
    farm.faults("rig-1").silent = True
    see_node(farm, "rig-1", "off")
    assert said(farm) == {}
    farm.faults("rig-1").silent = False
    farm.faults("rig-1").wrong_profile = "stock"
    assert said(farm)["rig-1"]["profile"] == "stock"
    farm.faults("rig-1").held_mib = 4000
    assert said(farm)["rig-1"]["gpuMemoryUsedMiB"] == 4000
    farm.faults("rig-1").held_mib = 0
    farm.faults("rig-1").slow_release_seconds = 1e6
    see_worker(farm, "a")
    said(farm)
    farm.remove("pods", "ns", "a")
    assert said(farm)["rig-1"]["gpuMemoryUsedMiB"] > 0


def test_pods_of_a_faulty_rig_get_stuck_and_free_again(farm: rigs.Rigs) -> None:
    see_worker(farm, "a")
    farm.faults("rig-1").stuck_pods = True
    labels = [command.body for command in farm._play_agents() if command.ref.plural == "pods"]  # type: ignore[union-attr]
    assert labels == [{"metadata": {"labels": {rigs.STUCK: "true"}}}]


def test_a_gang_works_saves_and_ends(farm: rigs.Rigs, clock: Clock) -> None:
    see_worker(farm, "a")
    assert patches(farm) == []
    clock.forward(1000)
    see_worker(farm, "b", node="rig-2")
    patches(farm)
    clock.forward(900)
    mirrored = patches(farm)
    assert {name for name, _, _ in mirrored} == {"a", "b"}
    notes = mirrored[0][2]["metadata"]["annotations"]
    assert notes == {names.ANNOTATION_CHECKPOINT: "2026-01-01T00:31:40Z", names.ANNOTATION_PROGRESS: "0.25"}
    assert patches(farm) == []
    clock.forward(2700)
    ends = [(name, body) for name, subresource, body in patches(farm) if subresource == "status"]
    assert [name for name, _ in ends] == ["a", "b"]
    status = ends[0][1]["status"]
    assert status["phase"] == "Succeeded"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert patches(farm) == []


def test_a_notice_is_answered_by_a_checkpoint_of_the_whole_gang(farm: rigs.Rigs, clock: Clock) -> None:
    see_worker(farm, "a")
    see_worker(farm, "b", node="rig-2")
    patches(farm)
    clock.forward(300)
    see_worker(farm, "a", notice={"reason": "Preempted", "deadline": "2026-01-01T00:20:00Z"})
    assert patches(farm) == []
    clock.forward(30)
    assert {name for name, _, _ in patches(farm)} == {"a", "b"}
    clock.forward(30)
    farm.remove("pods", "ns", "a")
    farm.remove("pods", "ns", "b")
    patches(farm)
    gang = farm.gangs["ns/train"]
    assert gang.done_seconds == 330
    assert gang.losses_seconds == pytest.approx(30)


def test_deaf_work_loses_what_it_did_not_save(farm: rigs.Rigs, clock: Clock) -> None:
    farm.faults("rig-1").deaf_work = True
    see_worker(farm, "a", replicas=1, notice={"reason": "Preempted", "deadline": "2026-01-01T00:20:00Z"})
    patches(farm)
    clock.forward(300)
    assert patches(farm) == []
    farm.remove("pods", "ns", "a")
    patches(farm)
    assert farm.gangs["ns/train"].done_seconds == 0


def test_another_job_of_the_same_name_starts_from_nothing(farm: rigs.Rigs, clock: Clock) -> None:
    see_worker(farm, "a", replicas=1)
    patches(farm)
    clock.forward(4000)
    patches(farm)
    assert farm.gangs["ns/train"].finished
    farm.remove("pods", "ns", "a")
    see_worker(farm, "b", replicas=1, claim="another")
    patches(farm)
    assert not farm.gangs["ns/train"].finished


def test_an_agent_says_what_its_miner_counts_and_only_while_it_counts(clock: Clock) -> None:
    def rate(rig: machines.Machine, coin: str, seconds: float) -> list[dict[str, Any]]:
        hashing = seconds >= 30
        return [{"gpu": rig.cards[0].model, "coin": coin, "hashesPerSecond": "1000", "watts": 99}] if hashing else []

    found = rigs.Rigs(
        client=client.Client(credentials=credentials.from_kubeconfig("/nowhere")),
        clock=clock,
        rigs=[machine("rig-1")],
        rate=rate,
        settings=rigs.Settings(apply_seconds=0.0),
    )
    see_node(found, "rig-1", "mining.kas")
    limits = {names.GPU_RESOURCE: "2"}
    pod = {
        "metadata": {
            "name": "miner",
            "namespace": "miners",
            "uid": "u",
            "labels": {names.LABEL_ROLE: names.ROLE_MINER, names.LABEL_COIN: "kas"},
        },
        "spec": {"nodeName": "rig-1", "containers": [{"name": "m", "image": "i", "resources": {"limits": limits}}]},
        "status": {"phase": "Running"},
    }
    found.apply("pods", pod)
    assert "benchmarks" not in said(found)["rig-1"]
    clock.forward(31)
    counted = {"gpu": "NVIDIA-GeForce-RTX-3080", "coin": "kas", "hashesPerSecond": "1000", "watts": 99}
    assert said(found)["rig-1"]["benchmarks"] == [counted]
    found.remove("pods", "miners", "miner")
    assert "benchmarks" not in said(found)["rig-1"]


def test_an_agent_reads_the_watts_of_the_cards_and_not_of_the_whole_rig(clock: Clock) -> None:
    watts = {"rig-1": 500.0, "rig-2": 5.0}  # of a rig whose host draws 80 W; the second is off
    farm = rigs.Rigs(
        client=client.Client(credentials=credentials.from_kubeconfig("/nowhere")),
        clock=clock,
        rigs=[machine("rig-1"), machine("rig-2")],
        draw=lambda rig, pods, profile: watts[rig.name],
        settings=rigs.Settings(apply_seconds=0.0),
    )
    for name in watts:
        see_node(farm, name, "idle")
    assert {name: agent["watts"] for name, agent in said(farm).items()} == {"rig-1": 420, "rig-2": 0}
