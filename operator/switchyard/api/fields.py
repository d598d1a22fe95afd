"""The types of fields: how a value is written and judged in YAML, and what it is in Python."""

from __future__ import annotations

import dataclasses
import datetime
import zoneinfo
from collections.abc import Callable
from typing import Annotated, Any, Final

import pydantic
import pydantic_core

from switchyard.api import base, text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """A field that is a bounded string in YAML and something better in Python: `parse` reads it or raises ValueError.

    `max_length` bounds the string, so that the API server can foresee what checking it costs.
    """

    parse: Callable[[str], Any]
    rules: tuple[base.Rule, ...]
    max_length: int = 32

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> pydantic_core.CoreSchema:
        return pydantic_core.core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: base.JsonHandler) -> base.JsonSchema:
        return {"type": "string", "maxLength": self.max_length, base.RULES: [rule.as_schema() for rule in self.rules]}


def _quoted(pattern: str) -> str:
    return f"self.matches('{pattern}')"


def number(
    *,
    example: str,
    least: float | None = 0.0,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    hint: str = "",
) -> Text:
    """A decimal string within bounds, read as a float. `least=None` lets it be negative."""
    tests = [_quoted(text.SIGNED_DECIMAL_PATTERN)]
    bounds = []
    for limit, sign, words in (
        (least, ">=", "at least"),
        (above, ">", "above"),
        (most, "<=", "at most"),
        (below, "<", "below"),
    ):
        if limit is None:
            continue
        tests.append(f"double(self) {sign} {float(limit)!r}")
        bounds.append(f"{words} {limit:g}")
    message = f'must be a decimal number in quotes, such as "{example}"'
    if bounds:
        message += f", {' and '.join(bounds)}"
    return Text(parse=text.parse_decimal, rules=(base.Rule(rule=" && ".join(tests), message=message + hint),))


def duration(*, example: str, least: str = "", most: str = "") -> Text:
    """A duration such as `1h30m` within bounds, read as seconds."""
    tests = [_quoted(text.DURATION_PATTERN)]
    message = f'must be a duration in h, m and s, such as "{example}"'
    if least:
        tests.append(f"duration(self) >= duration('{least}')")
        message += f", at least {least}"
    if most:
        tests.append(f"duration(self) <= duration('{most}')")
        message += f"{' and' if least else ','} at most {most}"
    return Text(parse=text.parse_duration, rules=(base.Rule(rule=" && ".join(tests), message=message),))


_MEMORY: Final = Text(
    parse=text.parse_mebibytes,
    rules=(
        base.Rule(
            # Below 1Mi somebody forgot the unit, or wrote m (milli) for M.
            rule="isQuantity(self) && quantity(self).compareTo(quantity('1Mi')) >= 0",
            message='must be an amount of memory with its unit, such as "8Gi" or "512Mi"',
        ),
    ),
)
Memory = Annotated[int, _MEMORY]
"""A Kubernetes quantity of bytes, read as whole MiB."""

_CAPABILITY: Final = Text(
    parse=text.parse_capability,
    max_length=8,
    rules=(
        base.Rule(
            rule=_quoted(text.CAPABILITY_PATTERN),
            message='must be a CUDA compute capability in quotes, such as "8.6"',
        ),
    ),
)
ComputeCapability = Annotated[tuple[int, int], _CAPABILITY]

_CLOCK: Final = Text(
    parse=text.parse_clock,
    max_length=5,
    rules=(
        base.Rule(
            rule=_quoted(text.CLOCK_PATTERN),
            message='must be a time of day as HH:MM in quotes, from "00:00" to "23:59"',
        ),
    ),
)
ClockTime = Annotated[datetime.time, _CLOCK]


def name_of(what: str) -> base.Rule:
    """Guards a field that holds the name of another object."""
    return base.Rule(
        rule="!format.dns1123Subdomain().validate(self).hasValue()",
        message=f"must be the name of a {what}: lower-case letters, digits, '-' and '.'",
    )


Name = Annotated[str, pydantic.Field(min_length=1, max_length=253)]
CircuitName = Annotated[
    str,
    pydantic.Field(min_length=1, max_length=63),
    base.Rule(
        rule="!format.dns1123Label().validate(self).hasValue()",
        message="must be the name of a circuit: lower-case letters, digits and '-'",
    ),
]
"""Name of a circuit within its Site."""
GpuModel = Annotated[str, pydantic.Field(min_length=1, max_length=63)]
"""A GPU's model as its Node's label nvidia.com/gpu.product says it."""

Jurisdiction = Annotated[
    str,
    pydantic.Field(max_length=6),
    base.Rule(
        rule="self.matches('^[A-Z]{2}(-[A-Z0-9]{1,3})?$')",
        message='must be an ISO 3166 code: a country such as "US", or one of its parts such as "US-TX"',
    ),
]


def _known_time_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"not a time zone of the IANA database: {value!r}") from error
    return value


TimeZone = Annotated[
    str,
    pydantic.Field(max_length=64),
    # The API server can only judge the shape; whether the zone exists is found out when the object is read.
    pydantic.AfterValidator(_known_time_zone),
    base.Rule(
        rule="self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$')",
        message='must be a time zone of the IANA database, such as "America/Chicago" or "UTC"',
    ),
]

WebAddress = Annotated[
    str,
    pydantic.Field(max_length=2048),
    base.Rule(
        rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''",
        message='must be a web address, such as "https://prices.example.com/v1/spot"',
    ),
]
