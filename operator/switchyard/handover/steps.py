"""What each step of a hand-over waits for, what it asks for meanwhile, and where it goes next.

A step that ends returns a new record and no commands; a step that goes on may return commands: see `machine` for why.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable
from typing import Any

from switchyard.fleet import model
from switchyard.handover import observe, pods, reasons, residents, turns
from switchyard.handover import record as rec
from switchyard.handover import settings as config


def take(turn: turns.Turn) -> turns.Result:
    """One turn of whichever step the record is in."""
    match turn.record.step:
        case rec.Step.NOTIFYING:
            return _notifying(turn)
        case rec.Step.STOPPING:
            return _stopping(turn)
        case rec.Step.RELEASING:
            return _releasing(turn)
        case rec.Step.STARTING:
            return _starting_work(turn) if turn.record.mode.kind is model.ModeKind.AI else _starting_miner(turn)
        case rec.Step.SETTLED:
            return _settled(turn)


def depart(
    turn: turns.Turn,
    *,
    target: model.Mode,
    reason: str,
    message: str,
    attempt: int,
    retry_at: datetime.datetime | None = None,
) -> rec.Record:
    """The record as the rig leaves its mode: with notice where work runs, else straight to stopping."""
    step = rec.Step.NOTIFYING if any(residents.at_work(pod) for pod in turn.seen.work) else rec.Step.STOPPING
    return rec.Record(
        mode=target,
        origin=turn.record.mode,
        step=step,
        since=turn.now,
        deadline=_leave_by(turn, step, turn.seen.job),
        started=turn.now,
        reason=reason,
        message=message,
        attempt=attempt,
        claim=turn.record.claim,
        cause=reason,
        cause_message=message,
        retry_at=retry_at,
    )


def release_anew(turn: turns.Turn, *, target: model.Mode) -> rec.Record:
    """RELEASING from its beginning: another target wants another profile."""
    return _enter(turn, rec.Step.RELEASING, turn.settings.release_seconds, mode=target)


def carried_attempt(record: rec.Record, now: datetime.datetime, settings: config.Settings) -> int:
    """Failures in a row so far; forgotten once the rig has been settled for long."""
    quiet = (now - (record.retry_at or record.since)).total_seconds()
    return record.attempt if quiet < settings.stable_seconds else 0


# --- the steps ---------------------------------------------------------------------------------------------------


def _notifying(turn: turns.Turn) -> turns.Result:
    record = turn.record
    mine = [pod for pod in turn.seen.work if residents.at_work(pod)]
    known = {pod.uid for pod in mine}
    # A gang saves together or not at all: no rig evicts before the replicas on the others have saved too.
    others = [pod for pod in turn.seen.gang if pod.uid not in known and residents.at_work(pod)]
    waiting = [pod for pod in (*mine, *others) if not residents.acknowledged(pod, record.since)]
    if not mine or not waiting:
        return turns.Result(record=_stop(turn))
    if turn.expired:
        unaware = any(pod.notice_deadline is None for pod in mine if not residents.acknowledged(pod, record.since))
        if not unaware:
            return turns.Result(record=_stop(turn))
        if record.reason == reasons.NOTICE_LATE:
            # Whoever cannot be reached twice is not waited for a third time: see _stopping.
            stopped = dataclasses.replace(_stop(turn), reason=record.reason, message=record.message)
            return turns.Result(record=stopped)
        # Nobody was there to hand out the notices: the work gets its whole notice all the same, once.
        return turns.Result(
            record=dataclasses.replace(
                record,
                deadline=_leave_by(turn, rec.Step.NOTIFYING, turn.seen.leaving),
                reason=reasons.NOTICE_LATE,
                message="the notice did not reach every Pod in time and is given anew",
            )
        )
    assert record.deadline is not None  # noqa: S101 - every step but SETTLED has one, see records
    told = [
        residents.notice(pod, record.cause, record.deadline) for pod in mine if not residents.told(pod, record.deadline)
    ]
    return turns.Result(record=record, commands=tuple(told))


def _stopping(turn: turns.Turn) -> turns.Result:
    record = turn.record
    ours = residents.unfinished(turn)
    alive = [pod for pod in ours if pod.deleting_since is None]
    if not ours and not turn.seen.foreign:
        return turns.Result(record=_enter(turn, rec.Step.RELEASING, turn.settings.release_seconds))
    if record.reason != reasons.NOTICE_LATE and residents.unaware(turn):
        # It was still coming up when the others were told.
        seconds = turn.settings.notice_seconds if turn.seen.leaving is None else turn.seen.leaving.notice_seconds
        return turns.Result(record=_enter(turn, rec.Step.NOTIFYING, seconds))
    if turn.expired:
        if alive and record.tried_at is not None:
            return turns.Result(record=_go_back(turn, alive))
        if alive:
            # Time ran out before anybody had asked them to leave: ask now, and give them the whole time.
            record = dataclasses.replace(record, deadline=_leave_by(turn, rec.Step.STOPPING, turn.seen.leaving))
        elif ours:
            message = f"{residents.listed(ours)} will not terminate; nobody else may use the GPUs until then"
            return turns.Result(
                record=dataclasses.replace(
                    record,
                    deadline=turn.later(turn.settings.stuck_seconds),
                    reason=reasons.STUCK_TERMINATING,
                    message=message,
                )
            )
        else:
            return turns.Result(record=_give_up(turn, reasons.FOREIGN_POD, residents.foreign_pods(turn)))
    if not ours:
        record = dataclasses.replace(record, reason=reasons.FOREIGN_POD, message=residents.foreign_pods(turn))
    record, asked, wake_at = residents.evict(turn, record, alive)
    return turns.Result(record=record, commands=(*asked, *residents.bury(turn)), wake_at=wake_at)


def _releasing(turn: turns.Turn) -> turns.Result:
    record = turn.record
    trouble = residents.unreleased(turn)
    if trouble is None:
        match record.mode.kind:
            case model.ModeKind.MINING:
                if turn.seen.coin is None:
                    return turns.Result(record=_give_up(turn, reasons.COIN_MISSING, f"no Coin {record.mode.name}"))
                seconds = turn.settings.start_seconds + turn.seen.coin.startup_seconds
                return turns.Result(record=_enter(turn, rec.Step.STARTING, seconds))
            case model.ModeKind.AI:
                if turn.seen.job is None:
                    return turns.Result(record=_give_up(turn, reasons.JOB_MISSING, f"no AIJob {record.mode.name}"))
                entered = _enter(turn, rec.Step.STARTING, turn.settings.ai_start_seconds, claim=turn.seen.job.uid)
                return turns.Result(record=entered)
            case _:
                return turns.Result(record=_settle(turn))
    if turn.expired:
        return turns.Result(record=_give_up(turn, *trouble))
    return residents.tidy(turn, own=frozenset())


def _starting_miner(turn: turns.Turn) -> turns.Result:
    record, coin = turn.record, turn.seen.coin
    if coin is None:
        return turns.Result(record=_fail(turn, reasons.COIN_MISSING, f"no Coin {record.mode.name}"))
    keeper = residents.keeper_of(turn)
    if keeper is not None and keeper.ready:
        return turns.Result(record=_settle(turn))
    if turn.expired:
        return turns.Result(record=_fail(turn, reasons.START_TIMED_OUT, residents.why_no_miner(turn, keeper)))
    result = residents.tidy(turn, own=frozenset({keeper.uid} if keeper is not None else ()))
    name = pods.miner_name(turn.seen.rig.name, coin.name, record.started)
    # A finished Pod of that name is buried first; one that still terminates, whosever, keeps the GPUs until it is gone.
    clear = not residents.unfinished(turn) and all(pod.name != name for pod in turn.seen.miners)
    if clear and turn.node.gpus_allocatable > 0:
        create = pods.miner(
            rig=turn.seen.rig, node=turn.node, coin=coin, started=record.started, settings=turn.settings
        )
        return dataclasses.replace(result, commands=(*result.commands, create))
    return result


def _starting_work(turn: turns.Turn) -> turns.Result:
    record, job = turn.record, turn.seen.job
    if job is None or job.uid != record.claim:
        return turns.Result(record=_fail(turn, reasons.JOB_MISSING, f"AIJob {record.mode.name} is gone"))
    mine = [pod for pod in turn.seen.work if observe.job_of(pod) == job.key]
    here = sum(1 for pod in mine if residents.has_started(pod))
    expected = sum(placement.replicas for placement in job.placement if placement.rig == turn.seen.rig.name)
    everywhere = sum(1 for pod in turn.seen.gang if residents.has_started(pod))
    if expected and (here >= expected or everywhere >= job.replicas):
        return turns.Result(record=_settle(turn))
    if turn.expired:
        told = "; ".join(f"{pod.namespace}/{pod.name}: {pod.reason}" for pod in mine if pod.reason)
        message = f"{here} of {expected} Pods run" + (f": {told}" if told else "")
        return turns.Result(record=_fail(turn, reasons.START_TIMED_OUT, message))
    return residents.tidy(turn, own=frozenset(pod.uid for pod in mine))


def _settled(turn: turns.Turn) -> turns.Result:
    record, mode = turn.record, turn.record.mode
    match mode.kind:
        case model.ModeKind.AI:
            return residents.tidy(
                turn, own=frozenset(pod.uid for pod in turn.seen.work if observe.job_of(pod) == mode.name)
            )
        case model.ModeKind.MINING:
            keeper = residents.keeper_of(turn)
            if keeper is not None:
                return residents.tidy(turn, own=frozenset({keeper.uid}))
        case _:
            return residents.tidy(turn, own=frozenset())
    result = residents.tidy(turn, own=frozenset())
    if turn.seen.coin is None or residents.unfinished(turn):
        return result
    attempt = carried_attempt(record, turn.now, turn.settings) + 1
    again_at = record.since + datetime.timedelta(seconds=turn.settings.backoff(attempt - 1))
    if turn.now < again_at:
        return dataclasses.replace(result, wake_at=again_at)
    message = f"the miner of {mode.name} is gone"
    seconds = turn.settings.start_seconds + turn.seen.coin.startup_seconds
    return turns.Result(
        record=_enter(
            turn,
            rec.Step.STARTING,
            seconds,
            origin=mode,
            started=turn.now,
            attempt=attempt,
            cause=reasons.MINER_LOST,
            cause_message=message,
            retry_at=None,
        )
    )


# --- from step to step -------------------------------------------------------------------------------------------


def _enter(turn: turns.Turn, step: rec.Step, seconds: float, **changes: Any) -> rec.Record:
    record = dataclasses.replace(turn.record, **changes)
    return dataclasses.replace(
        record,
        step=step,
        since=turn.now,
        deadline=turn.later(seconds),
        tried_at=None,
        reason=record.cause or record.reason,
        message=record.cause_message,
    )


def _stop(turn: turns.Turn) -> rec.Record:
    record = _enter(turn, rec.Step.STOPPING, 0.0)
    return dataclasses.replace(record, deadline=_leave_by(turn, rec.Step.STOPPING, turn.seen.leaving))


def _settle(turn: turns.Turn, **changes: Any) -> rec.Record:
    record = turn.record
    told = {"reason": record.cause or record.reason, "message": record.cause_message, **changes}
    return dataclasses.replace(
        record,
        step=rec.Step.SETTLED,
        since=turn.now,
        deadline=None,
        tried_at=None,
        cause="",
        cause_message="",
        **told,
    )


def _go_back(turn: turns.Turn, alive: Iterable[model.Pod]) -> rec.Record:
    """To the mode it left: its Pods were never made to leave."""
    record, attempt = turn.record, turn.record.attempt + 1
    return _settle(
        turn,
        mode=record.origin,
        origin=record.mode,
        reason=reasons.EVICTION_REFUSED,
        message=f"{residents.listed(alive)} may not be evicted",
        attempt=attempt,
        retry_at=turn.later(turn.settings.backoff(attempt)),
    )


def _give_up(turn: turns.Turn, reason: str, message: str) -> rec.Record:
    """To Idle at once: nothing of ours runs, and the taint keeps everybody else off."""
    record, attempt = turn.record, turn.record.attempt + 1
    return _settle(
        turn,
        mode=model.IDLE,
        origin=record.origin if record.mode == model.IDLE else record.mode,
        reason=reason,
        message=message,
        attempt=attempt,
        retry_at=turn.later(turn.settings.backoff(attempt)),
    )


def _fail(turn: turns.Turn, reason: str, message: str) -> rec.Record:
    """To Idle by the whole way: whatever was started is stopped first."""
    attempt = turn.record.attempt + 1
    return depart(
        turn,
        target=model.IDLE,
        reason=reason,
        message=message,
        attempt=attempt,
        retry_at=turn.later(turn.settings.backoff(attempt)),
    )


def _leave_by(turn: turns.Turn, step: rec.Step, leaving: model.Job | None) -> datetime.datetime:
    """Deadline of a step in which Pods are to leave; `leaving` is the job whose Pods they are, where it is known."""
    if step is rec.Step.NOTIFYING:
        return turn.later(leaving.notice_seconds if leaving is not None else turn.settings.notice_seconds)
    grace = pods.grace_seconds(leaving) if leaving is not None and turn.seen.work else 0
    return turn.later(turn.settings.stop_seconds + grace)
