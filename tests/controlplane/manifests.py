"""Apply files of manifests in an order that works: kinds first, then namespaces, then the rest as written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from controlplane.launcher import ControlPlane

_FIRST = ("CustomResourceDefinition", "Namespace", "PriorityClass", "ServiceAccount", "Secret", "ConfigMap")


def load(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read every object from files, and from the .yaml and .yml files of folders, sorted into the order to apply.

    Raises:
        FileNotFoundError: a path does not exist.
        ValueError: a document is not a Kubernetes object; the message names the file.
    """
    found: list[dict[str, Any]] = []
    for path in paths:
        for file in _files(path):
            for document in yaml.safe_load_all(file.read_text()):
                if document is None:
                    continue
                if not isinstance(document, dict) or "kind" not in document:
                    raise ValueError(f"{file}: a document that is no Kubernetes object")
                found.extend(document["items"] if document["kind"] == "List" else [document])
    return sorted(found, key=_rank)


def apply(control_plane: ControlPlane, paths: Sequence[Path]) -> int:
    """Apply all objects of these files and folders; return how many there were."""
    objects = load(paths)
    kinds = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    rest = [each for each in objects if each["kind"] != "CustomResourceDefinition"]
    if kinds:
        # On the server's side: a client-side apply keeps a copy in an annotation, and a large schema does not fit.
        control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=yaml.safe_dump_all(kinds))
        names = [f"crd/{each['metadata']['name']}" for each in kinds]
        control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    if rest:
        # On the client's side: a server-side apply drops the status of a Node, and with it the capacity.
        control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(rest))
    return len(objects)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in {".yaml", ".yml"})
    return [path]


def _rank(document: dict[str, Any]) -> int:
    kind = document["kind"]
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
