"""The Pods on a rig: which belong there, who is asked to leave, and what still keeps the GPUs from being free."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterable

from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import lock, observe, pods, reasons, turns
from switchyard.handover import record as rec


def unfinished(turn: turns.Turn) -> list[model.Pod]:
    """Every Pod of ours that has, or may yet take, GPUs of this rig."""
    return [pod for pod in (*turn.seen.miners, *turn.seen.work) if not observe.finished(pod)]


def at_work(pod: model.Pod) -> bool:
    """Whether there may be something to save: it has begun, and nobody has ended it yet."""
    begun = pod.phase in (model.PodPhase.RUNNING, model.PodPhase.UNKNOWN)
    return begun and pod.deleting_since is None


def has_started(pod: model.Pod) -> bool:
    """Whether it runs, or has run to its end: what a start waits for."""
    running = pod.phase is model.PodPhase.RUNNING and pod.deleting_since is None
    return running or pod.phase is model.PodPhase.SUCCEEDED


def acknowledged(pod: model.Pod, since: datetime.datetime) -> bool:
    """Whether it has saved since that moment."""
    return pod.checkpoint_at is not None and pod.checkpoint_at > since


def unaware(turn: turns.Turn) -> list[model.Pod]:
    """Work on the Node that has no notice, and has not saved since the switch began either."""
    return [
        pod
        for pod in turn.seen.work
        if at_work(pod) and pod.notice_deadline is None and not acknowledged(pod, turn.record.started)
    ]


def keeper_of(turn: turns.Turn) -> model.Pod | None:
    """The one miner that belongs here, among those of the right coin that are to stay."""
    record = turn.record
    name = pods.miner_name(turn.seen.rig.name, record.mode.name, record.started)
    right = [
        pod
        for pod in turn.seen.miners
        if pod.coin == record.mode.name and pod.deleting_since is None and not observe.finished(pod)
    ]
    return min(right, key=lambda pod: (pod.name != name, not pod.node_name, pod.name), default=None)


def tidy(turn: turns.Turn, *, own: frozenset[str]) -> turns.Result:
    """Everything on the Node that is not the holder's own is told to go, and notices of a past switch are taken back.

    `own` are the UIDs of the holder's Pods. A stray that works is given notice like any other.
    """
    record, now = turn.record, turn.now
    asked: list[cmd.Command] = []
    leave, wakes = [], []
    for pod in unfinished(turn):
        if pod.uid in own:
            if pod.notice_deadline is not None:
                asked.append(_annotate(pod, None))
        elif not at_work(pod) or pod.role == names.ROLE_MINER:
            leave.append(pod)
        elif pod.notice_deadline is None:
            asked.append(notice(pod, "Stray", turn.later(turn.settings.notice_seconds)))
        elif now >= pod.notice_deadline:
            leave.append(pod)
        else:
            wakes.append(pod.notice_deadline)
    record, evictions, wake_at = evict(turn, record, [pod for pod in leave if pod.deleting_since is None])
    if wake_at is not None:
        wakes.append(wake_at)
    return turns.Result(record=record, commands=(*asked, *evictions, *bury(turn)), wake_at=min(wakes, default=None))


def evict(
    turn: turns.Turn, record: rec.Record, alive: Iterable[model.Pod]
) -> tuple[rec.Record, list[cmd.Command], datetime.datetime | None]:
    """Ask Pods to leave, unless that was done a moment ago; the record remembers when."""
    alive = list(alive)
    if not alive:
        return record, [], None
    again_at = turn.now
    if record.tried_at is not None:
        again_at = record.tried_at + datetime.timedelta(seconds=turn.settings.retry_seconds)
    if turn.now < again_at:
        return record, [], again_at
    asked: list[cmd.Command] = [_evict(pod) for pod in alive]
    return dataclasses.replace(record, tried_at=turn.now), asked, turn.later(turn.settings.retry_seconds)


def _evict(pod: model.Pod) -> cmd.Evict:
    # Work that has not begun needs no notice; should it begin before the eviction arrives, the eviction is refused.
    unbegun = pod.role == names.ROLE_WORK and not at_work(pod)
    return cmd.Evict(ref=pods.ref(pod), uid=pod.uid, resource_version=pod.resource_version if unbegun else None)


def bury(turn: turns.Turn) -> list[cmd.Command]:
    """Finished miners are of no use to anybody; work's finished Pods are its Job's to keep."""
    return [
        cmd.Delete(ref=pods.ref(pod), uid=pod.uid)
        for pod in turn.seen.miners
        if observe.finished(pod) and pod.deleting_since is None
    ]


def notice(pod: model.Pod, reason: str, deadline: datetime.datetime) -> cmd.Patch:
    """Tell a Pod to save, and until when it has time."""
    when = deadline.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    return _annotate(pod, json.dumps({"reason": reason, "deadline": when}))


def _annotate(pod: model.Pod, notice: str | None) -> cmd.Patch:
    return cmd.Patch(
        ref=pods.ref(pod),
        body={"metadata": {"annotations": {names.ANNOTATION_NOTICE: notice}}},
        uid=pod.uid,
        field_manager=names.MANAGER_OPERATOR,
    )


def told(pod: model.Pod, deadline: datetime.datetime) -> bool:
    """Whether the Pod carries a notice of that deadline (whoever read it back may have rounded it)."""
    return pod.notice_deadline is not None and abs((pod.notice_deadline - deadline).total_seconds()) < 1.0


def unreleased(turn: turns.Turn) -> tuple[str, str] | None:
    """Reason and message of what still keeps the GPUs from being free for the target; None when they are."""
    record, readback, limit = turn.record, turn.seen.rig.readback, turn.settings.memory_threshold_mib
    if left := unfinished(turn):
        return reasons.MEMORY_HELD, f"{listed(left)} came back"
    if turn.seen.foreign:
        return reasons.FOREIGN_POD, foreign_pods(turn)
    heard_at = None if readback is None else readback.observed_at or readback.since
    if readback is None or heard_at is None or heard_at < record.since:
        return reasons.AGENT_SILENT, "the agent has said nothing since the Pods left"
    if readback.gpu_memory_used_mib >= limit:
        return reasons.MEMORY_HELD, f"{readback.gpu_memory_used_mib} MiB of GPU memory in use, {limit} are allowed"
    wanted = lock.profile(record.mode)
    if readback.profile != wanted:
        return reasons.PROFILE_NOT_APPLIED, f"the agent has profile {readback.profile or 'none'}, not {wanted}"
    return None


def why_no_miner(turn: turns.Turn, keeper: model.Pod | None) -> str:
    """What a miner that is not ready in time was waiting for."""
    if keeper is not None:
        return keeper.reason or f"Pod {keeper.namespace}/{keeper.name} is {keeper.phase}, not ready"
    if turn.node.gpus_allocatable <= 0:
        return "the Node offers no GPUs"
    if left := [*unfinished(turn), *turn.seen.foreign]:
        return f"{listed(left)} still held GPUs"
    return "the miner's Pod could not be created"


def foreign_pods(turn: turns.Turn) -> str:
    """Names other people's Pods on the rig."""
    return f"{listed(turn.seen.foreign)} holds GPUs and is not Switchyard's to evict"


def listed(found: Iterable[model.Pod], most: int = 3) -> str:
    """The first few Pods by name, and how many more."""
    told = [f"{pod.namespace}/{pod.name}" for pod in found]
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return f"Pod {', '.join(told[:most])}{more}"
