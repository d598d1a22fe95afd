"""The hand-over of one rig as a state machine: (record, observation, now) -> (record, commands).

The rule that makes it safe to be killed anywhere: **nothing is done that the Node does not already say.** A turn that
changes the step returns the Node's patch and nothing else; what the new step asks for (notices, evictions, a miner)
comes in a later turn, once the new record has been observed on the Node. Commands that stand beside a Node patch in one
turn belong to the step that the Node says already: should the patch fail with CONFLICT, they were right all the same.
And because the patch carries `resourceVersion`, of two operators that decide at once only one moves the rig on.

Order of a switch: the lock (label, taint `switching`, record) -> notice -> Pods evicted and gone -> GPUs free and
profile read back -> the taint lets the new holder's Pods in, who are started -> the observed label last. Until then no
Pod tolerates the taint, so no second owner can come. Work that had not begun as notice was given, and begins before it
is evicted, gets its notice then.

The functions are pure: the same record, observation and moment give the same commands.
"""

from __future__ import annotations

import dataclasses
import datetime

from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import lock, observe, reasons, records, steps, turns
from switchyard.handover import record as rec
from switchyard.handover import settings as config

Settings = config.Settings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What a turn came to.

    Attributes:
        record: as it shall stand on the Node; None where the Node is not ours.
        commands: the Node's patch first, if there is one.
        wake_at: when to look again though nothing was observed; None: no need.
    """

    record: rec.Record | None
    commands: tuple[cmd.Command, ...] = ()
    events: tuple[cmd.Emit, ...] = ()
    wake_at: datetime.datetime | None = None


def may_start(record: rec.Record | None, target: model.Mode, now: datetime.datetime) -> bool:
    """Whether a settled rig may begin a switch.

    After a failure the target has to wait; any other only where the rig was at fault, not the target.
    """
    if record is None or record.retry_at is None or now >= record.retry_at:
        return True
    return record.reason in reasons.TARGET_FAULTS and target != record.origin


def start(
    record: rec.Record | None,
    observation: observe.Observation,
    *,
    target: model.Mode,
    now: datetime.datetime,
    reason: str,
    message: str,
    settings: Settings,
) -> Advance:
    """Begin a switch: take the lock, and no more.

    A rig whose record is missing or makes no sense while Pods of ours run is first settled in what it does. Where no
    switch may begin (one runs, the target is reached, a failed target waits), this is `advance`.
    """
    node = observation.node
    if node is None:
        return Advance(record=record)
    if record is None and observation.seen is None:
        base = _adopted(node, observation, now)
    elif record is None or not record.settled or record.mode == target or not may_start(record, target, now):
        return advance(record, observation, now=now, settings=settings)
    else:
        base = record
    turn = turns.Turn(record=base, seen=observation, node=node, now=now, settings=settings)
    attempt = steps.carried_attempt(base, now, settings)
    departed = steps.depart(turn, target=target, reason=reason, message=message, attempt=attempt)
    return _advance(record, observation, node, turns.Result(record=departed))


def advance(
    record: rec.Record | None, observation: observe.Observation, *, now: datetime.datetime, settings: Settings
) -> Advance:
    """One turn: the next step, or what this one asks for; in a settled rig, put back whatever has come apart.

    Without a record, a Node that bears marks or Pods of ours is settled in what really runs there.
    """
    node = observation.node
    if node is None:
        return Advance(record=record)
    if record is None:
        if observation.seen is None and not _marked(node):
            return Advance(record=None)
        return _advance(None, observation, node, turns.Result(record=_adopted(node, observation, now)))
    turn = turns.Turn(record=record, seen=observation, node=node, now=now, settings=settings)
    return _advance(record, observation, node, steps.take(turn))


def withdraw(
    record: rec.Record,
    observation: observe.Observation,
    *,
    now: datetime.datetime,
    settings: Settings,
    target: model.Mode = model.IDLE,
    reason: str = reasons.WITHDRAWN,
    message: str = "the job no longer wants this rig",
) -> Advance:
    """Turn a rig that is on its way to AI work elsewhere. In any other state this is `advance`."""
    node = observation.node
    if node is None:
        return Advance(record=record)
    if record.settled or record.mode.kind is not model.ModeKind.AI:
        return advance(record, observation, now=now, settings=settings)
    told = dataclasses.replace(record, reason=reason, message=message, cause=reason, cause_message=message)
    turn = turns.Turn(record=told, seen=observation, node=node, now=now, settings=settings)
    match record.step:
        case rec.Step.STARTING:
            turned = steps.depart(turn, target=target, reason=reason, message=message, attempt=record.attempt)
        case rec.Step.RELEASING:
            turned = steps.release_anew(turn, target=target)
        case _:
            turned = dataclasses.replace(told, mode=target)
    return _advance(record, observation, node, turns.Result(record=turned))


def release(record: rec.Record | None, observation: observe.Observation) -> Advance:
    """Give the Node back as it was before Switchyard took it. Only a settled rig without Pods of ours is let go."""
    node = observation.node
    busy = any(not observe.finished(pod) for pod in (*observation.miners, *observation.work))
    if node is None or busy or (record is not None and not record.settled):
        return Advance(record=record)
    patch = lock.release(node)
    return Advance(record=None, commands=(patch,) if patch is not None else ())


def _advance(
    before: rec.Record | None, observation: observe.Observation, node: model.Node, result: turns.Result
) -> Advance:
    after = records.fit(result.record)
    patch = lock.patch(node, after)
    # A record that the Node does not (or no longer) carry is nobody's licence to act.
    confirmed = before is not None and observation.record == before
    asked = result.commands if confirmed else ()
    wakes = [moment for moment in (after.deadline, result.wake_at) if moment is not None]
    return Advance(
        record=after,
        commands=((patch,) if patch is not None else ()) + asked,
        wake_at=min(wakes, default=None),
    )


def _marked(node: model.Node) -> bool:
    return (
        names.LABEL_MODE_STATE in node.labels
        or names.ANNOTATION_HANDOVER in node.annotations
        or any(taint.key == names.TAINT_HELD and taint.value == names.SWITCHING for taint in node.taints)
    )


def _adopted(node: model.Node, observation: observe.Observation, now: datetime.datetime) -> rec.Record:
    """A settled record made from what is there."""
    off = node.labels.get(names.LABEL_MODE) == lock.word(model.OFF)
    mode = observation.seen or (model.OFF if off else model.IDLE)
    claim = ""
    if mode.kind is model.ModeKind.AI:
        claim = node.labels.get(names.LABEL_CLAIM) or (observation.job.uid if observation.job is not None else "")
    return rec.Record(
        mode=mode,
        origin=mode,
        step=rec.Step.SETTLED,
        since=now,
        deadline=None,
        started=now,
        reason=reasons.ADOPTED,
        message=f"found without a record: settled in {mode}",
        claim=claim,
    )
