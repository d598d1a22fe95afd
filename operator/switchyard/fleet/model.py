"""The farm as frozen values: what every room that decides reads.

Units stand in the names: `_mib` mebibytes, `_watts`, `_seconds`, `_usd_per_hour`. Times are aware datetimes in UTC.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import immutables


class ModeKind(enum.StrEnum):
    """What a rig can be doing."""

    # Modes are looked up more than anything else, and an enumeration's own hash is worked out in Python.
    __hash__ = str.__hash__

    MINING = "Mining"
    AI = "AI"
    IDLE = "Idle"
    OFF = "Off"


class Mode(NamedTuple):
    """A rig's mode. `name` is the coin's name for Mining, `namespace/name` of the AIJob for AI, else empty.

    A tuple, because plans look up and compare modes by the hundred thousand.
    """

    kind: ModeKind
    name: str = ""

    def __str__(self) -> str:
        """As statuses show it: `Mining/kas`, `AI/tenant-a/train`, `Idle`, `Off`."""
        return f"{self.kind}/{self.name}" if self.name else str(self.kind)

    @classmethod
    def parse(cls, text: str) -> Mode:
        """Read what `str()` wrote. Raises ValueError for an unknown kind."""
        kind, _, name = text.partition("/")
        if kind == ModeKind.MINING:
            return mining(name)
        if kind == ModeKind.AI and "/" in name:
            namespace, _, job = name.partition("/")
            return work(namespace, job)
        return cls(ModeKind(kind), name)


IDLE = Mode(ModeKind.IDLE)
OFF = Mode(ModeKind.OFF)


@functools.lru_cache(maxsize=1024)
def mining(coin: str) -> Mode:
    """The mode of a rig that mines a coin; always the same object, because a plan compares thousands."""
    return Mode(ModeKind.MINING, coin)


@functools.lru_cache(maxsize=65536)
def work(namespace: str, name: str) -> Mode:
    """The mode of a rig that works for an AIJob; always the same object."""
    return Mode(ModeKind.AI, f"{namespace}/{name}")


class WorkloadClass(enum.StrEnum):
    """Classes of AI work, coarse: each has its own typical demands on a rig."""

    __hash__ = str.__hash__

    TRAINING = "Training"
    INFERENCE = "Inference"
    BATCH = "Batch"
    RENDER = "Render"
    HPC = "HPC"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU. `host_link_gigabytes_per_second` is None where nobody has measured it."""

    model: str
    memory_mib: int
    compute_capability: tuple[int, int] | None = None
    host_link_gigabytes_per_second: float | None = None
    uuid: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a rig is made of, as far as it is known."""

    gpus: tuple[Gpu, ...] = ()
    host_memory_mib: int = 0
    cpu_cores: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one GPU of a model really does on a coin: hashes (or solutions) per second, watts."""

    gpu: str
    coin: str
    hashes_per_second: float
    watts: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Readback:
    """What the agent last said of a rig: the profile really in force, and what the GPUs really hold.

    `since` is when the profile came into force, `observed_at` when the agent last looked (None: it did not say).
    `benchmarks` is empty while no miner hashes.
    """

    profile: str
    since: datetime.datetime
    gpu_memory_used_mib: int
    watts: int
    observed_at: datetime.datetime | None = None
    benchmarks: tuple[Measured, ...] = ()


class Pin(enum.StrEnum):
    """A person's word on what a rig shall do; Auto leaves it to the plan."""

    __hash__ = str.__hash__

    AUTO = "Auto"
    MINING = "Mining"
    AI = "AI"
    IDLE = "Idle"
    OFF = "PowerOff"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """One GPU node as the farm knows it. `circuit` is the name of a circuit of its Site, "" where nobody has said."""

    name: str
    uid: str
    generation: int
    resource_version: str
    node_name: str
    site: str
    labels: Mapping[str, str]
    pin: Pin
    maintenance: bool
    base_watts: int
    hardware: Hardware
    readback: Readback | None
    status: Mapping[str, Any]
    circuit: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """A Node's taint."""

    key: str
    value: str
    effect: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The Node behind a rig: the lock that says who holds it (see `switchyard.handover`)."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    ready: bool
    gpus_allocatable: int
    hardware: Hardware


class PodPhase(enum.StrEnum):
    """Kubernetes' Pod phases."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A Pod that asks for GPUs. `role` is "" for one that is not ours (a foreign Pod)."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    node_name: str
    role: str
    rig: str
    coin: str
    job: str
    gpus: int
    phase: PodPhase
    ready: bool
    deleting_since: datetime.datetime | None
    reason: str
    notice_deadline: datetime.datetime | None
    checkpoint_at: datetime.datetime | None
    progress: float | None

    @property
    def holds_gpus(self) -> bool:
        """Whether it may still use its GPUs: bound to a node and not finished. Terminating Pods still hold."""
        return bool(self.node_name) and self.phase not in (PodPhase.SUCCEEDED, PodPhase.FAILED)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A Kubernetes label selector; `expressions` are (key, operator, values)."""

    match_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` satisfy every requirement. An empty selector matches nothing: never by accident all."""
        if not self.match_labels and not self.expressions:
            return False
        if any(labels.get(key) != value for key, value in self.match_labels.items()):
            return False
        return all(_satisfies(labels, expression) for expression in self.expressions)


def _satisfies(labels: Mapping[str, str], expression: tuple[str, str, tuple[str, ...]]) -> bool:
    key, operator, values = expression
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TariffWindow:
    """A time-of-use window in the Site's own time zone; one whose end is not after its start runs past midnight."""

    days: tuple[int, ...]  # 0 is Monday, as in datetime.weekday()
    start: datetime.time
    end: datetime.time
    usd_per_kwh: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FixedTariff:
    """One price for every hour."""

    usd_per_kwh: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfUseTariff:
    """The first window that holds the moment decides; outside all of them, `otherwise`."""

    windows: tuple[TariffWindow, ...]
    otherwise_usd_per_kwh: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeedTariff:
    """A PriceFeed's price plus a fixed adder (grid fees, taxes)."""

    feed: str
    adder_usd_per_kwh: float


Tariff = FixedTariff | TimeOfUseTariff | FeedTariff


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """What feeds some of a Site's rigs. `limit_watts` is its breaker's, of which a share may be drawn for hours."""

    name: str
    limit_watts: int
    continuous_fraction: float = 0.8

    @property
    def budget_watts(self) -> float:
        """What all its rigs may draw together for hours on end."""
        return self.limit_watts * self.continuous_fraction


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where rigs stand. `pue` multiplies every watt of theirs; circuits are by name."""

    name: str
    uid: str
    generation: int
    node_selector: Selector
    jurisdiction: str
    time_zone: str
    tariff: Tariff
    pue: float
    status: Mapping[str, Any]
    circuits: Mapping[str, Circuit] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PowerProfile:
    """Watts of one GPU at work and at rest."""

    ai_watts: int
    idle_watts: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many rigs of a pool must (`floor`) and may (`most`) be in a kind of mode: a number, or a share in percent."""

    kind: ModeKind
    floor: int | str = 0
    most: int | str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Rigs under one policy. `max_switching` is an absolute number, or a share of the pool in percent."""

    name: str
    uid: str
    generation: int
    rig_selector: Selector
    gpu_models: tuple[str, ...]
    enforce: bool
    coins: tuple[str, ...]
    workload_classes: frozenset[WorkloadClass]
    idle: bool
    off: bool
    power: Mapping[str, PowerProfile]
    off_watts: int
    max_switching: int | str
    status: Mapping[str, Any]
    shares: tuple[Share, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One GPU model on one coin. Hash rate in the coin's own unit scaled to GH/s (Sol/s stays Sol/s)."""

    hashrate: float
    watts: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """Something to mine. Fees are shares of revenue, 0 to below 1."""

    name: str
    uid: str
    generation: int
    algorithm: str
    unit: str
    revenue_feed: str
    pool_fee: float
    dev_fee: float
    min_gpu_memory_mib: int
    startup_seconds: float
    wallet_secret: str
    wallet_key: str
    pool_urls: tuple[str, ...]
    miner_image: str
    miner_args: tuple[str, ...]
    benchmarks: Mapping[str, Benchmark]
    status: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A PriceFeed as far as other rooms need it: its source lives in `market`."""

    name: str
    uid: str
    generation: int
    spec: Mapping[str, Any]
    status: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What one GPU, or the rig around it, must offer for a job. None and empty ask for nothing."""

    gpu_memory_mib: int = 0
    compute_capability: tuple[int, int] | None = None
    host_link_gigabytes_per_second: float = 0.0
    host_memory_mib: int = 0
    jurisdictions: frozenset[str] = frozenset()


class JobState(enum.StrEnum):
    """Where an AIJob stands, derived from its conditions."""

    PENDING = "Pending"  # not admitted: quoted, refused for now, or preempted and waiting again
    ADMITTED = "Admitted"  # has a placement; its rigs are being handed over, or it runs
    PREEMPTING = "Preempting"  # had a placement; its Pods are being stopped
    FINISHED = "Finished"  # succeeded or failed, for good


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Replicas of a gang on one rig."""

    rig: str
    replicas: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A customer's paid work: a gang of `replicas` x `gpus_per_replica`, placed whole or not at all.

    `checkpoint_interval_seconds` is what it was advised when it was admitted; None before.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created_at: datetime.datetime
    workload_class: WorkloadClass
    replicas: int
    gpus_per_replica: int
    bid_usd_per_gpu_hour: float
    duration_seconds: float
    deadline: datetime.datetime | None
    requirements: Requirements
    preemptible: bool
    notice_seconds: float
    min_runtime_seconds: float
    suspend: bool
    template: Mapping[str, Any]
    state: JobState
    placement: tuple[Placement, ...]
    admitted_at: datetime.datetime | None
    started_at: datetime.datetime | None
    attempts: int
    preemptions: int
    progress: float
    status: Mapping[str, Any]
    ttl_seconds: float | None = None
    checkpoint_interval_seconds: float | None = None

    @property
    def key(self) -> str:
        """`namespace/name`, the name of its AI mode."""
        return work(self.namespace, self.name).name

    @property
    def mode(self) -> Mode:
        """The mode of a rig that works for it."""
        return work(self.namespace, self.name)

    @property
    def gpus(self) -> int:
        """GPUs of the whole gang."""
        return self.replicas * self.gpus_per_replica


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KubeJob:
    """The Indexed Job behind an AIJob: counts of its Pods, and whether it is over."""

    namespace: str
    name: str
    uid: str
    ready: int
    succeeded: int
    failed: int
    complete: bool
    broken: bool
    message: str


def _empty() -> immutables.Map[str, Any]:
    return immutables.Map()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Farm:
    """A snapshot of everything. Maps are persistent: a snapshot costs what changed since the last, not what exists.

    Keys are names; jobs, pods and kube_jobs are keyed `namespace/name`; `pods_on` maps a Node's name to the keys of
    the GPU Pods bound to it, and "" to the keys of those that no Node has yet. `pool_of` maps each rig to its pool
    (absent: none; the first by name if several claim it, and `contested` names the others). `secrets` holds the names
    of the wallet Secrets seen in the miners' namespace, `missing_secrets` those that were looked for and not found; one
    in neither has not been looked for yet.
    """

    sites: immutables.Map[str, Site] = dataclasses.field(default_factory=_empty)
    pools: immutables.Map[str, Pool] = dataclasses.field(default_factory=_empty)
    coins: immutables.Map[str, Coin] = dataclasses.field(default_factory=_empty)
    feeds: immutables.Map[str, Feed] = dataclasses.field(default_factory=_empty)
    rigs: immutables.Map[str, Rig] = dataclasses.field(default_factory=_empty)
    nodes: immutables.Map[str, Node] = dataclasses.field(default_factory=_empty)
    jobs: immutables.Map[str, Job] = dataclasses.field(default_factory=_empty)
    kube_jobs: immutables.Map[str, KubeJob] = dataclasses.field(default_factory=_empty)
    pods: immutables.Map[str, Pod] = dataclasses.field(default_factory=_empty)
    pods_on: immutables.Map[str, frozenset[str]] = dataclasses.field(default_factory=_empty)
    pool_of: immutables.Map[str, str] = dataclasses.field(default_factory=_empty)
    contested: immutables.Map[str, tuple[str, ...]] = dataclasses.field(default_factory=_empty)
    secrets: frozenset[str] = frozenset()
    missing_secrets: frozenset[str] = frozenset()
