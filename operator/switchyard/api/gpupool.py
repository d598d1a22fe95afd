"""GPUPool: a set of rigs under one policy."""

from __future__ import annotations

import enum
from typing import Annotated, Any, ClassVar

import pydantic
import pydantic_core

from switchyard.api import aijob, base, fields


class PoolMode(enum.StrEnum):
    """Whether the plan is carried out."""

    ENFORCE = "Enforce"
    RECOMMEND = "Recommend"


class _IntOrPercent:
    """A whole number of at least 1, or a percentage as a string from "1%" to "100%"."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> pydantic_core.CoreSchema:
        return pydantic_core.core_schema.union_schema(
            [
                pydantic_core.core_schema.int_schema(ge=1, strict=True),
                pydantic_core.core_schema.str_schema(pattern=r"^([1-9][0-9]?|100)%$"),
            ]
        )

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        rule = base.Rule(
            rule="type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')",
            message='must be a whole number of at least 1, or a share of the pool from "1%" to "100%"',
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


class GPUPoolSpec(base.Model):
    """Which rigs are in the pool, and what may be done with them."""

    rules: ClassVar = (
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


class GPUPoolStatus(base.Status):
    """What the pool does and earns."""

    rigs: RigCounts | None = None
    """Rigs of the pool by what they do."""
    net_usd_per_hour: str | None = None
    """What the pool earns after fees and power, US dollars per hour."""
    pending: int | None = None
    """Rigs that wait for the switching budget."""


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
