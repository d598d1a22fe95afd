"""What a rig is made of: from the labels of GPU feature discovery, from the Node's capacity, from the agent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from switchyard.api import rig as rigs
from switchyard.api import text
from switchyard.cluster import names
from switchyard.fleet import model

_LABEL: Final = "nvidia.com/gpu."

# GB/s over one lane as copies to the GPU really see them, by PCIe generation: encoding and packet overhead are off.
_PER_LANE: Final = {1: 0.20, 2: 0.40, 3: 0.80, 4: 1.60, 5: 3.15}


def of_node(*, labels: Mapping[str, str], capacity: Mapping[str, Any]) -> model.Hardware:
    """What a Node says. GPUs are taken to be alike: its labels describe one model only.

    A Node that feature discovery has not labelled has no GPUs as far as anybody knows: a count alone tells nothing of
    what they can do.
    """
    product = labels.get(f"{_LABEL}product", "")
    count = _integer(labels.get(f"{_LABEL}count")) or _integer(capacity.get(names.GPU_RESOURCE))
    gpu = model.Gpu(
        model=product,
        memory_mib=_integer(labels.get(f"{_LABEL}memory")),
        compute_capability=_capability(labels),
    )
    return model.Hardware(
        gpus=(gpu,) * count if product else (),
        host_memory_mib=text.parse_mebibytes(capacity.get("memory", 0)),
        cpu_cores=int(text.parse_quantity(capacity.get("cpu", 0))),
    )


def of_status(status: rigs.HardwareStatus) -> model.Hardware:
    """What a Rig's own status remembers, for as long as its Node is away."""
    return model.Hardware(
        gpus=tuple(gpu(entry) for entry in status.gpus),
        host_memory_mib=status.host_memory_mib or 0,
        cpu_cores=status.cpu_cores or 0,
    )


def gpu(status: rigs.GpuStatus) -> model.Gpu:
    """One GPU as the agent read it. Raises ValueError for a malformed number.

    A link that nobody has measured is estimated from what the driver negotiated: risers of one lane are the rule here,
    and taking them for unknown would keep work away that asks for little.
    """
    link: float | None = None
    if status.host_link_gigabytes_per_second is not None:
        link = text.parse_decimal(status.host_link_gigabytes_per_second)
    elif status.pcie_generation and status.pcie_width:
        link = estimated_link(generation=status.pcie_generation, width=status.pcie_width)
    return model.Gpu(
        # The driver says "NVIDIA GeForce RTX 3070"; the label cannot hold spaces.
        model=status.model.strip().replace(" ", "-"),
        memory_mib=status.memory_mib,
        compute_capability=text.parse_capability(status.compute_capability) if status.compute_capability else None,
        host_link_gigabytes_per_second=link,
        uuid=status.uuid or "",
    )


def overlay(base: model.Hardware, gpus: tuple[model.Gpu, ...]) -> model.Hardware:
    """Hardware with the GPUs that the agent saw, if it saw any: mixed cards and links are known to it alone."""
    return model.Hardware(gpus=gpus, host_memory_mib=base.host_memory_mib, cpu_cores=base.cpu_cores) if gpus else base


def estimated_link(*, generation: int, width: int) -> float:
    """GB/s from host memory to a GPU over a PCIe link: 0.2 for Gen1 x1, 0.8 for Gen3 x1, 12.5 for Gen3 x16."""
    newest = max(_PER_LANE)
    return round(_PER_LANE[min(max(generation, 1), newest)] * min(width, 16) * (0.975 if width >= 16 else 1.0), 2)


def _capability(labels: Mapping[str, str]) -> tuple[int, int] | None:
    major = labels.get(f"{_LABEL}compute.major", "")
    minor = labels.get(f"{_LABEL}compute.minor", "")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _integer(value: Any) -> int:
    """A whole number in a label or a quantity; 0 where there is none, for a Node is never kept out for a label."""
    words = str(value)
    return int(words) if words.isdecimal() else 0
