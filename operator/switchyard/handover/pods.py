"""Manifests: the miner's Pod, and the headless Service and Indexed Job of a gang. Names are derived, never random."""

from __future__ import annotations

import copy
import datetime
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import settings as config

_NAME_LIMIT: Final = 63
_JOB_NAME_LIMIT: Final = 40
_LEAST_GRACE_SECONDS: Final = 30
_LOST_NODE_SECONDS: Final = 60
_NO_RETRY_EXIT_CODE: Final = 42
_MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "switchyard"}


def ref(pod: model.Pod) -> cmd.Ref:
    """A Pod, for commands."""
    return cmd.Ref(api_version="v1", kind="Pod", plural="pods", name=pod.name, namespace=pod.namespace)


def miner_name(rig: str, coin: str, started: datetime.datetime) -> str:
    """The miner Pod's name: the same for the same start, another than that of a Pod which may still be terminating."""
    stamp = started.astimezone(datetime.UTC).isoformat()
    digest = hashlib.sha256(f"{rig}\n{coin}\n{stamp}".encode()).hexdigest()[:8]
    readable = _plain(f"miner-{rig}-{coin}")[: _NAME_LIMIT - len(digest) - 1].rstrip("-")
    return f"{readable}-{digest}"


def miner(
    *, rig: model.Rig, node: model.Node, coin: model.Coin, started: datetime.datetime, settings: config.Settings
) -> cmd.Create:
    """The miner Pod of a rig: all GPUs of its Node, at whatever priority the farm gives to mining.

    It goes through the scheduler (by affinity to the Node's name, not by `nodeName`), so that GPUs are accounted for
    and a Pod that still holds some keeps it waiting. The wallet reaches it by reference to its Secret alone.
    """
    name = miner_name(rig.name, coin.name, started)
    container = {
        "name": "miner",
        "image": coin.miner_image,
        "args": list(coin.miner_args),
        # Kubernetes itself expands $(WALLET), $(POOL), $(POOLS), $(RIG) in the arguments.
        "env": [
            {"name": "WALLET", "valueFrom": {"secretKeyRef": {"name": coin.wallet_secret, "key": coin.wallet_key}}},
            {"name": "POOL", "value": coin.pool_urls[0] if coin.pool_urls else ""},
            {"name": "POOLS", "value": ",".join(coin.pool_urls)},
            {"name": "RIG", "value": rig.name},
        ],
        "resources": {"limits": {names.GPU_RESOURCE: str(node.gpus_allocatable)}},
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": settings.miner_grace_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _only_on(node.name)}},
        "tolerations": [_held(model.ModeKind.MINING)],
        "containers": [container],
    }
    if settings.miner_priority_class:
        spec["priorityClassName"] = settings.miner_priority_class
    labels = {
        **_MANAGED_BY,
        names.LABEL_ROLE: names.ROLE_MINER,
        names.LABEL_RIG: rig.name,
        names.LABEL_COIN: coin.name,
    }
    metadata = {
        "name": name,
        "namespace": settings.miner_namespace,
        "labels": labels,
        "ownerReferences": [_owner("Rig", rig.name, rig.uid)],
    }
    return cmd.Create(
        ref=cmd.Ref(api_version="v1", kind="Pod", plural="pods", name=name, namespace=settings.miner_namespace),
        body={"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
    )


def job_name(job: model.Job) -> str:
    """Name of the Service and the Job of an AIJob: readable, of limited length, and another for each life of a name."""
    readable = _plain(job.name)
    if not readable[:1].isalpha():
        readable = f"job-{readable}"
    return f"{readable[:_JOB_NAME_LIMIT].rstrip('-')}-{_plain(job.uid)[:8].rstrip('-')}"


def job_ref(job: model.Job) -> cmd.Ref:
    """The Indexed Job of an AIJob, for commands."""
    return cmd.Ref(api_version="batch/v1", kind="Job", plural="jobs", name=job_name(job), namespace=job.namespace)


def grace_seconds(job: model.Job) -> int:
    """What the job's Pods get between SIGTERM and SIGKILL: the template's word, else the notice, 30 s at the least."""
    spec = job.template.get("spec")
    given = spec.get("terminationGracePeriodSeconds") if isinstance(spec, Mapping) else None
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    return max(_LEAST_GRACE_SECONDS, math.ceil(job.notice_seconds))


def service(job: model.Job) -> cmd.Create:
    """The headless Service under which the replicas of a gang find each other, ready or not."""
    name = job_name(job)
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": job.namespace,
            "labels": _job_labels(job),
            "ownerReferences": [_owner("AIJob", job.name, job.uid)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": name},
        },
    }
    return cmd.Create(
        ref=cmd.Ref(api_version="v1", kind="Service", plural="services", name=name, namespace=job.namespace),
        body=body,
    )


def job(job: model.Job, settings: config.Settings) -> cmd.Create:
    """The Indexed Job of a gang. Only Nodes with the job's claim let its Pods in, and evictions cost no retries.

    Replicas per rig follow the placement by themselves: nobody else may use the claimed Nodes, and each replica asks
    for its GPUs.
    """
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": job.replicas,
        "parallelism": job.replicas,
        # One replica that fails pulls the others down with it: each of them counts.
        "backoffLimit": settings.job_retries * job.replicas,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [_NO_RETRY_EXIT_CODE]}},
            ]
        },
        "template": _template(job),
    }
    if job.ttl_seconds is not None:
        spec["ttlSecondsAfterFinished"] = math.ceil(job.ttl_seconds)
    metadata = {
        "name": job_name(job),
        "namespace": job.namespace,
        "labels": _job_labels(job),
        "ownerReferences": [_owner("AIJob", job.name, job.uid)],
    }
    return cmd.Create(
        ref=job_ref(job), body={"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    )


def _template(job: model.Job) -> dict[str, Any]:
    template: dict[str, Any] = _mutable(job.template)
    metadata = _section(template, "metadata")
    metadata["labels"] = {**_section(metadata, "labels"), **_job_labels(job)}
    spec = _section(template, "spec")
    spec["restartPolicy"] = "Never"
    spec["subdomain"] = job_name(job)
    spec["nodeSelector"] = {**_section(spec, "nodeSelector"), names.LABEL_CLAIM: job.uid}
    spec["tolerations"] = [
        *_items(spec, "tolerations"),
        _held(model.ModeKind.AI),
        _lost_node("node.kubernetes.io/not-ready"),
        _lost_node("node.kubernetes.io/unreachable"),
    ]
    spec["terminationGracePeriodSeconds"] = grace_seconds(job)
    containers = [container for container in _items(spec, "containers") if isinstance(container, dict)]
    for container in containers:
        _inject(container, job)
    if containers:
        resources = _section(containers[0], "resources")
        for kind in ("limits", "requests"):
            # A request of GPUs must equal the limit: leave the limit alone to say it.
            _section(resources, kind).pop(names.GPU_RESOURCE, None)
        resources["limits"][names.GPU_RESOURCE] = str(job.gpus_per_replica)
    spec["containers"] = containers
    return template


def _inject(container: dict[str, Any], job: model.Job) -> None:
    ours = {
        "SWITCHYARD_JOB_ID": job.uid,
        "SWITCHYARD_ATTEMPT": str(job.attempts),
        "SWITCHYARD_GRACE_SECONDS": str(grace_seconds(job)),
    }
    if job.checkpoint_interval_seconds is not None:
        ours["SWITCHYARD_CHECKPOINT_INTERVAL"] = str(round(job.checkpoint_interval_seconds))
    theirs = [
        entry for entry in _items(container, "env") if not (isinstance(entry, dict) and entry.get("name") in ours)
    ]
    container["env"] = [*({"name": name, "value": value} for name, value in ours.items()), *theirs]


def _job_labels(job: model.Job) -> dict[str, str]:
    return {**_MANAGED_BY, names.LABEL_ROLE: names.ROLE_WORK, names.LABEL_AIJOB: job.name}


def _owner(kind: str, name: str, uid: str) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _only_on(node: str) -> dict[str, Any]:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"nodeSelectorTerms": [{"matchFields": [field]}]}


def _held(kind: model.ModeKind) -> dict[str, Any]:
    return {"key": names.TAINT_HELD, "operator": "Equal", "value": kind.value.lower(), "effect": "NoSchedule"}


def _lost_node(key: str) -> dict[str, Any]:
    return {
        "key": key,
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": _LOST_NODE_SECONDS,
    }


def _mutable(value: Any) -> Any:
    """A deep copy of JSON whose mappings and lists may be of frozen kinds."""
    if isinstance(value, Mapping):
        return {key: _mutable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mutable(item) for item in value]
    return copy.deepcopy(value)


def _section(body: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key, made where it is missing or of another shape."""
    found = body.get(key)
    if isinstance(found, dict):
        return found
    made: dict[str, Any] = {}
    body[key] = made
    return made


def _items(body: dict[str, Any], key: str) -> list[Any]:
    found = body.get(key)
    return found if isinstance(found, list) else []


def _plain(text: str) -> str:
    """Letters, digits and dashes of a name, as labels of DNS want them."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
