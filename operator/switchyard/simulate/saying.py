"""What simulated agents and programs write into the cluster."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from switchyard.cluster import commands, names
from switchyard.simulate import sight


def text(moment: datetime.datetime) -> str:
    """A moment as the API writes it."""
    return moment.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")


def report(rig: str, agent: Mapping[str, Any]) -> commands.Patch:
    """What an agent has seen, into the status of its Rig."""
    return commands.Patch(
        ref=commands.Ref(api_version=names.API_VERSION, kind="Rig", plural="rigs", name=rig),
        body={"status": {"agent": agent}},
        type=commands.PatchType.APPLY,
        subresource="status",
        field_manager=names.MANAGER_AGENT,
    )


def patch_pod(pod: sight.Pod, body: Mapping[str, Any], *, subresource: str = "") -> commands.Patch:
    """A change of a Pod."""
    return commands.Patch(
        ref=commands.Ref(api_version="v1", kind="Pod", plural="pods", name=pod.name, namespace=pod.namespace),
        body=body,
        subresource=subresource,
        uid=pod.uid,
        field_manager=names.MANAGER_AGENT,
    )


def succeeded(pod: sight.Pod) -> dict[str, Any]:
    """The status of a Pod whose program has ended well, as a kubelet writes it."""
    ended = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    end = {"exitCode": 0, "reason": "Completed", "startedAt": ended, "finishedAt": ended}
    return {
        "phase": "Succeeded",
        "conditions": [
            {"type": kind, "status": "False", "reason": "PodCompleted", "lastTransitionTime": ended}
            for kind in ("ContainersReady", "Ready")
        ],
        "containerStatuses": [
            {
                "name": name,
                "image": image,
                "imageID": "",
                "ready": False,
                "started": False,
                "restartCount": 0,
                "state": {"terminated": end},
            }
            for name, image in pod.containers
        ],
    }
