"""The Service and the Job behind an AIJob, and what is to be said of its gang. Rigs are `machine`'s business.

A gang's Job is created only when every rig of the placement lets its Pods in. Once the rigs leave, the claim is off
their Nodes, so that replacements of evicted Pods find no place; the Job is deleted when none of its Pods is left on a
rig (its deletion asks no disruption budget). Each admission has a Job of its own: one that was
suspended and resumed would hold its Pods back longer each time, because its controller counts every evicted Pod as a
failure to back off from, whatever the Pod failure policy says (seen: 8, 18, 39, 79, 158 s).
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping, Sequence

from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import observe, pods
from switchyard.handover import record as rec
from switchyard.handover import settings as config


class VerdictKind(enum.Enum):
    """How a gang stands."""

    WAITING = "Waiting"  # its rigs are still being handed over
    STARTING = "Starting"  # every rig lets its Pods in; not all of them run yet
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    BROKEN = "Broken"  # a rig fell away: the whole gang has to be withdrawn and to wait again
    STOPPING = "Stopping"  # withdrawn or preempted; Pods or rigs of it are not gone yet
    STOPPED = "Stopped"  # withdrawn or preempted, and nothing of it holds anything any more


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`reason` is CamelCase, `message` for people; both "" where the kind says it all."""

    kind: VerdictKind
    reason: str = ""
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GangAdvance:
    """What a look at a gang came to. `failed_pods` are those that its Job counts as failed so far."""

    commands: tuple[cmd.Command, ...]
    verdict: Verdict
    failed_pods: int = 0


def advance(
    farm: model.Farm,
    job: model.Job,
    *,
    records: Mapping[str, rec.Record | None],
    now: datetime.datetime,
    settings: config.Settings,
) -> GangAdvance:
    """One look at a gang. `records` are those of the placement's rigs, by rig; None or absent: no record to be read."""
    kube_job = farm.kube_jobs.get(f"{job.namespace}/{pods.job_name(job)}")
    found = _look(farm, job, kube_job=kube_job, records=records, now=now, settings=settings)
    return dataclasses.replace(found, failed_pods=kube_job.failed if kube_job is not None else 0)


def _look(
    farm: model.Farm,
    job: model.Job,
    *,
    kube_job: model.KubeJob | None,
    records: Mapping[str, rec.Record | None],
    now: datetime.datetime,
    settings: config.Settings,
) -> GangAdvance:
    if kube_job is not None and kube_job.complete:
        return _said(VerdictKind.SUCCEEDED, "Completed", kube_job.message)
    if kube_job is not None and kube_job.broken:
        return _said(VerdictKind.FAILED, "JobFailed", kube_job.message or "the Job gave up")
    if job.state is not model.JobState.ADMITTED or not job.placement:
        return _stopping(farm, job, kube_job=kube_job, records=records)
    return _running(farm, job, kube_job=kube_job, records=records, now=now, settings=settings)


def _running(
    farm: model.Farm,
    job: model.Job,
    *,
    kube_job: model.KubeJob | None,
    records: Mapping[str, rec.Record | None],
    now: datetime.datetime,
    settings: config.Settings,
) -> GangAdvance:
    late = job.admitted_at is not None and (now - job.admitted_at).total_seconds() > settings.claim_seconds
    found: list[rec.Record] = []
    for placement in job.placement:
        lost = _lost(farm, job, placement, records.get(placement.rig), late=late)
        if lost is not None:
            return GangAdvance(commands=(), verdict=lost)
        record = records.get(placement.rig)
        if record is not None and record.mode == job.mode:
            found.append(record)
    if len(found) < len(job.placement) or not all(_open(record) for record in found):
        return _said(VerdictKind.WAITING)
    if kube_job is None:
        return GangAdvance(
            commands=(pods.service(job), pods.job(job, settings)), verdict=Verdict(kind=VerdictKind.STARTING)
        )
    return _said(VerdictKind.RUNNING if all(record.settled for record in found) else VerdictKind.STARTING)


def _stopping(
    farm: model.Farm,
    job: model.Job,
    *,
    kube_job: model.KubeJob | None,
    records: Mapping[str, rec.Record | None],
) -> GangAdvance:
    rigs = [placement.rig for placement in job.placement]
    known = [record for rig in rigs if (record := records.get(rig)) is not None]
    left = [pod for rig in rigs for pod in observe.of_job(farm, job, rig) if not observe.finished(pod)]
    # Not by the records: one that became unreadable says nothing, and its Node's claim still lets Pods in.
    welcome = any(_claimed(farm, job, rig) for rig in rigs)
    if left:
        return _said(VerdictKind.STOPPING, "PodsLeaving", _count(left))
    if welcome or any(_concerned(record, job) for record in known):
        return _said(VerdictKind.STOPPING, "RigsLeaving")
    if kube_job is not None:
        # Last: a Pod that came to a rig at the last moment is the rig's to stop, with notice, and not the Job's.
        return GangAdvance(
            commands=(cmd.Delete(ref=pods.job_ref(job), uid=kube_job.uid),),
            verdict=Verdict(kind=VerdictKind.STOPPING, reason="JobLeaving"),
        )
    return _said(VerdictKind.STOPPED)


def _lost(
    farm: model.Farm, job: model.Job, placement: model.Placement, record: rec.Record | None, *, late: bool
) -> Verdict | None:
    """The verdict BROKEN where a rig of the placement has fallen away."""
    rig = farm.rigs.get(placement.rig)
    node = farm.nodes.get(rig.node_name) if rig is not None else None
    if node is None:
        return _broken("NodeGone", f"rig {placement.rig} has no Node any more")
    if record is None or record.mode != job.mode:
        if record is not None and record.origin == job.mode and _since_admission(record, job):
            return _broken(record.reason, f"rig {placement.rig} went back: {record.message or record.reason}")
        if late:
            return _broken("RigNotClaimed", f"rig {placement.rig} was not handed over in time")
        return None
    # A claim that is not the job's own (a record made anew beside an overwritten label) keeps nobody out who is in, but
    # a Pod that is lost finds no way back: only then is it worth the whole gang's notice, and a new claim.
    closed = not node.ready or record.claim != job.uid
    if record.settled and closed:
        here = observe.of_job(farm, job, placement.rig)
        done = sum(1 for pod in here if pod.phase is model.PodPhase.SUCCEEDED)
        alive = sum(1 for pod in here if pod.deleting_since is None and not observe.finished(pod))
        if done + alive < placement.replicas:
            if node.ready:
                return _broken("ClaimLost", f"rig {placement.rig} does not carry the job's claim and has lost its Pods")
            return _broken("NodeLost", f"the Node of rig {placement.rig} is not ready and has lost its Pods")
    return None


def _since_admission(record: rec.Record, job: model.Job) -> bool:
    # An origin from before the admission tells of an earlier life of the job on that rig.
    return job.admitted_at is None or record.since >= job.admitted_at


def _open(record: rec.Record) -> bool:
    """Whether the Node lets the Pods of its mode in."""
    return record.step in (rec.Step.STARTING, rec.Step.SETTLED)


def _claimed(farm: model.Farm, job: model.Job, rig: str) -> bool:
    known = farm.rigs.get(rig)
    node = farm.nodes.get(known.node_name) if known is not None else None
    return node is not None and node.labels.get(names.LABEL_CLAIM) == job.uid


def _concerned(record: rec.Record, job: model.Job) -> bool:
    """Whether a rig is still on its way into the job, works for it, or is leaving it."""
    leaving = record.origin == job.mode and record.step in (rec.Step.NOTIFYING, rec.Step.STOPPING)
    return record.mode == job.mode or leaving


def _broken(reason: str, message: str) -> Verdict:
    return Verdict(kind=VerdictKind.BROKEN, reason=reason, message=message)


def _said(kind: VerdictKind, reason: str = "", message: str = "") -> GangAdvance:
    return GangAdvance(commands=(), verdict=Verdict(kind=kind, reason=reason, message=message))


def _count(left: Sequence[model.Pod]) -> str:
    return f"{len(left)} Pods are not gone yet"
