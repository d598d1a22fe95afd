"""A Site's status: how many rigs stand there, and what power costs now."""

from __future__ import annotations

import datetime
from typing import Any, Final

from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.status import conditions, figures

KNOWN: Final = ("Ready", "PriceTrusted")


def status(
    site: model.Site,
    *,
    now: datetime.datetime,
    rigs: int,
    rigs_gone: int,
    usd_per_kwh: float | None,
    quote: quotes.Quote | None = None,
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
        problem: why the spec could not be read, "" where it could.
    """
    price = _price(site, usd_per_kwh, quote)
    built: dict[str, Any] = {
        "observedGeneration": site.generation,
        "conditions": conditions.merge(
            site.status,
            [_ready(problem, price, rigs=rigs), price],
            known=KNOWN,
            generation=site.generation,
            now=now,
        ),
        "rigs": rigs,
        "rigsGone": rigs_gone,
    }
    if usd_per_kwh is not None:
        built["usdPerKilowattHour"] = figures.usd(usd_per_kwh)
    return built


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
