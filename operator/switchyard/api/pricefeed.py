"""PriceFeed: what something is worth, where that is read, and when it is no longer believed."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, ClassVar

import pydantic

from switchyard.api import base, fields, text


class Quantity(enum.StrEnum):
    """What a feed quotes."""

    ELECTRICITY_PRICE = "ElectricityPrice"
    COIN_REVENUE = "CoinRevenue"


class FeedUnit(enum.StrEnum):
    """Units a source may speak in; quotes are converted."""

    USD_PER_KWH = "USD/kWh"
    USD_PER_MWH = "USD/MWh"
    USD_PER_KH_DAY = "USD/(kH/s)/day"
    USD_PER_MH_DAY = "USD/(MH/s)/day"
    USD_PER_GH_DAY = "USD/(GH/s)/day"
    USD_PER_SOL_DAY = "USD/(Sol/s)/day"
    USD_PER_KH_HOUR = "USD/(kH/s)/hour"
    USD_PER_MH_HOUR = "USD/(MH/s)/hour"
    USD_PER_GH_HOUR = "USD/(GH/s)/hour"
    USD_PER_SOL_HOUR = "USD/(Sol/s)/hour"


class FileFormat(enum.StrEnum):
    """Formats of price files."""

    CSV = "CSV"
    JSON_LINES = "JSONLines"


SignedNumber = Annotated[float, fields.number(example="0.085", least=None)]
Timeout = Annotated[float, fields.duration(example="5s", least="1s", most="1m")]
Pointer = Annotated[
    str,
    pydantic.Field(max_length=256),
    base.Rule(
        rule="self == '' || self.startsWith('/')",
        message='must be a JSON pointer that begins with "/", such as "/data/0/price"',
    ),
]
ColumnName = Annotated[str, pydantic.Field(min_length=1, max_length=128)]


class StaticSource(base.Model):
    """A price that somebody typed in."""

    value: SignedNumber
    """The price in the feed's unit."""


class Replay(base.Model):
    """Plays a file's past as if it were now, for demonstrations and tests."""

    start: datetime.datetime
    """Moment in the file that the feed's creation stands for, RFC 3339."""
    speed: Annotated[int, pydantic.Field(ge=1, le=100_000)] = 1
    """How many times faster than the clock the file's time runs. Default 1."""


class FileSource(base.Model):
    """A file of times and prices in the operator's container, such as a mounted ConfigMap."""

    path: Annotated[
        str,
        pydantic.Field(max_length=1024),
        base.Rule(
            rule="size(self) > 0 && !self.split('/').exists(part, part == '..') && !self.endsWith('/')",
            message="must be the path of a file in the operator's folder of prices, such as spot.csv, without ..",
        ),
    ]
    """Path of the file, in the operator's folder of prices (its option --prices)."""
    format: FileFormat = FileFormat.CSV
    """CSV (default) with a header line, or JSONLines: one JSON object per line."""
    time_column: ColumnName = "time"
    """Column or key that holds the time, RFC 3339 or Unix seconds. Default time."""
    value_column: ColumnName = "value"
    """Column or key that holds the price. Default value."""
    where: Annotated[dict[str, Annotated[str, pydantic.Field(max_length=256)]], pydantic.Field(max_length=8)] = (
        pydantic.Field(default_factory=dict)
    )
    """Takes only lines whose columns have these values, such as one zone of a market's file."""
    time_zone: fields.TimeZone | None = None
    """Time zone of times that name none, a name of the IANA database. Absent: such times are refused. A line for an
    hour that clocks skip is left out; of an hour that comes twice the first line is the first pass."""
    replay: Replay | None = None
    """Plays the file's past as if it were now. Absent: the file's times are taken as they are."""


class HttpSource(base.Model):
    """A JSON document on the web."""

    url: fields.WebAddress
    """Address of the document."""
    pointer: Pointer = ""
    """JSON pointer (RFC 6901) to the price in the document, such as /data/0/price. Default: the whole document."""
    time_pointer: Pointer | None = None
    """JSON pointer to the time the price speaks of: RFC 3339 or Unix seconds. Absent: the time of reading."""
    timeout: Timeout = pydantic.Field("5s", validate_default=True)
    """How long one attempt may take, 1s to 1m. Default 5s."""


class PrometheusSource(base.Model):
    """A query to a Prometheus server."""

    url: fields.WebAddress
    """Address of the server, such as http://prometheus.monitoring:9090."""
    query: Annotated[str, pydantic.Field(min_length=1, max_length=4096)]
    """PromQL that gives one number: a scalar, or a vector with one element."""
    timeout: Timeout = pydantic.Field("5s", validate_default=True)
    """How long one attempt may take, 1s to 1m. Default 5s."""


class Source(base.Model):
    """Where the price is read: exactly one of static, file, http and prometheus."""

    rules: ClassVar = (
        base.Rule(
            rule="[has(self.static), has(self.file), has(self.http), has(self.prometheus)]"
            ".filter(set, set).size() == 1",
            message="source must have exactly one of static, file, http and prometheus",
        ),
    )

    static: StaticSource | None = None
    """A price that somebody typed in. It never ages."""
    file: FileSource | None = None
    """A file of times and prices in the operator's container."""
    http: HttpSource | None = None
    """A JSON document on the web."""
    prometheus: PrometheusSource | None = None
    """A query to a Prometheus server."""


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


class PriceFeedSpec(base.Model):
    """What is quoted, where it is read, how often, and when it is no longer believed."""

    rules: ClassVar = (
        base.Rule(
            rule="self.quantity == 'ElectricityPrice' ? self.unit in ['USD/kWh', 'USD/MWh'] : "
            "self.unit.startsWith('USD/(')",
            message="unit does not fit quantity: ElectricityPrice takes USD/kWh or USD/MWh, CoinRevenue takes USD "
            "per hash rate and time, such as USD/(MH/s)/day",
            field_path=".unit",
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
        Quantity,
        base.Rule(
            rule="self == oldSelf",
            message="quantity cannot be changed: make another PriceFeed and point its users to it",
        ),
    ]
    """What is quoted: ElectricityPrice for Sites, CoinRevenue for Coins. It cannot be changed."""
    unit: FeedUnit
    """Unit the source speaks in. It must fit the quantity."""
    source: Source
    """Where the price is read: exactly one of static, file, http and prometheus."""
    interval: Annotated[float, fields.duration(example="60s", least="1s", most="24h")] = pydantic.Field(
        "60s", validate_default=True
    )
    """Time between two readings, 1s to 24h. Default 60s."""
    freshness: Freshness = Freshness()
    """How trust falls with age. With no trusted price a rig keeps what it does."""
    bounds: Bounds | None = None
    """Values outside are absurd: they are refused and the last good price stays. Default: any number is believed."""


class LastGood(base.Model):
    """The last value that was believed."""

    value: str
    """The value in unit."""
    unit: str
    """Unit of the value."""
    as_of: datetime.datetime | None = None
    """The moment the value speaks of."""


class PriceFeedStatus(base.Status):
    """The last good value and whether it is trusted."""

    last_good: LastGood | None = None
    """The last value that was believed. Absent until there was one."""
    last_error: str | None = None
    """What went wrong with the last reading, in short. Absent when it went well."""
    trust: str | None = None
    """Trust in the last good value, from 1 (fresh) to 0 (nothing may be moved because of it)."""


class PriceFeed(base.Resource):
    """What something is worth, the price of power or a coin's revenue: its source, and when it is not believed."""

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
            base.condition_column("Ready", name="Reason", field="reason", priority=1),
            base.AGE,
        ),
    )

    spec: PriceFeedSpec
    status: PriceFeedStatus = PriceFeedStatus()
