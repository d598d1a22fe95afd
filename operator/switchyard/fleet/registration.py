"""Which Nodes become Rigs: a Site names its Nodes by selector, and nobody has to write Rigs by hand."""

from __future__ import annotations

from collections.abc import Mapping

from switchyard.cluster import commands, names
from switchyard.fleet import model

# Labels a Rig takes over from its Node, so that a GPUPool can select rigs by what the GPU discovery found.
_COPIED_PREFIX = "nvidia.com/gpu."


def registrations(farm: model.Farm) -> tuple[commands.Create, ...]:
    """A Rig to create for every GPU Node that a Site owns and no Rig stands for.

    A Node two Sites claim goes to the first by name. A Rig whose Node is gone is never deleted: its status says so.
    """
    known = {rig.node_name for rig in farm.rigs.values()}
    created = []
    for node in farm.nodes.values():
        if node.name in known or not (node.gpus_allocatable or node.hardware.gpus):
            continue
        site = owner(farm, node)
        if site is not None and node.name not in farm.rigs:
            created.append(_create(node, site))
    return tuple(created)


def owner(farm: model.Farm, node: model.Node) -> model.Site | None:
    """The Site whose selector matches the Node; the first by name where several do."""
    matching = [site for site in farm.sites.values() if site.node_selector.matches(node.labels)]
    return min(matching, key=lambda site: site.name, default=None)


def _create(node: model.Node, site: model.Site) -> commands.Create:
    labels: Mapping[str, str] = {
        names.LABEL_SITE: site.name,
        **{
            key: value
            for key, value in node.labels.items()
            if key.startswith(_COPIED_PREFIX)
            or key in site.node_selector.match_labels
            or any(key == expression[0] for expression in site.node_selector.expressions)
        },
    }
    return commands.Create(
        ref=commands.Ref(api_version=names.API_VERSION, kind="Rig", plural="rigs", name=node.name),
        body={
            "metadata": {"labels": dict(labels)},
            "spec": {"nodeName": node.name, "siteRef": {"name": site.name}},
        },
    )
