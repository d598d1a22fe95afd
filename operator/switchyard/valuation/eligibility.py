"""Why an AIJob does not fit a rig: what it needs, and what there is.

Nothing is inferred from a card's name: what a job requires and nobody has measured counts as not there.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from switchyard.fleet import model
from switchyard.valuation import revenue, values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a job fits a rig: replicas it can hold, and the positions in `hardware.gpus` of the cards that will do."""

    slots: int
    gpus: tuple[int, ...]


def fit(*, job: model.Job, hardware: model.Hardware, site: model.Site, pool: model.Pool) -> Fit | values.Refusal:
    """Replicas of a job that one rig can hold, or why it can hold none. Only the cards that fit count."""
    wanted = job.requirements
    if job.workload_class not in pool.workload_classes:
        served = ", ".join(sorted(pool.workload_classes)) or "none"
        return _refusal(job, "ClassNotServed", f"needs a pool for {job.workload_class}, {pool.name} serves {served}")
    if wanted.jurisdictions and not _within(site.jurisdiction, wanted.jurisdictions):
        allowed = ", ".join(sorted(wanted.jurisdictions))
        there = site.jurisdiction or "not stated"
        return _refusal(job, "Jurisdiction", f"needs a site in {allowed}, {site.name} is in {there}")
    if hardware.host_memory_mib < wanted.host_memory_mib:
        there = f"{revenue.gib(hardware.host_memory_mib)}" if hardware.host_memory_mib else "not measured"
        return _refusal(
            job, "NotEnoughHostMemory", f"needs {revenue.gib(wanted.host_memory_mib)} GiB of host memory, has {there}"
        )
    fitting: list[int] = []
    short: list[tuple[int, int, values.Refusal]] = []
    for position, gpu in enumerate(hardware.gpus):
        lack = _lack(job, gpu)
        if lack is None:
            fitting.append(position)
        else:
            short.append((_ORDER.index(lack.reason), gpu.memory_mib, lack))
    slots = len(fitting) // job.gpus_per_replica
    if slots:
        return Fit(slots=slots, gpus=tuple(fitting))
    if short:
        if not fitting:
            # The card that came furthest tells what would have to change the least.
            return max(short, key=lambda lack: lack[:2])[2]
        of = f", {len(fitting)} of the rig's {len(hardware.gpus)} fit"
    else:
        of = f", the rig has {len(hardware.gpus)}"
    return _refusal(job, "NotEnoughGpus", f"needs {job.gpus_per_replica} fitting GPUs for a replica{of}")


_ORDER: Final = ("NotEnoughGpuMemory", "ComputeCapability", "HostLink")


def _lack(job: model.Job, gpu: model.Gpu) -> values.Refusal | None:
    wanted = job.requirements
    if gpu.memory_mib < wanted.gpu_memory_mib:
        return _refusal(
            job,
            "NotEnoughGpuMemory",
            f"needs {revenue.gib(wanted.gpu_memory_mib)} GiB of GPU memory, "
            f"the rig's cards have {revenue.gib(gpu.memory_mib)}",
        )
    if wanted.compute_capability is not None and (gpu.compute_capability or (0, 0)) < wanted.compute_capability:
        there = _version(gpu.compute_capability) if gpu.compute_capability else "not measured"
        return _refusal(
            job,
            "ComputeCapability",
            f"needs compute capability {_version(wanted.compute_capability)}, the rig's cards: {there}",
        )
    needed, link = wanted.host_link_gigabytes_per_second, gpu.host_link_gigabytes_per_second
    if needed > 0 and (link is None or link < needed):
        there = "not measured" if link is None else f"{link:.2f}"
        return _refusal(job, "HostLink", f"needs {needed:.2f} GB/s between host and GPU, the rig's cards: {there}")
    return None


def _within(jurisdiction: str, allowed: frozenset[str]) -> bool:
    """ISO 3166: `US-TX` lies within `US` and within itself."""
    return jurisdiction in allowed or (bool(jurisdiction) and jurisdiction.partition("-")[0] in allowed)


def _version(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _refusal(job: model.Job, reason: str, lacks: str) -> values.Refusal:
    return values.Refusal(mode=job.mode, reason=reason, lacks=lacks)
