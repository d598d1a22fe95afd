"""The whole operator on a real control plane: killed at any moment, it goes on where it was, and nobody is wronged.

An onlooker of its own watches all Pods: no Node ever has GPU Pods of two owners, and no work leaves without notice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

import farmyard
from controlplane import launcher
from farmyard import things
from switchyard.cluster import names
from switchyard.simulate import rigs

pytestmark = pytest.mark.cluster

TEN = [f"ten-{number:02d}" for number in range(10)]
MINING = dict.fromkeys(TEN, "Mining/ant")
# Agents take their time, so that there is a middle in which to be killed.
SLOW = rigs.Settings(apply_seconds=1.0, checkpoint_seconds=1.0, checkpoint_every_seconds=1e9)


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard")) as started:
        yield started


@pytest.fixture
def yard(running: farmyard.Yard) -> Iterator[farmyard.Yard]:
    build(running)
    yield running
    running.clear()


def build(yard: farmyard.Yard) -> None:
    """Ten rigs that mine."""
    yard.build(
        rigs_there=[things.machine(name) for name in TEN],
        objects=[things.site(), things.pool(coins=["ant"]), *yard.coin("ant", 0.01)],
        settings=SLOW,
    )
    yard.eventually(lambda: yard.expect_modes(MINING), seconds=40)


def suspended(yard: farmyard.Yard, job: str, *, yes: bool) -> None:
    yard.patch("AIJob", job, {"spec": {"suspend": yes}}, namespace=things.TENANT)


def states(yard: farmyard.Yard) -> list[str]:
    return [node["metadata"]["labels"].get(names.LABEL_MODE_STATE, "") for node in yard.all("Node")]


def midway(yard: farmyard.Yard, *, settled: str) -> None:
    """Wait until most rigs are between two modes and none, or few, have arrived."""

    def between() -> None:
        seen = states(yard)
        assert seen.count(names.SWITCHING) >= 6, seen
        assert seen.count(settled) < len(seen), seen

    yard.eventually(between)


def expect_work(yard: farmyard.Yard, jobs: list[str]) -> None:
    for job in jobs:
        yard.job(job, "Running", "True")
    modes = {rig["metadata"]["name"]: rig["status"]["mode"]["observed"] for rig in yard.all("Rig")}
    counts = {job: list(modes.values()).count(f"AI/{things.TENANT}/{job}") for job in jobs}
    assert counts == dict.fromkeys(jobs, len(TEN) // len(jobs)), modes
    yard.expect_modes(modes)


def expect_nobody_wronged(yard: farmyard.Yard, *, left: int | None = None) -> None:
    assert yard.agents.owners.overlaps == ()
    departures = yard.agents.departures.seen
    assert [each for each in departures if not each.notice] == []
    if left is not None:
        assert len(departures) == left
        assert [each for each in departures if not each.checkpoint] == []


def test_ten_switches_outlive_the_operator_that_began_them(yard: farmyard.Yard) -> None:
    jobs = ["left", "right"]
    yard.apply(*(things.aijob(job, replicas=5) for job in jobs))
    midway(yard, settled="ai")
    yard.kill()
    frozen = states(yard)
    assert frozen.count(names.SWITCHING) >= 5, frozen
    yard.start()
    yard.eventually(lambda: expect_work(yard, jobs), seconds=60)
    expect_nobody_wronged(yard, left=0)

    # And out again: with notice, whoever gives it.
    for job in jobs:
        suspended(yard, job, yes=True)
    midway(yard, settled="mining")
    yard.kill()
    assert names.SWITCHING in states(yard)
    yard.start()
    yard.eventually(lambda: yard.expect_modes(MINING), seconds=60)
    for job in jobs:
        yard.job(job, "Admitted", "False", reason="Suspended")
        assert yard.get("AIJob", job, things.TENANT)["status"]["preemptions"] == 1
    expect_nobody_wronged(yard, left=10)


def test_killed_again_and_again_while_the_farm_churns(yard: farmyard.Yard) -> None:
    chance = random.Random(20261123)
    jobs = ["one", "two", "three", "four", "five"]
    yard.apply(*(things.aijob(job, replicas=2) for job in jobs))
    for _ in range(5):
        for job in chance.sample(jobs, 3):
            suspended(yard, job, yes=chance.random() < 0.5)
        rig = chance.choice(TEN)
        yard.patch("Rig", rig, {"spec": {"pin": chance.choice(["Idle", "Mining", "Auto"])}})
        time.sleep(chance.uniform(0.2, 2.5))
        yard.kill()
        yard.start(wait=chance.random() < 0.5)
    for job in jobs:
        suspended(yard, job, yes=False)
    for rig in TEN:
        yard.patch("Rig", rig, {"spec": {"pin": "Auto"}})
    yard.eventually(lambda: expect_work(yard, jobs), seconds=90)
    for job in jobs:
        suspended(yard, job, yes=True)
    yard.eventually(lambda: yard.expect_modes(MINING), seconds=60)
    expect_nobody_wronged(yard)


def test_a_restart_admits_no_job_that_bids_too_little(yard: farmyard.Yard) -> None:
    """Right after the start the operator knows the jobs, but not yet what its rigs earn."""
    yard.apply(things.aijob("cheap", replicas=2, bid="0.05"))
    yard.eventually(lambda: yard.job("cheap", "Admitted", "False", reason="BidTooLow"))
    yard.prices.hang("revenue-ant")
    yard.restart()

    def waits() -> None:
        yard.job("cheap", "Admitted", "False")
        yard.expect_modes(MINING)

    yard.always(waits, seconds=5)
    yard.prices.set("revenue-ant", 0.01)
    yard.eventually(lambda: yard.expect("PriceFeed", "revenue-ant", "Ready", "True", reason="Good"), seconds=10)
    yard.eventually(lambda: yard.job("cheap", "Admitted", "False", reason="BidTooLow"))
    expect_nobody_wronged(yard, left=0)


def test_an_api_server_that_dies_in_the_middle(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Others share the control plane that the fixture gives.
    with (
        launcher.ControlPlane() as control_plane,
        farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard")) as yard,
    ):
        build(yard)
        assert yard.operator is not None
        pid = yard.operator.pid
        jobs = ["left", "right"]
        yard.apply(*(things.aijob(job, replicas=5) for job in jobs))
        midway(yard, settled="ai")
        control_plane.kill("kube-apiserver")
        time.sleep(3.0)
        yard.operator.check()
        control_plane.start("kube-apiserver")
        yard.eventually(lambda: expect_work(yard, jobs), seconds=90)
        assert yard.operator.pid == pid
        yard.operator.check()
        assert yard.operator.probe("/healthz")[0] == 200
        expect_nobody_wronged(yard, left=0)
