"""An AIJob's status. Each function takes the status as it stands on from one event, and returns it whole.

An event that finds the job elsewhere (it is over, or has no rigs to lose) changes nothing: told twice is told once.

What the job may do next is read back from these conditions: it waits unless Admitted is True; it is being stopped while
Admitted and Preempted are both True; it is over when Finished is True.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, Final

from switchyard.api import text
from switchyard.fleet import model
from switchyard.planning import request
from switchyard.status import conditions, figures

KNOWN: Final = ("Quoted", "Admitted", "Running", "Preempted", "Finished")

_WAITING: Final = "Waiting"


def admitted(
    job: model.Job, admission: request.Admission, now: datetime.datetime, *, checkpoint_interval_seconds: float
) -> dict[str, Any]:
    """The job has its rigs. To be written with the job's resourceVersion as precondition."""
    reserve = admission.reserve_usd_per_gpu_hour
    return _status(
        job,
        [
            _quoted(job, reserve),
            conditions.true("Admitted", "Admitted", admission.message),
            conditions.false("Running", "HandingOver", "Its rigs are being handed over."),
            conditions.false("Preempted", "Admitted", "It has its rigs."),
            _not_finished(),
        ],
        now=now,
        drop=("startedAt", "finishedAt", "jobName"),
        placement=[{"rig": entry.rig, "replicas": entry.replicas} for entry in admission.placement],
        reservePriceUsdPerGpuHour=figures.usd(reserve),
        claim=job.uid,
        attempts=job.attempts + 1,
        admittedAt=conditions.moment(now),
        checkpoint={"recommendedInterval": _interval(checkpoint_interval_seconds)},
    )


def refused(job: model.Job, refusal: request.JobRefusal, now: datetime.datetime) -> dict[str, Any]:
    """The job waits, and this is what for."""
    if conditions.holds(job.status, "Finished"):
        return _status(job, [], now=now)
    reserve = refusal.reserve_usd_per_gpu_hour
    if reserve is not None:
        quoted = _quoted(job, reserve)
    elif refusal.reason in ("PriceUntrusted", "Suspended"):
        quoted = conditions.unknown("Quoted", refusal.reason, refusal.message)
    else:
        quoted = conditions.false("Quoted", refusal.reason, refusal.message)
    fields = {} if reserve is None else {"reservePriceUsdPerGpuHour": figures.usd(reserve)}
    return _status(
        job,
        [
            quoted,
            conditions.false("Admitted", refusal.reason, refusal.message),
            conditions.false("Running", _WAITING, "It waits to be admitted."),
            *_never_preempted(job),
            _not_finished(),
        ],
        now=now,
        drop=() if fields else ("reservePriceUsdPerGpuHour",),
        **fields,
    )


def preempting(job: model.Job, preemption: request.Preemption, now: datetime.datetime) -> dict[str, Any]:
    """The job is told to save and stop. It keeps its rigs until its Pods are gone."""
    if not _admitted(job):
        return _status(job, [], now=now)
    return _status(job, [conditions.true("Preempted", preemption.reason, preemption.message)], now=now)


def running(
    job: model.Job,
    pods: Iterable[model.Pod],
    now: datetime.datetime,
    *,
    started: bool,
    reason: str = "",
    message: str = "",
    job_name: str = "",
) -> dict[str, Any]:
    """The job has its rigs, and its Pods run (`started`) or are on their way."""
    if not _admitted(job):
        return _status(job, [], now=now)
    if started:
        finding = conditions.true("Running", reason or "AllPodsRun", message or "Every replica runs.")
    else:
        finding = conditions.false("Running", reason or "Starting", message or "Its Pods are starting.")
    fields = _seen(pods)
    if started and "startedAt" not in job.status:
        fields["startedAt"] = conditions.moment(now)
    if job_name:
        fields["jobName"] = job_name
    return _status(job, [finding], now=now, **fields)


def stopping(job: model.Job, pods: Iterable[model.Pod], now: datetime.datetime) -> dict[str, Any]:
    """The job is on its way out. What its Pods save as they leave is the last that they can tell."""
    if not _admitted(job):
        return _status(job, [], now=now)
    return _status(job, [], now=now, **_seen(pods))


def stopped(
    job: model.Job,
    pods: Iterable[model.Pod],
    now: datetime.datetime,
    *,
    reason: str = "",
    message: str = "",
    broken: bool = False,
) -> dict[str, Any]:
    """The job's Pods are gone: it gives its rigs back and waits again.

    Args:
        job: the job, with its status as it stands.
        pods: its Pods, as far as they can still be seen.
        now: farm time.
        reason: why; by default what it was preempted for.
        message: the same for people.
        broken: it was stopped because it lost a part of itself: no preemption, nobody outbid it.
    """
    if not _admitted(job):
        return _status(job, [], now=now)
    preempted = conditions.holds(job.status, "Preempted")
    why = conditions.by_type(job.status).get("Preempted", {}) if preempted else {}
    text = message or why.get("message", "")
    admitted_reason = "Preempted" if preempted and not broken else reason or why.get("reason") or "Stopped"
    findings = [
        conditions.false("Admitted", admitted_reason, text),
        conditions.false("Running", _WAITING, "It waits to be admitted again."),
    ]
    counts: dict[str, Any] = {}
    if preempted and not broken:
        counts["preemptions"] = job.preemptions + 1
    return _status(
        job,
        findings,
        now=now,
        drop=("placement", "claim", "admittedAt", "startedAt", "jobName"),
        **_seen(pods),
        **counts,
    )


def finished(
    job: model.Job,
    pods: Iterable[model.Pod],
    now: datetime.datetime,
    *,
    succeeded: bool,
    reason: str = "",
    message: str = "",
) -> dict[str, Any]:
    """The job is over, for good. Its rigs are free; when it ran stays."""
    if conditions.holds(job.status, "Finished"):
        return _status(job, [], now=now)
    reason = reason or ("Succeeded" if succeeded else "Failed")
    words = message or ("It has done its work." if succeeded else "It failed.")
    fields = _seen(pods)
    if succeeded:
        fields["progress"] = "1"
    return _status(
        job,
        [
            conditions.false("Admitted", reason, "It needs its rigs no more."),
            conditions.false("Running", reason, "It is over."),
            conditions.true("Finished", reason, words),
        ],
        now=now,
        drop=("placement", "claim"),
        finishedAt=conditions.moment(now),
        **fields,
    )


def _admitted(job: model.Job) -> bool:
    return conditions.holds(job.status, "Admitted") and not conditions.holds(job.status, "Finished")


def _status(
    job: model.Job,
    findings: list[conditions.Finding],
    *,
    now: datetime.datetime,
    drop: Iterable[str] = (),
    **fields: Any,
) -> dict[str, Any]:
    old = job.status
    gone = set(drop)
    kept = {key: value for key, value in old.items() if key not in gone}
    return {
        "attempts": job.attempts,
        "preemptions": job.preemptions,
        **kept,
        **fields,
        "observedGeneration": job.generation,
        "conditions": conditions.merge(old, findings, known=KNOWN, generation=job.generation, now=now),
    }


def _quoted(job: model.Job, reserve: float) -> conditions.Finding:
    bid, least = figures.per_gpu_hour(job.bid_usd_per_gpu_hour), figures.per_gpu_hour(reserve)
    return conditions.true("Quoted", "Quoted", f"Bids {bid}; rigs are to be had from {least}.")


def _not_finished() -> conditions.Finding:
    return conditions.false("Finished", "NotFinished", "Its work is not done.")


def _interval(seconds: float) -> str:
    """To the minute where it is many: nothing about it is known to the second."""
    return text.format_duration(max(1.0, seconds if seconds < 600 else 60 * round(seconds / 60)))


def _never_preempted(job: model.Job) -> list[conditions.Finding]:
    """One that was keeps the reason, to be read while it waits."""
    known = "Preempted" in conditions.by_type(job.status)
    return [] if known else [conditions.false("Preempted", "NeverAdmitted", "It has had no rigs yet.")]


def _seen(pods: Iterable[model.Pod]) -> dict[str, Any]:
    """What the Pods tell of themselves. A gang is as far as its slowest, and as safe as its oldest checkpoint."""
    pods = list(pods)
    fields: dict[str, Any] = {}
    progress = [pod.progress for pod in pods if pod.progress is not None]
    if progress:
        fields["progress"] = figures.share(min(progress))
    saved = [pod.checkpoint_at for pod in pods if pod.checkpoint_at is not None]
    if saved:
        fields["lastCheckpoint"] = conditions.moment(min(saved))
    return fields
