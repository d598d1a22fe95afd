"""A GPU Pod as an onlooker sees it: who owns it, where it is, whether it runs. Read straight from the API's object."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from switchyard.cluster import names

INDEX = "batch.kubernetes.io/job-completion-index"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One Pod that asks for GPUs.

    Attributes:
        owner: whose work it is: `mining/<coin>`, `work/<namespace>/<job>`, or `other/<namespace>/<pod>`.
        coin, job: of a miner or a work Pod (`namespace/name`), else "".
        node: "" while it is not bound.
        claim: UID of the AIJob whose claim its Node must carry, else "".
        holds: bound and not over: it may use its GPUs, also while it terminates.
        running: it does.
        deleting: its deletion has been asked for.
        containers: names and images, for whoever writes its end.
    """

    namespace: str
    name: str
    uid: str
    owner: str
    coin: str
    job: str
    node: str
    claim: str
    gpus: int
    holds: bool
    running: bool
    deleting: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: tuple[tuple[str, str], ...]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def notice(self) -> Mapping[str, Any] | None:
        """The notice of a preemption, if one was given."""
        try:
            found = json.loads(self.annotations[names.ANNOTATION_NOTICE])
        except (KeyError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def pod(body: Mapping[str, Any]) -> Pod | None:
    """Read a Pod; None for one that asks for no GPU."""
    metadata, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    containers = spec.get("containers", ())
    gpus = sum(int(each.get("resources", {}).get("limits", {}).get(names.GPU_RESOURCE, 0)) for each in containers)
    if not gpus:
        return None
    labels = metadata.get("labels", {})
    namespace, name = metadata["namespace"], metadata["name"]
    role = labels.get(names.LABEL_ROLE, "")
    coin = labels.get(names.LABEL_COIN, "") if role == names.ROLE_MINER else ""
    job = f"{namespace}/{labels.get(names.LABEL_AIJOB, '')}" if role == names.ROLE_WORK else ""
    phase = status.get("phase", "Pending")
    node = spec.get("nodeName", "")
    return Pod(
        namespace=namespace,
        name=name,
        uid=metadata.get("uid", ""),
        owner=f"mining/{coin}" if coin else f"work/{job}" if job else f"other/{namespace}/{name}",
        coin=coin,
        job=job,
        node=node,
        claim=spec.get("nodeSelector", {}).get(names.LABEL_CLAIM, ""),
        gpus=gpus,
        holds=bool(node) and phase not in ("Succeeded", "Failed"),
        running=bool(node) and phase == "Running",
        deleting="deletionTimestamp" in metadata,
        labels=labels,
        annotations=metadata.get("annotations", {}),
        containers=tuple((each["name"], each.get("image", "")) for each in containers),
    )
