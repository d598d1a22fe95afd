"""Kubernetes Events: a repeated one is counted on the one that is there."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any, Final

from switchyard.cluster import commands, names
from switchyard.kube import client as clients
from switchyard.kube import errors

_CONTROLLER: Final = f"{names.GROUP}/operator"
# What the API server takes; beyond it refuses the Event.
_LONGEST_NOTE_BYTES: Final = 1024
_LONGEST_NAME: Final = 253


async def emit(client: clients.Client, command: commands.Emit, *, now: datetime.datetime, field_manager: str) -> None:
    """Create the Event, or count it once more. Raises ApiError, UnreachableError."""
    ref = reference(command)
    try:
        await client.create(ref, event(command, now=now), field_manager=field_manager)
        return
    except errors.ApiError as problem:
        if problem.reason != "AlreadyExists":
            raise
    found = await client.get(ref)
    count = int((found.get("series") or {}).get("count") or 1)
    series = {"count": count + 1, "lastObservedTime": micro_time(now)}
    await client.patch(ref, {"series": series}, type=commands.PatchType.MERGE, field_manager=field_manager)


def reference(command: commands.Emit) -> commands.Ref:
    """The Event's own name: the same for the same thing said of the same object. Cluster-scoped: in `default`."""
    digest = hashlib.sha256("\0".join((command.uid, command.reason, command.message)).encode()).hexdigest()[:16]
    return commands.Ref(
        api_version="events.k8s.io/v1",
        kind="Event",
        plural="events",
        name=f"{command.ref.name[: _LONGEST_NAME - 17].rstrip('.-')}.{digest}",
        namespace=command.ref.namespace or "default",
    )


def event(command: commands.Emit, *, now: datetime.datetime) -> dict[str, Any]:
    """The Event's body."""
    regarding = {
        "apiVersion": command.ref.api_version,
        "kind": command.ref.kind,
        "name": command.ref.name,
        "uid": command.uid,
    }
    if command.ref.namespace:
        regarding["namespace"] = command.ref.namespace
    return {
        "eventTime": micro_time(now),
        "type": "Warning" if command.warning else "Normal",
        "reason": command.reason,
        "action": command.action,
        "note": _shortened(command.message),
        "regarding": regarding,
        "reportingController": _CONTROLLER,
        "reportingInstance": _CONTROLLER,
    }


def micro_time(moment: datetime.datetime) -> str:
    """A moment as the API writes micro times: UTC, exactly six digits after the point."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shortened(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= _LONGEST_NOTE_BYTES:
        return text
    return encoded[: _LONGEST_NOTE_BYTES - 3].decode(errors="ignore") + "…"
