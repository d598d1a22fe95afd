"""Bodies from the API server, read into the farm's values. Pure; every function raises ValueError (pydantic's is one).

Our own kinds are read through their API models, strictly. Nodes, Pods and Jobs are other people's as well: what an
annotation holds wrongly is passed over, for a Node must not vanish from the farm over a typing error.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from switchyard.api import aijob, base, coin, gpupool, pricefeed, rig, site, text
from switchyard.cluster import names
from switchyard.fleet import hardware, model, moments, readback

Body = Mapping[str, Any]

# Hashes per second of each unit over those of GH/s, as two whole numbers so that nothing is rounded twice. Solutions
# are not hashes: they stay what they are.
_SCALES: Final = {
    coin.HashrateUnit.H: (1, 10**9),
    coin.HashrateUnit.KH: (1, 10**6),
    coin.HashrateUnit.MH: (1, 10**3),
    coin.HashrateUnit.GH: (1, 1),
    coin.HashrateUnit.SOL: (1, 1),
}


def key(namespace: str | None, name: str) -> str:
    """`namespace/name`, or `name` for a cluster-scoped object."""
    return f"{namespace}/{name}" if namespace else name


# --- our kinds -------------------------------------------------------------------------------------------------


def site_of(body: Body) -> model.Site:
    """A Site."""
    spec = site.SiteSpec.model_validate(body["spec"])
    return model.Site(
        **_identity(body),
        node_selector=_selector(spec.node_selector),
        jurisdiction=spec.jurisdiction or "",
        time_zone=spec.time_zone,
        tariff=_tariff(spec.tariff),
        pue=spec.pue,
        status=body.get("status") or {},
        circuits={each.name: model.Circuit(**each.model_dump()) for each in spec.circuits},
    )


def pool_of(body: Body) -> model.Pool:
    """A GPUPool."""
    spec = gpupool.GPUPoolSpec.model_validate(body["spec"])
    return model.Pool(
        **_identity(body),
        rig_selector=_selector(spec.rig_selector),
        gpu_models=spec.gpu_models,
        enforce=spec.mode is gpupool.PoolMode.ENFORCE,
        coins=spec.coins,
        workload_classes=frozenset(model.WorkloadClass(each) for each in spec.workload_classes),
        idle=spec.idle,
        off=spec.power_off,
        power={
            each.gpu: model.PowerProfile(ai_watts=each.ai_watts, idle_watts=each.idle_watts)
            for each in spec.power_profiles
        },
        off_watts=spec.off_watts,
        max_switching=spec.switching.max_concurrent,
        status=body.get("status") or {},
        shares=tuple(
            model.Share(kind=model.ModeKind(each.kind), floor=each.floor or 0, most=each.most) for each in spec.shares
        ),
    )


def coin_of(body: Body) -> model.Coin:
    """A Coin."""
    spec = coin.CoinSpec.model_validate(body["spec"])
    multiply, divide = _SCALES[spec.unit]
    return model.Coin(
        **_identity(body),
        algorithm=spec.algorithm,
        unit=str(spec.unit),
        revenue_feed=spec.revenue_feed,
        pool_fee=spec.pool_fee,
        dev_fee=spec.dev_fee,
        min_gpu_memory_mib=spec.min_gpu_memory or 0,
        startup_seconds=spec.startup,
        wallet_secret=spec.wallet.secret_name,
        wallet_key=spec.wallet.key,
        pool_urls=spec.pools,
        miner_image=spec.miner.image,
        miner_args=spec.miner.args,
        benchmarks={
            each.gpu: model.Benchmark(hashrate=each.hashrate * multiply / divide, watts=each.watts)
            for each in spec.benchmarks
        },
        status=body.get("status") or {},
    )


def feed_of(body: Body) -> model.Feed:
    """A PriceFeed: read to see whether it can be, kept as it was written for `market` to work with."""
    pricefeed.PriceFeedSpec.model_validate(body["spec"])
    return model.Feed(**_identity(body), spec=body["spec"], status=body.get("status") or {})


def rig_of(body: Body) -> tuple[model.Rig, tuple[model.Gpu, ...]]:
    """A Rig, its hardware as its status remembers it; and the GPUs its agent saw, to be laid over its Node's."""
    spec = rig.RigSpec.model_validate(body["spec"])
    status = body.get("status") or {}
    agent = rig.AgentStatus.model_validate(status.get("agent") or {})
    gpus = tuple(hardware.gpu(entry) for entry in agent.gpus)
    remembered = hardware.of_status(rig.HardwareStatus.model_validate(status.get("hardware") or {}))
    metadata = body["metadata"]
    parsed = model.Rig(
        **_identity(body),
        resource_version=metadata.get("resourceVersion", ""),
        node_name=spec.node_name,
        site=spec.site_ref.name,
        labels=metadata.get("labels") or {},
        pin=model.Pin(spec.pin),
        maintenance=spec.maintenance,
        base_watts=spec.base_watts,
        hardware=remembered,
        readback=readback.of_agent(agent),
        status=status,
        circuit=spec.circuit or "",
    )
    return parsed, gpus


def job_of(body: Body) -> model.Job:
    """An AIJob."""
    spec = aijob.AIJobSpec.model_validate(body["spec"])
    status = body.get("status") or {}
    metadata = body["metadata"]
    wanted = spec.requirements
    return model.Job(
        **_identity(body),
        namespace=metadata.get("namespace", ""),
        resource_version=metadata.get("resourceVersion", ""),
        created_at=moments.read(metadata.get("creationTimestamp")) or datetime.datetime.fromtimestamp(0, datetime.UTC),
        workload_class=model.WorkloadClass(spec.workload_class),
        replicas=spec.replicas,
        gpus_per_replica=spec.gpus_per_replica,
        bid_usd_per_gpu_hour=spec.bid.usd_per_gpu_hour,
        duration_seconds=spec.duration,
        deadline=moments.utc(spec.deadline),
        requirements=model.Requirements(
            gpu_memory_mib=wanted.gpu_memory or 0,
            compute_capability=wanted.compute_capability,
            host_link_gigabytes_per_second=wanted.host_link_gigabytes_per_second or 0.0,
            host_memory_mib=wanted.host_memory or 0,
            jurisdictions=frozenset(wanted.jurisdictions),
        ),
        preemptible=spec.preemption.policy is aijob.PreemptionPolicy.ALLOWED,
        notice_seconds=spec.preemption.notice,
        min_runtime_seconds=spec.preemption.min_runtime,
        suspend=spec.suspend,
        template=spec.template,
        ttl_seconds=spec.ttl_after_finished,
        state=_job_state(status),
        placement=tuple(
            model.Placement(rig=str(entry["rig"]), replicas=int(entry.get("replicas", 1)))
            for entry in status.get("placement") or ()
        ),
        admitted_at=moments.read(status.get("admittedAt")),
        started_at=moments.read(status.get("startedAt")),
        attempts=int(status.get("attempts") or 0),
        preemptions=int(status.get("preemptions") or 0),
        progress=float(status.get("progress") or 0.0),
        checkpoint_interval_seconds=_interval(status.get("checkpoint")),
        status=status,
    )


def _interval(checkpoint: Mapping[str, Any] | None) -> float | None:
    words = (checkpoint or {}).get("recommendedInterval")
    return text.parse_duration(words) if words else None


def _job_state(status: Mapping[str, Any]) -> model.JobState:
    held = _true(status.get("conditions") or ())
    if "Finished" in held:
        return model.JobState.FINISHED
    if "Admitted" not in held:
        return model.JobState.PENDING
    return model.JobState.PREEMPTING if "Preempted" in held else model.JobState.ADMITTED


def _tariff(tariff: site.Tariff) -> model.Tariff:
    given = [each for each in (tariff.fixed, tariff.time_of_use, tariff.feed) if each is not None]
    if len(given) != 1:
        raise ValueError("tariff must have exactly one of fixed, timeOfUse and feed")
    match given[0]:
        case site.FixedTariff() as fixed:
            return model.FixedTariff(usd_per_kwh=fixed.usd_per_kilowatt_hour)
        case site.FeedTariff() as feed:
            return model.FeedTariff(feed=feed.price_feed, adder_usd_per_kwh=feed.adder_usd_per_kilowatt_hour)
        case site.TimeOfUseTariff() as times:
            windows = tuple(
                model.TariffWindow(
                    days=tuple(day.weekday for day in window.days),
                    start=window.start,
                    end=window.end,
                    usd_per_kwh=window.usd_per_kilowatt_hour,
                )
                for window in times.windows
            )
            return model.TimeOfUseTariff(windows=windows, otherwise_usd_per_kwh=times.otherwise)


def _selector(selector: base.LabelSelector) -> model.Selector:
    return model.Selector(
        match_labels=selector.match_labels,
        expressions=tuple((each.key, str(each.operator), each.values) for each in selector.match_expressions),
    )


# --- other people's kinds --------------------------------------------------------------------------------------


def node_of(body: Body) -> model.Node:
    """A Node."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    labels = metadata.get("labels") or {}
    allocatable = str((status.get("allocatable") or {}).get(names.GPU_RESOURCE, ""))
    return model.Node(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        labels=labels,
        annotations=metadata.get("annotations") or {},
        taints=tuple(
            model.Taint(key=taint["key"], value=taint.get("value") or "", effect=taint["effect"])
            for taint in spec.get("taints") or ()
        ),
        unschedulable=bool(spec.get("unschedulable")),
        ready="Ready" in _true(status.get("conditions") or ()),
        gpus_allocatable=int(allocatable) if allocatable.isdecimal() else 0,
        hardware=hardware.of_node(labels=labels, capacity=status.get("capacity") or {}),
    )


def pod_of(body: Body) -> model.Pod | None:
    """A Pod that asks for GPUs or carries our role; None for any other."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    labels = metadata.get("labels") or {}
    gpus = _gpus(spec)
    role = labels.get(names.LABEL_ROLE, "")
    if not gpus and not role:
        return None
    status = body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    return model.Pod(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        node_name=spec.get("nodeName") or "",
        role=role,
        rig=labels.get(names.LABEL_RIG, ""),
        coin=labels.get(names.LABEL_COIN, ""),
        job=labels.get(names.LABEL_AIJOB, ""),
        gpus=gpus,
        phase=_phase(status.get("phase")),
        ready="Ready" in _true(status.get("conditions") or ()),
        deleting_since=_deleting_since(metadata),
        reason=_reason(status),
        notice_deadline=_notice(annotations.get(names.ANNOTATION_NOTICE)),
        checkpoint_at=moments.read_leniently(annotations.get(names.ANNOTATION_CHECKPOINT)),
        progress=_progress(annotations.get(names.ANNOTATION_PROGRESS)),
    )


def kube_job_of(body: Body) -> model.KubeJob:
    """A Job (batch/v1)."""
    metadata, status = body["metadata"], body.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or () if each.get("status") == "True"}
    failed = conditions.get("Failed") or {}
    return model.KubeJob(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        ready=int(status.get("ready") or 0),
        succeeded=int(status.get("succeeded") or 0),
        failed=int(status.get("failed") or 0),
        complete="Complete" in conditions,
        broken="Failed" in conditions,
        message=": ".join(part for part in (failed.get("reason", ""), failed.get("message", "")) if part),
    )


def _gpus(spec: Mapping[str, Any]) -> int:
    """GPUs the scheduler sets aside: the containers' sum, or the greediest init container, whichever is more."""
    together = sum(_wanted(container) for container in spec.get("containers") or ())
    return max([together, *(_wanted(container) for container in spec.get("initContainers") or ())])


def _wanted(container: Mapping[str, Any]) -> int:
    resources = container.get("resources") or {}
    for part in ("limits", "requests"):
        amount = str((resources.get(part) or {}).get(names.GPU_RESOURCE, ""))
        if amount.isdecimal():
            return int(amount)
    return 0


def _phase(value: Any) -> model.PodPhase:
    try:
        return model.PodPhase(value or "Pending")
    except ValueError:
        return model.PodPhase.UNKNOWN


def _reason(status: Mapping[str, Any]) -> str:
    """Why a Pod is where it is: its own word, else that of a container that waits or ended, else the scheduler's."""
    if status.get("reason"):
        return str(status["reason"])
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for kind in ("waiting", "terminated"):
        for each in statuses:
            reason = ((each.get("state") or {}).get(kind) or {}).get("reason")
            # "Completed" of an init container is how things should be.
            if reason and reason != "Completed":
                return str(reason)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason") or "")
    return ""


def _deleting_since(metadata: Mapping[str, Any]) -> datetime.datetime | None:
    # deletionTimestamp is when the grace period ends, not when somebody asked.
    ends = moments.read(metadata.get("deletionTimestamp"))
    if ends is None:
        return None
    return ends - datetime.timedelta(seconds=int(metadata.get("deletionGracePeriodSeconds") or 0))


def _notice(annotation: str | None) -> datetime.datetime | None:
    if not annotation:
        return None
    try:
        return moments.read_leniently(json.loads(annotation)["deadline"])
    except (ValueError, KeyError, TypeError):
        return None


def _progress(annotation: str | None) -> float | None:
    try:
        share = float(annotation or "")
    except ValueError:
        return None
    return share if 0.0 <= share <= 1.0 else None


# --- shared ----------------------------------------------------------------------------------------------------


def _identity(body: Body) -> dict[str, Any]:
    metadata = body["metadata"]
    return {
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "generation": int(metadata.get("generation") or 0),
    }


def _true(conditions: Iterable[Mapping[str, Any]]) -> set[str]:
    return {each["type"] for each in conditions if each.get("status") == "True"}
