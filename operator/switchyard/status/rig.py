"""A Rig's status: what it is, what it does, why, and what else it could do."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from switchyard.fleet import model
from switchyard.handover import reasons
from switchyard.handover import record as records
from switchyard.planning import request, same
from switchyard.status import conditions, figures
from switchyard.valuation import values

KNOWN: Final = ("Ready", "NodePresent", "Eligible", "Switching", "Decided", "CircuitKnown")

_TROUBLES: Final = reasons.WENT_BACK | {reasons.STUCK_TERMINATING, reasons.NOTICE_LATE, reasons.MINER_LOST}

MOST_ALTERNATIVES: Final = 24
"""Alternatives shown; of the modes beyond, all of them jobs, the decision's message tells how many there are."""


def status(
    rig: model.Rig,
    *,
    now: datetime.datetime,
    node: model.Node | None,
    pool: model.Pool | None,
    record: records.Record | None,
    decision: request.Decision | None,
    unvalued: values.Refusal | None = None,
    contested: Sequence[str] = (),
    circuits: Collection[str] = (),
) -> dict[str, Any]:
    """The operator's part of a Rig's status.

    Args:
        rig: the rig, with its status as it stands.
        now: farm time.
        node: its Node, None when there is none.
        pool: the pool it belongs to, None for none.
        record: the hand-over's record from the Node, None when nobody has taken the Node yet.
        decision: of the last plan; None between plans: then what the status says of the decision stays.
        unvalued: why it has no value and so no decision (no hardware known, say).
        contested: other pools that select it too.
        circuits: names of its Site's circuits.
    """
    findings = [
        _ready(rig, node=node, pool=pool, record=record),
        _node_present(rig, node),
        *_switching(record),
        *_decided(decision, unvalued=unvalued, pool=pool, contested=contested),
        *_eligible(decision),
        _circuit_known(rig, circuits),
    ]
    built: dict[str, Any] = {
        "observedGeneration": rig.generation,
        "conditions": conditions.merge(rig.status, findings, known=KNOWN, generation=rig.generation, now=now),
        "hardware": _hardware(rig.hardware),
    }
    if pool is not None:
        built["pool"] = pool.name
    if record is not None:
        built["mode"] = {"desired": str(record.mode), "observed": str(record.mode) if record.settled else "Switching"}
        if not record.settled:
            built["step"] = _step(record)
    if decision is not None:
        built["decision"] = _decision(decision, record=record, now=now)
    elif unvalued is None and "decision" in rig.status:
        built["decision"] = rig.status["decision"]
    return built


def _ready(
    rig: model.Rig, *, node: model.Node | None, pool: model.Pool | None, record: records.Record | None
) -> conditions.Finding:
    off = record is not None and record.settled and record.mode == model.OFF
    if node is None:
        return conditions.false("Ready", "NodeGone", f"There is no Node {rig.node_name}.")
    if not node.ready and not off:
        return conditions.false("Ready", "NodeNotReady", f"Node {node.name} does not report ready.")
    if rig.maintenance:
        return conditions.false("Ready", "Maintenance", "In maintenance: it is left as it is.")
    if record is not None and not record.settled:
        return _under_way(record)
    if pool is None:
        return conditions.false("Ready", "NoPool", "No GPUPool selects this rig.")
    if record is None:
        if pool.enforce:
            return conditions.false("Ready", "NotYetHeld", f"Pool {pool.name} has not taken the Node yet.")
        return conditions.true("Ready", "Recommended", f"Pool {pool.name} only recommends: nothing is changed.")
    return conditions.true("Ready", "Settled", f"In {record.mode}.{_went_back(record)}")


def _under_way(record: records.Record) -> conditions.Finding:
    """A switch as it should be is `Switching`; one that hangs or goes back says what is wrong."""
    words = f"{record.origin} -> {record.mode}"
    if record.reason in _TROUBLES:
        return conditions.false("Ready", record.reason, f"{words}: {record.message or record.reason}")
    return conditions.false("Ready", "Switching", f"{words}, {record.step}.")


def _went_back(record: records.Record) -> str:
    if record.reason not in reasons.WENT_BACK:
        return ""
    again = f" Not tried again before {conditions.moment(record.retry_at)}." if record.retry_at else ""
    return f" The last switch failed: {(record.message or record.reason).rstrip('.')}.{again}"


def _node_present(rig: model.Rig, node: model.Node | None) -> conditions.Finding:
    if node is None:
        return conditions.false("NodePresent", "NodeGone", f"There is no Node {rig.node_name}.")
    if not node.ready:
        return conditions.true("NodePresent", "NodeNotReady", f"Node {node.name} exists and does not report ready.")
    return conditions.true("NodePresent", "NodeReady", f"Node {node.name} is there.")


def _switching(record: records.Record | None) -> list[conditions.Finding]:
    if record is None:
        return [conditions.false("Switching", "NotHeld", "Nobody holds the Node.")]
    if record.settled:
        return [conditions.Finding("Switching", conditions.FALSE, "Settled", f"In {record.mode}.", record.since)]
    until = f", at most until {conditions.moment(record.deadline)}" if record.deadline else ""
    message = f"{record.origin} -> {record.mode}: {record.step} since {conditions.moment(record.since)}{until}."
    if record.message:
        message += f" {record.message}"
    return [conditions.Finding("Switching", conditions.TRUE, record.step.value, message, record.started)]


def _decided(
    decision: request.Decision | None,
    *,
    unvalued: values.Refusal | None,
    pool: model.Pool | None,
    contested: Sequence[str],
) -> list[conditions.Finding]:
    also = (
        f" Also selected by {', '.join(contested)}, which must leave it to {pool.name}." if contested and pool else ""
    )
    if unvalued is not None:
        return [conditions.false("Decided", unvalued.reason, unvalued.lacks + also)]
    if decision is None:
        return []
    return [conditions.true("Decided", decision.reason, decision.message + also)]


def _eligible(decision: request.Decision | None) -> list[conditions.Finding]:
    """From the jobs that wait or run: only what somebody asked for can be told for sure."""
    if decision is None:
        return []
    jobs = [alternative for alternative in decision.alternatives if _is_job(alternative.mode)]
    if any(alternative.worth is not None for alternative in jobs):
        return [conditions.true("Eligible", "FitsAJob", "At least one job that waits or runs fits this rig.")]
    lacks = sorted({alternative.refusal.lacks for alternative in jobs if alternative.refusal is not None})
    if lacks:
        return [
            conditions.false("Eligible", "FitsNoJob", f"No job that waits or runs fits: {figures.some(lacks, most=3)}.")
        ]
    return [conditions.unknown("Eligible", "NoJobs", "No job waits or runs that it could be measured against.")]


def _circuit_known(rig: model.Rig, circuits: Collection[str]) -> conditions.Finding:
    if not rig.circuit:
        return conditions.true("CircuitKnown", "NoCircuit", "On no circuit: its watts are not limited.")
    if rig.circuit in circuits:
        return conditions.true("CircuitKnown", "Known", f"On circuit {rig.circuit} of Site {rig.site}.")
    known = figures.some(sorted(circuits)) or "none"
    return conditions.false(
        "CircuitKnown",
        "CircuitMissing",
        f"Site {rig.site} has no circuit {rig.circuit} (it has: {known}): the rig's watts are not limited.",
    )


def _hardware(hardware: model.Hardware) -> dict[str, Any]:
    return {
        "gpus": [_gpu(gpu) for gpu in hardware.gpus],
        "hostMemoryMiB": hardware.host_memory_mib,
        "cpuCores": hardware.cpu_cores,
    }


def _gpu(gpu: model.Gpu) -> dict[str, Any]:
    shown: dict[str, Any] = {"model": gpu.model, "memoryMiB": gpu.memory_mib}
    if gpu.compute_capability is not None:
        shown["computeCapability"] = "{}.{}".format(*gpu.compute_capability)
    if gpu.host_link_gigabytes_per_second is not None:
        shown["hostLinkGigabytesPerSecond"] = figures.rate(gpu.host_link_gigabytes_per_second)
    if gpu.uuid:
        shown["uuid"] = gpu.uuid
    return shown


def _step(record: records.Record) -> dict[str, Any]:
    step = {
        "name": record.step.value,
        "since": conditions.moment(record.since),
        "reason": record.reason,
        "message": record.message,
    }
    if record.deadline is not None:
        step["deadline"] = conditions.moment(record.deadline)
    return step


def _decision(decision: request.Decision, *, record: records.Record | None, now: datetime.datetime) -> dict[str, Any]:
    shown = _shown(same.Same(decision.alternatives), decision.chosen)
    message = decision.message
    if unshown := len(decision.alternatives) - len(shown) + decision.unlisted:
        message = f"{message} ({figures.count(unshown, 'more job')} not shown)".lstrip()
    built: dict[str, Any] = {
        "at": conditions.moment(now),
        "chosen": str(decision.chosen),
        "reason": decision.reason,
        "message": message,
        "heldBy": decision.held_by,
        "alternatives": [*shown],
    }
    if decision.expert:
        built["expert"] = decision.expert
    by_mode = {entry.mode: entry for entry in decision.alternatives}
    chosen = by_mode.get(decision.chosen)
    current = by_mode.get(record.mode) if record is not None else None
    if chosen is not None and current is not None and chosen is not current:
        if chosen.worth is not None and current.worth is not None:
            gain = chosen.worth.net_usd_per_hour - current.worth.net_usd_per_hour
            built["gainUsdPerHour"] = figures.usd(gain)
        cost = _cost_usd(chosen)
        if cost is not None:
            built["costUsd"] = figures.usd(cost)
    return built


@functools.lru_cache(maxsize=1024)
def _shown(found: same.Same[tuple[request.Alternative, ...]], chosen: model.Mode) -> tuple[Mapping[str, Any], ...]:
    """Alternatives as people see them, best first."""
    ranked = sorted(found.value, key=_rank)
    return tuple(_alternative(entry) for entry in _worth_showing(ranked, chosen=chosen))


def _worth_showing(ranked: list[request.Alternative], *, chosen: model.Mode) -> list[request.Alternative]:
    """Every mode that is no job, the chosen one, and as many of the best jobs as there is room for."""
    if len(ranked) <= MOST_ALTERNATIVES:
        return ranked

    def always(entry: request.Alternative) -> bool:
        return not _is_job(entry.mode) or entry.mode == chosen

    room = MOST_ALTERNATIVES - sum(1 for entry in ranked if always(entry))
    shown = []
    for entry in ranked:
        if always(entry):
            shown.append(entry)
        elif room > 0:
            shown.append(entry)
            room -= 1
    return shown


def _is_job(mode: model.Mode) -> bool:
    """Whether a mode is an AIJob's; GPUs rented by the hour are of no namespace."""
    return mode.kind is model.ModeKind.AI and "/" in mode.name


def _rank(alternative: request.Alternative) -> tuple[bool, float, str]:
    """Best first; what is not to be had comes last, by name."""
    if alternative.worth is None:
        return True, 0.0, str(alternative.mode)
    return False, -alternative.worth.net_usd_per_hour, str(alternative.mode)


def _cost_usd(alternative: request.Alternative) -> float | None:
    """The whole cost of the move, the value of the lost seconds included where the plan has worked it out."""
    if alternative.cost_usd is not None:
        return alternative.cost_usd
    return alternative.cost.usd if alternative.cost is not None else None


def _alternative(alternative: request.Alternative) -> dict[str, Any]:
    shown: dict[str, Any] = {"mode": str(alternative.mode)}
    if alternative.worth is not None:
        worth = alternative.worth
        shown["netUsdPerHour"] = figures.usd(worth.net_usd_per_hour)
        shown["revenueUsdPerHour"] = figures.usd(worth.revenue_usd_per_hour)
        shown["feesUsdPerHour"] = figures.usd(worth.fees_usd_per_hour)
        shown["powerUsdPerHour"] = figures.usd(worth.power_usd_per_hour)
        shown["watts"] = round(worth.watts)
    if alternative.refusal is not None:
        shown["refused"] = alternative.refusal.reason
    cost = _cost_usd(alternative)
    if alternative.cost is not None and cost is not None:
        shown["costToMoveUsd"] = figures.usd(cost)
        shown["secondsToMove"] = round(alternative.cost.seconds)
    if alternative.regret_usd is not None:
        shown["regretUsd"] = figures.usd(alternative.regret_usd)
    lacks = alternative.lacks or (alternative.refusal.lacks if alternative.refusal is not None else "")
    if lacks:
        shown["lacks"] = lacks
    return shown
