"""A Coin's status: what a unit of hash rate earns now, and whether it can be mined at all."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from typing import Any, Final

from switchyard.fleet import model
from switchyard.market import quotes, units
from switchyard.status import conditions, figures

KNOWN: Final = ("Ready", "FeedKnown", "PriceTrusted", "WalletFound")


def status(
    coin: model.Coin,
    *,
    now: datetime.datetime,
    quote: quotes.Quote | None,
    feeds: Collection[str],
    secrets: Collection[str],
    miners_namespace: str,
    measured: Mapping[str, model.Benchmark],
    problem: str = "",
) -> dict[str, Any]:
    """A Coin's whole status.

    Args:
        coin: the coin, with its status as it stands.
        now: farm time.
        quote: of its revenue feed at `now`, None where that never gave a value.
        feeds: names of the PriceFeeds that exist.
        secrets: names of the Secrets seen in the miners' namespace.
        miners_namespace: where the wallet's Secret must be.
        measured: by model of GPU, what the rigs have measured.
        problem: why the spec could not be read, "" where it could.
    """
    value = _usd_per_unit_hour(coin, quote)
    feed = _feed(coin, feeds)
    price = _price(coin, quote, value)
    wallet = _wallet(coin, secrets, miners_namespace)
    built: dict[str, Any] = {
        "observedGeneration": coin.generation,
        "conditions": conditions.merge(
            coin.status,
            [_ready(problem, feed, wallet, price), feed, price, wallet],
            known=KNOWN,
            generation=coin.generation,
            now=now,
        ),
    }
    if value is not None:
        built["usdPerUnitHour"] = figures.rate(value)
    if measured:
        built["benchmarks"] = [
            {"gpu": gpu, "hashrate": figures.rate(_in_unit(coin, found.hashrate)), "watts": found.watts}
            for gpu, found in sorted(measured.items())
        ]
    return built


def _in_unit(coin: model.Coin, hashrate: float) -> float:
    return hashrate if coin.unit == "Sol/s" else units.convert_hash_rate(hashrate, given="GH/s", wanted=coin.unit)


def _usd_per_unit_hour(coin: model.Coin, quote: quotes.Quote | None) -> float | None:
    """In the coin's own unit of hash rate; None without a quote, or where solutions would be counted as hashes."""
    if quote is None or (quote.unit and ("Sol/s" in quote.unit) != (coin.unit == "Sol/s")):
        return None
    if coin.unit == "Sol/s":
        return quote.value
    return quote.value * units.convert_hash_rate(1.0, given=coin.unit, wanted="GH/s")


def _feed(coin: model.Coin, feeds: Collection[str]) -> conditions.Finding:
    if coin.revenue_feed in feeds:
        return conditions.true("FeedKnown", "Found", f"PriceFeed {coin.revenue_feed} exists.")
    there = figures.some(sorted(feeds)) or "none at all"
    return conditions.false(
        "FeedKnown",
        "FeedMissing",
        f"There is no PriceFeed {coin.revenue_feed} (spec.revenueFeed). There are: {there}.",
    )


def _price(coin: model.Coin, quote: quotes.Quote | None, value: float | None) -> conditions.Finding:
    name = coin.revenue_feed
    if quote is None:
        return conditions.false("PriceTrusted", "NoPrice", f"PriceFeed {name} has given no value yet: it is not mined.")
    if value is None:
        return conditions.false(
            "PriceTrusted",
            "UnitMismatch",
            f"PriceFeed {name} quotes {quote.unit}, but benchmarks of this coin are in {coin.unit}: "
            "solutions and hashes cannot be compared.",
        )
    if quote.trust <= 0:
        why = f" ({quote.message})" if quote.message else ""
        return conditions.false(
            "PriceTrusted",
            quote.reason or "Stale",
            f"PriceFeed {name} gives no value that can be trusted{why}: "
            "no rig is moved to this coin, and those that mine it keep on.",
        )
    if quote.trust < 1:
        return conditions.true(
            "PriceTrusted", "Ageing", f"PriceFeed {name} has an old value that still counts in part."
        )
    return conditions.true("PriceTrusted", "Fresh", f"PriceFeed {name} is fresh.")


def _wallet(coin: model.Coin, secrets: Collection[str], namespace: str) -> conditions.Finding:
    if coin.wallet_secret in secrets:
        return conditions.true("WalletFound", "Found", f"Secret {namespace}/{coin.wallet_secret} exists.")
    return conditions.false(
        "WalletFound",
        "SecretMissing",
        f"There is no Secret {coin.wallet_secret} in namespace {namespace}: without it no miner starts. "
        f"Create it there, with the payout address under the key {coin.wallet_key}.",
    )


def _ready(problem: str, *findings: conditions.Finding) -> conditions.Finding:
    if problem:
        return conditions.false("Ready", "InvalidSpec", problem)
    for finding in findings:
        if finding.status != conditions.TRUE:
            return conditions.Finding("Ready", finding.status, finding.reason, finding.message)
    return conditions.true("Ready", "Minable", "Price and wallet are there.")
