"""From the farm and its valuation to a PlanRequest; and the policy's memory back from the rigs' statuses."""

from __future__ import annotations

import datetime
import types
from collections.abc import Mapping
from typing import Any, Final

from switchyard.fleet import model
from switchyard.handover import reasons, records
from switchyard.handover import record as rec
from switchyard.planning import budgets
from switchyard.planning import request as planning
from switchyard.valuation import nameplate, values

READ_LATELY: Final = datetime.timedelta(minutes=10)
"""Farm time for which the watts that an agent has read count as what its rig draws."""

Costs = Mapping[tuple[str, model.Mode, model.Mode], values.SwitchCost]


def request(
    farm: model.Farm,
    valuation: values.Valuation,
    costs: Costs,
    memory: planning.Memory,
    now: datetime.datetime,
) -> planning.PlanRequest:
    """Everything a plan depends on at `now`."""
    walletless = {name: _walletless(farm, pool) for name, pool in farm.pools.items()}
    views = tuple(_view(farm, valuation, rig, walletless, now) for _, rig in sorted(farm.rigs.items()))
    return planning.PlanRequest(
        now=now,
        rigs=views,
        classes=valuation.classes,
        costs=costs,
        jobs=tuple(job for _, job in sorted(farm.jobs.items()) if job.state is not model.JobState.FINISHED),
        budgets=_budgets(farm, views),
        memory=memory,
        circuits=circuits(farm),
        shares=shares(farm, budgets.counted([view.pool for view in views])),
    )


def circuits(farm: model.Farm) -> Mapping[str, planning.Circuit]:
    """Every circuit of the farm by its key, with what may be drawn from it for hours on end."""
    found = [
        planning.Circuit(key=circuit_key(site.name, circuit.name), limit_watts=circuit.budget_watts)
        for _, site in sorted(farm.sites.items())
        for circuit in site.circuits.values()
    ]
    return {circuit.key: circuit for circuit in found}


def circuit_key(site: str, circuit: str) -> str:
    """Names of circuits are unique within their Site only."""
    return f"{site}/{circuit}"


def shares(farm: model.Farm, rigs: Mapping[str, int]) -> tuple[planning.Share, ...]:
    """Every pool's shares in rigs. `rigs`: how many each pool has."""
    return tuple(
        budgets.share(pool, asked, rigs.get(name, 0))
        for name, pool in sorted(farm.pools.items())
        for asked in pool.shares
    )


def recall(farm: model.Farm) -> planning.Memory:
    """What gangs have forgone, as their rigs' statuses hold it, after a restart.

    Nobody knows what the time in between has cost, so the first tick is empty.
    """
    found = {name: _recalled(rig.status) for name, rig in farm.rigs.items()}
    return planning.Memory(work_usd={name: work for name, work in found.items() if work}, at=None)


def _recalled(status: Mapping[str, Any]) -> dict[model.Mode, float]:
    decision = status.get("decision")
    listed = decision.get("alternatives") if isinstance(decision, Mapping) else None
    work: dict[model.Mode, float] = {}
    for entry in listed or ():
        try:
            mode, usd = model.Mode.parse(entry["mode"]), max(0.0, float(entry["regretUsd"]))
        except (KeyError, TypeError, ValueError):
            # No regret is told of refused modes. One that cannot be read is one that is not remembered.
            continue
        if mode.kind is model.ModeKind.AI:
            work[mode] = usd
    return work


def _view(
    farm: model.Farm,
    valuation: values.Valuation,
    rig: model.Rig,
    walletless: Mapping[str, Mapping[model.Mode, str]],
    now: datetime.datetime,
) -> planning.RigView:
    node = farm.nodes.get(rig.node_name)
    record = records.read(node) if node is not None else None
    pool = farm.pools.get(farm.pool_of.get(rig.name, ""))
    mode = record.mode if record is not None else model.IDLE
    held, message = _held(valuation, rig, node, record, now)
    lacking = walletless[pool.name] if pool is not None else _NOTHING
    barred = {target: why for target, why in lacking.items() if target != mode} if lacking else _NOTHING
    if record is not None and record.retry_at is not None and _waits(record, now) and record.origin != mode:
        again = f"failed here, not tried again before {record.retry_at:%H:%M:%S} UTC"
        barred = {**barred, record.origin: again}
    site = farm.sites.get(rig.site)
    fed = site is not None and rig.circuit in site.circuits
    measured_watts = 0.0 if rig.readback is None else _measured_watts(rig, record, now)
    switching = record is not None and not record.settled
    enforced = pool is not None and pool.enforce
    # Somebody else's work, where we have not taken the rig and shall not.
    unknown = held not in _KNOWN_WORK or (record is None and not enforced and not measured_watts)
    return planning.RigView(
        name=rig.name,
        class_key=valuation.class_of.get(rig.name, ""),
        pool=pool.name if pool is not None else "",
        mode=mode,
        since=record.since if record is not None else now,
        switching=switching,
        held=held,
        pin=rig.pin,
        held_message=message,
        enforced=enforced,
        barred=barred,
        circuit=circuit_key(rig.site, rig.circuit) if fed else "",
        origin=record.origin if record is not None and switching else None,
        measured_watts=measured_watts,
        nameplate_watts=_nameplate_watts(rig) if fed and unknown else 0.0,
    )


_NOTHING: Final[Mapping[model.Mode, str]] = types.MappingProxyType({})
"""One for all rigs that nothing is barred for: nearly all of thousands."""

# All other holds leave open what the rig does: somebody works on it, its Node is gone, it has no value.
_KNOWN_WORK: Final = frozenset({"", planning.HELD_NO_TRUSTED_PRICE, planning.HELD_BACKING_OFF})


def _measured_watts(rig: model.Rig, record: rec.Record | None, now: datetime.datetime) -> float:
    """Watts of the whole rig as its agent has lately read them, in the mode in which it has arrived; 0 for none."""
    read = rig.readback
    if read is None or read.observed_at is None or read.watts <= 0:
        return 0.0
    if record is not None and (not record.settled or record.mode == model.OFF or read.observed_at < record.since):
        return 0.0
    return float(rig.base_watts + read.watts) if now - read.observed_at <= READ_LATELY else 0.0


def _nameplate_watts(rig: model.Rig) -> float:
    return float(rig.base_watts + sum(nameplate.profile(gpu.model).ai_watts for gpu in rig.hardware.gpus))


def _walletless(farm: model.Farm, pool: model.Pool) -> dict[model.Mode, str]:
    """Coins whose wallet is not there. A miner that runs has its wallet; a new one would wait for it and time out."""
    coins = [farm.coins[name] for name in pool.coins if name in farm.coins]
    return {
        model.mining(coin.name): f"there is no Secret {coin.wallet_secret} with its wallet"
        for coin in coins
        if coin.wallet_secret in farm.missing_secrets
    }


def _held(
    valuation: values.Valuation,
    rig: model.Rig,
    node: model.Node | None,
    record: rec.Record | None,
    now: datetime.datetime,
) -> tuple[str, str]:
    """Why the plan must leave a rig alone, or two empty texts."""
    if rig.maintenance:
        return planning.HELD_MAINTENANCE, "the rig is under maintenance"
    if node is None:
        return planning.HELD_NODE_GONE, f"there is no Node {rig.node_name}"
    unvalued = valuation.unvalued.get(rig.name)
    if unvalued is not None:
        return unvalued.reason, unvalued.lacks
    if not node.ready:
        powered_down = record is not None and record.settled and record.mode == model.OFF
        if not powered_down:
            return planning.HELD_NODE_NOT_READY, f"Node {rig.node_name} is not ready"
    value = valuation.classes[valuation.class_of[rig.name]]
    if value.usd_per_kwh is None:
        lacks = next(
            (each.lacks for each in value.refusals.values() if each.reason == planning.HELD_NO_TRUSTED_PRICE), ""
        )
        return planning.HELD_NO_TRUSTED_PRICE, lacks or "no trusted price of power"
    if record is not None and _waits(record, now) and record.reason not in reasons.TARGET_FAULTS:
        return planning.HELD_BACKING_OFF, f"{record.reason}: the last hand-over went back, attempt {record.attempt}"
    return "", ""


def _waits(record: rec.Record, now: datetime.datetime) -> bool:
    """Whether the wait after a failed hand-over still runs."""
    return record.retry_at is not None and record.settled and now < record.retry_at


def _budgets(farm: model.Farm, views: tuple[planning.RigView, ...]) -> Mapping[str, planning.Budget]:
    rigs = budgets.counted([view.pool for view in views])
    switching = budgets.counted([view.pool for view in views if view.switching])
    return {
        name: planning.Budget(
            pool=name,
            limit=budgets.limit(pool.max_switching, rigs.get(name, 0)),
            used=switching.get(name, 0),
        )
        for name, pool in farm.pools.items()
    }
