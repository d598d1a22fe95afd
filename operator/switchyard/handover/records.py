"""The record's text in the Node's annotation: JSON, read tolerantly.

A text that makes no sense reads as None, and `machine` then begins from what really runs on the Node: a garbled
annotation must never be worth more than the Pods themselves.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import Mapping
from typing import Any, Final

from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import record as rec

_MESSAGE_LIMIT: Final = 512
_ATTEMPT_LIMIT: Final = 1_000_000

# Field of the Record: key in the JSON. Everything that stands here and is at its default is left out.
_TIMES: Final = {"deadline": "deadline", "tried_at": "triedAt", "retry_at": "retryAt"}
_TEXTS: Final = {"message": "message", "claim": "claim", "cause": "cause", "cause_message": "causeMessage"}


def read(node: model.Node) -> rec.Record | None:
    """The record on a Node; None where there is none, or none that makes sense."""
    text = node.annotations.get(names.ANNOTATION_HANDOVER)
    return None if text is None else parse(text)


@functools.lru_cache(maxsize=32768)
def parse(text: str) -> rec.Record | None:
    """The record that `write` wrote; None for anything else. A farm's texts are read every minute and rarely change."""
    try:
        found = json.loads(text)
        return _record(found) if isinstance(found, dict) else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def write(record: rec.Record) -> str:
    """The annotation's text: compact JSON, keys sorted, the same for equal records."""
    body: dict[str, Any] = {
        "mode": str(record.mode),
        "origin": str(record.origin),
        "step": str(record.step),
        "since": _stamp(record.since),
        "started": _stamp(record.started),
        "reason": record.reason,
    }
    for field, key in _TEXTS.items():
        if text := getattr(record, field):
            body[key] = text
    for field, key in _TIMES.items():
        if (moment := getattr(record, field)) is not None:
            body[key] = _stamp(moment)
    if record.attempt:
        body["attempt"] = record.attempt
    return json.dumps(body, separators=(",", ":"), sort_keys=True)


def fit(record: rec.Record) -> rec.Record:
    """The record with messages of a length that a Node can carry: as it will be read back."""
    return dataclasses.replace(record, message=_short(record.message), cause_message=_short(record.cause_message))


def _short(text: str) -> str:
    return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _record(body: Mapping[str, Any]) -> rec.Record | None:
    step = rec.Step(body["step"])
    texts = {field: _text(body.get(key, "")) for field, key in _TEXTS.items()}
    times = {field: _time(body[key]) if key in body else None for field, key in _TIMES.items()}
    attempt = body.get("attempt", 0)
    if isinstance(attempt, bool) or not isinstance(attempt, int) or not 0 <= attempt <= _ATTEMPT_LIMIT:
        raise ValueError("attempt")
    if (times["deadline"] is None) is not (step is rec.Step.SETTLED):
        # A hand-over without a deadline could wait for ever.
        raise ValueError("deadline")
    return rec.Record(
        mode=_mode(body["mode"]),
        origin=_mode(body["origin"]),
        step=step,
        since=_time(body["since"]),
        deadline=times["deadline"],
        started=_time(body["started"]),
        reason=_text(body["reason"]),
        message=texts["message"],
        attempt=attempt,
        claim=texts["claim"],
        cause=texts["cause"],
        cause_message=texts["cause_message"],
        tried_at=times["tried_at"],
        retry_at=times["retry_at"],
    )


def _mode(text: Any) -> model.Mode:
    mode = model.Mode.parse(_text(text))
    match mode.kind:
        case model.ModeKind.MINING:
            sound = bool(mode.name) and "/" not in mode.name
        case model.ModeKind.AI:
            namespace, _, name = mode.name.partition("/")
            sound = bool(namespace) and bool(name) and "/" not in name
        case _:
            sound = not mode.name
    if not sound:
        raise ValueError(f"no mode: {text}")
    return mode


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value


def _time(value: Any) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(datetime.UTC)


def _stamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
