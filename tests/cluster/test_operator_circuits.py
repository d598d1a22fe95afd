"""The whole operator on a real control plane: a circuit's limit is lowered, rigs stop, and people are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import farmyard
from controlplane import launcher
from farmyard import things

pytestmark = pytest.mark.cluster

RIGS = [f"fuse-{index}" for index in range(1, 5)]
# Two cards at 200 W and the host's 80 W; at rest 10 W a card.
MINES, RESTS = 480, 100


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard")) as started:
        yield started


@pytest.fixture
def yard(running: farmyard.Yard) -> Iterator[farmyard.Yard]:
    yield running
    running.clear()


def site(limit_watts: int) -> dict[str, Any]:
    made = things.site(usd_per_kwh="0.05")
    made["spec"]["circuits"] = [{"name": "c1", "limitWatts": limit_watts, "continuousFraction": "0.9"}]
    return made


def mining(yard: farmyard.Yard) -> list[str]:
    return [name for name in RIGS if yard.mode(name) == "Mining/ant"]


def test_a_lowered_limit_stops_as_many_rigs_as_it_must(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine(name) for name in RIGS],
        objects=[site(4 * MINES), things.pool(coins=["ant"]), *yard.coin("ant", 0.01)],
    )
    yard.eventually(lambda: yard.expect_modes(dict.fromkeys(RIGS, "Mining/ant")))
    for name in RIGS:
        yard.expect("Rig", name, "CircuitKnown", "True", reason="NoCircuit")
        yard.patch("Rig", name, {"spec": {"circuit": "c1"}})

    # 0.9 of four mining rigs' watts is enough for three, with one at rest.
    def three() -> str:
        modes = sorted((yard.mode(name), name) for name in RIGS)
        assert [mode for mode, _ in modes] == ["Idle", *["Mining/ant"] * 3]
        yard.expect("Site", "yard", "CircuitsWithinLimit", "True", reason="WithinLimit")
        (circuit,) = yard.get("Site", "yard")["status"]["circuits"]
        assert circuit["rigs"] == 4
        assert (circuit["limitWatts"], circuit["budgetWatts"]) == (4 * MINES, round(0.9 * 4 * MINES))
        assert circuit["drawnWatts"] <= circuit["budgetWatts"]
        return modes[0][1]

    rested = yard.eventually(three)
    yard.eventually(lambda: yard.expect("Rig", RIGS[0], "CircuitKnown", "True", reason="Known"))

    yard.apply(site(round((2 * MINES + 2 * RESTS + 10) / 0.9)))

    def two() -> None:
        assert len(mining(yard)) == 2
        assert rested not in mining(yard)
        yard.expect("Site", "yard", "CircuitsWithinLimit", "True", reason="WithinLimit")

    yard.eventually(two)
    # It stays so, though mining pays for every one of them.
    yard.always(two, seconds=4)
    # Whoever stands still can read what holds it, unless staying is what pays by now.
    told = {name: yard.get("Rig", name)["status"]["decision"] for name in RIGS if name not in mining(yard)}
    assert all(
        decision["reason"] in ("CircuitOverLimit", "LimitReached", "RegretBelowCost") for decision in told.values()
    )
    assert all("circuit yard/c1" in each["heldBy"] for each in told.values() if each["reason"] == "LimitReached")


def test_a_rig_that_names_an_unknown_circuit_is_told_which_there_are(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine(RIGS[0])],
        objects=[site(100), things.pool(coins=["ant"]), *yard.coin("ant", 0.01)],
    )
    yard.eventually(lambda: yard.expect("Rig", RIGS[0], "Ready", "True"))
    yard.patch("Rig", RIGS[0], {"spec": {"circuit": "c2"}})
    words = ["no circuit c2", "it has: c1"]
    yard.eventually(lambda: yard.expect("Rig", RIGS[0], "CircuitKnown", "False", reason="CircuitMissing", words=words))
    # What nobody has limited goes on.
    yard.eventually(lambda: yard.expect_modes({RIGS[0]: "Mining/ant"}))
