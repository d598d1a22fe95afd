"""The whole operator on a real control plane: a pool that only recommends says everything and touches nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import farmyard
from controlplane import launcher
from farmyard import things

pytestmark = pytest.mark.cluster

RIGS = ["say-1", "say-2"]


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard")) as started:
        yield started


@pytest.fixture
def yard(running: farmyard.Yard) -> Iterator[farmyard.Yard]:
    yield running
    running.clear()


def build(yard: farmyard.Yard, *, mode: str) -> None:
    pool = things.pool(coins=["ant", "bee"], mode=mode, power_off=True)
    objects = [things.site(usd_per_kwh="0.05"), pool, *yard.coin("ant", 0.01), *yard.coin("bee", 0.005)]
    yard.build(rigs_there=[things.machine(name) for name in RIGS], objects=objects)


def explain(yard: farmyard.Yard, *what: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("switchyard"))
    return subprocess.run(
        [program, "explain", f"--kubeconfig={yard.control_plane.kubeconfig}", "--plain", *what],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def untouched(yard: farmyard.Yard) -> dict[str, str]:
    """All of each Node that anybody but its kubelet writes, byte for byte."""
    found: dict[str, str] = {}
    for name in RIGS:
        node: dict[str, Any] = yard.get("Node", name)
        metadata = node["metadata"]
        found[name] = json.dumps(
            [metadata["resourceVersion"], metadata["labels"], metadata["annotations"], node["spec"]], sort_keys=True
        )
    return found


def test_recommend_decides_and_touches_nothing_until_it_may(yard: farmyard.Yard) -> None:
    build(yard, mode="Recommend")
    # KWOK plays a kubelet, and patches a Node once more when it has made it ready: only then is it at rest.
    before = yard.eventually(lambda: _at_rest(yard))
    yard.apply(things.aijob("train", replicas=2))

    def decided() -> None:
        for name in RIGS:
            yard.expect("Rig", name, "Ready", "True", reason="Recommended", words=["nothing is changed"])
            yard.expect("Rig", name, "Decided", "True")
            decision = yard.get("Rig", name)["status"]["decision"]
            modes = [entry["mode"] for entry in decision["alternatives"]]
            assert decision["chosen"] == "Mining/ant", decision
            assert {"Mining/ant", "Mining/bee", "Idle", "Off", f"AI/{things.TENANT}/train"} == set(modes)
            nets = [float(each["netUsdPerHour"]) for each in decision["alternatives"] if "netUsdPerHour" in each]
            assert nets == sorted(nets, reverse=True)
        yard.job("train", "Admitted", "False", reason="NotEnoughRigs", words=["only recommended for"])

    yard.eventually(decided)
    yard.always(lambda: _same(before, untouched(yard)), seconds=4)
    assert not yard.all("Pod")
    assert not yard.all("Job")

    yard.delete("AIJob", "train", namespace=things.TENANT)
    yard.patch("GPUPool", "yard", {"spec": {"mode": "Enforce"}})
    yard.eventually(lambda: yard.expect_modes(dict.fromkeys(RIGS, "Mining/ant")))
    assert untouched(yard) != before


def test_explain_tells_a_person_why(yard: farmyard.Yard) -> None:
    build(yard, mode="Enforce")
    yard.eventually(lambda: yard.expect_modes(dict.fromkeys(RIGS, "Mining/ant")))
    yard.apply(things.aijob("cheap", bid="0.01"))
    yard.eventually(lambda: yard.job("cheap", "Admitted", "False", reason="BidTooLow"))
    yard.eventually(lambda: _shows(yard, "say-1", f"AI/{things.TENANT}/cheap"))

    rig = explain(yard, "rig/say-1")
    assert rig.returncode == 0, rig.stderr
    for words in ("say-1", "Mining/ant", "Mining/bee", "Idle", "$/h", f"AI/{things.TENANT}/cheap"):
        assert words in rig.stdout, rig.stdout
    # 200 MH/s at 0.01 $/h each, less fees and the power of 480 W at 0.05 $.
    assert "1.936" in rig.stdout, rig.stdout

    others = explain(yard, f"aijob/{things.TENANT}/cheap", "feed/revenue-ant", "pool/yard")
    assert others.returncode == 0, others.stderr
    for words in ("bid 0.01", "needs", "revenue-ant", "yard"):
        assert words in others.stdout, others.stdout

    missing = explain(yard, "rig/say-9")
    assert missing.returncode == 1
    assert "say-9" in missing.stderr
    assert "say-1" in missing.stderr, "what there is would help"


def _at_rest(yard: farmyard.Yard) -> dict[str, str]:
    for name in RIGS:
        yard.expect("Rig", name, "Ready", "True")
    return untouched(yard)


def _same(before: dict[str, str], now: dict[str, str]) -> None:
    assert now == before


def _shows(yard: farmyard.Yard, rig: str, mode: str) -> None:
    assert mode in [entry["mode"] for entry in yard.get("Rig", rig)["status"]["decision"]["alternatives"]]
