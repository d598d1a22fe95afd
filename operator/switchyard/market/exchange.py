"""Prices in other currencies: converted by a rate, and trusted no more than it. Pure."""

from __future__ import annotations

import dataclasses

from switchyard.market import cleaning, quotes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Where the rate of a currency is found: fixed, or quoted by a PriceFeed. US dollars for one unit of `currency`."""

    currency: str
    feed: str = ""
    usd: float | None = None


def rate(exchange: Exchange, quote: quotes.Quote | None) -> float | cleaning.Trouble:
    """US dollars for one unit of the currency.

    Args:
        exchange: what the spec says.
        quote: of its feed, None where there is none.
    """
    if exchange.usd is not None:
        return exchange.usd
    if quote is None:
        return cleaning.Trouble(
            reason="NoExchangeRate", message=f"PriceFeed {exchange.feed} has given no rate for {exchange.currency} yet"
        )
    wanted = f"USD/{exchange.currency}"
    if quote.unit != wanted:
        return cleaning.Trouble(
            reason="WrongExchangeRate", message=f"PriceFeed {exchange.feed} quotes {quote.unit}, but {wanted} is needed"
        )
    if quote.value <= 0:
        return cleaning.Trouble(
            reason="WrongExchangeRate",
            message=f"PriceFeed {exchange.feed} quotes {quote.value:g} {wanted}; a currency is worth more than nothing",
        )
    return quote.value


def converted(quote: quotes.Quote, *, usd: float, by: quotes.Quote | None) -> quotes.Quote:
    """A price in US dollars. It is as old as the older of price and rate, and trusted as the less trusted of both.

    Args:
        quote: a price in another currency.
        usd: for one unit of it.
        by: the quote of the rate, None for a fixed one.
    """
    weak = by if by is not None and by.trust < quote.trust else quote
    return dataclasses.replace(
        quote,
        value=quote.value * usd,
        as_of=quote.as_of if by is None else min(quote.as_of, by.as_of),
        trust=weak.trust,
        reason=weak.reason,
        message=weak.message if weak is quote or not weak.message else f"rate of exchange: {weak.message}",
        unit=f"USD/{quote.unit.partition('/')[2]}",
    )


def converted_curve(curve: quotes.Curve, *, usd: float) -> quotes.Curve:
    """A curve in US dollars."""
    return dataclasses.replace(curve, values=tuple(value * usd for value in curve.values))


def converted_profile(profile: quotes.Profile, *, usd: float) -> quotes.Profile:
    """A profile in US dollars."""
    return dataclasses.replace(
        profile,
        means=tuple(mean * usd for mean in profile.means),
        weekdays=tuple(apart * usd for apart in profile.weekdays),
        last_day=None if profile.last_day is None else profile.last_day * usd,
        weeks=None if profile.weeks is None else profile.weeks * usd,
    )
