"""The whole operator on a real control plane: a switch in each direction, for money alone.

Farm time runs forty times as fast as the machine's: a rig moves when what it has forgone has paid for the move, and
from off that takes some minutes of any market's time.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator

import pytest

import farmyard
from controlplane import launcher
from farmyard import things
from switchyard.cluster import names

pytestmark = pytest.mark.cluster

SPEED = 40.0


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard"), speed=SPEED) as started:
        yield started


@pytest.fixture
def yard(running: farmyard.Yard) -> Iterator[farmyard.Yard]:
    yield running
    running.clear()


def market(yard: farmyard.Yard, *, power: float = 0.05, **coins: float) -> list[dict[str, object]]:
    """Feeds and coins at these prices, and a site that pays this one for power."""
    feeds = [each for coin, price in coins.items() for each in yard.coin(coin, price)]
    return [yard.web_feed("power", power, power=True), things.site(power="power"), *feeds]


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def test_idle_to_mining_to_a_better_coin(yard: farmyard.Yard) -> None:
    objects = market(yard, ant=0.01, bee=0.005)
    yard.build(
        rigs_there=[things.machine("coin-1"), things.machine("coin-2")],
        objects=[*objects, things.pool(coins=["ant", "bee"])],
    )
    yard.eventually(lambda: yard.expect_modes({"coin-1": "Mining/ant", "coin-2": "Mining/ant"}))

    def told() -> None:
        decided = yard.get("Rig", "coin-1")["status"]["decision"]
        told_of = decided["alternatives"]
        shown = {each["mode"]: float(each["netUsdPerHour"]) for each in told_of if "refused" not in each}
        assert shown.keys() == {"Mining/ant", "Mining/bee", "Idle"}, told_of
        # 200 MH/s at 0.01 $, less 1 % for the pool and 1 % of the rest for the developer, less 480 W at 0.05 $/kWh.
        assert shown["Mining/ant"] == pytest.approx(200 * 0.01 * 0.99 * 0.99 - 0.48 * 0.05, rel=1e-3)
        assert shown["Mining/bee"] == pytest.approx(200 * 0.005 * 0.99 * 0.99 - 0.48 * 0.05, rel=1e-3)
        assert shown["Idle"] == pytest.approx(-0.1 * 0.05, rel=1e-3)

    yard.eventually(told)
    pod = yard.miners("coin-1")[0]
    assert pod["spec"]["nodeName"] == "coin-1"
    assert pod["spec"]["containers"][0]["resources"]["limits"][names.GPU_RESOURCE] == "2"
    wallet = {entry["name"]: entry for entry in pod["spec"]["containers"][0]["env"]}["WALLET"]
    assert wallet["valueFrom"]["secretKeyRef"] == {"name": "wallet", "key": "address"}

    yard.prices.set("revenue-bee", 0.05)
    yard.eventually(lambda: yard.expect_modes({"coin-1": "Mining/bee", "coin-2": "Mining/bee"}))

    def recorded() -> None:
        for kind in ("Rig", "Node"):
            said = {(event["reason"], event["note"]) for event in yard.events(kind, "coin-1")}
            assert any(reason == "Switching" and "Mining/ant -> Mining/bee" in note for reason, note in said), said
            assert any(reason == "Switched" and "Mining/ant -> Mining/bee done" in note for reason, note in said), said

    yard.eventually(recorded)
    assert yard.agents.owners.overlaps == ()


def test_off_while_power_is_dear(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("dear-1")],
        objects=[*market(yard, ant=0.005), things.pool(coins=["ant"], power_off=True)],
    )
    yard.eventually(lambda: yard.expect_modes({"dear-1": "Mining/ant"}))
    yard.prices.set("power", 20.0)
    yard.eventually(lambda: yard.expect_modes({"dear-1": "Off"}), seconds=60)
    node = yard.get("Node", "dear-1")
    assert node["metadata"]["annotations"][names.ANNOTATION_PROFILE] == "off"
    yard.prices.set("power", 0.05)
    yard.eventually(lambda: yard.expect_modes({"dear-1": "Mining/ant"}), seconds=60)


def test_idle_while_power_is_dear(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("rest-1")],
        objects=[*market(yard, ant=0.005), things.pool(coins=["ant"])],
    )
    yard.eventually(lambda: yard.expect_modes({"rest-1": "Mining/ant"}))
    yard.prices.set("power", 20.0)
    yard.eventually(lambda: yard.expect_modes({"rest-1": "Idle"}), seconds=60)
    yard.prices.set("power", 0.05)
    yard.eventually(lambda: yard.expect_modes({"rest-1": "Mining/ant"}), seconds=60)


def test_a_job_takes_a_miner_and_gives_it_back(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("work-1"), things.machine("work-2")],
        objects=[*market(yard, ant=0.001), things.pool(coins=["ant"])],
    )
    mining = {"work-1": "Mining/ant", "work-2": "Mining/ant"}
    yard.eventually(lambda: yard.expect_modes(mining))
    yard.apply(things.aijob("train", replicas=2, work_seconds=4 * SPEED))
    working = f"AI/{things.TENANT}/train"
    yard.eventually(lambda: yard.expect_modes({"work-1": working, "work-2": working}))

    def runs() -> None:
        yard.job("train", "Admitted", "True", words=["bid 50.000 $/GPU-h"])
        yard.job("train", "Running", "True")
        pods = yard.workers("train")
        assert {pod["spec"]["nodeName"] for pod in pods} == {"work-1", "work-2"}

    yard.eventually(runs)
    status = yard.get("AIJob", "train", things.TENANT)["status"]
    assert {entry["rig"]: entry["replicas"] for entry in status["placement"]} == {"work-1": 1, "work-2": 1}
    claims = {yard.get("Node", rig)["metadata"]["labels"][names.LABEL_CLAIM] for rig in mining}
    assert claims == {status["claim"]}
    # The simulated work ends, and with it the Pods; nobody has evicted them.
    yard.eventually(lambda: yard.job("train", "Finished", "True", reason="Succeeded"))
    yard.eventually(lambda: yard.expect_modes(mining))
    status = yard.get("AIJob", "train", things.TENANT)["status"]
    assert (status["progress"], status["preemptions"], status.get("placement")) == ("1", 0, None)
    for rig in mining:
        assert names.LABEL_CLAIM not in yard.get("Node", rig)["metadata"]["labels"]
    assert yard.agents.departures.seen == []
    assert yard.agents.owners.overlaps == ()


def test_work_yields_to_a_price_spike_with_notice_and_resumes(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("spike-1"), things.machine("spike-2")],
        objects=[*market(yard, ant=0.0001), things.pool(coins=["ant"], ai_watts=1500, power_off=True)],
    )
    yard.apply(things.aijob("render", replicas=2, bid="2", work_seconds=10 * SPEED, notice="40s"))
    working = dict.fromkeys(["spike-1", "spike-2"], f"AI/{things.TENANT}/render")
    yard.eventually(lambda: yard.expect_modes(working))
    yard.eventually(lambda: yard.job("render", "Running", "True"))
    first = {pod["metadata"]["uid"] for pod in yard.workers("render")}

    spiked_at = yard.clock.now()
    yard.prices.set("power", 50.0)
    yard.eventually(lambda: yard.job("render", "Preempted", "True", reason="NotWorthwhile"))
    yard.eventually(lambda: yard.expect_modes({"spike-1": "Off", "spike-2": "Off"}), seconds=60)
    yard.eventually(lambda: yard.job("render", "Admitted", "False", reason="BidTooLow"))
    status = yard.get("AIJob", "render", things.TENANT)["status"]
    assert status["preemptions"] == 1
    assert status.get("placement") is None
    assert 0 < float(status["progress"]) < 1
    assert moment(status["lastCheckpoint"]) > spiked_at
    left = yard.agents.departures.seen
    assert len(left) == 2
    for departure in left:
        # What stood on the Pod as it was told to go: first the notice, then the checkpoint that answers it.
        notice = json.loads(departure.notice)
        assert notice["reason"] == "NotWorthwhile"
        assert spiked_at < moment(departure.checkpoint) < moment(notice["deadline"])

    def recorded() -> None:
        assert {"Admitted", "Preempting", "BidTooLow"} <= {each["reason"] for each in yard.events("AIJob", "render")}

    yard.eventually(recorded)

    yard.prices.set("power", 0.05)
    yard.eventually(lambda: yard.job("render", "Running", "True"), seconds=60)
    yard.eventually(lambda: yard.expect_modes(working))
    assert not first & {pod["metadata"]["uid"] for pod in yard.workers("render")}
    assert yard.get("AIJob", "render", things.TENANT)["status"]["attempts"] == 2
    # It goes on where it had saved: what it has done is not done again.
    gang = yard.agents.gang(f"{things.TENANT}/render")
    assert gang.losses_seconds < 2 * SPEED
    yard.eventually(lambda: yard.job("render", "Finished", "True", reason="Succeeded"), seconds=60)
    assert yard.agents.owners.overlaps == ()
