"""Decisions in words: from an object as kubectl would print it to what a person wants to know about it.

Everything is read from the object's own status, so the answer is the one the operator acted on, and needs no operator
to be running. The result is made of plain values; how it is laid out is the business of who shows it (`lines` does it
in plain text).
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchyard.status import conditions, wording

_NONE: Final = "-"

_EXPERTS: Final = {
    "WorkFunction": "it moves when what was forgone has paid for the move",
    "LookAhead": "it counts on forecasts, and on the demand it has learned",
}
_STAYS: Final = "it keeps to one mode, and of late nothing else has earned more"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under columns; `numbers` are the columns to be set flush right, `marked` the rows that stand out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[str] = frozenset()
    marked: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A headline, facts (name and words), a table of alternatives, and what there is to say about them."""

    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()


def rig(body: Mapping[str, Any], *, now: datetime.datetime, feeds: Sequence[Mapping[str, Any]] = ()) -> Explanation:
    """Why a Rig does what it does.

    Args:
        body: the Rig.
        now: what ages are counted to.
        feeds: PriceFeeds, for the age of the prices behind the decision.
    """
    name, spec, status = body["metadata"]["name"], body.get("spec", {}), body.get("status") or {}
    decision = status.get("decision") or {}
    mode, step = status.get("mode") or {}, status.get("step") or {}
    facts = [("Now", _doing(status, now=now))]
    if mode and mode.get("observed") == "Switching":
        facts.append(("Step", _step(step, now=now)))
    if spec.get("pin", "Auto") != "Auto":
        facts.append(("Pinned", f"to {spec['pin']}: the plan chooses only within it"))
    if spec.get("maintenance"):
        facts.append(("Maintenance", "on: it is left as it is"))
    place = [("pool", status.get("pool")), ("site", (spec.get("siteRef") or {}).get("name"))]
    facts.append(("In", ", ".join(f"{what} {which}" for what, which in place if which) or "no pool"))
    hardware = _hardware(status.get("hardware") or {})
    if hardware:
        facts.append(("Hardware", hardware))
    facts.extend(_troubles(status))
    alternatives = list(decision.get("alternatives") or ())
    notes = _why(decision, mode) if decision else _undecided(status)
    notes += _ages(decision, feeds, now=now)
    return Explanation(
        headline=_headline(name, mode, decision),
        facts=tuple(facts),
        table=_alternatives(alternatives, chosen=decision.get("chosen", "")) if alternatives else None,
        notes=tuple(notes),
    )


def aijob(body: Mapping[str, Any], *, now: datetime.datetime) -> Explanation:
    """Where an AIJob stands, and what it waits for."""
    metadata, spec, status = body["metadata"], body.get("spec", {}), body.get("status") or {}
    by_type = conditions.by_type(status)
    replicas, each = int(spec.get("replicas", 1)), int(spec.get("gpusPerReplica", 1))
    bid = (spec.get("bid") or {}).get("usdPerGpuHour", _NONE)
    facts = [
        (
            "Wants",
            f"{replicas} x {wording.count(each, 'GPU')} for {spec.get('workloadClass', 'work')}, whole or not at all",
        ),
        ("Bids", f"{bid} $/GPU-h" + _reserve(status)),
    ]
    placement = status.get("placement") or ()
    if placement:
        facts.append(("Placed on", ", ".join(f"{entry['rig']} x{entry['replicas']}" for entry in placement)))
    for label, key in (("Admitted", "admittedAt"), ("Started", "startedAt"), ("Finished", "finishedAt")):
        if key in status:
            facts.append((label, wording.when(status[key], now=now)))
    if "progress" in status:
        facts.append(("Progress", f"{float(status['progress']):.0%}"))
    if "lastCheckpoint" in status:
        facts.append(("Checkpoint", wording.when(status["lastCheckpoint"], now=now)))
    behind = [(status.get("attempts", 0), "start"), (status.get("preemptions", 0), "preemption")]
    counted = [wording.count(int(number), what) for number, what in behind if number]
    if counted:
        facts.append(("Behind it", ", ".join(counted)))
    return Explanation(
        headline=f"{metadata.get('namespace', 'default')}/{metadata['name']} {_job_state(by_type)}",
        facts=tuple(facts),
        table=_conditions(status, now=now),
    )


def pricefeed(body: Mapping[str, Any], *, now: datetime.datetime) -> Explanation:
    """Whether a PriceFeed can be trusted, and what the farm does if not."""
    name, status = body["metadata"]["name"], body.get("status") or {}
    good = status.get("lastGood") or {}
    trust = float(status.get("trust", 0))
    word = "is trusted" if trust >= 1 else "is not trusted" if trust <= 0 else "is trusted in part"
    facts = []
    if good:
        facts.append(
            ("Value", f"{good.get('value')} {good.get('unit')}, as of {wording.when(good.get('asOf'), now=now)}")
        )
    if converted := status.get("converted"):
        facts.append(("In dollars", f"{converted.get('value')} {converted.get('unit')}"))
    facts.append(("Trust", f"{trust:.0%}"))
    if ahead := status.get("forecast"):
        published = wording.when(ahead.get("publishedAt"), now=now)
        facts.append(("Known until", f"{wording.when(ahead.get('until'), now=now)}, published {published}"))
    if status.get("lastError"):
        facts.append(("Last attempt", str(status["lastError"])))
    return Explanation(headline=f"{name} {word}", facts=tuple(facts), table=_conditions(status, now=now))


def gpupool(body: Mapping[str, Any], *, now: datetime.datetime) -> Explanation:
    """What a GPUPool's rigs do, and what is in the way."""
    name, spec, status = body["metadata"]["name"], body.get("spec", {}), body.get("status") or {}
    rigs = status.get("rigs") or {}
    parts = [f"{rigs[key]} {word}" for key, word in _POOL_WORDS if rigs.get(key)]
    facts = [
        ("Mode", "Enforce" if spec.get("mode") == "Enforce" else "Recommend: nothing is changed"),
        ("Rigs", f"{rigs.get('total', 0)}" + (f": {', '.join(parts)}" if parts else "")),
    ]
    if status.get("pending"):
        facts.append(("Held back", f"{wording.count(int(status['pending']), 'rig')} from a better mode"))
    net = float(status.get("netUsdPerHour", 0))
    return Explanation(
        headline=f"{name} earns {net:.2f} $/h net", facts=tuple(facts), table=_conditions(status, now=now)
    )


def lines(explanation: Explanation) -> list[str]:
    """The explanation as plain text."""
    laid = [explanation.headline]
    width = max((len(name) for name, _ in explanation.facts), default=0)
    laid += [f"  {name:<{width}}  {words}" for name, words in explanation.facts]
    if explanation.table is not None:
        laid += ["", *_lay_out(explanation.table)]
    if explanation.notes:
        laid += ["", *explanation.notes]
    return laid


_POOL_WORDS: Final = (
    ("mining", "mining"),
    ("ai", "at AI work"),
    ("idle", "idle"),
    ("off", "off"),
    ("switching", "switching"),
)

_VERBS: Final = {"Mining": "mines {}", "AI": "works for {}", "Idle": "idles", "Off": "is off"}


def _says(mode: str) -> str:
    kind, _, name = mode.partition("/")
    return _VERBS.get(kind, "is in {}").format(name or mode)


def _headline(name: str, mode: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    chosen = decision.get("chosen", "")
    if not mode:
        return f"{name}: {chosen} is recommended" if chosen else f"{name}: nothing has been decided yet"
    desired, observed = mode.get("desired", ""), mode.get("observed", "")
    if observed == "Switching":
        return f"{name} is on its way to {desired}"
    if chosen and chosen != observed:
        return f"{name} {_says(observed)}; {chosen} is chosen for it"
    return f"{name} {_says(observed)}"


def _doing(status: Mapping[str, Any], *, now: datetime.datetime) -> str:
    mode = status.get("mode") or {}
    if not mode:
        return "not held by Switchyard"
    observed = mode.get("observed", "")
    if observed == "Switching":
        return f"switching to {mode.get('desired')}"
    since = conditions.by_type(status).get("Switching", {}).get("lastTransitionTime")
    return f"{observed} since {wording.when(since, now=now)}"


def _step(step: Mapping[str, Any], *, now: datetime.datetime) -> str:
    words = f"{step.get('name')} since {wording.when(step.get('since'), now=now)}"
    if step.get("deadline"):
        words += f", at most until {wording.when(step['deadline'], now=now)}"
    why = step.get("message") or step.get("reason")
    return f"{words} ({why})" if why else words


def _hardware(hardware: Mapping[str, Any]) -> str:
    models: dict[str, int] = {}
    for gpu in hardware.get("gpus") or ():
        key = f"{gpu.get('model')} {int(gpu.get('memoryMiB', 0)) / 1024:.0f} GiB"
        models[key] = models.get(key, 0) + 1
    return ", ".join(f"{number} x {key}" for key, number in sorted(models.items()))


def _troubles(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Ready's own words, where they tell more than the mode does."""
    ready = conditions.by_type(status).get("Ready", {})
    if ready.get("status") != conditions.FALSE or ready.get("reason") == "Switching":
        return []
    return [("Trouble", f"{ready.get('reason')}: {ready.get('message', '')}")]


def _alternatives(alternatives: Sequence[Mapping[str, Any]], *, chosen: str) -> Table:
    rows = []
    for entry in alternatives:
        refused = entry.get("refused")
        lacks = entry.get("lacks", "")
        rows.append(
            (
                entry.get("mode", ""),
                wording.dollars(entry.get("netUsdPerHour")),
                wording.dollars(entry.get("revenueUsdPerHour")),
                wording.dollars(entry.get("feesUsdPerHour")),
                wording.dollars(entry.get("powerUsdPerHour")),
                str(entry.get("watts", _NONE)),
                _move(entry),
                wording.dollars(entry.get("regretUsd")),
                f"{refused}: {lacks}" if refused and lacks else refused or lacks,
            )
        )
    return Table(
        columns=("MODE", "NET $/h", "REVENUE", "FEES", "POWER", "WATTS", "TO MOVE", "REGRET $", "LACKS"),
        rows=tuple(rows),
        numbers=frozenset({"NET $/h", "REVENUE", "FEES", "POWER", "WATTS", "TO MOVE", "REGRET $"}),
        marked=frozenset(place for place, row in enumerate(rows) if row[0] == chosen),
    )


def _move(entry: Mapping[str, Any]) -> str:
    if "costToMoveUsd" not in entry and "secondsToMove" not in entry:
        return _NONE
    return f"{wording.dollars(entry.get('costToMoveUsd'))} $ {wording.span(float(entry.get('secondsToMove', 0)))}"


def _why(decision: Mapping[str, Any], mode: Mapping[str, Any]) -> list[str]:
    chosen = decision.get("chosen", "")
    words = decision.get("message") or "no more is known"
    notes = [f"Why {chosen} ({decision.get('reason', '')}): {words}"]
    if decision.get("gainUsdPerHour"):
        gain = wording.dollars(decision["gainUsdPerHour"])
        cost = wording.dollars(decision.get("costUsd", "0"))
        notes.append(f"The move gains {gain} $/h and costs {cost} $.")
    notes += _better(decision, chosen)
    if decision.get("expert"):
        notes.append(f"Follows {decision['expert']}: {_EXPERTS.get(decision['expert'], _STAYS)}.")
    if decision.get("heldBy"):
        notes.append(f"Held back by: {decision['heldBy']}")
    if not mode:
        notes.append("The pool only recommends, or has not taken the rig yet: nothing is changed.")
    return notes


def _better(decision: Mapping[str, Any], chosen: str) -> list[str]:
    """What would earn more, and how long the move to it would take to pay for itself."""
    by_mode = {
        entry.get("mode"): entry
        for entry in decision.get("alternatives") or ()
        if "netUsdPerHour" in entry and (entry.get("mode") == chosen or not _rented(entry.get("mode", "")))
    }
    here = by_mode.get(chosen)
    if here is None or not by_mode:
        return []
    net = float(here["netUsdPerHour"])
    best = max(by_mode.values(), key=lambda entry: float(entry["netUsdPerHour"]))
    more = float(best["netUsdPerHour"]) - net
    if more <= 0:
        return []
    words = f"{best['mode']} would earn {more:.4f} $/h more"
    if "costToMoveUsd" in best:
        words += f"; the move to it would pay for itself in {wording.span(float(best['costToMoveUsd']) / more * 3600)}"
    return [f"{words}."]


def _rented(mode: str) -> bool:
    """GPUs that are rented by the hour: what they earn they earn while they are wanted, and `lacks` says more."""
    kind, _, name = mode.partition("/")
    return kind == "AI" and "/" not in name


def _undecided(status: Mapping[str, Any]) -> list[str]:
    decided = conditions.by_type(status).get("Decided", {})
    if decided.get("message"):
        return [f"Nothing is decided ({decided.get('reason')}): {decided['message']}"]
    return ["Nothing is decided yet: no plan has looked at this rig."]


def _ages(decision: Mapping[str, Any], feeds: Sequence[Mapping[str, Any]], *, now: datetime.datetime) -> list[str]:
    notes = []
    if decision.get("at"):
        notes.append(f"Figures of {wording.when(decision['at'], now=now)}.")
    bad = []
    for feed in feeds:
        status = feed.get("status") or {}
        trust = float(status.get("trust", 0))
        if trust < 1:
            as_of = (status.get("lastGood") or {}).get("asOf")
            since = f"last good value of {wording.when(as_of, now=now)}" if as_of else "no value yet"
            bad.append(f"  {feed['metadata']['name']}: trust {trust:.0%}, {since}")
    if bad:
        notes += ["Prices that are not fully trusted:", *bad]
    elif feeds:
        notes.append(f"{'The price feed is' if len(feeds) == 1 else f'All {len(feeds)} price feeds are'} fresh.")
    return notes


def _job_state(by_type: Mapping[str, Mapping[str, Any]]) -> str:
    def at(type_: str) -> Mapping[str, Any]:
        return by_type.get(type_, {})

    def is_true(type_: str) -> bool:
        return bool(at(type_).get("status") == conditions.TRUE)

    if is_true("Finished"):
        return "has succeeded" if at("Finished").get("reason") == "Succeeded" else "has failed"
    if not is_true("Admitted"):
        reason = at("Admitted").get("reason", "")
        return f"waits ({reason}): {at('Admitted').get('message', '')}" if reason else "has not been looked at yet"
    if is_true("Preempted"):
        return f"is being stopped ({at('Preempted').get('reason')}): {at('Preempted').get('message', '')}"
    return "runs" if is_true("Running") else f"is starting: {at('Running').get('message', '')}"


def _reserve(status: Mapping[str, Any]) -> str:
    reserve = status.get("reservePriceUsdPerGpuHour")
    return f"; rigs are to be had from {wording.dollars(reserve)} $/GPU-h" if reserve else ""


def _conditions(status: Mapping[str, Any], *, now: datetime.datetime) -> Table | None:
    rows = tuple(
        (
            entry.get("type", ""),
            entry.get("status", ""),
            entry.get("reason", ""),
            wording.when(entry.get("lastTransitionTime"), now=now),
            entry.get("message", ""),
        )
        for entry in status.get("conditions") or ()
    )
    return Table(columns=("CONDITION", "IS", "REASON", "SINCE", "MESSAGE"), rows=rows) if rows else None


def _lay_out(table: Table) -> list[str]:
    widths = [max(len(row[place]) for row in (table.columns, *table.rows)) for place in range(len(table.columns))]
    laid = []
    for place, row in enumerate((table.columns, *table.rows)):
        cells = [
            cell.rjust(width) if column in table.numbers else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ]
        mark = ">" if place - 1 in table.marked else " "
        laid.append(f"{mark} {'  '.join(cells)}".rstrip())
    return laid
