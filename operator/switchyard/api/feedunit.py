"""What a PriceFeed may quote, and in which units."""

from __future__ import annotations

import enum
from typing import Final

from switchyard.api import base


class Quantity(enum.StrEnum):
    """What a feed quotes."""

    ELECTRICITY_PRICE = "ElectricityPrice"
    COIN_REVENUE = "CoinRevenue"
    EXCHANGE_RATE = "ExchangeRate"
    COIN_PRICE = "CoinPrice"
    NETWORK_HASHRATE = "NetworkHashrate"
    NETWORK_DIFFICULTY = "NetworkDifficulty"


class FeedUnit(enum.StrEnum):
    """Units a source may speak in; quotes are converted."""

    USD_PER_KWH = "USD/kWh"
    USD_PER_MWH = "USD/MWh"
    EUR_PER_KWH = "EUR/kWh"
    EUR_PER_MWH = "EUR/MWh"
    GBP_PER_KWH = "GBP/kWh"
    GBP_PER_MWH = "GBP/MWh"
    CHF_PER_KWH = "CHF/kWh"
    CHF_PER_MWH = "CHF/MWh"
    CAD_PER_KWH = "CAD/kWh"
    CAD_PER_MWH = "CAD/MWh"
    AUD_PER_KWH = "AUD/kWh"
    AUD_PER_MWH = "AUD/MWh"
    NOK_PER_KWH = "NOK/kWh"
    NOK_PER_MWH = "NOK/MWh"
    SEK_PER_KWH = "SEK/kWh"
    SEK_PER_MWH = "SEK/MWh"
    DKK_PER_KWH = "DKK/kWh"
    DKK_PER_MWH = "DKK/MWh"
    PLN_PER_KWH = "PLN/kWh"
    PLN_PER_MWH = "PLN/MWh"
    EURO_CENT_PER_KWH = "ct/kWh"
    PENNY_PER_KWH = "p/kWh"
    USD_PER_KH_DAY = "USD/(kH/s)/day"
    USD_PER_MH_DAY = "USD/(MH/s)/day"
    USD_PER_GH_DAY = "USD/(GH/s)/day"
    USD_PER_SOL_DAY = "USD/(Sol/s)/day"
    USD_PER_KH_HOUR = "USD/(kH/s)/hour"
    USD_PER_MH_HOUR = "USD/(MH/s)/hour"
    USD_PER_GH_HOUR = "USD/(GH/s)/hour"
    USD_PER_SOL_HOUR = "USD/(Sol/s)/hour"
    USD_PER_COIN = "USD/coin"
    EUR_PER_COIN = "EUR/coin"
    USD_PER_EUR = "USD/EUR"
    USD_PER_GBP = "USD/GBP"
    USD_PER_CHF = "USD/CHF"
    USD_PER_CAD = "USD/CAD"
    USD_PER_AUD = "USD/AUD"
    USD_PER_NOK = "USD/NOK"
    USD_PER_SEK = "USD/SEK"
    USD_PER_DKK = "USD/DKK"
    USD_PER_PLN = "USD/PLN"
    HASH = "H/s"
    KILOHASH = "kH/s"
    MEGAHASH = "MH/s"
    GIGAHASH = "GH/s"
    TERAHASH = "TH/s"
    PETAHASH = "PH/s"
    EXAHASH = "EH/s"
    SOLUTION = "Sol/s"
    KILOSOLUTION = "kSol/s"
    MEGASOLUTION = "MSol/s"
    DIFFICULTY = "difficulty"


_PATTERNS: Final = {
    Quantity.ELECTRICITY_PRICE: "^([A-Z]{3}/[kM]Wh|ct/kWh|p/kWh)$",
    Quantity.COIN_REVENUE: "^USD/[(]",
    Quantity.EXCHANGE_RATE: "^USD/[A-Z]{3}$",
    Quantity.COIN_PRICE: "/coin$",
    Quantity.NETWORK_HASHRATE: "^[kMGTPE]?(H|Sol)/s$",
    Quantity.NETWORK_DIFFICULTY: "^difficulty$",
}

FITS: Final = base.Rule(
    rule=" && ".join(
        f"(self.quantity != '{quantity}' || self.unit.matches('{pattern}'))" for quantity, pattern in _PATTERNS.items()
    ),
    message="unit does not fit quantity: ElectricityPrice takes money per kWh or MWh such as USD/MWh, CoinRevenue "
    "takes USD per hash rate and time such as USD/(MH/s)/day, ExchangeRate takes USD/EUR and its like, CoinPrice takes "
    "USD/coin or EUR/coin, NetworkHashrate takes a hash rate such as TH/s, NetworkDifficulty takes difficulty",
    field_path=".unit",
)
"""Each quantity has units of its own."""

FOREIGN: Final = "(self.unit.matches('^([A-Z]{3}|ct|p)/') && !self.unit.startsWith('USD/'))"
"""CEL: whether a feed's unit is of another currency than US dollars."""

CURRENCY: Final = "({unit} == 'ct/kWh' ? 'EUR' : {unit} == 'p/kWh' ? 'GBP' : {unit}.split('/')[0])"
"""CEL: the currency of a price's unit, to be formatted with the unit's path."""
