"""What all kinds share: the model's habits, CEL rules, the types of fields, conditions and object metadata.

A kind is a class: its docstrings are what `kubectl explain` prints, its annotations what the API server checks, and
its attributes what the other rooms read. See `switchyard.api.crd` for how a schema is made of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import zoneinfo
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final

import pydantic
import pydantic_core

from switchyard.api import text

GROUP: Final = "switchyard.farm"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "switchyard"

RULES: Final = "x-kubernetes-validations"

JsonSchema = dict[str, Any]
_JsonHandler = Callable[[Any], JsonSchema]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """A CEL rule of the API server. As an annotation it guards a field, in `Model.rules` the whole object.

    Attributes:
        rule: the expression that must hold; with `oldSelf` in it, it is checked on updates only.
        message: what a person reads when it does not: which field, and what to do.
        field_path: the field the error points at, such as `.unit`; "" is the guarded one itself.
    """

    rule: str
    message: str
    field_path: str = ""

    def as_schema(self) -> JsonSchema:
        """The rule as it stands in the schema."""
        entry = {"rule": self.rule, "message": self.message}
        if self.field_path:
            entry["fieldPath"] = self.field_path
        return entry

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: _JsonHandler) -> JsonSchema:
        schema = handler(core_schema)
        return {**schema, RULES: [*schema.get(RULES, ()), self.as_schema()]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """A field that is a bounded string in YAML and something better in Python: `parse` reads it or raises ValueError.

    `max_length` bounds the string, so that the API server can foresee what checking it costs.
    """

    parse: Callable[[str], Any]
    rules: tuple[Rule, ...]
    max_length: int = 32

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> pydantic_core.CoreSchema:
        return pydantic_core.core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: _JsonHandler) -> JsonSchema:
        return {"type": "string", "maxLength": self.max_length, RULES: [rule.as_schema() for rule in self.rules]}


@dataclasses.dataclass(frozen=True)
class Extension:
    """Adds keys to a field's schema that pydantic does not know, such as list types."""

    keys: tuple[tuple[str, str | tuple[str, ...]], ...]

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: _JsonHandler) -> JsonSchema:
        keys = {key: list(value) if isinstance(value, tuple) else value for key, value in self.keys}
        return {**handler(core_schema), **keys}


def map_keyed_by(*keys: str) -> Extension:
    """A list whose entries are told apart by these fields: unique, and merged one by one on apply."""
    return Extension((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", keys)))


SET: Final = Extension((("x-kubernetes-list-type", "set"),))
"""A list without doubles."""
ATOMIC: Final = Extension((("x-kubernetes-map-type", "atomic"),))
"""An object with one writer, replaced whole: keeps managedFields small on objects that are written often."""


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
    return Text(parse=text.parse_decimal, rules=(Rule(rule=" && ".join(tests), message=message + hint),))


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
    return Text(parse=text.parse_duration, rules=(Rule(rule=" && ".join(tests), message=message),))


_MEMORY: Final = Text(
    parse=text.parse_mebibytes,
    rules=(
        Rule(
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
        Rule(
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
        Rule(
            rule=_quoted(text.CLOCK_PATTERN),
            message='must be a time of day as HH:MM in quotes, from "00:00" to "23:59"',
        ),
    ),
)
ClockTime = Annotated[datetime.time, _CLOCK]


def name_of(what: str) -> Rule:
    """Guards a field that holds the name of another object."""
    return Rule(
        rule="!format.dns1123Subdomain().validate(self).hasValue()",
        message=f"must be the name of a {what}: lower-case letters, digits, '-' and '.'",
    )


Name = Annotated[str, pydantic.Field(min_length=1, max_length=253)]
GpuModel = Annotated[str, pydantic.Field(min_length=1, max_length=63)]
"""A GPU's model as its Node's label nvidia.com/gpu.product says it."""

Jurisdiction = Annotated[
    str,
    pydantic.Field(max_length=6),
    Rule(
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
    Rule(
        rule="self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$')",
        message='must be a time zone of the IANA database, such as "America/Chicago" or "UTC"',
    ),
]

WebAddress = Annotated[
    str,
    pydantic.Field(max_length=2048),
    Rule(
        rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != ''",
        message='must be a web address, such as "https://prices.example.com/v1/spot"',
    ),
]


def _alias(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join("MiB" if word == "mib" else word.capitalize() for word in rest)


class Model(pydantic.BaseModel):
    """A frozen object: camelCase in YAML, snake_case here; a field's docstring is its description.

    Fields that a newer version added are ignored, so that an older operator goes on reading.
    """

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=_alias,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules about more than one of its fields."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: pydantic_core.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> JsonSchema:
        """Adds the object's own rules to its schema."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.rules:
            schema[RULES] = [rule.as_schema() for rule in cls.rules]
        return schema


class Operator(enum.StrEnum):
    """Operators of a label selector."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Requirement(Model):
    """One demand on a label."""

    rules: ClassVar = (
        Rule(
            rule="self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 "
            ": !has(self.values) || size(self.values) == 0",
            message="operators In and NotIn need values; Exists and DoesNotExist take none",
            field_path=".values",
        ),
    )

    key: Annotated[
        str,
        pydantic.Field(min_length=1, max_length=317),
        Rule(
            rule="!format.qualifiedName().validate(self).hasValue()",
            message="must be the key of a label, such as switchyard.farm/site",
        ),
    ]
    """Key of the label."""
    operator: Operator
    """In and NotIn compare the label's value with values; Exists and DoesNotExist ask whether the label is there."""
    values: Annotated[tuple[Annotated[str, pydantic.Field(max_length=63)], ...], pydantic.Field(max_length=64)] = ()
    """Values for In and NotIn."""


class LabelSelector(Model):
    """Chooses objects by their labels. All demands must hold. An empty selector is refused: it would match nothing."""

    rules: ClassVar = (
        Rule(
            rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || "
            "(has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            message="must have matchLabels or matchExpressions: an empty selector matches nothing",
        ),
    )

    match_labels: Annotated[
        dict[str, Annotated[str, pydantic.Field(max_length=63)]],
        pydantic.Field(max_length=32),
        Rule(
            rule="self.all(key, !format.qualifiedName().validate(key).hasValue() && "
            "!format.labelValue().validate(self[key]).hasValue())",
            message="must be labels: keys such as switchyard.farm/site, values of up to 63 letters, digits, -, _ and .",
        ),
    ] = pydantic.Field(default_factory=dict)
    """Labels with exactly these values."""
    match_expressions: Annotated[tuple[Requirement, ...], pydantic.Field(max_length=16)] = ()
    """Further demands on labels."""


class ConditionStatus(enum.StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One thing that is observed to hold or not, with the reason."""

    type: Annotated[str, pydantic.Field(min_length=1, max_length=64)]
    """What is observed."""
    status: ConditionStatus
    """True, False, or Unknown while nobody could tell yet."""
    reason: Annotated[str, pydantic.Field(max_length=256)] = ""
    """Why, in one CamelCase word for programs."""
    message: Annotated[str, pydantic.Field(max_length=4096)] = ""
    """Why, for people, with the numbers."""
    last_transition_time: datetime.datetime | None = None
    """When status last changed."""
    observed_generation: int | None = None
    """The metadata.generation this speaks of; an older one means the latest edit has not been looked at yet."""


class Status(Model):
    """What every kind's status has."""

    observed_generation: int | None = None
    """The metadata.generation the operator last looked at."""
    conditions: Annotated[tuple[Condition, ...], pydantic.Field(max_length=16), map_keyed_by("type")] = ()
    """What is observed, one entry per type."""

    def condition(self, type_: str) -> Condition | None:
        """The condition of this type, or None."""
        return next((condition for condition in self.conditions if condition.type == type_), None)

    def holds(self, type_: str) -> bool:
        """Whether the condition of this type is True."""
        condition = self.condition(type_)
        return condition is not None and condition.status is ConditionStatus.TRUE


class ObjectMeta(Model):
    """The part of an object's metadata that is read."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime.datetime | None = None
    deletion_timestamp: datetime.datetime | None = None
    labels: dict[str, str] = pydantic.Field(default_factory=dict)
    annotations: dict[str, str] = pydantic.Field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A column of `kubectl get`. Columns of priority 1 are shown with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    priority: int = 0


def condition_column(type_: str, *, name: str = "", field: str = "status", priority: int = 0) -> Column:
    """A column that shows a condition's status, or another field of it."""
    return Column(name=name or type_, path=f".status.conditions[?(@.type=='{type_}')].{field}", priority=priority)


AGE: Final = Column(name="Age", path=".metadata.creationTimestamp", type="date")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Names:
    """How a kind is called, and how it is listed."""

    kind: str
    plural: str
    singular: str
    short: tuple[str, ...] = ()
    namespaced: bool = False
    columns: tuple[Column, ...] = ()


class Resource(Model):
    """An object of one of our kinds. Subclasses add `spec` and `status` and say their names."""

    names: ClassVar[Names]

    metadata: ObjectMeta


def name_rule(*, dots: bool = True) -> Rule:
    """Bounds metadata.name where it becomes the value of a label."""
    if dots:
        return Rule(
            rule="size(self.metadata.name) <= 63",
            message="must be at most 63 characters: it becomes the value of a label",
            field_path=".metadata.name",
        )
    return Rule(
        rule="self.metadata.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$') && size(self.metadata.name) <= 63",
        message="must be at most 63 lower-case letters, digits and '-': it becomes the value of a label",
        field_path=".metadata.name",
    )
