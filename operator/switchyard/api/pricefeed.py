"""PriceFeed: what something is worth, where that is read, and when it is no longer believed."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, ClassVar

import pydantic

from switchyard.api import base, feedsource, feedunit, fields, text

SignedNumber = feedsource.SignedNumber


class Freshness(base.Model):
    """How trust falls with age: full up to fresh, none from dead on, and in between first slowly, then fast."""

    rules: ClassVar = (
        base.Rule(
            rule=f"!self.fresh.matches('{text.DURATION_PATTERN}') || !self.dead.matches('{text.DURATION_PATTERN}') || "
            "duration(self.fresh) < duration(self.dead)",
            message="fresh must be shorter than dead: first a price is fresh, later dead (by default at 60m)",
            field_path=".fresh",
        ),
    )

    fresh: Annotated[float, fields.duration(example="10m", least="1s")] = pydantic.Field("10m", validate_default=True)
    """Age up to which a price has full trust. Default 10m."""
    dead: Annotated[float, fields.duration(example="60m", least="1s")] = pydantic.Field("60m", validate_default=True)
    """Age from which a price has none, so that nothing is moved because of it. Default 60m."""


class Bounds(base.Model):
    """Values outside are absurd: they are refused and the last good price stays."""

    rules: ClassVar = (
        base.Rule(
            rule=f"!self.min.matches('{text.SIGNED_DECIMAL_PATTERN}') || "
            f"!self.max.matches('{text.SIGNED_DECIMAL_PATTERN}') || double(self.min) < double(self.max)",
            message="bounds.min must be below bounds.max",
            field_path=".min",
        ),
    )

    min: SignedNumber
    """Least believable value in the feed's unit; power may be below 0."""
    max: SignedNumber
    """Greatest believable value in the feed's unit."""


class Action(enum.StrEnum):
    """What is done with an outlier."""

    HOLD = "Hold"
    ACCEPT = "Accept"


class Outliers(base.Model):
    """A value far from all that was seen lately is not believed until it persists; the last good one stays so long."""

    rules: ClassVar = (
        base.Rule(
            rule=f"!self.persist.matches('{text.DURATION_PATTERN}') || "
            f"!self.window.matches('{text.DURATION_PATTERN}') || duration(self.persist) <= duration(self.window)",
            message="persist must not be longer than window: what has lasted that long is no outlier",
            field_path=".persist",
        ),
    )

    action: Action = Action.HOLD
    """Hold (default): an outlier is believed once it persists. Accept: any value within the bounds is believed."""
    sigma: Annotated[float, fields.number(example="3", least=None, above=0, most=100)] = pydantic.Field(
        "3", validate_default=True
    )
    """How many standard deviations from the mean of the window make an outlier. Default 3. A deviation counts as no
    less than a share of the mean: a quarter for power (and 0.01 a kWh), a tenth for coins, a seventh for networks, a
    hundredth for exchange rates."""
    window: Annotated[float, fields.duration(example="4h", least="10m", most="168h")] = pydantic.Field(
        "4h", validate_default=True
    )
    """Time whose values are compared with. Default 4h. With less than a quarter of it seen, all values are believed."""
    persist: Annotated[float, fields.duration(example="10m", most="24h")] = pydantic.Field("10m", validate_default=True)
    """Time after which an outlier is believed, if no other kind of value came between. Default 10m."""


class Exchange(base.Model):
    """What the feed's currency is worth in US dollars: exactly one of priceFeed and rate."""

    rules: ClassVar = (
        base.Rule(
            rule="has(self.priceFeed) != has(self.rate)",
            message="exchange must have exactly one of priceFeed and rate",
        ),
    )

    price_feed: Annotated[fields.Name, fields.name_of("PriceFeed")] | None = None
    """Name of a PriceFeed of quantity ExchangeRate, such as one in USD/EUR. The lesser trust of both counts."""
    rate: feedsource.PositiveNumber | None = None
    """US dollars for one unit of the currency, fixed."""


class Forecast(base.Model):
    """Prices that are published ahead, such as those of a day-ahead market: one row for each hour, or quarter of it."""

    source: feedsource.ListSource
    """Where the rows are read: exactly one of file and http."""
    unit: feedunit.FeedUnit | None = None
    """Unit of the rows; the same currency as the feed's unit. Default: the feed's unit."""
    published_at: fields.ClockTime
    """Time of day, HH:MM, at which the prices of the next day are published. Nothing is known before."""
    time_zone: fields.TimeZone = "UTC"
    """Time zone of publishedAt, and of the days whose prices are published together. Default UTC."""
    interval: Annotated[float, fields.duration(example="15m", least="10s", most="24h")] = pydantic.Field(
        "15m", validate_default=True
    )
    """Time between two readings, 10s to 24h. Default 15m."""


class PriceFeedSpec(base.Model):
    """What is quoted, where it is read, how often, and when it is no longer believed."""

    rules: ClassVar = (
        feedunit.FITS,
        base.Rule(
            rule=f"has(self.exchange) || !{feedunit.FOREIGN}",
            message="a price that is not in US dollars needs exchange: a fixed rate, or a PriceFeed of the currency",
            field_path=".exchange",
        ),
        base.Rule(
            rule=f"!has(self.exchange) || {feedunit.FOREIGN}",
            message="exchange is for prices in another currency than US dollars",
            field_path=".exchange",
        ),
        base.Rule(
            rule="!has(self.forecast) || self.quantity == 'ElectricityPrice'",
            message="only an ElectricityPrice has a forecast",
            field_path=".forecast",
        ),
        base.Rule(
            rule="!has(self.forecast) || !has(self.forecast.unit) || (self.forecast.unit.endsWith('Wh') && "
            f"{feedunit.CURRENCY.format(unit='self.forecast.unit')} == {feedunit.CURRENCY.format(unit='self.unit')})",
            message="forecast.unit must be a price of power in the same currency as unit",
            field_path=".forecast.unit",
        ),
        base.Rule(
            rule="!has(self.source.network) || self.quantity == 'CoinRevenue'",
            message="source.network works out CoinRevenue and nothing else",
            field_path=".source.network",
        ),
        base.Rule(
            rule=f"!self.interval.matches('{text.DURATION_PATTERN}') || "
            f"!self.freshness.fresh.matches('{text.DURATION_PATTERN}') || "
            "duration(self.interval) <= duration(self.freshness.fresh)",
            message="interval must not be longer than freshness.fresh: the price would lose trust between two readings",
            field_path=".interval",
        ),
    )

    quantity: Annotated[
        feedunit.Quantity,
        base.Rule(
            rule="self == oldSelf",
            message="quantity cannot be changed: make another PriceFeed and point its users to it",
        ),
    ]
    """What is quoted: ElectricityPrice for Sites, CoinRevenue for Coins; ExchangeRate, CoinPrice, NetworkHashrate and
    NetworkDifficulty for other feeds. It cannot be changed."""
    unit: feedunit.FeedUnit
    """Unit the source speaks in. It must fit the quantity. ct is a cent of a euro, p a penny of a pound."""
    source: feedsource.Source
    """Where the price is read, or worked out: exactly one of static, file, http, prometheus and network."""
    exchange: Exchange | None = None
    """What the feed's currency is worth, for units that are not in US dollars."""
    interval: Annotated[float, fields.duration(example="60s", least="1s", most="24h")] = pydantic.Field(
        "60s", validate_default=True
    )
    """Time between two readings, 1s to 24h. Default 60s."""
    freshness: Freshness = Freshness()
    """How trust falls with age. With no trusted price a rig keeps what it does."""
    bounds: Bounds | None = None
    """Values outside are absurd: they are refused and the last good price stays. Default: any number is believed."""
    outliers: Outliers = Outliers()
    """A value far from all that was seen lately is not believed until it persists. A static source has no outliers."""
    forecast: Forecast | None = None
    """Prices that are published ahead. Without them the feed learns from its own values how a day goes."""


class LastGood(base.Model):
    """The last value that was believed."""

    value: str
    """The value in unit."""
    unit: str
    """Unit of the value."""
    as_of: datetime.datetime | None = None
    """The moment the value speaks of."""


class Converted(base.Model):
    """The last value in US dollars."""

    value: str
    """The value in unit."""
    unit: str
    """Unit of the value."""


class KnownAhead(base.Model):
    """What is known of prices to come."""

    published_at: datetime.datetime
    """When the newest of them were published."""
    until: datetime.datetime
    """Up to when prices are known."""


class PriceFeedStatus(base.Status):
    """The last good value and whether it is trusted."""

    last_good: LastGood | None = None
    """The last value that was believed. Absent until there was one."""
    last_error: str | None = None
    """What went wrong with the last reading, in short. Absent when it went well."""
    converted: Converted | None = None
    """The last value in US dollars. Absent where it is quoted in them."""
    forecast: KnownAhead | None = None
    """Prices to come, as published by now. Absent where none are known."""
    trust: str | None = None
    """Trust in the last good value, from 1 (fresh) to 0 (nothing may be moved because of it)."""


class PriceFeed(base.Resource):
    """What something is worth, such as power or a coin's revenue: where it is read, and when it is not believed."""

    names: ClassVar = base.Names(
        kind="PriceFeed",
        plural="pricefeeds",
        singular="pricefeed",
        short=("feed",),
        columns=(
            base.Column(name="Quantity", path=".spec.quantity"),
            base.Column(name="Value", path=".status.lastGood.value"),
            base.Column(name="Unit", path=".status.lastGood.unit"),
            base.Column(name="As of", path=".status.lastGood.asOf", type="date"),
            base.Column(name="Trust", path=".status.trust"),
            base.condition_column("Fresh"),
            base.condition_column("Ready"),
            base.Column(name="Interval", path=".spec.interval", priority=1),
            base.condition_column("Plausible", priority=1),
            base.condition_column("ForecastReady", name="Forecast", field="reason", priority=1),
            base.condition_column("Ready", name="Reason", field="reason", priority=1),
            base.AGE,
        ),
    )

    spec: PriceFeedSpec
    status: PriceFeedStatus = PriceFeedStatus()
