"""Preconditions put into a patch, and the API server's refusals read as outcomes. Pure."""

from __future__ import annotations

from typing import Any

from switchyard.cluster import commands
from switchyard.kube import errors


def patch_body(command: commands.Patch) -> dict[str, Any]:
    """The body to send: what it names, and its preconditions, which the server checks in the same transaction."""
    ref = command.ref
    metadata = dict(command.body.get("metadata") or {})
    if command.type is commands.PatchType.APPLY:
        metadata["name"] = ref.name
        if ref.namespace:
            metadata["namespace"] = ref.namespace
    if command.resource_version is not None:
        metadata["resourceVersion"] = command.resource_version
    if command.uid is not None:
        metadata["uid"] = command.uid
    body = {**command.body, "apiVersion": ref.api_version, "kind": ref.kind}
    if metadata:
        body["metadata"] = metadata
    return body


def read(command: commands.Command, problem: errors.KubeError) -> commands.Outcome | None:
    """What a refusal means for this command; None where trying again may help."""
    if not isinstance(problem, errors.ApiError):
        return None
    match problem.status:
        case 404:
            return commands.Outcome.GONE
        case 409:
            return _conflict(command, problem)
        case 422 if problem.fields == {"metadata.uid"}:
            # Deleted and created anew under the same name: the uid that the patch carries is not the object's.
            return commands.Outcome.CONFLICT
        case 429 if isinstance(command, commands.Evict) and "DisruptionBudget" in problem.causes:
            return commands.Outcome.REFUSED
        case 403 if "exceeded quota" in problem.message or "denied the request" in problem.message:
            return commands.Outcome.REFUSED
        case 500 if isinstance(command, commands.Evict) and "PodDisruptionBudget" in problem.message:
            # Two budgets over one Pod: the server does not know how to obey both, today or tomorrow.
            return commands.Outcome.REFUSED
        case 401 | 408 | 429:
            return None
        case status if status >= 500:
            return None
        case _:
            return commands.Outcome.INVALID


def _conflict(command: commands.Command, problem: errors.ApiError) -> commands.Outcome:
    if isinstance(command, commands.Evict) and command.resource_version is not None:
        return commands.Outcome.CONFLICT
    if isinstance(command, commands.Evict | commands.Delete):
        # Their only precondition is the uid: the object they mean is no more.
        return commands.Outcome.GONE
    return commands.Outcome.CONFLICT
