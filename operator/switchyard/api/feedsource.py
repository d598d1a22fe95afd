"""Where a PriceFeed's values are read, or worked out."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, ClassVar, Final

import pydantic

from switchyard.api import base, fields


class FileFormat(enum.StrEnum):
    """Formats of price files."""

    CSV = "CSV"
    JSON_LINES = "JSONLines"


SignedNumber = Annotated[float, fields.number(example="0.085", least=None)]
PositiveNumber = Annotated[float, fields.number(example="2.048", least=None, above=0)]
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


class Payout(enum.StrEnum):
    """How the pool pays, and so how long luck takes to even out."""

    PPLNS = "PPLNS"
    PPS = "PPS"


_IN_BLOCKS: Final = "has(self.rewardPerBlock)"


class NetworkSource(base.Model):
    """What a coin's network pays for hash rate: price of a coin x coins handed out / hash rate of all miners."""

    rules: ClassVar = (
        base.Rule(
            rule="has(self.hashrateFeed) != has(self.difficultyFeed)",
            message="network must have exactly one of hashrateFeed and difficultyFeed",
        ),
        base.Rule(
            rule="has(self.difficultyFeed) == has(self.hashesPerDifficulty)",
            message="hashesPerDifficulty goes with difficultyFeed: how many hashes a block takes at difficulty 1",
            field_path=".hashesPerDifficulty",
        ),
        base.Rule(
            rule=f"{_IN_BLOCKS} != has(self.coinsPerDay)",
            message="network must have exactly one of rewardPerBlock and coinsPerDay",
        ),
        base.Rule(
            rule=f"!has(self.difficultyFeed) || {_IN_BLOCKS}",
            message="difficultyFeed needs rewardPerBlock: difficulty tells what a block takes, not how many there are",
            field_path=".rewardPerBlock",
        ),
        base.Rule(
            rule=f"(has(self.hashrateFeed) && {_IN_BLOCKS}) == has(self.blockSeconds)",
            message="blockSeconds goes with hashrateFeed and rewardPerBlock, and with nothing else",
            field_path=".blockSeconds",
        ),
    )

    coin_price_feed: Annotated[fields.Name, fields.name_of("PriceFeed")]
    """Name of a PriceFeed of quantity CoinPrice: what one coin is worth."""
    hashrate_feed: Annotated[fields.Name, fields.name_of("PriceFeed")] | None = None
    """Name of a PriceFeed of quantity NetworkHashrate: hash rate of all miners together."""
    difficulty_feed: Annotated[fields.Name, fields.name_of("PriceFeed")] | None = None
    """Name of a PriceFeed of quantity NetworkDifficulty."""
    hashes_per_difficulty: PositiveNumber | None = None
    """Hashes (or solutions) that a block takes on average at difficulty 1: "1" for ethash and its kin, "4294967296"
    for coins whose difficulty counts as Bitcoin's does."""
    reward_per_block: PositiveNumber | None = None
    """Coins that a block pays to miners."""
    block_seconds: PositiveNumber | None = None
    """Seconds between two blocks on average, such as "13.5"."""
    coins_per_day: PositiveNumber | None = None
    """Coins that the network pays to all miners in a day, instead of rewardPerBlock."""
    payout: Payout = Payout.PPLNS
    """PPLNS (default): the pool pays for blocks that are found, so luck evens out over days. PPS: it pays for work."""
    luck_half_life: Annotated[float, fields.duration(example="24h", least="1m", most="720h")] | None = None
    """What the network pays is averaged, since hash rates are guessed from blocks that come by luck: after this time a
    figure counts half. Default 24h for PPLNS and 10m for PPS. The price of the coin is never averaged."""


ONE_SOURCE: Final = "exactly one of static, file, http, prometheus and network"


class Source(base.Model):
    """Where the price is read, or worked out: exactly one of static, file, http, prometheus and network."""

    rules: ClassVar = (
        base.Rule(
            rule="[has(self.static), has(self.file), has(self.http), has(self.prometheus), has(self.network)]"
            ".filter(set, set).size() == 1",
            message=f"source must have {ONE_SOURCE}",
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
    network: NetworkSource | None = None
    """Worked out from a coin's price, the reward of its network and the hash rate of all miners."""


class HttpListSource(base.Model):
    """A JSON document on the web with an array of times and values."""

    url: fields.WebAddress
    """Address of the document."""
    pointer: Pointer = ""
    """JSON pointer (RFC 6901) to the array, such as /data. Default: the whole document."""
    time_pointer: Pointer = "/0"
    """JSON pointer within an entry to its time: RFC 3339 or Unix seconds. Default /0, for entries [time, value]."""
    value_pointer: Pointer = "/1"
    """JSON pointer within an entry to its value. Default /1."""
    timeout: Timeout = pydantic.Field("5s", validate_default=True)
    """How long one attempt may take, 1s to 1m. Default 5s."""


class ListSource(base.Model):
    """Where a list of times and values is read: exactly one of file and http."""

    rules: ClassVar = (
        base.Rule(
            rule="has(self.file) != has(self.http)",
            message="source must have exactly one of file and http",
        ),
        base.Rule(
            rule="!has(self.file) || !has(self.file.replay) || self.file.replay.speed == 1",
            message="a forecast can be replayed at speed 1 only: let the operator's clock run faster instead",
            field_path=".file",
        ),
    )

    file: FileSource | None = None
    """A file of times and values in the operator's container."""
    http: HttpListSource | None = None
    """A JSON document on the web with an array of times and values."""
