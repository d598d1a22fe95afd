"""Simulated rigs: what they are made of, and the Node each would show."""

from __future__ import annotations

import dataclasses
import pathlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from switchyard.api import text
from switchyard.cluster import names

ZONE: Final = "topology.kubernetes.io/zone"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU as its rig's agent measures it. `model` is written as in the label nvidia.com/gpu.product."""

    model: str
    memory_mib: int
    compute_capability: tuple[int, int]
    pcie_generation: int
    pcie_width: int
    link_gigabytes_per_second: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One rig. Its Node has the same name; `zone` is the label by which a Site knows its own."""

    name: str
    kind: str
    zone: str
    cards: tuple[Card, ...]
    host_memory_mib: int
    cpu_cores: int
    host_watts: int

    def node(self) -> dict[str, Any]:
        """The Node: labelled as GPU feature discovery would, played by KWOK.

        Feature discovery knows one model per Node, so mixed cards show as the first.
        """
        first = self.cards[0]
        capacity = {
            "cpu": str(self.cpu_cores),
            "memory": f"{self.host_memory_mib}Mi",
            "pods": "110",
            names.GPU_RESOURCE: str(len(self.cards)),
        }
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name,
                "labels": {
                    "kubernetes.io/hostname": self.name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    ZONE: self.zone,
                    "nvidia.com/gpu.present": "true",
                    "nvidia.com/gpu.product": first.model,
                    "nvidia.com/gpu.count": str(len(self.cards)),
                    "nvidia.com/gpu.memory": str(first.memory_mib),
                    "nvidia.com/gpu.compute.major": str(first.compute_capability[0]),
                    "nvidia.com/gpu.compute.minor": str(first.compute_capability[1]),
                },
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
            "status": {"capacity": capacity, "allocatable": dict(capacity)},
        }

    def gpus(self) -> list[dict[str, Any]]:
        """The cards as an agent reports them in a Rig's status."""
        return [
            {
                "uuid": f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{self.name}/{index}')}",
                "model": card.model,
                "memoryMiB": card.memory_mib,
                "computeCapability": "{}.{}".format(*card.compute_capability),
                "pcieGeneration": card.pcie_generation,
                "pcieWidth": card.pcie_width,
                "hostLinkGigabytesPerSecond": text.format_decimal(card.link_gigabytes_per_second),
            }
            for index, card in enumerate(self.cards)
        ]


def load(path: pathlib.Path) -> tuple[Machine, ...]:
    """Read the machines of a farm from a file such as examples/demo/simulation/rigs.yaml.

    Raises:
        ValueError: the file is not of that form.
    """
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return tuple(_machines(table))
    except (KeyError, TypeError) as problem:
        raise ValueError(f"{path}: {problem!r} is missing or not of the expected form") from None


def _machines(table: Mapping[str, Any]) -> Iterable[Machine]:
    cards = table["cards"]
    for kind in table["kinds"]:
        own = tuple(
            Card(
                model=group["model"],
                memory_mib=cards[group["model"]]["memoryMiB"],
                compute_capability=text.parse_capability(cards[group["model"]]["computeCapability"]),
                pcie_generation=group["pcieGeneration"],
                pcie_width=group["pcieWidth"],
                link_gigabytes_per_second=float(group["linkGigabytesPerSecond"]),
            )
            for group in kind["gpus"]
            for _ in range(group["count"])
        )
        for number in range(1, kind["count"] + 1):
            yield Machine(
                name=f"{kind['name']}-{number:02d}",
                kind=kind["name"],
                zone=kind["zone"],
                cards=own,
                host_memory_mib=kind["hostMemoryGiB"] * 1024,
                cpu_cores=kind["cpuCores"],
                host_watts=table["hostWatts"],
            )
