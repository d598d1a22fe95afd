"""GPUPool: a set of rigs under one policy."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, ClassVar

import pydantic
import pydantic_core

from switchyard.api import aijob, base, fields


class PoolMode(enum.StrEnum):
    """Whether the plan is carried out."""

    ENFORCE = "Enforce"
    RECOMMEND = "Recommend"


@dataclasses.dataclass(frozen=True)
class _IntOrPercent:
    """A whole number of at least `least` (0 or 1), or a percentage as a string from `least` to "100%"."""

    least: int = 1

    @property
    def _pattern(self) -> str:
        return rf"^([{self.least}-9]|[1-9][0-9]|100)%$"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> pydantic_core.CoreSchema:
        return pydantic_core.core_schema.union_schema(
            [
                pydantic_core.core_schema.int_schema(ge=self.least, strict=True),
                pydantic_core.core_schema.str_schema(pattern=self._pattern),
            ]
        )

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        rule = base.Rule(
            rule=f"type(self) == int ? self >= {self.least} : self.matches('{self._pattern}')",
            message=f"must be a whole number of at least {self.least}, or a share of the pool "
            f'from "{self.least}%" to "100%"',
        )
        # A string longer than this is refused before the rule is looked at; a number has no length.
        return {"x-kubernetes-int-or-string": True, "maxLength": 16, base.RULES: [rule.as_schema()]}


class PowerProfile(base.Model):
    """Watts of one model of GPU outside mining (a Coin's benchmarks say what mining draws)."""

    rules: ClassVar = (
        base.Rule(
            rule="self.idleWatts <= self.aiWatts",
            message="idleWatts must not be above aiWatts: a GPU at rest draws less than at work",
            field_path=".idleWatts",
        ),
    )

    gpu: fields.GpuModel
    """Model of the GPU, as its Node's label nvidia.com/gpu.product says it."""
    ai_watts: Annotated[int, pydantic.Field(ge=1, le=2000)]
    """Watts of one GPU at AI work."""
    idle_watts: Annotated[int, pydantic.Field(ge=0, le=2000)]
    """Watts of one GPU that is on and does nothing."""


class Switching(base.Model):
    """How much may change at once."""

    max_concurrent: Annotated[int | str, _IntOrPercent()] = "25%"
    """Rigs of the pool that may be handed over at the same time: a number, or a percentage of the pool rounded down but
    at least one rig. Default 25%."""


class ShareKind(enum.StrEnum):
    """Kinds of modes that a pool can be shared out between."""

    AI = "AI"
    MINING = "Mining"


# A percentage as a number; -1 where the field is absent, a count, or wrong (then its own rule says so).
_PERCENT = "(has({0}) && type({0}) == string && {0}.matches('^[0-9]{{1,3}}%$') ? int({0}.replace('%', '')) : -1)"
_FLOOR, _MOST = _PERCENT.format("self.floor"), _PERCENT.format("self.most")


class Share(base.Model):
    """How many of the pool's rigs must stay in a kind of mode, and how many may be in it."""

    rules: ClassVar = (
        base.Rule(
            rule="has(self.floor) || has(self.most)",
            message="a share must have floor or most, or both",
        ),
        base.Rule(
            rule="!(has(self.floor) && has(self.most) && type(self.floor) == int && type(self.most) == int) || "
            "self.floor <= self.most",
            message="floor must not be above most",
            field_path=".floor",
        ),
        base.Rule(
            rule=f"{_MOST} < 0 || {_FLOOR} <= {_MOST}",
            message="floor must not be a greater percentage than most",
            field_path=".floor",
        ),
    )

    kind: ShareKind
    """The kind of mode: AI (paid work) or Mining (any coin)."""
    floor: Annotated[int | str | None, _IntOrPercent(0)] = None
    """The plan takes no rig out of this kind where fewer would be left: a number of rigs, or a percentage of the pool
    rounded up. It moves no rig in. Work that is done, a coin that is gone, a pin and a circuit over its limit come
    first. Default: none need stay."""
    most: Annotated[int | str | None, _IntOrPercent(0)] = None
    """The plan takes no rig into this kind where more would be there: a number of rigs, or a percentage of the pool
    rounded down. It moves no rig out. Default: any number."""


_FLOORS = _PERCENT.format("share.floor")


class GPUPoolSpec(base.Model):
    """Which rigs are in the pool, and what may be done with them."""

    rules: ClassVar = (
        base.Rule(
            rule=f"!has(self.shares) || self.shares.map(share, {_FLOORS}).filter(floor, floor > 0).sum() <= 100",
            message="the floors of all shares together must not be above 100%",
            field_path=".shares",
        ),
        base.Rule(
            rule="(has(self.coins) && size(self.coins) > 0) || size(self.workloadClasses) > 0 || "
            "self.idle || self.powerOff",
            message="the pool allows nothing: give it coins or workloadClasses, or set idle or powerOff to true",
        ),
    )

    rig_selector: base.LabelSelector
    """Chooses rigs by the labels of their Rig objects, which carry switchyard.farm/site and the Node's nvidia.com/gpu.*
    labels. A rig that several pools choose belongs to the first by name."""
    gpu_models: Annotated[tuple[fields.GpuModel, ...], pydantic.Field(max_length=64), base.SET] = ()
    """Only rigs all of whose GPUs are of these models. Default: any."""
    mode: PoolMode = PoolMode.RECOMMEND
    """Recommend (default) decides and explains but touches nothing; Enforce carries decisions out."""
    coins: Annotated[
        tuple[Annotated[fields.Name, fields.name_of("Coin")], ...], pydantic.Field(max_length=64), base.SET
    ] = ()
    """Coins that may be mined here. Default: none."""
    workload_classes: Annotated[tuple[aijob.WorkloadClass, ...], pydantic.Field(max_length=5), base.SET] = tuple(
        aijob.WorkloadClass
    )
    """Classes of AI work that may run here. Default: all; an empty list keeps AI work out."""
    idle: bool = True
    """Whether rigs may stand idle when nothing pays for its power. Default true."""
    # Not `off`: YAML 1.1 reads a bare off as false, in a key as well.
    power_off: bool = False
    """Whether rigs may be powered off when nothing pays for its power. Default false."""
    power_profiles: Annotated[tuple[PowerProfile, ...], pydantic.Field(max_length=64), base.map_keyed_by("gpu")] = ()
    """Watts per model of GPU. A model without one cannot be valued for AI work."""
    off_watts: Annotated[int, pydantic.Field(ge=0, le=1000)] = 5
    """Watts of a whole rig that is powered off. Default 5."""
    switching: Switching = Switching()
    """How much may change at once."""
    shares: Annotated[tuple[Share, ...], pydantic.Field(max_length=2), base.map_keyed_by("kind")] = ()
    """How many rigs must stay at AI work or at mining, and how many may be there: one entry per kind. Default: the plan
    alone decides."""


class RigCounts(base.Model):
    """Rigs of the pool by what they do."""

    total: int | None = None
    """All rigs of the pool."""
    mining: int | None = None
    """Rigs that mine."""
    ai: int | None = None
    """Rigs at AI work."""
    idle: int | None = None
    """Rigs that are on and do nothing."""
    off: int | None = None
    """Rigs that are powered off."""
    switching: int | None = None
    """Rigs that are being handed over."""


class ShareStatus(base.Model):
    """A share in rigs, and how it is kept."""

    kind: ShareKind
    """The kind of mode."""
    floor: int | None = None
    """Rigs that must stay in it."""
    most: int | None = None
    """Rigs that may be in it."""
    rigs: int | None = None
    """Rigs that are in it, or on their way to it."""


class FollowedStatus(base.Model):
    """An expert, and how many rigs do as it says."""

    expert: str
    """WorkFunction (moves when what was forgone has paid for the move), LookAhead (counts on forecasts and on the
    demand it has learned), or Stay/MODE (keeps to one mode)."""
    rigs: int
    """Rigs of the pool that follow it."""


class GPUPoolStatus(base.Status):
    """What the pool does and earns."""

    rigs: RigCounts | None = None
    """Rigs of the pool by what they do."""
    net_usd_per_hour: str | None = None
    """What the pool earns after fees and power, US dollars per hour."""
    pending: int | None = None
    """Rigs that a budget, a share or a circuit keeps from a better mode."""
    shares: Annotated[tuple[ShareStatus, ...], pydantic.Field(max_length=2), base.map_keyed_by("kind")] = ()
    """Shares in rigs, as the pool is now. Absent where the spec has none."""
    followed: Annotated[tuple[FollowedStatus, ...], pydantic.Field(max_length=64), base.map_keyed_by("expert")] = ()
    """Whose word the rigs that decide singly follow: for each kind of rigs, the expert that has earned most of late."""


class GPUPool(base.Resource):
    """A set of rigs under one policy: what they may do, whether decisions are carried out, and how fast they change."""

    names: ClassVar = base.Names(
        kind="GPUPool",
        plural="gpupools",
        singular="gpupool",
        short=("gp",),
        columns=(
            base.Column(name="Mode", path=".spec.mode"),
            base.Column(name="Rigs", path=".status.rigs.total", type="integer"),
            base.Column(name="Mining", path=".status.rigs.mining", type="integer"),
            base.Column(name="AI", path=".status.rigs.ai", type="integer"),
            base.Column(name="Idle", path=".status.rigs.idle", type="integer"),
            base.Column(name="Off", path=".status.rigs.off", type="integer"),
            base.Column(name="Switching", path=".status.rigs.switching", type="integer"),
            base.Column(name="$/h", path=".status.netUsdPerHour", description="Earned after fees and power"),
            base.condition_column("Ready"),
            base.Column(name="Pending", path=".status.pending", type="integer", priority=1),
            base.condition_column("Ready", name="Reason", field="reason", priority=1),
            base.AGE,
        ),
    )
    rules: ClassVar = (base.name_rule(),)

    spec: GPUPoolSpec
    status: GPUPoolStatus = GPUPoolStatus()
