"""Quotes and the Market: the values that leave this room."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping


class Quantity(enum.StrEnum):
    """What a feed quotes, and the unit every quote of it is converted to.

    ElectricityPrice: USD/kWh. CoinRevenue: USD per (GH/s) and hour; for Sol/s coins USD per (Sol/s) and hour.
    ExchangeRate: USD for one unit of a currency. CoinPrice: USD for one coin. NetworkHashrate: GH/s, or Sol/s.
    NetworkDifficulty: without a unit.
    """

    ELECTRICITY_PRICE = "ElectricityPrice"
    COIN_REVENUE = "CoinRevenue"
    EXCHANGE_RATE = "ExchangeRate"
    COIN_PRICE = "CoinPrice"
    NETWORK_HASHRATE = "NetworkHashrate"
    NETWORK_DIFFICULTY = "NetworkDifficulty"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A value with its age and the trust it deserves.

    Attributes:
        feed: name of the PriceFeed.
        quantity: what it quotes; it fixes the unit.
        value: in the quantity's unit (see `Quantity`), the last good value.
        as_of: the moment the value speaks of.
        trust: 1.0 fresh and plausible, falling with age to 0.0: then nothing may be moved because of it.
        reason: "" while trusted; else CamelCase: Stale, NotANumber, OutOfBounds, Unreachable, ...
        message: the same for people.
        unit: the unit of `value`; it tells USD per GH/s from USD per Sol/s, which no factor connects.
    """

    feed: str
    quantity: Quantity
    value: float
    as_of: datetime.datetime
    trust: float
    reason: str = ""
    message: str = ""
    unit: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Values that are known or forecast ahead of time, such as day-ahead prices; each lasts `interval_seconds`.

    Attributes:
        start: moment that `values[0]` begins to speak of.
        interval_seconds: between two values.
        values: in the quantity's unit.
        published_at: when it became known.
    """

    start: datetime.datetime
    interval_seconds: int
    values: tuple[float, ...]
    published_at: datetime.datetime


def weekday(day: int) -> int:
    """0 for Mondays to 6 for Sundays, of days counted from the first of January 1970, a Thursday."""
    return (day + 3) % 7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a feed's values are by hour of the day and day of the week, as it has learned from its own readings.

    Attributes:
        means: 24 values in the quantity's unit, of the hours 0 to 23 of the day in UTC.
        weights: how far each may be relied on: 0 where the hour was never seen, rising towards 1 with the days seen.
        weekdays: how far Mondays to Sundays are above the mean of all days, in the quantity's unit.
        last_day: mean of the last 24 hours; None as long as they were not all seen.
        weeks: mean of the last eight weeks; None before the first whole day.
    """

    means: tuple[float, ...]
    weights: tuple[float, ...]
    weekdays: tuple[float, ...] = (0.0,) * 7
    last_day: float | None = None
    weeks: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """All quotes at one moment. A feed that never gave a good value has no quote.

    Attributes:
        at: the moment.
        quotes: by feed.
        curves: by feed: what has been published about the future by now. Feeds without such a curve are missing.
        profiles: by feed: what its values usually are by hour of the day. Feeds that have learned nothing are missing.
    """

    at: datetime.datetime
    quotes: Mapping[str, Quote]
    curves: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    profiles: Mapping[str, Profile] = dataclasses.field(default_factory=dict)

    def trusted(self, feed: str) -> Quote | None:
        """The feed's quote, or None where there is none or its trust is gone."""
        quote = self.quotes.get(feed)
        return quote if quote is not None and quote.trust > 0 else None
