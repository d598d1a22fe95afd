"""What a scenario says of a file: which columns hold what, in which unit, and what may be mended."""

from __future__ import annotations

import dataclasses
import datetime
import re
import zoneinfo
from typing import Annotated, Any, Final, Literal, Self

import pydantic

from switchyard.api import base, text

_DURATION: Final = re.compile(
    r"(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,9})s)?", flags=re.ASCII
)
_MONEY: Final = re.compile(
    r"(?P<currency>[A-Z]{3}|ct)/(?P<per>kWh|MWh|hour|day|\((?P<rate>H/s|kH/s|MH/s|GH/s|TH/s|Sol/s)\)/(?P<span>hour|day))"
)
_RATES: Final = {"H/s": 1e-9, "kH/s": 1e-6, "MH/s": 1e-3, "GH/s": 1.0, "TH/s": 1e3, "Sol/s": 1.0}
SOLUTIONS: Final = "Sol/s"


def parse_duration(value: Any) -> float:
    """Read a duration such as `10m`, `1h30m` or `7d`, in seconds. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise ValueError(f'not a duration in days, hours, minutes and seconds, such as "10m" or "7d": {value!r}')
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(days * 86400 + hours * 3600 + minutes * 60 + seconds)


def _parse_shift(value: Any) -> float:
    if isinstance(value, str) and value.startswith("-"):
        return -parse_duration(value[1:])
    return parse_duration(value)


def _parse_moment(value: Any) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError(f'not a moment such as "2017-10-05" or "2017-10-05T06:00:00Z": {value!r}') from None


def _known_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"not a time zone of the IANA database, such as America/New_York or UTC: {value!r}") from None
    return value


def _long_enough(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0")
    return seconds


def _json(kind: str, example: str) -> pydantic.WithJsonSchema:
    return pydantic.WithJsonSchema({"type": "string", "title": kind, "examples": [example]})


Duration = Annotated[float, pydantic.BeforeValidator(parse_duration), _json("Duration", "1h30m")]
"""Seconds, written as `90s`, `10m`, `1h30m` or `7d`."""
Span = Annotated[Duration, pydantic.AfterValidator(_long_enough)]
"""A duration longer than 0."""
Shift = Annotated[float, pydantic.BeforeValidator(_parse_shift), _json("Shift", "-1h")]
"""A duration, or one with a minus before it."""
Moment = Annotated[datetime.datetime, pydantic.BeforeValidator(_parse_moment), _json("Moment", "2017-10-05")]
"""A date, or a date and time, with or without an offset; without one it is in the scenario's time zone."""
ClockTime = Annotated[
    datetime.time, pydantic.BeforeValidator(lambda value: text.parse_clock(value)), _json("ClockTime", "14:00")
]
TimeZone = Annotated[str, pydantic.Field(max_length=64), pydantic.AfterValidator(_known_zone)]
Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
Positive = Annotated[float, pydantic.Field(gt=0)]
NotNegative = Annotated[float, pydantic.Field(ge=0)]
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]


class Model(base.Model):
    """A part of a scenario file: frozen, camelCase in YAML, and a key that nobody knows is an error."""

    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

    def exactly_one(self, *names: str) -> None:
        """Check that one of these fields is given and no more. Raises ValueError."""
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            keys = [str(type(self).model_fields[name].alias) for name in names]
            raise ValueError(f"must have exactly one of {', '.join(keys)}, and has {len(given)}")


class Repair(Model):
    """What may be mended in a file. Without a word here every flaw is an error; what is mended is counted."""

    gaps: Literal["hold", "interpolate"] | None = None
    """Missing rows: the value before them holds on, or a straight line joins the values on both sides."""
    max_gap: Span = 7200.0
    """The longest stretch without a value that gaps and ends may bridge. Default 2h."""
    ends: Literal["hold"] | None = None
    """A series that begins later or ends earlier than the scenario: its first or last value holds, up to maxGap."""
    duplicates: Literal["first", "last", "mean"] | None = None
    """Rows that repeat a time: which of them counts."""
    unsorted: Literal["sort"] | None = None
    """Rows whose times do not rise: they are sorted."""
    not_numbers: Literal["gap"] | None = None
    """Values that are empty, NaN or no numbers: the row is missing, and gaps says what then. In lists of jobs: the job
    is left out."""
    clock_change: Literal["twentyFourHours"] | None = None
    """Files of local times that have 24 hours on every day: the hour that clocks skip is dropped, and the one line of
    the hour that comes twice holds for both."""


class Table(Model):
    """A CSV file with a header, and where its times stand."""

    file: Annotated[str, pydantic.Field(min_length=1)]
    """Path of the file, from the scenario's data folder; or ${DATA}/... from the folder given on the command line."""
    time: str
    """Column of the times."""
    time_zone: TimeZone | None = None
    """Zone of times that carry none, such as America/New_York or UTC. Without it such times are an error."""
    time_format: str = "iso"
    """How times are written: iso, unixSeconds, unixMilliseconds, elapsedSeconds (since timeOrigin), or a pattern of
    strptime such as "%d.%m.%Y %H:%M"."""
    time_origin: Moment | None = None
    """The moment that 0 elapsed seconds stand for."""
    time_shift: Shift = 0.0
    """Added to every time, such as -1h where rows carry the end of their hour."""
    where: dict[str, str | list[str]] = pydantic.Field(default_factory=dict)
    """Only rows whose columns have this text, or one of these texts, count."""
    delimiter: Annotated[str, pydantic.Field(min_length=1, max_length=1)] = ","
    """What stands between columns."""
    decimal_comma: bool = False
    """Numbers are written with a comma, as 12,5."""
    repair: Repair = Repair()
    """What may be mended in this file."""

    @pydantic.field_validator("time_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value not in {"iso", "unixSeconds", "unixMilliseconds", "elapsedSeconds"} and "%" not in value:
            raise ValueError(
                "must be iso, unixSeconds, unixMilliseconds, elapsedSeconds, or a pattern such as %d.%m.%Y %H:%M"
            )
        return value

    @pydantic.model_validator(mode="after")
    def _origin_fits(self) -> Self:
        if (self.time_format == "elapsedSeconds") != (self.time_origin is not None):
            raise ValueError("timeFormat elapsedSeconds and timeOrigin need each other")
        return self

    @property
    def zone(self) -> zoneinfo.ZoneInfo | None:
        """The zone of times that carry none."""
        return None if self.time_zone is None else zoneinfo.ZoneInfo(self.time_zone)


class Series(Table):
    """A column of numbers over time. A row's value lasts until the next row, and no longer than the interval."""

    column: str | Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    """Column of the values, or several that are added up."""
    scale: float = 1.0
    """Values are multiplied by this."""
    interval: Span | None = None
    """How long a row is valid. Default: the most common distance between two rows."""
    until_next: bool = False
    """The file lists changes: every row is valid until the next, the last one to the end of the scenario."""
    interpolate: bool = False
    """Straight lines between the middles of the rows' intervals, instead of steps."""
    sum_over: str | None = None
    """A column, such as that of a queue's name: the series of all its texts are added up. Each of them must be
    without a flaw of its own."""

    @pydantic.model_validator(mode="after")
    def _one_validity(self) -> Self:
        if self.until_next and (self.interval is not None or self.interpolate):
            raise ValueError("untilNext excludes interval and interpolate")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are added up."""
        return (self.column,) if isinstance(self.column, str) else self.column


@dataclasses.dataclass(frozen=True, slots=True)
class MoneyUnit:
    """A unit of prices.

    Attributes:
        currency: ISO 4217, or ct.
        kind: what is bought: energy, hours, hashrate, or solutions for Sol/s.
        factor: from numbers in it to whole units of currency per kWh, per hour, or per hour and GH/s (or Sol/s).
    """

    currency: str
    kind: str
    factor: float


def money_unit(text: str) -> MoneyUnit:
    """Read a unit such as EUR/MWh or USD/(MH/s)/day. Raises ValueError."""
    match = _MONEY.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no unit of a price: it is a currency (USD, EUR, ..., ct), a slash, and kWh, MWh, hour, "
            "day, or (H/s)/day with kH/s, MH/s, GH/s, TH/s or Sol/s and hour or day"
        )
    per, rate = match["per"], match["rate"]
    factor = 0.01 if match["currency"] == "ct" else 1.0
    if per == "MWh":
        factor /= 1000
    if "day" in (per, match["span"]):
        factor /= 24
    if rate is not None:
        factor /= _RATES[rate]
        kind = "solutions" if rate == SOLUTIONS else "hashrate"
    else:
        kind = "energy" if per in ("kWh", "MWh") else "hours"
    return MoneyUnit(match["currency"], kind, factor)


class MoneySeries(Series):
    """A column of prices."""

    unit: str
    """Currency and what it buys: USD/kWh, EUR/MWh, ct/kWh; USD/(MH/s)/day; USD/hour."""
    usd_per_unit: Number | None = None
    """US dollars for one whole unit of the currency (for ct: for 100 of them): a number, or a series of rates."""

    @pydantic.model_validator(mode="after")
    def _money(self) -> Self:
        currency = money_unit(self.unit).currency
        if currency == "USD" and self.usd_per_unit is not None:
            raise ValueError("usdPerUnit is for other currencies than USD; leave it out")
        if currency != "USD" and self.usd_per_unit is None:
            raise ValueError(
                f"prices in {currency} need usdPerUnit: US dollars for one whole unit of the currency, "
                "a number or a series"
            )
        return self


def _shape(value: Any) -> str:
    return "series" if isinstance(value, dict | Series) else "number"


Number = Annotated[
    Annotated[float, pydantic.Tag("number")] | Annotated[Series, pydantic.Tag("series")],
    pydantic.Discriminator(_shape),
]
"""A number that stays, or a series."""
Money = Annotated[
    Annotated[float, pydantic.Tag("number")] | Annotated[MoneySeries, pydantic.Tag("series")],
    pydantic.Discriminator(_shape),
]
"""A price in US dollars that stays, or a series of prices."""

MoneySeries.model_rebuild()


def to_canonical_rate(unit: str) -> float:
    """From a unit of hash rate to GH/s; Sol/s stay as they are."""
    return _RATES[unit]


def check_kind(price: float | MoneySeries, *, wanted: str, example: str) -> None:
    """Check that a price buys what it should. Raises ValueError."""
    if isinstance(price, MoneySeries) and money_unit(price.unit).kind != wanted:
        raise ValueError(f"unit {price.unit} does not fit here: write one such as {example}")
