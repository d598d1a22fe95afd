"""The schema of an AIJob's Pod template.

Kubernetes' own schema of it is 1.4 MB and made every write three times dearer, so only what Switchyard itself guards is
spelled out, and the rest is preserved as it came: the API server checks it when the Pods are made.
"""

from __future__ import annotations

from typing import Any, Final

import pydantic

from switchyard.api import base

_OPEN: Final = {"x-kubernetes-preserve-unknown-fields": True}
_OURS: Final = f"{base.GROUP}/"
_GPUS: Final = "nvidia.com/"

_LABELS: Final[dict[str, Any]] = {
    "type": "object",
    "maxProperties": 64,
    "additionalProperties": {"type": "string", "maxLength": 4096},
}
_NO_KEY_OF_OURS: Final = base.Rule(
    rule=f"self.all(key, !key.startsWith('{_OURS}'))",
    message=f"must not have keys that begin with {_OURS}: those are the operator's",
).as_schema()
_AMOUNTS: Final[dict[str, Any]] = {
    "type": "object",
    "maxProperties": 16,
    "additionalProperties": {"x-kubernetes-int-or-string": True, "maxLength": 32},
    base.RULES: [
        base.Rule(
            rule=f"self.all(key, !key.startsWith('{_GPUS}'))",
            message=f"must not ask for {_GPUS}*: say gpusPerReplica instead, the operator gives the GPUs to the first "
            "container",
        ).as_schema()
    ],
}


def _texts(description: str, *, count: int, length: int) -> dict[str, Any]:
    return {
        "description": description,
        "type": "array",
        "maxItems": count,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "maxLength": length},
    }


def _containers(description: str, *, least: int) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "description": description,
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name", "image"],
            **_OPEN,
            "properties": {
                "name": {"description": "Name of the container.", "type": "string", "maxLength": 63},
                "image": {
                    "description": "Container image.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 512,
                },
                "command": _texts("Command in place of the image's.", count=64, length=8192),
                "args": _texts("Arguments of the command.", count=64, length=8192),
                "resources": {
                    "description": "Processor, memory and storage. GPUs come from gpusPerReplica.",
                    "type": "object",
                    **_OPEN,
                    "properties": {
                        "limits": {"description": "The most it may use.", **_AMOUNTS},
                        "requests": {"description": "What is set aside for it.", **_AMOUNTS},
                    },
                },
            },
        },
    }
    if least:
        schema["minItems"] = least
    return schema


_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["spec"],
    **_OPEN,
    "properties": {
        "metadata": {
            "description": "Labels and annotations of the Pods.",
            "type": "object",
            **_OPEN,
            "properties": {
                "labels": {"description": "Labels of the Pods.", **_LABELS, base.RULES: [_NO_KEY_OF_OURS]},
                "annotations": {"description": "Annotations of the Pods.", **_LABELS, base.RULES: [_NO_KEY_OF_OURS]},
            },
        },
        "spec": {
            "description": "What the Pods run. All fields of a Pod's spec are taken, less those the operator sets.",
            "type": "object",
            "required": ["containers"],
            **_OPEN,
            "properties": {
                "containers": _containers("Containers of a Pod. The first one gets the GPUs.", least=1),
                "initContainers": _containers("Containers that run to their end before the others.", least=0),
                "restartPolicy": {
                    "description": "Never, also by default: the gang is started anew as a whole.",
                    "type": "string",
                    "maxLength": 16,
                    base.RULES: [
                        base.Rule(
                            rule="self == 'Never'",
                            message="must be Never or absent: a gang is started anew as a whole",
                        ).as_schema()
                    ],
                },
                "nodeName": {
                    "description": "Refused: the operator places the gang.",
                    "type": "string",
                    "maxLength": 253,
                    base.RULES: [
                        base.Rule(
                            rule="self == ''",
                            message="must not be set: the operator places the gang by its requirements",
                        ).as_schema()
                    ],
                },
                "nodeSelector": {
                    "description": "Further labels the Node must have.",
                    **_LABELS,
                    base.RULES: [_NO_KEY_OF_OURS],
                },
            },
        },
    },
}

SCHEMA: Final = pydantic.WithJsonSchema(_SCHEMA)
"""Annotation of the field that holds a Pod template."""
