"""The Node as the lock: what a record makes of its labels, its taint and its annotations."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import record as rec
from switchyard.handover import records

_LABELS: Final = (names.LABEL_MODE, names.LABEL_MODE_STATE, names.LABEL_CLAIM)
_ANNOTATIONS: Final = (names.ANNOTATION_HANDOVER, names.ANNOTATION_PROFILE, names.ANNOTATION_RESTORE)
_EFFECT: Final = "NoSchedule"

_GUESTS: Final = (rec.Step.STARTING, rec.Step.SETTLED)
"""The steps in which the Node lets the Pods of the record's mode in."""
_LEAVING: Final = (rec.Step.NOTIFYING, rec.Step.STOPPING)
"""The steps in which Pods of the origin may still be at work, so that its power profile must stay."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What a Node shall carry. `claim` "" is no such label; `profile` None leaves the annotation as it is."""

    mode: str
    state: str
    held: str
    claim: str
    profile: str | None


def node_ref(node: model.Node) -> cmd.Ref:
    """The Node, for commands."""
    return cmd.Ref(api_version="v1", kind="Node", plural="nodes", name=node.name)


def word(mode: model.Mode) -> str:
    """The mode's kind as labels and taints say it."""
    return mode.kind.value.lower()


def profile(mode: model.Mode) -> str:
    """The power profile of a mode: `mining.<coin>`, `stock`, `idle`, `off`."""
    match mode.kind:
        case model.ModeKind.MINING:
            return f"mining.{mode.name}"
        case model.ModeKind.AI:
            return "stock"
        case _:
            return word(mode)


def marks(record: rec.Record) -> Marks:
    """What a record makes of its Node."""
    guests = record.step in _GUESTS
    return Marks(
        mode=word(record.mode),
        state=word(record.mode) if record.settled else names.SWITCHING,
        held=word(record.mode) if guests else names.SWITCHING,
        claim=record.claim if guests and record.mode.kind is model.ModeKind.AI else "",
        profile=None if record.step in _LEAVING else profile(record.mode),
    )


def patch(node: model.Node, record: rec.Record) -> cmd.Patch | None:
    """One patch that makes the Node say what the record says; None where it does already.

    Only what differs is in it. Taints are one atomic list under a merge patch: other people's are written back as they
    are, and `resourceVersion` refuses the patch if any has changed meanwhile.
    """
    wanted = marks(record)
    labels = _differing(
        node.labels,
        {
            names.LABEL_MODE: wanted.mode,
            names.LABEL_MODE_STATE: wanted.state,
            names.LABEL_CLAIM: wanted.claim or None,
        },
    )
    annotations: dict[str, str | None] = {}
    if records.read(node) != record:
        annotations[names.ANNOTATION_HANDOVER] = records.write(record)
    if wanted.profile is not None and node.annotations.get(names.ANNOTATION_PROFILE) != wanted.profile:
        annotations[names.ANNOTATION_PROFILE] = wanted.profile
    if names.ANNOTATION_RESTORE not in node.annotations:
        annotations[names.ANNOTATION_RESTORE] = _keepsake(node)
    held = model.Taint(key=names.TAINT_HELD, value=wanted.held, effect=_EFFECT)
    ours = [taint for taint in node.taints if taint.key == names.TAINT_HELD]
    taints = None if ours == [held] else [*_others(node), held]
    return _patch(node, labels=labels, annotations=annotations, taints=taints)


def release(node: model.Node) -> cmd.Patch | None:
    """One patch that gives a Node back as it was before Switchyard took it; None where nothing of ours is on it."""
    if not any(key in node.labels for key in _LABELS) and not any(key in node.annotations for key in _ANNOTATIONS):
        # Never claimed, or given back already: a taint of our name is then somebody's own fence.
        return None
    kept = _kept(node)
    labels = _differing(node.labels, {key: kept["labels"].get(key) for key in _LABELS})
    annotations = _differing(node.annotations, dict.fromkeys(_ANNOTATIONS))
    before = [model.Taint(**taint) for taint in kept["taints"]]
    ours = [taint for taint in node.taints if taint.key == names.TAINT_HELD]
    taints = None if ours == before else [*_others(node), *before]
    return _patch(node, labels=labels, annotations=annotations, taints=taints)


def _others(node: model.Node) -> list[model.Taint]:
    return [taint for taint in node.taints if taint.key != names.TAINT_HELD]


def _differing(present: Any, wanted: dict[str, str | None]) -> dict[str, str | None]:
    return {key: value for key, value in wanted.items() if present.get(key) != value}


def _keepsake(node: model.Node) -> str:
    """Only what stands under our own names: nothing else is ever changed."""
    if names.ANNOTATION_HANDOVER in node.annotations or names.LABEL_MODE_STATE in node.labels:
        # The Node is ours already and lost its keepsake: our own marks are not what it had before.
        return json.dumps({"labels": {}, "taints": []}, separators=(",", ":"))
    kept = {
        "labels": {key: node.labels[key] for key in _LABELS if key in node.labels},
        "taints": [dataclasses.asdict(taint) for taint in node.taints if taint.key == names.TAINT_HELD],
    }
    return json.dumps(kept, separators=(",", ":"), sort_keys=True)


def _kept(node: model.Node) -> dict[str, Any]:
    try:
        found = json.loads(node.annotations.get(names.ANNOTATION_RESTORE, "{}"))
        labels = {key: str(found["labels"][key]) for key in _LABELS if key in found.get("labels", {})}
        taints = [
            {field: str(taint[field]) for field in ("key", "value", "effect")} for taint in found.get("taints", [])
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {"labels": {}, "taints": []}
    return {"labels": labels, "taints": taints}


def _patch(
    node: model.Node,
    *,
    labels: dict[str, str | None],
    annotations: dict[str, str | None],
    taints: list[model.Taint] | None,
) -> cmd.Patch | None:
    metadata = {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value}
    body: dict[str, Any] = {"metadata": metadata} if metadata else {}
    if taints is not None:
        body["spec"] = {"taints": [dataclasses.asdict(taint) for taint in taints]}
    if not body:
        return None
    return cmd.Patch(
        ref=node_ref(node),
        body=body,
        resource_version=node.resource_version,
        uid=node.uid,
        field_manager=names.MANAGER_OPERATOR,
    )
