"""Bodies read into values: units, times, and what is passed over."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pydantic
import pytest

from switchyard.api import rig as rigs
from switchyard.cluster import names
from switchyard.fleet import hardware, model, parse

NOON = datetime.datetime(2026, 7, 1, 12, 0, tzinfo=datetime.UTC)


def coin(unit: str, hashrate: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "kas", "uid": "u", "generation": 3},
        "spec": {
            "algorithm": "kheavyhash",
            "unit": unit,
            "revenueFeed": "kas-usd",
            "minGpuMemory": "6Gi",
            "wallet": {"secretName": "wallet"},
            "pools": ["stratum+tcp://pool.example:3333"],
            "miner": {"image": "registry.example/miner:1"},
            "benchmarks": [{"gpu": "A", "hashrate": hashrate, "watts": 130}],
        },
    }


@pytest.mark.parametrize(
    ("unit", "hashrate", "expected"),
    [
        ("H/s", "1500", 0.0000015),
        ("kH/s", "1.5", 0.0000015),
        ("MH/s", "60.5", 0.0605),
        ("GH/s", "0.98", 0.98),
        ("Sol/s", "55", 55),
    ],
)
def test_hash_rates_are_scaled_to_gigahashes_and_solutions_are_not(unit: str, hashrate: str, expected: float) -> None:
    parsed = parse.coin_of(coin(unit, hashrate))
    assert parsed.benchmarks["A"].hashrate == expected
    assert (parsed.min_gpu_memory_mib, parsed.startup_seconds, parsed.wallet_key) == (6144, 30.0, "address")
    assert parsed.generation == 3


def aijob(*held: str, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "train",
            "namespace": "tenant",
            "uid": "u",
            "resourceVersion": "7",
            "creationTimestamp": "2026-07-01T12:00:00Z",
        },
        "spec": {
            "workloadClass": "Training",
            "replicas": 2,
            "bid": {"usdPerGpuHour": "0.25"},
            "duration": "1h30m",
            "requirements": {"gpuMemory": "8Gi", "computeCapability": "7.5", "hostLinkGigabytesPerSecond": "0.15"},
            "template": {"spec": {"containers": [{"name": "work"}]}},
        },
        "status": {"conditions": [{"type": each, "status": "True"} for each in held], **status},
    }


@pytest.mark.parametrize(
    ("held", "state"),
    [
        ((), model.JobState.PENDING),
        (("Preempted",), model.JobState.PENDING),
        (("Admitted",), model.JobState.ADMITTED),
        (("Admitted", "Preempted"), model.JobState.PREEMPTING),
        (("Finished",), model.JobState.FINISHED),
        (("Admitted", "Finished"), model.JobState.FINISHED),
    ],
)
def test_a_jobs_state_is_what_its_conditions_say(held: tuple[str, ...], state: model.JobState) -> None:
    assert parse.job_of(aijob(*held)).state is state


def test_a_job_is_read_whole() -> None:
    job = parse.job_of(
        aijob(
            "Admitted",
            placement=[{"rig": "rig-1", "replicas": 2}],
            admittedAt="2026-07-01T14:00:00+02:00",
            progress="0.42",
            attempts=1,
        )
    )
    assert job.key == "tenant/train"
    assert job.created_at == NOON
    assert job.admitted_at == NOON
    assert job.placement == (model.Placement(rig="rig-1", replicas=2),)
    assert (job.duration_seconds, job.notice_seconds, job.min_runtime_seconds) == (5400.0, 120.0, 600.0)
    assert job.requirements.gpu_memory_mib == 8192
    assert job.requirements.compute_capability == (7, 5)
    assert job.requirements.host_link_gigabytes_per_second == 0.15
    assert (job.progress, job.attempts, job.preemptible, job.ttl_seconds) == (0.42, 1, True, None)


def rig(agent: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "rig-1", "resourceVersion": "1"},
        "spec": {"nodeName": "rig-1", "siteRef": {"name": "barn"}},
        "status": {"agent": agent},
    }


def test_a_readback_that_does_not_speak_of_memory_is_none() -> None:
    said = {"profile": "stock", "since": "2026-07-01T12:00:00Z", "watts": 100}
    assert parse.rig_of(rig(said))[0].readback is None
    readback = parse.rig_of(rig({**said, "gpuMemoryUsedMiB": 0}))[0].readback
    assert readback == model.Readback(profile="stock", since=NOON, gpu_memory_used_mib=0, watts=100)


def test_an_agents_cards_are_named_as_the_label_names_them_and_a_measured_link_wins() -> None:
    seen = {"model": "NVIDIA GeForce RTX 3070", "memoryMiB": 8192, "pcieGeneration": 3, "pcieWidth": 1}
    _, gpus = parse.rig_of(rig({"gpus": [seen, {**seen, "hostLinkGigabytesPerSecond": "0.71"}]}))
    assert [gpu.model for gpu in gpus] == ["NVIDIA-GeForce-RTX-3070"] * 2
    assert [gpu.host_link_gigabytes_per_second for gpu in gpus] == [0.8, 0.71]


@pytest.mark.parametrize(
    ("generation", "width", "expected"),
    [(1, 1, 0.2), (2, 1, 0.4), (3, 1, 0.8), (3, 4, 3.2), (3, 8, 6.4), (3, 16, 12.48), (4, 16, 24.96), (9, 1, 3.15)],
)
def test_links_are_estimated_from_what_was_negotiated(generation: int, width: int, expected: float) -> None:
    assert hardware.estimated_link(generation=generation, width=width) == expected


def test_a_card_without_a_link_has_none() -> None:
    assert hardware.gpu(rigs.GpuStatus(model="A", memory_mib=1)).host_link_gigabytes_per_second is None


def test_a_nodes_labels_tell_its_cards() -> None:
    labels = {
        "nvidia.com/gpu.product": "A",
        "nvidia.com/gpu.count": "3",
        "nvidia.com/gpu.memory": "6144",
        "nvidia.com/gpu.compute.major": "6",
        "nvidia.com/gpu.compute.minor": "1",
    }
    found = hardware.of_node(labels=labels, capacity={"cpu": "1900m", "memory": "8024688Ki"})
    assert found.gpus == (model.Gpu(model="A", memory_mib=6144, compute_capability=(6, 1)),) * 3
    assert (found.host_memory_mib, found.cpu_cores) == (7836, 1)
    assert hardware.of_node(labels={}, capacity={names.GPU_RESOURCE: "4"}).gpus == ()


def pod(**more: Any) -> dict[str, Any]:
    whole = {
        "metadata": {"name": "p", "namespace": "tenant", **more.pop("metadata", {})},
        "spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}, {"name": "side"}]},
    }
    return {**whole, **more}


def read(**more: Any) -> model.Pod:
    found = parse.pod_of(pod(**more))
    assert found is not None
    return found


def test_pods_without_gpus_or_role_are_nobodys_business() -> None:
    assert parse.pod_of(pod(spec={"containers": [{"name": "c"}]})) is None
    ours = parse.pod_of(pod(spec={}, metadata={"labels": {names.LABEL_ROLE: "work", names.LABEL_AIJOB: "train"}}))
    assert ours is not None
    assert (ours.role, ours.job, ours.gpus) == ("work", "train", 0)


def test_a_greedy_init_container_counts() -> None:
    spec = {
        "containers": [{"resources": {"requests": {"nvidia.com/gpu": "1"}}}],
        "initContainers": [{"resources": {"limits": {"nvidia.com/gpu": "3"}}}],
    }
    assert read(spec=spec).gpus == 3


def test_deletion_began_before_its_grace_ends() -> None:
    metadata = {"deletionTimestamp": "2026-07-01T12:00:30Z", "deletionGracePeriodSeconds": 30}
    assert read(metadata=metadata).deleting_since == NOON


def test_annotations_are_read_and_nonsense_in_them_passed_over() -> None:
    good = read(
        metadata={
            "annotations": {
                names.ANNOTATION_NOTICE: json.dumps({"reason": "Preempted", "deadline": "2026-07-01T12:00:00Z"}),
                names.ANNOTATION_CHECKPOINT: "2026-07-01T12:00:00Z",
                names.ANNOTATION_PROGRESS: "0.5",
            }
        }
    )
    assert (good.notice_deadline, good.checkpoint_at, good.progress) == (NOON, NOON, 0.5)
    annotations = (names.ANNOTATION_NOTICE, names.ANNOTATION_CHECKPOINT, names.ANNOTATION_PROGRESS)
    for nonsense in ("[", "[]", "7", "soon", "nan"):
        bad = read(metadata={"annotations": dict.fromkeys(annotations, nonsense)})
        assert (bad.notice_deadline, bad.checkpoint_at) == (None, None)
        assert bad.progress is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"reason": "Evicted"}, "Evicted"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}, "ImagePullBackOff"),
        (
            {
                "initContainerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}],
                "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled"}}}],
            },
            "OOMKilled",
        ),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}, "Unschedulable"),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, ""),
    ],
)
def test_a_pods_reason_is_the_first_that_says_something(status: dict[str, Any], reason: str) -> None:
    assert read(status=status).reason == reason


def test_rates_of_an_agent_are_read_and_what_is_no_rate_is_passed_over() -> None:
    said = {"profile": "mining.kas", "since": "2026-07-01T12:00:00Z", "gpuMemoryUsedMiB": 0}
    rates = [
        {"gpu": "A", "coin": "kas", "hashesPerSecond": "60500000", "watts": 120},
        {"gpu": "B", "coin": "kas", "hashesPerSecond": "much", "watts": 120},
    ]
    found, _ = parse.rig_of(rig({**said, "benchmarks": rates}))
    assert found.readback is not None
    assert found.readback.benchmarks == (
        model.Measured(gpu="A", coin="kas", hashes_per_second=60_500_000.0, watts=120),
    )


def test_the_advice_on_checkpoints_is_read_from_the_status() -> None:
    advised = parse.job_of(aijob(checkpoint={"recommendedInterval": "26m"}))
    assert advised.checkpoint_interval_seconds == 1560.0
    assert parse.job_of(aijob()).checkpoint_interval_seconds is None


def test_a_failed_kube_job_says_why() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
    body = {"metadata": {"name": "j", "namespace": "n"}, "spec": {"suspend": True}, "status": {"conditions": [failed]}}
    job = parse.kube_job_of(body)
    assert (job.broken, job.complete) == (True, False)
    assert job.message == "BackoffLimitExceeded: too often"


def test_what_a_person_wrote_wrongly_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError):
        parse.coin_of(coin("MH/s", "sixty"))


def test_circuits_and_shares_are_read() -> None:
    barn = parse.site_of(
        {
            "metadata": {"name": "barn"},
            "spec": {
                "nodeSelector": {"matchLabels": {"a": "b"}},
                "tariff": {"fixed": {"usdPerKilowattHour": "0.1"}},
                "circuits": [
                    {"name": "c1", "limitWatts": 5000},
                    {"name": "c2", "limitWatts": 2000, "continuousFraction": "1"},
                ],
            },
        }
    )
    assert {name: circuit.budget_watts for name, circuit in barn.circuits.items()} == {"c1": 4000.0, "c2": 2000.0}
    pool = parse.pool_of(
        {
            "metadata": {"name": "main"},
            "spec": {
                "rigSelector": {"matchLabels": {"a": "b"}},
                "shares": [{"kind": "Mining", "floor": "25%", "most": 3}, {"kind": "AI", "most": "50%"}],
            },
        }
    )
    assert pool.shares == (
        model.Share(kind=model.ModeKind.MINING, floor="25%", most=3),
        model.Share(kind=model.ModeKind.AI, floor=0, most="50%"),
    )
    spec = {"nodeName": "n", "siteRef": {"name": "barn"}}
    assert parse.rig_of({"metadata": {"name": "n"}, "spec": spec})[0].circuit == ""
    assert parse.rig_of({"metadata": {"name": "n"}, "spec": {**spec, "circuit": "c1"}})[0].circuit == "c1"
