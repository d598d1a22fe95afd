"""A Site's status: how many rigs stand there, what power costs now, and what its circuits carry."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.planning import draw
from switchyard.status import conditions, figures

KNOWN: Final = ("Ready", "PriceTrusted", "CircuitsWithinLimit")


def status(
    site: model.Site,
    *,
    now: datetime.datetime,
    rigs: int,
    rigs_gone: int,
    usd_per_kwh: float | None,
    quote: quotes.Quote | None = None,
    loads: Mapping[str, draw.Load] | None = None,
    problem: str = "",
) -> dict[str, Any]:
    """A Site's whole status.

    Args:
        site: the site, with its status as it stands.
        now: farm time.
        rigs: Rigs that stand there.
        rigs_gone: those of them whose Node is absent or not ready.
        usd_per_kwh: what power costs there now; None with no trusted price.
        quote: of the feed behind the tariff, where it has one.
        loads: what its circuits carry, by name, as of the last plan; None before the first.
        problem: why the spec could not be read, "" where it could.
    """
    price = _price(site, usd_per_kwh, quote)
    built: dict[str, Any] = {
        "observedGeneration": site.generation,
        "conditions": conditions.merge(
            site.status,
            [_ready(problem, price, rigs=rigs), price, _within_limit(site, loads)],
            known=KNOWN,
            generation=site.generation,
            now=now,
        ),
        "rigs": rigs,
        "rigsGone": rigs_gone,
    }
    if usd_per_kwh is not None:
        built["usdPerKilowattHour"] = figures.usd(usd_per_kwh)
    if site.circuits:
        built["circuits"] = [_circuit(site.circuits[name], (loads or {}).get(name)) for name in sorted(site.circuits)]
    return built


def _circuit(circuit: model.Circuit, load: draw.Load | None) -> dict[str, Any]:
    built: dict[str, Any] = {
        "name": circuit.name,
        "limitWatts": circuit.limit_watts,
        "budgetWatts": round(circuit.budget_watts),
    }
    if load is not None:
        built |= {"rigs": load.rigs, "drawnWatts": round(load.drawn)}
    return built


def _within_limit(site: model.Site, loads: Mapping[str, draw.Load] | None) -> conditions.Finding:
    if not site.circuits:
        return conditions.true("CircuitsWithinLimit", "NoCircuits", "The Site names no circuits: nothing is limited.")
    if loads is None:
        return conditions.unknown("CircuitsWithinLimit", "NotYetPlanned", "No plan has counted their watts yet.")
    over = [
        f"{name} ({loads[name].drawn / 1000:.2f} of {circuit.budget_watts / 1000:.2f} kW)"
        for name, circuit in sorted(site.circuits.items())
        if name in loads and loads[name].drawn > circuit.budget_watts + 0.5
    ]
    if over:
        what = figures.some(over)
        return conditions.false("CircuitsWithinLimit", "OverLimit", f"Too much is drawn from {what}: rigs are stopped.")
    return conditions.true("CircuitsWithinLimit", "WithinLimit", "Every circuit carries no more than its budget.")


def _price(site: model.Site, usd_per_kwh: float | None, quote: quotes.Quote | None) -> conditions.Finding:
    tariff = site.tariff
    if not isinstance(tariff, model.FeedTariff):
        # One that is written down is always known; the number stands in its own field.
        return conditions.true("PriceTrusted", "Tariff", "The price stands in the Site's own tariff.")
    if usd_per_kwh is not None and quote is not None and quote.trust >= 1.0:
        return conditions.true("PriceTrusted", "Fresh", f"PriceFeed {tariff.feed} is fresh.")
    if usd_per_kwh is not None:
        return conditions.true(
            "PriceTrusted", "Ageing", f"PriceFeed {tariff.feed} has an old price that still counts in part."
        )
    if quote is None:
        return conditions.false(
            "PriceTrusted",
            "NoPrice",
            f"PriceFeed {tariff.feed} does not exist or has never given a price: rigs here keep what they do.",
        )
    why = f" ({quote.message})" if quote.message else ""
    return conditions.false(
        "PriceTrusted",
        quote.reason or "Stale",
        f"PriceFeed {tariff.feed} gives no price that can be trusted{why}: rigs here keep what they do.",
    )


def _ready(problem: str, price: conditions.Finding, *, rigs: int) -> conditions.Finding:
    if problem:
        return conditions.false("Ready", "InvalidSpec", problem)
    if price.status != conditions.TRUE:
        return conditions.Finding("Ready", price.status, price.reason, price.message)
    if not rigs:
        return conditions.false("Ready", "NoRigs", "No GPU Node carries the labels of the nodeSelector.")
    return conditions.true("Ready", "Ready", "Its rigs and its price are known.")
