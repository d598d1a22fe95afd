"""Why a job does not fit a rig."""

from __future__ import annotations

import sample_farm as sample
from switchyard.fleet import model
from switchyard.valuation import eligibility, values


def fit(
    *,
    job: model.Job,
    hardware: model.Hardware | None = None,
    site: model.Site | None = None,
    pool: model.Pool | None = None,
) -> eligibility.Fit | values.Refusal:
    return eligibility.fit(
        job=job, hardware=hardware or sample.hardware(), site=site or sample.site(), pool=pool or sample.pool()
    )


def refusal(**given: object) -> values.Refusal:
    found = fit(**given)  # type: ignore[arg-type]
    assert isinstance(found, values.Refusal)
    return found


def wants(**requirements: object) -> model.Job:
    return sample.job(requirements=model.Requirements(**requirements))  # type: ignore[arg-type]


def test_slots_are_whole_replicas() -> None:
    found = fit(job=sample.job(gpus_per_replica=4))
    assert isinstance(found, eligibility.Fit)
    assert found.slots == 1


def test_only_fitting_cards_count_in_a_mixed_rig() -> None:
    mixed = sample.hardware(gpus=(sample.gpu(), *(sample.gpu(memory_mib=12288) for _ in range(5))))
    found = fit(
        job=sample.job(gpus_per_replica=2, requirements=model.Requirements(gpu_memory_mib=10240)), hardware=mixed
    )
    assert found == eligibility.Fit(slots=2, gpus=(1, 2, 3, 4, 5))
    few = refusal(
        job=sample.job(gpus_per_replica=6, requirements=model.Requirements(gpu_memory_mib=10240)), hardware=mixed
    )
    assert few.reason == "NotEnoughGpus"
    assert few.lacks == "needs 6 fitting GPUs for a replica, 5 of the rig's 6 fit"


def test_memory_says_both_figures_and_the_largest_card() -> None:
    mixed = sample.hardware(gpus=(sample.gpu(memory_mib=6144), sample.gpu(memory_mib=8192)))
    found = refusal(job=wants(gpu_memory_mib=12288), hardware=mixed)
    assert found.reason == "NotEnoughGpuMemory"
    assert found.lacks == "needs 12.0 GiB of GPU memory, the rig's cards have 8.0"


def test_what_was_not_measured_is_not_there() -> None:
    unknown = sample.hardware(gpus=(sample.gpu(compute_capability=None, host_link_gigabytes_per_second=None),))
    capability = refusal(
        job=sample.job(gpus_per_replica=1, requirements=model.Requirements(compute_capability=(7, 5))), hardware=unknown
    )
    assert capability.reason == "ComputeCapability"
    assert "not measured" in capability.lacks
    link = refusal(
        job=sample.job(gpus_per_replica=1, requirements=model.Requirements(host_link_gigabytes_per_second=0.15)),
        hardware=unknown,
    )
    assert link.reason == "HostLink"
    assert "not measured" in link.lacks
    host = refusal(job=wants(host_memory_mib=4096), hardware=sample.hardware(host_memory_mib=0))
    assert host.lacks == "needs 4.0 GiB of host memory, has not measured"


def test_capability_and_link_are_compared_as_numbers() -> None:
    assert refusal(job=wants(compute_capability=(8, 9))).lacks == "needs compute capability 8.9, the rig's cards: 8.6"
    assert isinstance(fit(job=wants(compute_capability=(8, 6))), eligibility.Fit)
    ten = sample.hardware(gpus=tuple(sample.gpu(compute_capability=(10, 0)) for _ in range(3)))
    assert isinstance(fit(job=wants(compute_capability=(8, 9)), hardware=ten), eligibility.Fit)
    assert refusal(job=wants(host_link_gigabytes_per_second=6.0)).lacks == (
        "needs 6.00 GB/s between host and GPU, the rig's cards: 0.80"
    )


def test_a_country_holds_its_states_and_not_the_other_way() -> None:
    assert isinstance(fit(job=wants(jurisdictions=frozenset({"US"}))), eligibility.Fit)
    assert isinstance(fit(job=wants(jurisdictions=frozenset({"US-TX"}))), eligibility.Fit)
    assert refusal(job=wants(jurisdictions=frozenset({"US-TX"})), site=sample.site(jurisdiction="US")).reason == (
        "Jurisdiction"
    )
    found = refusal(job=wants(jurisdictions=frozenset({"DE", "FR"})))
    assert found.lacks == "needs a site in DE, FR, barn is in US-TX"


def test_a_class_the_pool_does_not_serve() -> None:
    found = refusal(job=sample.job(), pool=sample.pool(workload_classes=frozenset({model.WorkloadClass.RENDER})))
    assert found.reason == "ClassNotServed"
    assert found.lacks == "needs a pool for Batch, main serves Render"
