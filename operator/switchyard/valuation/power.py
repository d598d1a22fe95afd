"""What a kilowatt-hour costs a Site at a moment, and what drawing watts costs."""

from __future__ import annotations

import dataclasses
import datetime
import zoneinfo

from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.valuation import values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of power at a Site. Negative prices are real: then drawing power earns.

    Attributes:
        usd_per_kwh: the tariff, before PUE; None where there is no trusted price.
        trust: of the quote behind it; 1.0 for tariffs that people wrote down.
        missing: "" or, with no price, why: for people.
    """

    usd_per_kwh: float | None
    trust: float = 1.0
    missing: str = ""


def price(*, site: model.Site, market: quotes.Market, now: datetime.datetime) -> Price:
    """The Site's price at `now` (aware)."""
    tariff = site.tariff
    match tariff:
        case model.FixedTariff():
            return Price(usd_per_kwh=tariff.usd_per_kwh)
        case model.TimeOfUseTariff():
            try:
                zone = zoneinfo.ZoneInfo(site.time_zone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError):
                return Price(usd_per_kwh=None, trust=0.0, missing=f"unknown time zone {site.time_zone!r}")
            return Price(usd_per_kwh=time_of_use(tariff, now.astimezone(zone)))
        case model.FeedTariff():
            quote = market.trusted(tariff.feed)
            if quote is None:
                return Price(usd_per_kwh=None, trust=0.0, missing=untrusted(market, tariff.feed))
            return Price(usd_per_kwh=quote.value + tariff.adder_usd_per_kwh, trust=quote.trust)


def outlook(*, site: model.Site, market: quotes.Market, now: datetime.datetime, price: Price) -> values.Outlook | None:
    """What power will cost the Site from `now` on; `price` is what `price()` said. None with no trusted price."""
    if price.usd_per_kwh is None:
        return None
    return values.Outlook(hours=(0.0,), usd_per_kwh=(price.usd_per_kwh,))


def time_of_use(tariff: model.TimeOfUseTariff, local: datetime.datetime) -> float:
    """The price in USD/kWh when the Site's clocks on the wall show `local`.

    Only wall time is compared, never durations, so days of 23 and 25 hours need no care: an hour that happens twice is
    in its window twice. A window past midnight belongs to the day on which it starts.
    """
    today, moment = local.weekday(), local.time()
    yesterday = (today - 1) % 7
    for window in tariff.windows:
        if window.end > window.start:
            held = today in window.days and window.start <= moment < window.end
        else:
            held = (today in window.days and moment >= window.start) or (
                yesterday in window.days and moment < window.end
            )
        if held:
            return window.usd_per_kwh
    return tariff.otherwise_usd_per_kwh


def untrusted(market: quotes.Market, feed: str) -> str:
    """Why a feed gives no trusted value, for people."""
    quote = market.quotes.get(feed)
    if quote is None:
        return f"PriceFeed {feed} has not given a good value yet"
    why = quote.message or quote.reason or "too old"
    return f"PriceFeed {feed} is not trusted: {why}"


def usd_per_watt_hour(*, usd_per_kwh: float, pue: float) -> float:
    """What one watt at the rig costs per hour, with what cooling and losses add."""
    return usd_per_kwh * pue / 1000
