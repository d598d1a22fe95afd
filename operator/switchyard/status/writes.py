"""Whether a status says something new, and the patch that writes it if so.

A farm that is quiet must write nothing, though every price behind it moves a little all the time. What differs falls
into three classes:

- nothing: times at which a thing was looked at, and numbers that moved by less than people would care to see;
- figures: numbers that moved further, the alternatives of a decision and what they lack, words of messages. They are
  written, but for a Rig no more often than `figures_every`, since they come by the thousand;
- news: everything else (modes, steps, reasons, conditions, counts, names). Written at once.

Differences are measured against what was last written, so that slow drift adds up and is seen.
"""

from __future__ import annotations

import datetime
import enum
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchyard.cluster import commands, names

FIGURES_EVERY: Final = datetime.timedelta(minutes=10)
"""Default of farm time between two writes of one Rig's figures."""


class Change(enum.IntEnum):
    """How much a status has changed."""

    NOTHING = 0
    FIGURES = 1
    NEWS = 2


# Written by others under the same status.
_FOREIGN: Final = frozenset({"agent"})
# When a thing was looked at or turned; what was found tells whether it is new.
_TIMES_OF_LOOKING: Final = frozenset({"at", "lastTransitionTime"})
# Seconds a time must move to count.
_TIMES: Final = {"asOf": 900.0, "lastCheckpoint": 60.0}
# (share, absolute): a number counts as moved beyond the larger of the two.
_STEPS: Final[Mapping[str, tuple[float, float]]] = {
    "netUsdPerHour": (0.02, 0.001),
    "revenueUsdPerHour": (0.02, 0.001),
    "feesUsdPerHour": (0.02, 0.001),
    "powerUsdPerHour": (0.02, 0.001),
    "gainUsdPerHour": (0.02, 0.001),
    "costUsd": (0.02, 0.001),
    "costToMoveUsd": (0.02, 0.001),
    "regretUsd": (0.02, 0.01),
    "reservePriceUsdPerGpuHour": (0.02, 0.001),
    "usdPerKilowattHour": (0.005, 0.0001),
    "usdPerUnitHour": (0.01, 0.0),
    "hashrate": (0.005, 0.0),
    "value": (0.005, 0.0),
    "trust": (0.0, 0.1),
    "progress": (0.0, 0.01),
    "watts": (0.02, 5.0),
    "drawnWatts": (0.02, 20.0),
    "secondsToMove": (0.05, 5.0),
}
_WORDS: Final = frozenset({"message", "lacks", "heldBy", "expert", "lastError"})
_WORDS_STEP: Final = (0.02, 0.001)

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
# A number that stands alone: the 7 of `gpu-7` is part of a name.
_NUMBER: Final = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w-]|\.\d)")


def patch(
    ref: commands.Ref,
    *,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    now: datetime.datetime,
    figures_every: datetime.timedelta = datetime.timedelta(0),
    resource_version: str | None = None,
    uid: str | None = None,
) -> commands.Patch | None:
    """The one patch that writes a status, or None when it says nothing new.

    Args:
        ref: the object.
        old: its status as it stands in the cluster.
        new: the whole status as it should stand: what it leaves out is removed, except what other writers own.
        now: farm time.
        figures_every: mere figures wait until the decision in `old` is this old (see the module's docstring).
        resource_version: precondition, for statuses that decide (an AIJob's admission) rather than tell.
        uid: precondition: still the same object.
    """
    change = compare(old, new)
    if change is Change.NOTHING:
        return None
    if change is Change.FIGURES and _too_soon(old, now, figures_every):
        return None
    return commands.Patch(
        ref=ref,
        body={"status": new},
        type=commands.PatchType.APPLY,
        subresource="status",
        resource_version=resource_version,
        uid=uid,
        field_manager=names.MANAGER_OPERATOR,
    )


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    """How much a status has changed."""
    return _objects({key: value for key, value in old.items() if key not in _FOREIGN}, new)


def _too_soon(old: Mapping[str, Any], now: datetime.datetime, every: datetime.timedelta) -> bool:
    at = _time((old.get("decision") or {}).get("at"))
    return at is not None and datetime.timedelta(0) <= now - at < every


def _objects(old: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    change = Change.NOTHING
    for key in old.keys() | new.keys():
        change = max(change, _fields(key, old.get(key), new.get(key)))
        if change is Change.NEWS:
            break
    return change


def _fields(key: str, old: Any, new: Any) -> Change:
    if old == new or (key in _TIMES_OF_LOOKING and old and new):
        return Change.NOTHING
    if key == "alternatives":
        return Change.NOTHING if _lists(old or (), new or (), by="mode") is Change.NOTHING else Change.FIGURES
    if key == "conditions":
        return _conditions(old or (), new or ())
    if key in _STEPS:
        return Change.FIGURES if old is None or new is None or _moved(old, new, *_STEPS[key]) else Change.NOTHING
    if key in _TIMES:
        return Change.FIGURES if _time_moved(old, new, _TIMES[key]) else Change.NOTHING
    if key in _WORDS:
        return Change.FIGURES if _words_differ(str(old or ""), str(new or "")) else Change.NOTHING
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _objects(old, new)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return _lists(old, new)
    return Change.NEWS


def _conditions(old: Sequence[Any], new: Sequence[Any]) -> Change:
    # A type that `new` does not speak of is another writer's.
    ours = {entry.get("type") for entry in new}
    return _lists([entry for entry in old if entry.get("type") in ours], new, by="type")


def _lists(old: Sequence[Any], new: Sequence[Any], *, by: str = "") -> Change:
    if len(old) != len(new):
        return Change.NEWS
    if by:
        before = {entry.get(by): entry for entry in old}
        pairs = [(before.get(entry.get(by)), entry) for entry in new]
    else:
        pairs = list(zip(old, new, strict=True))
    return max((_fields("", left, right) for left, right in pairs), default=Change.NOTHING)


def _moved(old: Any, new: Any, share: float, absolute: float) -> bool:
    try:
        left, right = float(old), float(new)
    except (TypeError, ValueError):
        return True
    # The rounding of binary fractions must not make a step of exactly the allowed size count.
    return abs(left - right) > max(share * max(abs(left), abs(right)), absolute) * (1 + 1e-9)


def _time_moved(old: Any, new: Any, seconds: float) -> bool:
    left, right = _time(old), _time(new)
    return left is None or right is None or abs((left - right).total_seconds()) >= seconds


def _time(text: Any) -> datetime.datetime | None:
    try:
        at = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else None


def _words_differ(old: str, new: str) -> bool:
    old, new = _MOMENT.sub("", old), _MOMENT.sub("", new)
    if _NUMBER.sub("#", old) != _NUMBER.sub("#", new):
        return True
    # Whole numbers count things and are compared as they stand; those with a point measure them.
    return any(
        left != right and ("." not in left + right or _moved(left, right, *_WORDS_STEP))
        for left, right in zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True)
    )
