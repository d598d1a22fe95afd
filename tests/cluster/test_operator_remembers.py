"""The whole operator on a real control plane: what it has learned outlives it, and a broken memory is begun anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import farmyard
from controlplane import launcher
from controlplane.client import ApiError
from farmyard import things
from switchyard.cluster import names
from switchyard.simulate import machines, rigs

pytestmark = pytest.mark.cluster

MEMORY = "switchyard-memory"
RIG = "mind-1"
KIND = f"2x {things.CARD}, 8 GiB, 4 cores"
SPEED = 60.0
HASHES = 104_000_000


def rate(rig: machines.Machine, coin: str, seconds: float) -> list[dict[str, Any]]:
    """Cards that do 4 % more than their Coin says, for less."""
    return [{"gpu": things.CARD, "coin": coin, "hashesPerSecond": str(HASHES), "watts": 190}]


@pytest.fixture
def yard(control_plane: launcher.ControlPlane, tmp_path: Path) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path, speed=SPEED, arguments=["--handover-patience=0.2"]) as started:
        yield started


def build(yard: farmyard.Yard) -> None:
    """One rig that mines ant, and could mine bee."""
    yard.build(
        rigs_there=[things.machine(RIG)],
        objects=[
            things.site(),
            things.pool(coins=["ant", "bee"]),
            *yard.coin("ant", 0.02),
            *yard.coin("bee", 0.001),
        ],
        settings=rigs.Settings(apply_seconds=1.0, checkpoint_seconds=1.0, report_every_seconds=1.0),
        rate=rate,
    )
    yard.eventually(lambda: yard.expect_modes({RIG: "Mining/ant"}), seconds=40)


def remembered(yard: farmyard.Yard) -> dict[str, Any]:
    """The section of switching."""
    data = yard.get("ConfigMap", MEMORY, things.MINERS)["data"]
    assert data["version"] == "1"
    assert data["speed"] == f"{SPEED:g}"
    found: dict[str, Any] = json.loads(data["switching"])
    return found


def weight(found: dict[str, Any], phase: str, what: str = "") -> float:
    return sum(float(row[4]) for row in found["phases"] if row[:3] == [phase, KIND, what])


def write(yard: farmyard.Yard, **data: str) -> None:
    metadata = {"name": MEMORY, "namespace": things.MINERS}
    yard.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def seconds_to_move(yard: farmyard.Yard, mode: str) -> int:
    alternatives = yard.get("Rig", RIG)["status"]["decision"]["alternatives"]
    return next(int(each["secondsToMove"]) for each in alternatives if each["mode"] == mode)


def test_a_restarted_operator_goes_on_from_what_it_learned(yard: farmyard.Yard) -> None:
    build(yard)

    def measured() -> None:
        (found,) = yard.get("Coin", "ant")["status"]["benchmarks"]
        assert found["gpu"] == things.CARD
        assert 100 < float(found["hashrate"]) < 104
        assert 190 < found["watts"] < 200

    yard.eventually(measured)
    with pytest.raises(ApiError):
        yard.get("ConfigMap", MEMORY, things.MINERS)
    yard.stop()
    first = remembered(yard)
    # One hand-over: the rig was idle, was released for a second of the machine's time, and started ant.
    assert weight(first, "Release") == weight(first, "StartMiner", "ant") == 1.0
    released = next(row[3] for row in first["phases"] if row[0] == "Release")
    # A minute of farm time, of which four times the table's five seconds are believed at once.
    assert released == 20.0
    assert [row[:2] for row in first["yields"]] == [[things.CARD, "ant"]]
    plan = json.loads(yard.get("ConfigMap", MEMORY, things.MINERS)["data"]["planning"])
    assert plan["lines"], "and what the policy remembers of the rig's line"

    yard.start()
    assert "was taken up" in yard.log()
    yard.prices.set("revenue-bee", 0.5)
    yard.eventually(lambda: yard.expect_modes({RIG: "Mining/bee"}), seconds=40)
    yard.stop()
    second = remembered(yard)
    assert weight(second, "Release") == pytest.approx(1.95)
    assert weight(second, "StartMiner", "ant") == 1.0
    assert weight(second, "StartMiner", "bee") == weight(second, "StopMiner") == 1.0
    yard.start()


def test_what_was_learned_is_what_the_next_plan_counts(yard: farmyard.Yard) -> None:
    yard.stop()
    rows = [["LoadMiner", KIND, "bee", 5000.0, 19.9]]
    write(yard, version="1", speed=f"{SPEED:g}", switching=json.dumps({"phases": rows}))
    yard.start(wait=False)
    build(yard)
    yard.eventually(lambda: yard.get("Rig", RIG)["status"]["decision"]["alternatives"])
    assert seconds_to_move(yard, "Mining/bee") > 4900


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"version": "1", "speed": "60", "switching": "{half a"}, "switching makes no sense"),
        ({"version": "7", "speed": "60", "switching": "{}"}, "its version is '7'"),
    ],
)
def test_a_memory_that_nobody_can_read_is_told_and_begun_anew(
    yard: farmyard.Yard, data: dict[str, str], words: str
) -> None:
    yard.stop()
    write(yard, **data)
    yard.start(wait=False)
    build(yard)

    def told() -> None:
        (event,) = [each for each in yard.events("ConfigMap", MEMORY) if words in each["note"]]
        assert (event["type"], event["reason"]) == ("Warning", "MemoryUnreadable")

    yard.eventually(told)
    yard.stop()
    assert weight(remembered(yard), "Release") == 1.0
    yard.start()


def test_a_rig_that_leaves_its_pool_is_given_back(yard: farmyard.Yard) -> None:
    build(yard)
    yard.patch("GPUPool", "yard", {"spec": {"rigSelector": {"matchLabels": {machines.ZONE: "elsewhere"}}}})

    def free() -> None:
        node = yard.get("Node", RIG)
        assert not [taint for taint in node["spec"].get("taints", ()) if taint["key"] == names.TAINT_HELD]
        left = {*node["metadata"]["labels"], *node["metadata"]["annotations"]}
        ours = {names.LABEL_MODE, names.LABEL_MODE_STATE, names.LABEL_CLAIM, names.ANNOTATION_HANDOVER}
        assert not left & (ours | {names.ANNOTATION_PROFILE, names.ANNOTATION_RESTORE})
        assert yard.miners(RIG) == []

    yard.eventually(free, seconds=60)
    yard.eventually(lambda: yard.expect("Rig", RIG, "Ready", "False", reason="NoPool"))
    told = {each["reason"] for each in yard.events("Rig", RIG)}
    assert {"Switching", "Switched", "Released"} <= told
    assert {"Released"} <= {each["reason"] for each in yard.events("Node", RIG)}
