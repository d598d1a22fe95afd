"""Sets the stage: a farm's manifests, read from files and put onto an API server."""

from __future__ import annotations

import asyncio
import copy
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from switchyard.cluster import commands, names
from switchyard.kube import client as kube
from switchyard.kube import errors
from switchyard.simulate import machines

MANAGER: Final = "switchyard-demo"
_PATIENCE_SECONDS: Final = 60.0

CRDS: Final = kube.Resource(
    api_version="apiextensions.k8s.io/v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
)
NODES: Final = kube.Resource(api_version="v1", plural="nodes", kind="Node", namespaced=False)
RIGS: Final = kube.Resource(api_version=names.API_VERSION, plural="rigs", kind="Rig", namespaced=False)
AIJOBS: Final = kube.Resource(api_version=names.API_VERSION, plural="aijobs", kind="AIJob", namespaced=True)
_KINDS: Final = {
    resource.kind: resource
    for resource in (
        kube.Resource(api_version="v1", plural="namespaces", kind="Namespace", namespaced=False),
        kube.Resource(api_version="v1", plural="secrets", kind="Secret", namespaced=True),
        kube.Resource(api_version=names.API_VERSION, plural="pricefeeds", kind="PriceFeed", namespaced=False),
        kube.Resource(api_version=names.API_VERSION, plural="sites", kind="Site", namespaced=False),
        kube.Resource(api_version=names.API_VERSION, plural="coins", kind="Coin", namespaced=False),
        kube.Resource(api_version=names.API_VERSION, plural="gpupools", kind="GPUPool", namespaced=False),
    )
}
"""What a farm's files may hold, in the order in which it is applied."""


def load(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Read the manifests of a farm: the .yaml files of a folder, not those of folders within.

    Raises:
        ValueError: a file holds what is no part of a farm; the message names it.
    """
    found = []
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document is None:
                continue
            if not isinstance(document, dict) or document.get("kind") not in _KINDS:
                kind = document.get("kind") if isinstance(document, dict) else document
                raise ValueError(f"{path}: {kind!r} is no kind of a farm ({', '.join(_KINDS)})")
            found.append(document)
    return found


def redirect(
    manifests: Iterable[Mapping[str, Any]], *, root: pathlib.Path, files: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The manifests with file sources that do not depend on where a process was started.

    Args:
        manifests: of the farm.
        root: where relative paths start.
        files: per quantity (ElectricityPrice, CoinRevenue), changes to the `file` of its feeds; None drops a key.
    """
    changed = []
    for manifest in manifests:
        copied = copy.deepcopy(dict(manifest))
        if copied["kind"] == "PriceFeed" and "file" in copied["spec"]["source"]:
            file = {**copied["spec"]["source"]["file"], **files.get(copied["spec"]["quantity"], {})}
            file["path"] = str((root / file["path"]).resolve())
            copied["spec"]["source"]["file"] = {key: value for key, value in file.items() if value is not None}
        changed.append(copied)
    return changed


async def establish(client: kube.Client, folder: pathlib.Path) -> None:
    """Apply the CustomResourceDefinitions of a folder, and wait until the API server serves them.

    Raises:
        FileNotFoundError: there are none.
        errors.KubeError: the API server refuses one.
        TimeoutError: it does not serve them within a minute.
    """
    definitions = _documents(folder)
    if not definitions:
        raise FileNotFoundError(f"no CustomResourceDefinitions in {folder}")
    for definition in definitions:
        await _apply(client, CRDS.ref(definition["metadata"]["name"]), definition)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        for definition in definitions:
            ref = CRDS.ref(definition["metadata"]["name"])
            while not _established(await client.get(ref)):  # noqa: ASYNC110 - the other side is a server
                await asyncio.sleep(0.1)


async def furnish(
    client: kube.Client, manifests: Sequence[Mapping[str, Any]], rigs: Iterable[machines.Machine]
) -> None:
    """Apply a farm's manifests in an order that works, and create the Nodes of its rigs.

    Raises:
        errors.KubeError: the API server refuses one of them.
        TimeoutError: it did not know a kind within a minute.
    """
    order = list(_KINDS)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        for manifest in sorted(manifests, key=lambda each: order.index(each["kind"])):
            metadata = manifest["metadata"]
            ref = _KINDS[manifest["kind"]].ref(metadata["name"], metadata.get("namespace"))
            while True:
                try:
                    await _apply(client, ref, manifest)
                    break
                except errors.ApiError as problem:
                    # A kind is Established a moment before it is served.
                    if problem.status != 404:
                        raise
                    await asyncio.sleep(0.2)
        for rig in rigs:
            # Created, not applied: an apply would drop the status, and with it the capacity.
            await client.create(NODES.ref(rig.name), rig.node(), field_manager=MANAGER)


def _documents(folder: pathlib.Path) -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yaml"))]


async def _apply(client: kube.Client, ref: commands.Ref, manifest: Mapping[str, Any]) -> None:
    await client.patch(ref, manifest, type=commands.PatchType.APPLY, field_manager=MANAGER)


def _established(definition: Mapping[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions", ())
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
