"""The whole operator on a real control plane: an AIJob gets all its rigs or none, and is told why."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import farmyard
from controlplane import launcher
from farmyard import things
from switchyard.cluster import names

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard")) as started:
        yield started


@pytest.fixture
def yard(running: farmyard.Yard) -> Iterator[farmyard.Yard]:
    yield running
    running.clear()


def mines(yard: farmyard.Yard, price: float = 0.001) -> list[dict[str, object]]:
    """A farm that mines one coin, for 200 times the price an hour and rig, on power for nothing."""
    return [things.site(), things.pool(coins=["ant"]), *yard.coin("ant", price)]


def mining(*rigs: str) -> dict[str, str]:
    return dict.fromkeys(rigs, "Mining/ant")


def working(job: str, *rigs: str) -> dict[str, str]:
    return dict.fromkeys(rigs, f"AI/{things.TENANT}/{job}")


def expect_untouched(yard: farmyard.Yard, *rigs: str) -> None:
    yard.expect_modes(mining(*rigs))
    assert not yard.all("Job")
    for rig in rigs:
        assert names.LABEL_CLAIM not in yard.get("Node", rig)["metadata"]["labels"]


def test_a_gang_waits_for_its_last_rig_and_takes_none_before(yard: farmyard.Yard) -> None:
    rigs = [things.machine(f"gang-{number}") for number in (1, 2, 3)]
    yard.build(rigs_there=rigs, absent=["gang-3"], objects=mines(yard))
    yard.eventually(lambda: yard.expect_modes(mining("gang-1", "gang-2")))
    yard.apply(things.aijob("three", replicas=3))
    yard.eventually(
        lambda: yard.job("three", "Admitted", "False", reason="NotEnoughRigs", words=["2 of 3 replicas fit"])
    )
    yard.always(lambda: expect_untouched(yard, "gang-1", "gang-2"), seconds=3)
    yard.control_plane.create_nodes([rigs[2].node()])
    yard.eventually(lambda: yard.job("three", "Running", "True"), seconds=40)
    yard.eventually(lambda: yard.expect_modes(working("three", "gang-1", "gang-2", "gang-3")))
    placement = yard.get("AIJob", "three", things.TENANT)["status"]["placement"]
    assert [entry["rig"] for entry in placement] == ["gang-1", "gang-2", "gang-3"]
    assert yard.agents.owners.overlaps == ()


def test_a_bid_below_the_reserve_is_told_both_figures(yard: farmyard.Yard) -> None:
    yard.build(rigs_there=[things.machine("bid-1")], objects=mines(yard, price=0.01))
    yard.eventually(lambda: yard.expect_modes(mining("bid-1")))
    # Mining leaves 2 $/h less 2 % of fees for two GPUs: about a dollar each, and the moves on top.
    yard.apply(things.aijob("cheap", bid="0.50", duration="10h"))
    found = yard.eventually(lambda: yard.job("cheap", "Admitted", "False", reason="BidTooLow"))
    figures = re.fullmatch(r"bid ([0-9.]+) \$/GPU-h, needs ([0-9.]+)", found["message"])
    assert figures, found["message"]
    assert float(figures[1]) == 0.5
    assert 0.98 <= float(figures[2]) < 1.10
    reserve = yard.get("AIJob", "cheap", things.TENANT)["status"]["reservePriceUsdPerGpuHour"]
    assert float(reserve) == pytest.approx(float(figures[2]), abs=0.01)
    yard.always(lambda: expect_untouched(yard, "bid-1"), seconds=2)
    # Just above what was asked is enough.
    yard.patch(
        "AIJob", "cheap", {"spec": {"bid": {"usdPerGpuHour": f"{float(reserve) + 0.02:.3f}"}}}, namespace=things.TENANT
    )
    yard.eventually(lambda: yard.job("cheap", "Running", "True"))


@pytest.mark.parametrize(
    ("name", "requirements", "words"),
    [
        ("memory", {"gpuMemory": "40Gi"}, ["needs 40.0 GiB of GPU memory", "have 10.0", "2 of 2 rigs"]),
        ("compute", {"computeCapability": "9.0"}, ["compute capability 9.0", "8.6"]),
        ("link", {"hostLinkGigabytesPerSecond": "3.5"}, ["3.50 GB/s", "0.40"]),
        ("place", {"jurisdictions": ["DE"]}, ["DE", "US-TX"]),
    ],
)
def test_requirements_that_nobody_meets_say_what_is_lacking(
    yard: farmyard.Yard, name: str, requirements: dict[str, object], words: list[str]
) -> None:
    rigs = [f"lack-{name}-1", f"lack-{name}-2"]
    yard.build(rigs_there=[things.machine(rig) for rig in rigs], objects=mines(yard))
    yard.eventually(lambda: yard.expect_modes(mining(*rigs)))
    yard.apply(things.aijob(name, requirements=requirements))
    yard.eventually(lambda: yard.job(name, "Admitted", "False", reason="NoEligibleRig", words=words))
    expect_untouched(yard, *rigs)


def test_suspended_work_stops_in_good_order_and_may_go_on(yard: farmyard.Yard) -> None:
    yard.build(rigs_there=[things.machine("pause-1")], objects=mines(yard))
    yard.eventually(lambda: yard.expect_modes(mining("pause-1")))
    yard.apply(things.aijob("paused", suspend=True))
    yard.eventually(lambda: yard.job("paused", "Admitted", "False", reason="Suspended"))
    expect_untouched(yard, "pause-1")
    yard.patch("AIJob", "paused", {"spec": {"suspend": False}}, namespace=things.TENANT)
    yard.eventually(lambda: yard.job("paused", "Running", "True"))
    yard.patch("AIJob", "paused", {"spec": {"suspend": True}}, namespace=things.TENANT)
    yard.eventually(lambda: yard.job("paused", "Admitted", "False", reason="Suspended"))
    yard.eventually(lambda: yard.expect_modes(mining("pause-1")))
    assert [bool(left.notice and left.checkpoint) for left in yard.agents.departures.seen] == [True]
    yard.patch("AIJob", "paused", {"spec": {"suspend": False}}, namespace=things.TENANT)
    yard.eventually(lambda: yard.job("paused", "Running", "True"))
    assert yard.get("AIJob", "paused", things.TENANT)["status"]["attempts"] == 2
    assert yard.agents.owners.overlaps == ()


def test_a_claim_that_was_lost_with_its_record_comes_back_with_the_next_admission(yard: farmyard.Yard) -> None:
    rigs = ("claim-1", "claim-2")
    yard.build(rigs_there=[things.machine(rig) for rig in rigs], objects=mines(yard))
    yard.eventually(lambda: yard.expect_modes(mining(*rigs)))
    yard.apply(things.aijob("claimed", replicas=2))
    yard.eventually(lambda: yard.job("claimed", "Running", "True"))
    marks = {"labels": {names.LABEL_CLAIM: "nonsense"}, "annotations": {names.ANNOTATION_HANDOVER: "{}"}}
    yard.patch("Node", "claim-1", {"metadata": marks})

    def taken_over() -> None:
        metadata = yard.get("Node", "claim-1")["metadata"]
        assert '"claim":"nonsense"' in metadata["annotations"][names.ANNOTATION_HANDOVER]

    yard.eventually(taken_over)
    (lost,) = [pod for pod in yard.workers("claimed") if pod["spec"].get("nodeName") == "claim-1"]
    yard.delete("Pod", lost["metadata"]["name"], namespace=things.TENANT)

    def again() -> None:
        job = yard.get("AIJob", "claimed", things.TENANT)
        assert job["status"]["attempts"] == 2
        claims = {yard.get("Node", rig)["metadata"]["labels"].get(names.LABEL_CLAIM) for rig in rigs}
        assert claims == {job["metadata"]["uid"]}
        yard.job("claimed", "Running", "True")
        yard.expect_modes(working("claimed", *rigs))

    yard.eventually(again, seconds=60)
    assert any("claim-1 does not carry" in event["note"] for event in yard.events("AIJob", "claimed"))
    # The work on the other rig was told, and has saved.
    assert any(left.notice and left.checkpoint for left in yard.agents.departures.seen)
    assert yard.agents.owners.overlaps == ()


def test_a_template_that_the_server_refuses_ends_the_job_with_its_words(yard: farmyard.Yard) -> None:
    yard.build(rigs_there=[things.machine("bad-1")], objects=mines(yard))
    yard.eventually(lambda: yard.expect_modes(mining("bad-1")))
    container = {"name": "work", "image": "registry.example.com/work:1.0"}
    container |= {"volumeMounts": [{"name": "nowhere", "mountPath": "/data"}]}  # type: ignore[dict-item]
    yard.apply(things.aijob("broken", template={"spec": {"containers": [container]}}))
    yard.eventually(
        lambda: yard.job(
            "broken", "Finished", "True", reason="TemplateInvalid", words=["volumeMounts[0].name", '"nowhere"']
        )
    )
    yard.eventually(lambda: yard.expect_modes(mining("bad-1")))
    assert yard.get("AIJob", "broken", things.TENANT)["status"].get("placement") is None
    assert yard.agents.owners.overlaps == ()
