"""What all kinds share: the model's habits, CEL rules, selectors, conditions and object metadata.

A kind is a class: its docstrings are what `kubectl explain` prints, its annotations what the API server checks, and
its attributes what the other rooms read. See `switchyard.api.crd` for how a schema is made of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final

import pydantic
import pydantic_core

GROUP: Final = "switchyard.farm"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "switchyard"

RULES: Final = "x-kubernetes-validations"

JsonSchema = dict[str, Any]
JsonHandler = Callable[[Any], JsonSchema]


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

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: JsonHandler) -> JsonSchema:
        schema = handler(core_schema)
        return {**schema, RULES: [*schema.get(RULES, ()), self.as_schema()]}


@dataclasses.dataclass(frozen=True)
class Extension:
    """Adds keys to a field's schema that pydantic does not know, such as list types."""

    keys: tuple[tuple[str, str | tuple[str, ...]], ...]

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: JsonHandler) -> JsonSchema:
        keys = {key: list(value) if isinstance(value, tuple) else value for key, value in self.keys}
        return {**handler(core_schema), **keys}


def map_keyed_by(*keys: str) -> Extension:
    """A list whose entries are told apart by these fields: unique, and merged one by one on apply."""
    return Extension((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", keys)))


SET: Final = Extension((("x-kubernetes-list-type", "set"),))
"""A list without doubles."""
ATOMIC: Final = Extension((("x-kubernetes-map-type", "atomic"),))
"""An object with one writer, replaced whole: keeps managedFields small on objects that are written often."""


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
