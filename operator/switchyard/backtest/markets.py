"""What a scenario says of power and coins: tariffs, forecasts, revenue, and what GPUs mine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import pydantic

from switchyard.api import coin as coins
from switchyard.api import site as sites
from switchyard.backtest import columns

Model = columns.Model
Name = columns.Name
Price = Annotated[float, pydantic.Field(gt=-10, lt=10)]


class Window(Model):
    """Hours of the week with their own price, in the site's time zone."""

    days: Annotated[tuple[sites.Day, ...], pydantic.Field(min_length=1, max_length=7)] = tuple(sites.Day)
    """Days on which the window begins. Default: every day."""
    start: columns.ClockTime = pydantic.Field(alias="from")
    """First minute of the window, HH:MM."""
    end: columns.ClockTime = pydantic.Field(alias="to")
    """First minute after it. Not later than from: it runs past midnight; equal: a whole day."""
    usd_per_kilowatt_hour: Price
    """Price within the window."""


class TimeOfUse(Model):
    """A price by the hour of the week."""

    windows: Annotated[tuple[Window, ...], pydantic.Field(min_length=1)]
    """Hours with their own price. Where windows overlap the first one counts."""
    otherwise: Price
    """$/kWh outside all windows."""


class Forecast(Model):
    """Forecasts of the price, day by day: at publishedAt, every hour of one local day becomes known."""

    column: str | None = None
    """Column of the forecast in the file of the price; the price's own column where the market settles a day ahead."""
    series: columns.MoneySeries | None = None
    """The forecast in a file of its own."""
    published_at: columns.ClockTime
    """Local time of publication."""
    days_before: Annotated[int, pydantic.Field(ge=0, le=7)] = 1
    """How many days before the day it speaks of. Default 1."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("column", "series")
        if self.series is not None:
            columns.check_kind(self.series, wanted="energy", example="USD/MWh")
        return self


class Tariff(Model):
    """What power costs: exactly one of fixed, timeOfUse and series."""

    fixed: Price | None = None
    """$/kWh, always the same."""
    time_of_use: TimeOfUse | None = None
    """By the hour of the week, in the site's time zone."""
    series: columns.MoneySeries | None = None
    """From a file; unit USD/kWh, USD/MWh, EUR/MWh, ct/kWh, ..."""
    adder_usd_per_kilowatt_hour: Price = 0.0
    """Grid fees and taxes on top; below 0 for a rebate."""
    forecast: Forecast | None = None
    """What is known of the series ahead of time. Without it policies see only the present price."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("fixed", "time_of_use", "series")
        if self.series is not None:
            columns.check_kind(self.series, wanted="energy", example="USD/MWh")
        if self.forecast is not None and self.series is None:
            raise ValueError("forecast needs series: other tariffs are known anyway")
        return self


class Site(Model):
    """A place with one price of power."""

    time_zone: columns.TimeZone = "UTC"
    """Zone of the tariff's windows and of the hour at which forecasts are published."""
    tariff: Tariff
    """What power costs."""
    pue: Annotated[float, pydantic.Field(ge=1, le=3)] = 1.0
    """Watts at the meter for each watt of a rig."""
    circuits: dict[Name, columns.Positive] = pydantic.Field(default_factory=dict)
    """Watts that the rigs of each circuit may draw in all."""


class FixedRevenue(Model):
    """A revenue that never changes."""

    value: columns.NotNegative
    """How much."""
    unit: str
    """Such as USD/(MH/s)/day."""

    @pydantic.model_validator(mode="after")
    def _dollars(self) -> Self:
        if columns.money_unit(self.unit).currency != "USD":
            raise ValueError(f"unit {self.unit} must be in USD")
        return self


class Network(Model):
    """Revenue from what the network pays out: price x (issued + fees) / hash rate, or price x reward / difficulty."""

    usd_per_coin: columns.Number
    """Price of a coin."""
    issued_per_day: columns.Number | None = None
    """New coins per day, all miners together."""
    fees_per_day: columns.Number | None = None
    """With issuedPerDay: coins of fees per day, all miners together."""
    hashrate: columns.Number | None = None
    """Hash rate of the network, in hashrateUnit."""
    hashrate_unit: Literal["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "Sol/s"] | None = None
    """Unit of hashrate."""
    block_reward: columns.Number | None = None
    """Coins per block."""
    difficulty: columns.Number | None = None
    """Difficulty of a block."""
    hashes_per_difficulty: columns.Positive | None = None
    """Hashes (or solutions) that a block of difficulty 1 takes on average: 1 for ETH, 2^32 = 4294967296 for BTC."""

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        by_rate = (self.issued_per_day, self.hashrate, self.hashrate_unit)
        by_difficulty = (self.block_reward, self.difficulty, self.hashes_per_difficulty)
        for way, other in ((by_rate, by_difficulty), (by_difficulty, (*by_rate, self.fees_per_day))):
            if all(part is not None for part in way) and all(part is None for part in other):
                return self
        raise ValueError(
            "needs either issuedPerDay, hashrate and hashrateUnit, or blockReward, difficulty and hashesPerDifficulty"
        )


class Revenue(Model):
    """What a coin earns, before fees: exactly one of fixed, series, network and perGpu."""

    fixed: FixedRevenue | None = None
    """Per unit of hash rate, always the same."""
    series: columns.MoneySeries | None = None
    """Per unit of hash rate, from a file; unit such as USD/(H/s)/day."""
    network: Network | None = None
    """From price, issuance and hash rate of the network."""
    per_gpu: Annotated[dict[str, columns.Money], pydantic.Field(min_length=1)] | None = None
    """By GPU model: what one GPU earns, a number in $ per day or a series in USD/day or USD/hour. Yields of such a coin
    have only watts."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("fixed", "series", "network", "per_gpu")
        for price in (self.per_gpu or {}).values():
            columns.check_kind(price, wanted="hours", example="USD/day")
        return self


class Coin(Model):
    """Something to mine."""

    unit: coins.HashrateUnit | None = None
    """Unit of the hash rates in yields. Needed unless revenue is perGpu."""
    revenue: Revenue
    """What it earns."""
    fee: columns.Share = 0.0
    """Share that the pool and the miner's developer keep."""
    start: columns.Moment | None = pydantic.Field(None, alias="from")
    """Before this moment it earns nothing."""
    end: columns.Moment | None = pydantic.Field(None, alias="until")
    """From this moment on it earns nothing."""

    @pydantic.model_validator(mode="after")
    def _units_fit(self) -> Self:
        if (self.unit is None) != (self.revenue.per_gpu is not None):
            raise ValueError("needs unit, the unit of the hash rates in yields, unless revenue is perGpu")
        if self.unit is None:
            return self
        wanted = "solutions" if self.unit == columns.SOLUTIONS else "hashrate"
        if self.revenue.series is not None:
            columns.check_kind(self.revenue.series, wanted=wanted, example=f"USD/({self.unit.value})/day")
        fixed, network = self.revenue.fixed, self.revenue.network
        if fixed is not None and columns.money_unit(fixed.unit).kind != wanted:
            raise ValueError(f"revenue.fixed.unit {fixed.unit} does not fit: write USD/({self.unit.value})/day")
        if network is not None and network.hashrate_unit is not None:
            counted = "solutions" if network.hashrate_unit == columns.SOLUTIONS else "hashrate"
            if counted != wanted:
                raise ValueError(
                    f"hashrateUnit {network.hashrate_unit} and unit {self.unit.value} cannot be converted: "
                    "solutions and hashes are counted differently"
                )
        return self


class Yield(Model):
    """What one GPU does on a coin, perhaps from some moment on."""

    hashrate: columns.Positive | None = None
    """In the coin's unit; not for coins whose revenue is perGpu."""
    watts: columns.NotNegative
    """Watts of the GPU at that rate."""
    start: columns.Moment | None = pydantic.Field(None, alias="from")
    """From when; the first of a list has none."""
