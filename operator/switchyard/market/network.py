"""What a coin's network pays for hash rate, from its price, its reward and its difficulty. Pure: the time is given.

A miner's share of the coins is its share of the hash rate. With c coins handed out in an hour and N hashes per second
of all miners, one hash per second earns c / N coins an hour. Where only the difficulty D is known, a hash finds a block
with probability 1 / (D x k), k being the hashes of a block at difficulty 1: one hash per second earns
3600 x reward / (D x k) coins an hour.

Hash rates are guessed from the blocks that were found, and those come by luck: the coins per hash rate are averaged,
with weights that halve in a given time. The price of the coin is known as it is and taken as it is.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Final

from switchyard.market import cleaning, quotes, units

_HASHES_OF_GIGAHASH: Final = 1e9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """Which feeds and figures make up a coin's revenue.

    Attributes:
        coin_price_feed: USD for a coin.
        network_feed: hash rate of all miners, or the difficulty.
        coins_per_hour: that the network pays; None with a difficulty.
        hashes_per_coin: hashes for one coin at difficulty 1; None with a hash rate.
        half_life_seconds: of the average over luck.
    """

    coin_price_feed: str
    network_feed: str
    coins_per_hour: float | None
    hashes_per_coin: float | None
    half_life_seconds: float


class Luck:
    """An average whose weights halve in a given time. The first value counts like any other, so it starts unbiased."""

    def __init__(self, half_life_seconds: float) -> None:
        self._half_life = half_life_seconds
        self._sum = self._weight = self._last = 0.0
        self._at: datetime.datetime | None = None

    def average(self, value: float, now: datetime.datetime) -> float:
        """Take in a value that has held since the last one, and tell the average."""
        passed = 0.0 if self._at is None else max(0.0, (now - self._at).total_seconds())
        kept: float = 2.0 ** (-passed / self._half_life)
        # The last value has held all that time; the new one counts from now on.
        self._sum = self._sum * kept + self._last * (1 - kept)
        self._weight = self._weight * kept + (1 - kept if self._at is not None else 0.0)
        self._last, self._at = value, now
        # As if each value were going to hold for a minute at least: the very first has no time behind it.
        present: float = 1 - 2.0 ** (-60.0 / self._half_life)
        return (self._sum + value * present) / (self._weight + present)


class Network:
    """A source that asks other feeds instead of the world.

    Args:
        formula: of the coin.
        unit: the feed's own, in which readings are told.
        look: gives another feed's quote, with the trust of the moment; None for one that has none.
    """

    def __init__(
        self,
        *,
        formula: Formula,
        unit: units.Unit,
        look: Callable[[str, datetime.datetime], quotes.Quote | None],
    ) -> None:
        self._formula = formula
        self._unit = unit
        self._look = look
        self._luck = Luck(formula.half_life_seconds)
        self._seen: datetime.datetime | None = None
        self._coins = 0.0

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the feeds it is worked out from."""
        return frozenset({self._formula.coin_price_feed, self._formula.network_feed})

    async def read(self, *, now: datetime.datetime) -> cleaning.Reading:
        """The revenue of now; see `work_out`."""
        return self.work_out(now)

    def work_out(self, now: datetime.datetime) -> cleaning.Reading:
        """The revenue in the feed's unit, as old as the older of what it is made of; or what is missing."""
        formula = self._formula
        price = self._input(formula.coin_price_feed, {quotes.Quantity.COIN_PRICE}, now)
        if isinstance(price, cleaning.Reading):
            return price
        wanted = (
            quotes.Quantity.NETWORK_DIFFICULTY if formula.coins_per_hour is None else quotes.Quantity.NETWORK_HASHRATE
        )
        network = self._input(formula.network_feed, {wanted}, now)
        if isinstance(network, cleaning.Reading):
            return network
        solutions = "Sol/s" in self._unit.canonical
        if network.quantity == quotes.Quantity.NETWORK_HASHRATE and (network.unit == "Sol/s") != solutions:
            return cleaning.Reading.failed(
                "UnitMismatch",
                f"PriceFeed {formula.network_feed} counts {network.unit}, which cannot be compared with "
                f"{self._unit.text}: solutions and hashes are different things",
            )
        if network.value <= 0:
            return cleaning.Reading.failed(
                "NoNetwork", f"PriceFeed {formula.network_feed} says {network.value:g}: nobody would be mining"
            )
        # A figure that is read again and again is one figure: only one of another time is taken into the average.
        if self._seen != network.as_of:
            self._coins = self._luck.average(_coins(formula, network.value, solutions=solutions), now)
            self._seen = network.as_of
        return cleaning.Reading(
            value=self._unit.from_canonical(self._coins * price.value), as_of=min(price.as_of, network.as_of)
        )

    def _input(
        self, feed: str, quantities: set[quotes.Quantity], now: datetime.datetime
    ) -> quotes.Quote | cleaning.Reading:
        quote = self._look(feed, now)
        if quote is None:
            return cleaning.Reading.failed("InputMissing", f"PriceFeed {feed} has given no value yet")
        if quote.quantity not in quantities:
            needed = " or ".join(sorted(quantities))
            return cleaning.Reading.failed("WrongInput", f"PriceFeed {feed} quotes {quote.quantity}, not {needed}")
        if quote.trust <= 0:
            why = quote.message or quote.reason
            return cleaning.Reading.failed("InputNotTrusted", f"PriceFeed {feed} is not trusted: {why}")
        return quote


def _coins(formula: Formula, network: float, *, solutions: bool) -> float:
    """Coins per hour for 1 GH/s, or for 1 Sol/s."""
    if formula.coins_per_hour is not None:
        return formula.coins_per_hour / network
    if formula.hashes_per_coin is None:
        raise ValueError("a formula has coins per hour, or hashes per coin")
    return 3600.0 / (network * formula.hashes_per_coin) * (1.0 if solutions else _HASHES_OF_GIGAHASH)
