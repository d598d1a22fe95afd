"""Units of prices and hash rates: a closed set of texts, each with its quantity and its factor.

Everything is computed in the canonical units of `quotes.Quantity`: USD/kWh for electricity, USD per GH/s and hour for
coins. Equihash coins count solutions, not hashes; no factor connects the two, so USD per Sol/s and hour is canonical
beside it. A price in another currency is converted to its own kWh or coin first, and by a rate of exchange later.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from switchyard.market import quotes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit a feed may quote in.

    Attributes:
        text: as it is written in a PriceFeed.
        quantity: what can be quoted in it.
        canonical: text of the unit that values are converted to.
        multiply: a value times this and ...
        divide: ... over this is the value in the canonical unit. Two whole numbers, so that nothing is rounded twice.
        currency: of a price that is not in US dollars; "" for all others.
    """

    text: str
    quantity: quotes.Quantity
    canonical: str
    multiply: int = 1
    divide: int = 1
    currency: str = ""

    def to_canonical(self, value: float) -> float:
        """Convert a value of this unit to the canonical one."""
        return value * self.multiply / self.divide

    def from_canonical(self, value: float) -> float:
        """Convert a value of the canonical unit to this one."""
        return value * self.divide / self.multiply


# Hashes per second in each unit of hash rate.
_HASHES: Final = {"H/s": 1, "kH/s": 10**3, "MH/s": 10**6, "GH/s": 10**9}
_SOLUTIONS: Final = "Sol/s"
_HOURS: Final = {"hour": 1, "day": 24}

HASH_RATES: Final = (*_HASHES, _SOLUTIONS)
"""Units a Coin's benchmarks may be written in."""


CURRENCIES: Final = ("EUR", "GBP", "CHF", "CAD", "AUD", "NOK", "SEK", "DKK", "PLN")
"""Currencies beside US dollars."""


def _electricity(text: str, *, money: str, divide: int) -> Unit:
    return Unit(
        text=text,
        quantity=quotes.Quantity.ELECTRICITY_PRICE,
        canonical=f"{money}/kWh",
        divide=divide,
        currency="" if money == "USD" else money,
    )


def _network(text: str, *, multiply: int = 1, divide: int = 1) -> Unit:
    canonical = _SOLUTIONS if text.endswith(_SOLUTIONS) else "GH/s"
    return Unit(
        text=text, quantity=quotes.Quantity.NETWORK_HASHRATE, canonical=canonical, multiply=multiply, divide=divide
    )


def _revenue(rate: str, *, span: str) -> Unit:
    base = _SOLUTIONS if rate == _SOLUTIONS else "GH/s"
    return Unit(
        text=f"USD/({rate})/{span}",
        quantity=quotes.Quantity.COIN_REVENUE,
        canonical=f"USD/({base})/hour",
        multiply=1 if rate == base else _HASHES[base] // _HASHES[rate],
        divide=_HOURS[span],
    )


UNITS: Final = {
    unit.text: unit
    for unit in (
        *(_electricity(f"{money}/kWh", money=money, divide=1) for money in ("USD", *CURRENCIES)),
        *(_electricity(f"{money}/MWh", money=money, divide=1000) for money in ("USD", *CURRENCIES)),
        _electricity("ct/kWh", money="EUR", divide=100),
        _electricity("p/kWh", money="GBP", divide=100),
        *(_revenue(rate, span=span) for span in _HOURS for rate in ("kH/s", "MH/s", "GH/s", _SOLUTIONS)),
        Unit(text="USD/coin", quantity=quotes.Quantity.COIN_PRICE, canonical="USD/coin"),
        Unit(text="EUR/coin", quantity=quotes.Quantity.COIN_PRICE, canonical="EUR/coin", currency="EUR"),
        *(
            Unit(text=f"USD/{money}", quantity=quotes.Quantity.EXCHANGE_RATE, canonical=f"USD/{money}")
            for money in CURRENCIES
        ),
        *(_network(text, divide=_HASHES["GH/s"] // hashes) for text, hashes in _HASHES.items()),
        *(_network(f"{prefix}H/s", multiply=1000**power) for power, prefix in enumerate("TPE", start=1)),
        *(_network(f"{prefix}{_SOLUTIONS}", multiply=1000**power) for power, prefix in enumerate(("", "k", "M"))),
        Unit(text="difficulty", quantity=quotes.Quantity.NETWORK_DIFFICULTY, canonical="difficulty"),
    )
}
"""Every unit a PriceFeed may use, by its text."""


def unit(text: str, *, quantity: quotes.Quantity) -> Unit:
    """The unit a feed of a quantity is written in.

    Raises:
        ValueError: there is no such unit, or it does not measure that quantity.
    """
    found = UNITS.get(text)
    fitting = ", ".join(known.text for known in UNITS.values() if known.quantity == quantity)
    if found is None:
        raise ValueError(f"{text!r} is no unit of {quantity}: it is one of {fitting}")
    if found.quantity != quantity:
        raise ValueError(f"{text} is a unit of {found.quantity}, not of {quantity}: that is one of {fitting}")
    return found


def convert_hash_rate(value: float, *, given: str, wanted: str) -> float:
    """Convert a hash rate from one unit to another.

    Raises:
        ValueError: a unit is unknown, or one counts hashes and the other solutions.
    """
    for text in (given, wanted):
        if text not in HASH_RATES:
            raise ValueError(f"{text!r} is no unit of hash rate: it is one of {', '.join(HASH_RATES)}")
    if given == wanted:
        return value
    if _SOLUTIONS in (given, wanted):
        raise ValueError(f"{given} cannot be converted to {wanted}: solutions and hashes are counted differently")
    return value * _HASHES[given] / _HASHES[wanted]
