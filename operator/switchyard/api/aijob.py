"""AIJob: a customer's paid work, a gang that is placed whole or not at all."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Any, ClassVar

import pydantic

from switchyard.api import base, fields, pod_template, text


class WorkloadClass(enum.StrEnum):
    """Classes of AI work, coarse: each has its own typical demands on a rig."""

    TRAINING = "Training"
    INFERENCE = "Inference"
    BATCH = "Batch"
    RENDER = "Render"
    HPC = "HPC"


class PreemptionPolicy(enum.StrEnum):
    """Whether a job may be stopped for better work."""

    NEVER = "Never"
    ALLOWED = "Allowed"


class Bid(base.Model):
    """What the customer pays."""

    usd_per_gpu_hour: Annotated[float, fields.number(example="0.25", most=1000)]
    """US dollars per GPU and hour. The job is admitted when this beats what the rigs earn otherwise."""


class Requirements(base.Model):
    """What each GPU, and the rig around it, must offer. What is absent asks for nothing."""

    gpu_memory: fields.Memory | None = None
    """Memory of each GPU, such as 8Gi."""
    compute_capability: fields.ComputeCapability | None = None
    """Least CUDA compute capability, such as "7.5"."""
    host_link_gigabytes_per_second: Annotated[float, fields.number(example="0.15", most=1000)] | None = None
    """Least measured rate from host memory to the GPU, GB/s. Mining risers give about 0.2 to 0.8."""
    host_memory: fields.Memory | None = None
    """Memory of the host, such as 4Gi."""
    jurisdictions: Annotated[tuple[fields.Jurisdiction, ...], pydantic.Field(max_length=32), base.SET] = ()
    """Where the job may run, ISO 3166 codes such as US-TX. Default: anywhere."""


class Preemption(base.Model):
    """On which terms a running job may be stopped for better work. It then waits again; its bid stands."""

    policy: PreemptionPolicy = PreemptionPolicy.ALLOWED
    """Allowed (default) or Never. A job that may never be stopped has to beat a higher reserve price."""
    notice: Annotated[float, fields.duration(example="2m", most="1h")] = pydantic.Field("2m", validate_default=True)
    """Time between the notice to its Pods and their eviction, at most 1h; who has saved goes at once. Default 2m."""
    min_runtime: Annotated[float, fields.duration(example="10m")] = pydantic.Field("10m", validate_default=True)
    """Time a job runs at least before it may be stopped. Default 10m."""


MAX_GANG_GPUS = 1024


class AIJobSpec(base.Model):
    """The work, what it pays, what it needs and on which terms it may be stopped."""

    rules: ClassVar = (
        base.Rule(
            rule=f"self.replicas * self.gpusPerReplica <= {MAX_GANG_GPUS}",
            message=f"replicas times gpusPerReplica must not be above {MAX_GANG_GPUS} GPUs: split the job",
            field_path=".replicas",
        ),
    )

    workload_class: WorkloadClass
    """Class of the work. Pools say which classes they take."""
    replicas: Annotated[int, pydantic.Field(ge=1, le=MAX_GANG_GPUS)] = 1
    """Pods of the gang. All are placed at once, or none. Default 1."""
    gpus_per_replica: Annotated[int, pydantic.Field(ge=1, le=16)] = 1
    """GPUs of each Pod; they are on one rig. The operator puts the request into the template. Default 1."""
    bid: Bid
    """What the customer pays. Once the job is admitted the bid can be raised but not lowered."""
    duration: Annotated[float, fields.duration(example="2h", least="1s")]
    """How long the job is expected to run on its GPUs. It is not a limit; it weighs the cost of switching."""
    deadline: datetime.datetime | None = None
    """When the work must be done, RFC 3339. A job that can no longer make it is not admitted. Default: no deadline."""
    requirements: Requirements = Requirements()
    """What each GPU, and the rig around it, must offer. Default: nothing in particular."""
    preemption: Preemption = Preemption()
    """On which terms the running job may be stopped for better work."""
    suspend: bool = False
    """True stops the job in good order and keeps it from being admitted. Default false."""
    template: Annotated[dict[str, Any], pod_template.SCHEMA]
    """Pod template of the work, as in a Job. GPUs, placement and restart policy are the operator's."""
    ttl_after_finished: Annotated[float, fields.duration(example="24h")] | None = None
    """Time after the end of the work when its Job and Pods are deleted; the AIJob stays. Default: never."""


class PlacementStatus(base.Model):
    """Replicas of the gang on one rig."""

    rig: Annotated[str, pydantic.Field(max_length=253)]
    """Name of the Rig."""
    replicas: int = 1
    """Replicas on it."""


class CheckpointStatus(base.Model):
    """What the farm advises on checkpoints."""

    recommended_interval: str | None = None
    """Work between two checkpoints that wastes least, such as 26m: from what checkpoints of this class of work take
    and how often it stops unannounced. The Pods find it in seconds in SWITCHYARD_CHECKPOINT_INTERVAL."""


class AIJobStatus(base.Status):
    """What has become of the job: conditions Quoted, Admitted, Running, Preempted and Finished."""

    placement: Annotated[
        tuple[PlacementStatus, ...], pydantic.Field(max_length=MAX_GANG_GPUS), base.map_keyed_by("rig")
    ] = ()
    """The rigs that work for the job."""
    reserve_price_usd_per_gpu_hour: str | None = None
    """What the bid has to beat, US dollars per GPU and hour."""
    attempts: int | None = None
    """How often the job was started."""
    preemptions: int | None = None
    """How often the job was stopped for better work."""
    progress: str | None = None
    """Share of the work done as the workload reports it, 0 to 1."""
    last_checkpoint: datetime.datetime | None = None
    """Time of the last complete checkpoint."""
    checkpoint: Annotated[CheckpointStatus, base.ATOMIC] | None = None
    """What the farm advised on checkpoints when the job was admitted."""
    admitted_at: datetime.datetime | None = None
    """When the job was admitted last."""
    started_at: datetime.datetime | None = None
    """When the whole gang ran for the first time since it was admitted."""
    finished_at: datetime.datetime | None = None
    """When the job succeeded or failed."""
    job_name: str | None = None
    """Name of the Job that runs the gang."""
    claim: str | None = None
    """Value of the claim label on the Nodes that only this job's Pods may land on."""


_ADMITTED = (
    "has(oldSelf.status) && has(oldSelf.status.conditions) && "
    "oldSelf.status.conditions.exists(c, c.type == 'Admitted' && c.status == 'True')"
)


def _fixed_once_admitted(field: str) -> base.Rule:
    return base.Rule(
        rule=f"!({_ADMITTED}) || self.spec.{field} == oldSelf.spec.{field}",
        message=f"{field} cannot be changed while the job is admitted: set suspend to true first, or make a new AIJob",
        field_path=f".spec.{field}",
    )


class AIJob(base.Resource):
    """A customer's paid work. Its namespace is the customer; its Pods run on rigs where the bid beats all else."""

    names: ClassVar = base.Names(
        kind="AIJob",
        plural="aijobs",
        singular="aijob",
        namespaced=True,
        columns=(
            base.Column(name="Class", path=".spec.workloadClass"),
            base.Column(name="Replicas", path=".spec.replicas", type="integer"),
            base.Column(name="GPUs each", path=".spec.gpusPerReplica", type="integer"),
            base.Column(name="Bid", path=".spec.bid.usdPerGpuHour", description="US dollars per GPU and hour"),
            base.Column(
                name="Reserve", path=".status.reservePriceUsdPerGpuHour", description="What the bid has to beat"
            ),
            base.condition_column("Admitted"),
            base.condition_column("Running"),
            base.condition_column("Finished", field="reason"),
            base.Column(name="Progress", path=".status.progress"),
            base.condition_column("Admitted", name="Reason", field="reason", priority=1),
            base.Column(name="Preemptions", path=".status.preemptions", type="integer", priority=1),
            base.Column(name="Deadline", path=".spec.deadline", priority=1),
            base.AGE,
        ),
    )
    rules: ClassVar = (
        base.name_rule(),
        *(
            _fixed_once_admitted(field)
            for field in ("workloadClass", "replicas", "gpusPerReplica", "requirements", "preemption", "template")
        ),
        base.Rule(
            rule=f"!({_ADMITTED}) || !self.spec.bid.usdPerGpuHour.matches('{text.DECIMAL_PATTERN}') || "
            "double(self.spec.bid.usdPerGpuHour) >= double(oldSelf.spec.bid.usdPerGpuHour)",
            message="bid cannot be lowered while the job is admitted: it was admitted at this price",
            field_path=".spec.bid.usdPerGpuHour",
        ),
    )

    spec: AIJobSpec
    status: AIJobStatus = AIJobStatus()
