"""Manifests of simulated nodes: labelled as GPU feature discovery would, with KWOK as their kubelet."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from controlplane import components

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GPU_RESOURCE = "nvidia.com/gpu"


def gpu_node(
    *,
    name: str,
    gpus: int = 8,
    product: str = "NVIDIA-GeForce-RTX-3090",
    memory_mib: int = 24576,
    compute: tuple[int, int] = (8, 6),
    cpu: str = "2",
    memory: str = "8Gi",
    pods: int = 110,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Build a fake node with equal GPUs; memory_mib is one GPU's, compute its compute capability.

    The small CPU and memory are those of a mining rig.
    """
    return node(
        name=name,
        cpu=cpu,
        memory=memory,
        pods=pods,
        resources={GPU_RESOURCE: str(gpus)},
        labels={
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": product,
            "nvidia.com/gpu.count": str(gpus),
            "nvidia.com/gpu.memory": str(memory_mib),
            "nvidia.com/gpu.compute.major": str(compute[0]),
            "nvidia.com/gpu.compute.minor": str(compute[1]),
            **(labels or {}),
        },
        annotations=annotations,
        taints=taints,
    )


def gpu_nodes(count: int, *, prefix: str = "rig", **same: Any) -> list[dict[str, Any]]:
    """Build count equal GPU nodes, named rig-0000 and on; keywords as in `gpu_node`."""
    return [gpu_node(name=f"{prefix}-{number:04d}", **same) for number in range(count)]


def node(
    *,
    name: str,
    cpu: str = "4",
    memory: str = "16Gi",
    pods: int = 110,
    resources: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Build a fake node; resources are extended ones beside cpu, memory and pods."""
    # The same for the same name, as a machine's own would be; a changed bootID is how a reboot shows.
    identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    capacity = {"cpu": cpu, "memory": memory, "pods": str(pods), **(resources or {})}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                **(labels or {}),
            },
            "annotations": {
                components.FAKE_NODE_ANNOTATION: components.FAKE_NODE_VALUE,
                **(annotations or {}),
            },
        },
        "spec": {"taints": [dict(taint) for taint in taints]} if taints else {},
        "status": {
            "capacity": capacity,
            "allocatable": dict(capacity),
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": identity,
                "containerRuntimeVersion": "fake://0",
                "kernelVersion": "0-fake",
                "kubeProxyVersion": "",
                "kubeletVersion": "v0.0.0-fake",
                "machineID": identity.replace("-", ""),
                "operatingSystem": "linux",
                "osImage": "simulated",
                "systemUUID": identity,
            },
        },
    }
