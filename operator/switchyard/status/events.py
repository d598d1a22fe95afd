"""Events: what people are told when something happens, short and with the numbers."""

from __future__ import annotations

import datetime
from typing import Final

from switchyard.cluster import commands, names
from switchyard.fleet import model
from switchyard.handover import reasons
from switchyard.handover import record as records
from switchyard.planning import request
from switchyard.status import figures

_SWITCH: Final = "Switch"
_LONGEST: Final = 1000  # the API server refuses notes of more than 1024 bytes


def switch(
    rig: model.Rig,
    node: model.Node | None,
    *,
    before: records.Record | None,
    after: records.Record | None,
    now: datetime.datetime,
    decision: request.Decision | None = None,
) -> tuple[commands.Emit, ...]:
    """What to tell of one advance of a hand-over, on the Rig and on its Node; nothing for most.

    Args:
        rig: the rig.
        node: its Node.
        before: the record as it was, None before the first.
        after: the record as it is now, None where the Node was given back.
        now: farm time.
        decision: the plan's, for gain and cost of a switch that begins.
    """
    if after is None:
        if before is None:
            return ()
        words = f"no GPUPool selects it any more: the Node is as it was before, last in {before.mode}"
        return _on_both(rig, node, reason="Released", message=words)
    began = not after.settled and (before is None or before.settled)
    if began:
        way = f"{after.origin} -> {after.mode}" if after.origin != after.mode else f"{after.mode} again"
        words = f"{way}: {_why(after)}{_sides(after, decision)}"
        return _on_both(rig, node, reason="Switching", message=words)
    if before is None or before.settled:
        return ()
    turned = after.reason != before.reason and after.reason in reasons.WENT_BACK
    if turned or (after.settled and after.mode != before.mode):
        back = f"stays in {after.mode}" if after.settled else f"goes to {after.mode}"
        words = f"{before.origin} -> {before.mode} failed in {before.step}: {_why(after)}; {back}"
        return _on_both(rig, node, reason="SwitchFailed", message=words, warning=True)
    if after.settled:
        seconds = max(0.0, (now - before.started).total_seconds())
        words = f"{before.origin} -> {after.mode} done in {seconds:.0f} s"
        return _on_both(rig, node, reason="Switched", message=words)
    if after.reason != before.reason and after.reason == reasons.STUCK_TERMINATING:
        words = f"{after.origin} -> {after.mode} waits: {_why(after)}"
        return _on_both(rig, node, reason=after.reason, message=words, warning=True)
    return ()


def admitted(job: model.Job, admission: request.Admission) -> commands.Emit:
    """A gang was given its rigs."""
    where = figures.some([f"{entry.rig} x{entry.replicas}" for entry in admission.placement])
    return _on_job(
        job,
        reason="Admitted",
        action="Admit",
        message=f"Bid {figures.per_gpu_hour(job.bid_usd_per_gpu_hour)} beats the reserve of "
        f"{figures.per_gpu_hour(admission.reserve_usd_per_gpu_hour)}; placed on {where}",
    )


def refused(job: model.Job, refusal: request.JobRefusal) -> commands.Emit:
    """A job waits. To be told when the reason is new, not at every plan."""
    return _on_job(job, reason=refusal.reason, action="Admit", message=refusal.message, warning=True)


def preempted(job: model.Job, preemption: request.Preemption) -> commands.Emit:
    """A gang is told to stop."""
    return _on_job(
        job,
        reason="Preempting",
        action="Preempt",
        message=f"{preemption.reason}: {preemption.message}; it has {job.notice_seconds:.0f} s to save and waits again",
        warning=True,
    )


def finished(job: model.Job, *, succeeded: bool, message: str = "") -> commands.Emit:
    """A job is over."""
    reason = "Succeeded" if succeeded else "Failed"
    return _on_job(job, reason=reason, action="Finish", message=message or reason, warning=not succeeded)


def broken(job: model.Job, *, reason: str, message: str) -> commands.Emit:
    """A gang lost a part of itself and waits again."""
    return _on_job(job, reason=reason, action="Withdraw", message=f"{message or reason}; it waits again", warning=True)


def _why(record: records.Record) -> str:
    return record.message or record.reason


def _sides(record: records.Record, decision: request.Decision | None) -> str:
    """Gain and cost side by side."""
    if decision is None:
        return ""
    by_mode = {alternative.mode: alternative for alternative in decision.alternatives}
    target, origin = by_mode.get(record.mode), by_mode.get(record.origin)
    parts = []
    if target is not None and target.worth is not None and origin is not None and origin.worth is not None:
        gain = target.worth.net_usd_per_hour - origin.worth.net_usd_per_hour
        parts.append(f"gains {figures.per_hour(gain)}")
    if target is not None and target.cost is not None:
        cost = target.cost.usd if target.cost_usd is None else target.cost_usd
        parts.append(f"costs {figures.money(cost)} and {target.cost.seconds:.0f} s")
    return f" ({', '.join(parts)})" if parts else ""


def _on_both(
    rig: model.Rig, node: model.Node | None, *, reason: str, message: str, warning: bool = False
) -> tuple[commands.Emit, ...]:
    ref = commands.Ref(api_version=names.API_VERSION, kind="Rig", plural="rigs", name=rig.name)
    told = [_emit(ref, rig.uid, reason=reason, action=_SWITCH, message=message, warning=warning)]
    if node is not None:
        ref = commands.Ref(api_version="v1", kind="Node", plural="nodes", name=node.name)
        told.append(_emit(ref, node.uid, reason=reason, action=_SWITCH, message=message, warning=warning))
    return tuple(told)


def _on_job(job: model.Job, *, reason: str, action: str, message: str, warning: bool = False) -> commands.Emit:
    ref = commands.Ref(
        api_version=names.API_VERSION, kind="AIJob", plural="aijobs", name=job.name, namespace=job.namespace
    )
    return _emit(ref, job.uid, reason=reason, action=action, message=message, warning=warning)


def _emit(ref: commands.Ref, uid: str, *, reason: str, action: str, message: str, warning: bool) -> commands.Emit:
    short = message if len(message) <= _LONGEST else message[: _LONGEST - 3] + "..."
    return commands.Emit(ref=ref, uid=uid, reason=reason, message=short, action=action, warning=warning)
