"""Conditions: what is observed to hold or not, merged so that a transition's time survives."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

TRUE: Final = "True"
FALSE: Final = "False"
UNKNOWN: Final = "Unknown"

_LONGEST = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What holds now: `reason` is one CamelCase word for programs, `message` tells people, with the numbers.

    `since` is when it came to hold, where that is known better than by when it was first seen.
    """

    type: str
    status: str
    reason: str
    message: str = ""
    since: datetime.datetime | None = None


def true(type_: str, reason: str, message: str = "") -> Finding:
    """It holds."""
    return Finding(type_, TRUE, reason, message)


def false(type_: str, reason: str, message: str = "") -> Finding:
    """It does not hold."""
    return Finding(type_, FALSE, reason, message)


def unknown(type_: str, reason: str, message: str = "") -> Finding:
    """Nobody can tell yet."""
    return Finding(type_, UNKNOWN, reason, message)


def merge(
    old: Mapping[str, Any],
    findings: Iterable[Finding],
    *,
    known: Sequence[str],
    generation: int,
    now: datetime.datetime,
) -> list[dict[str, Any]]:
    """The list of conditions for a status.

    Args:
        old: the status as it stands; its conditions keep their times where their status has not changed.
        findings: what holds now. A known type without one keeps what was said of it, and is Unknown if nothing was.
        known: every type of the kind, in the order they are shown. Types beside these belong to other writers.
        generation: of the object that was looked at.
        now: the time of what has changed.

    Raises:
        ValueError: a finding's type is not among the known ones.
    """
    found = {finding.type: finding for finding in findings}
    if strange := found.keys() - set(known):
        raise ValueError(f"conditions of unknown type: {', '.join(sorted(strange))}")
    before = by_type(old)
    merged = []
    for type_ in known:
        finding, standing = found.get(type_), before.get(type_)
        if finding is None:
            if standing is not None:
                merged.append(dict(standing))
                continue
            finding = unknown(type_, "NotYetKnown")
        since = standing.get("lastTransitionTime") if standing and standing.get("status") == finding.status else None
        merged.append(
            {
                "type": type_,
                "status": finding.status,
                "reason": finding.reason,
                "message": _cut(finding.message),
                "lastTransitionTime": since or moment(finding.since or now),
                "observedGeneration": generation,
            }
        )
    return merged


def by_type(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """A status's conditions by their type."""
    return {condition.get("type", ""): condition for condition in status.get("conditions") or ()}


def holds(status: Mapping[str, Any], type_: str) -> bool:
    """Whether the condition is True."""
    return by_type(status).get(type_, {}).get("status") == TRUE


def moment(at: datetime.datetime) -> str:
    """A time as Kubernetes writes it: RFC 3339 in UTC, whole seconds."""
    # Not by `strftime`, which takes many times as long: every status has several.
    return at.astimezone(datetime.UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def _cut(message: str) -> str:
    return message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"
