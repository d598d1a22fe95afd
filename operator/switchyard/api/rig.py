"""Rig: one GPU node, what it is made of, what it does and why."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, ClassVar

import pydantic

from switchyard.api import base, fields


class Pin(enum.StrEnum):
    """A person's word on what a rig shall do."""

    AUTO = "Auto"
    MINING = "Mining"
    AI = "AI"
    IDLE = "Idle"
    # Not `Off`: YAML 1.1 reads a bare off as false.
    OFF = "PowerOff"


class SiteReference(base.Model):
    """Names a Site."""

    name: Annotated[fields.Name, fields.name_of("Site")]
    """Name of the Site."""


class RigSpec(base.Model):
    """What people say about a rig. The operator registers a Rig for every GPU Node of a Site; edit it afterwards."""

    node_name: Annotated[
        fields.Name,
        fields.name_of("Node"),
        base.Rule(
            rule="self == oldSelf",
            message="nodeName cannot be changed: delete this Rig and make another one for the other Node",
        ),
    ]
    """Name of the Node that this rig is. It cannot be changed."""
    site_ref: SiteReference
    """The Site where the rig stands: its tariff prices every watt of the rig."""
    circuit: fields.CircuitName | None = None
    """The circuit that feeds the rig, one of its Site's spec.circuits. What the rig draws counts against the circuit's
    limit. Without it the rig is not limited."""
    pin: Pin = Pin.AUTO
    """What the rig shall do. Auto (default) leaves it to the plan; Mining, AI, Idle or PowerOff keep it in that
    kind of mode, and the plan chooses only within it: which coin, which job."""
    maintenance: bool = False
    """True keeps the plan away: the rig is left as it is and nothing new starts on it. Default false."""
    base_watts: Annotated[int, pydantic.Field(ge=0, le=5000)] = 80
    """Watts of the rig without its GPUs: board, processor, disk, fans. They cost in every mode but Off. Default 80."""


class GpuStatus(base.Model):
    """One GPU of the rig."""

    uuid: str | None = None
    """The GPU's UUID."""
    model: str
    """The GPU's model, as in powerProfiles and benchmarks."""
    memory_mib: Annotated[int, pydantic.Field(alias="memoryMiB")]
    """Memory of the GPU in MiB."""
    compute_capability: str | None = None
    """CUDA compute capability, such as 8.6."""
    pcie_generation: int | None = None
    """Generation of the PCIe link as negotiated under load."""
    pcie_width: int | None = None
    """Lanes of the PCIe link; mining risers have 1."""
    host_link_gigabytes_per_second: str | None = None
    """Measured rate from host memory to the GPU, GB/s. Absent until somebody measured it."""


class HardwareStatus(base.Model):
    """What the rig is made of."""

    gpus: Annotated[tuple[GpuStatus, ...], pydantic.Field(max_length=32)] = ()
    """GPUs, in the Node's order."""
    host_memory_mib: int | None = None
    """Memory of the host in MiB."""
    cpu_cores: int | None = None
    """Processor cores of the host."""


class AgentBenchmark(base.Model):
    """What one GPU of a model does on the coin that the rig mines, averaged over the rig's cards of that model."""

    gpu: str
    """Model of the GPU."""
    coin: str
    """The Coin that is mined."""
    hashes_per_second: str
    """Hashes (or solutions) per second of one GPU, as the miner counts them."""
    watts: int
    """Watts of one GPU meanwhile."""


class AgentStatus(base.Model):
    """What the agent on the Node reads back. Only the agent writes it."""

    profile: str | None = None
    """Power profile in force: mining.COIN, stock, idle or off."""
    since: datetime.datetime | None = None
    """When the profile came into force."""
    gpu_memory_used_mib: int | None = None
    """Memory in use over all GPUs, MiB. After work has stopped it must fall before the next owner comes."""
    watts: int | None = None
    """Watts drawn by all GPUs together."""
    gpus: Annotated[tuple[GpuStatus, ...], pydantic.Field(max_length=32)] = ()
    """GPUs as the driver sees them."""
    benchmarks: Annotated[tuple[AgentBenchmark, ...], pydantic.Field(max_length=32)] = ()
    """What its GPUs really do, while a miner hashes. Absent while none does."""
    observed_at: datetime.datetime | None = None
    """When this was read."""


class ModeStatus(base.Model):
    """The rig's mode: Mining/COIN, AI/NAMESPACE/JOB, Idle or Off."""

    desired: str | None = None
    """Mode the rig shall be in."""
    observed: str | None = None
    """Mode the rig is in; Switching while it is handed over."""


class StepStatus(base.Model):
    """Where the running hand-over stands. Absent while none runs."""

    name: str
    """Notifying (work saves), Stopping (Pods go), Releasing (GPUs are freed) or Starting (the new owner comes)."""
    since: datetime.datetime | None = None
    """When the step began."""
    deadline: datetime.datetime | None = None
    """When the step gives up and takes its way back."""
    reason: str | None = None
    """Why the hand-over was started, or why it went back: one CamelCase word."""
    message: str | None = None
    """The same for people."""


class AlternativeStatus(base.Model):
    """One mode the rig could be in, with what it is worth, or why it is not to be had."""

    mode: str
    """The mode: Mining/COIN, AI/NAMESPACE/JOB, Idle or Off."""
    net_usd_per_hour: str | None = None
    """Revenue less fees less power, US dollars per hour."""
    revenue_usd_per_hour: str | None = None
    """Revenue, US dollars per hour."""
    fees_usd_per_hour: str | None = None
    """Fees of pool, developer or market, US dollars per hour."""
    power_usd_per_hour: str | None = None
    """Power at the Site's price with its PUE, US dollars per hour."""
    watts: int | None = None
    """Watts of the whole rig, before PUE."""
    cost_to_move_usd: str | None = None
    """What moving there would cost, US dollars: wear, lost work, and what the lost seconds are worth."""
    seconds_to_move: int | None = None
    """Seconds in which the rig would earn nothing."""
    regret_usd: str | None = None
    """What not being in this mode has cost so far beyond the best history that ends in it, US dollars."""
    refused: str | None = None
    """Why the mode is not to be had: one CamelCase word. Absent where it is."""
    lacks: str | None = None
    """What the mode lacks to be chosen, for people: an amount per hour, memory, a price."""


class DecisionStatus(base.Model):
    """The last decision about the rig, with every alternative."""

    at: datetime.datetime | None = None
    """When it was made."""
    chosen: str | None = None
    """The mode that was chosen."""
    reason: str | None = None
    """Why: one CamelCase word."""
    message: str | None = None
    """Why, for people."""
    gain_usd_per_hour: str | None = None
    """What the chosen mode earns more than the one before, US dollars per hour."""
    cost_usd: str | None = None
    """What the move costs, US dollars, lost earnings included."""
    held_by: str | None = None
    """The budget or hold that kept a better mode from being taken."""
    expert: str | None = None
    """Whose word the rig follows: WorkFunction, LookAhead or Stay/MODE, whichever has earned most of late. Absent where
    none of them was asked."""
    alternatives: Annotated[tuple[AlternativeStatus, ...], pydantic.Field(max_length=128)] = ()
    """The modes that were weighed, best first; of AIJobs the rig's own and the best few, the message counts the others.
    """


class RigStatus(base.Status):
    """What is observed of the rig, and the last decision about it."""

    hardware: Annotated[HardwareStatus, base.ATOMIC] | None = None
    """What the rig is made of: from its Node, and from the agent once that has looked."""
    agent: Annotated[AgentStatus, base.ATOMIC] | None = None
    """What the agent on the Node reads back. Only the agent writes it."""
    pool: str | None = None
    """The GPUPool whose policy holds for the rig. Absent: in none, so nothing is decided for it."""
    mode: Annotated[ModeStatus, base.ATOMIC] | None = None
    """What the rig shall do, and what it does."""
    step: Annotated[StepStatus, base.ATOMIC] | None = None
    """Where the running hand-over stands. Absent while none runs."""
    decision: Annotated[DecisionStatus, base.ATOMIC] | None = None
    """The last decision, with every alternative in US dollars per hour: why the rig does what it does."""


class Rig(base.Resource):
    """One GPU node of the farm. Its status says what it does, what else it could do, and what each is worth."""

    names: ClassVar = base.Names(
        kind="Rig",
        plural="rigs",
        singular="rig",
        columns=(
            base.Column(name="Pool", path=".status.pool"),
            base.Column(name="Mode", path=".status.mode.observed", description="What the rig does"),
            base.Column(name="Desired", path=".status.mode.desired", description="What the rig shall do"),
            base.Column(name="Decision", path=".status.decision.reason", description="Why"),
            base.Column(name="Watts", path=".status.agent.watts", type="integer", description="Drawn by the GPUs"),
            base.condition_column("Ready"),
            base.Column(name="Site", path=".spec.siteRef.name", priority=1),
            base.Column(name="Circuit", path=".spec.circuit", priority=1),
            base.Column(name="Node", path=".spec.nodeName", priority=1),
            base.Column(name="Pin", path=".spec.pin", priority=1),
            base.Column(name="Step", path=".status.step.name", priority=1),
            base.condition_column("Ready", name="Reason", field="reason", priority=1),
            base.AGE,
        ),
    )
    rules: ClassVar = (base.name_rule(),)

    spec: RigSpec
    status: RigStatus = RigStatus()
