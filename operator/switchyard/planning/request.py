"""The interface of planning: `plan(PlanRequest) -> PlanReply`. The policy behind it may change; this stays."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.planning import priced, remembered
from switchyard.valuation import values

HELD_MAINTENANCE: Final = "Maintenance"
HELD_NODE_GONE: Final = "NodeGone"
HELD_NODE_NOT_READY: Final = "NodeNotReady"
HELD_NO_TRUSTED_PRICE: Final = "NoTrustedPrice"
HELD_BACKING_OFF: Final = "BackingOff"
"""Reasons in `RigView.held`; beside them those of `Valuation.unvalued`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RigView:
    """A rig as the plan sees it.

    Attributes:
        name: of the rig.
        class_key: into `PlanRequest.classes`.
        pool: whose budget a move counts against.
        mode: what it does, or is on its way to.
        since: when it got there.
        switching: a hand-over is running: no new move may start.
        held: "" or why the plan must leave it alone (maintenance, node gone, no trusted price): CamelCase reason.
        pin: a person's word; the plan only chooses within it.
        held_message: the hold, for people.
        enforced: False in a pool that only recommends: moves are planned, but no customer's job is sent there.
        barred: targets that cannot be had here now, and why, for people: one that failed, a coin without its wallet. A
            rig that is there already stays.
        circuit: key of the circuit that feeds it; "" where nobody has said.
        origin: what it comes from while it is switching; None where nobody knows, or it is not.
        measured_watts: of the whole rig, as its agent has lately read them back in this mode; 0 where it has not.
        nameplate_watts: the most it can draw, where it may be doing something else than `mode` says (maintenance, a
            Node that is gone, somebody else's work); 0 where it cannot.
    """

    name: str
    class_key: str
    pool: str
    mode: model.Mode
    since: datetime.datetime
    switching: bool
    held: str = ""
    pin: model.Pin = model.Pin.AUTO
    held_message: str = ""
    enforced: bool = True
    barred: Mapping[model.Mode, str] = dataclasses.field(default_factory=dict)
    circuit: str = ""
    origin: model.Mode | None = None
    measured_watts: float = 0.0
    nameplate_watts: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many rigs of a pool may be in a hand-over at once, and how many are."""

    pool: str
    limit: int
    used: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """Watts that all rigs on a circuit may draw together for hours on end; `RigView.circuit` is its key."""

    key: str
    limit_watts: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many rigs of a pool may, and how many must, be in one kind of mode.

    Attributes:
        pool: of the rigs.
        kind: AI or Mining.
        floor: the plan takes no rig out of this kind where fewer would be left.
        most: the plan takes no rig into this kind where more would be there.
    """

    pool: str
    kind: model.ModeKind
    floor: int = 0
    most: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """GPUs that somebody rents by the hour, any number of them, each for as long as it is wanted: no gang, no job.

    Attributes:
        name: of the demand; its mode is `Mode(AI, name)`, and no AIJob has a name without a slash.
        classes: keys of the classes of rigs it takes.
        usd_per_gpu_hour: what reaches the farm, after the market's fee.
        gpus_wanted: by all rigs of these classes together, now.
        eviction_usd_per_gpu: lost when a GPU leaves while it is still wanted.
    """

    name: str
    classes: frozenset[str]
    usd_per_gpu_hour: float
    gpus_wanted: int
    eviction_usd_per_gpu: float = 0.0

    @property
    def mode(self) -> model.Mode:
        """The mode of a rig that serves it."""
        return model.Mode(model.ModeKind.AI, self.name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the policy carries from tick to tick, and when it was last fed; in JSON by `switchyard.planning.memory`.

    Attributes:
        at: of the last plan.
        work_usd: by rig at AI work and its job's mode, the rig's share of what the gang has forgone by staying (see
            `switchyard.planning.gangs`).
        lines: of rigs that see the same prices, by key.
        book: of demand for work, and bid prices.
    """

    at: datetime.datetime | None = None
    work_usd: Mapping[str, Mapping[model.Mode, float]] = dataclasses.field(default_factory=dict)
    lines: Mapping[str, remembered.Line] = dataclasses.field(default_factory=dict)
    book: priced.Book | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """Everything a plan may depend on.

    `costs` maps (class key, from, to) to the cost of that move; a pair that is missing is not possible.
    Jobs that run or are being handed over are in `jobs` too (state ADMITTED, with their placement).
    """

    now: datetime.datetime
    rigs: tuple[RigView, ...]
    classes: Mapping[str, values.ClassValue]
    costs: Mapping[tuple[str, model.Mode, model.Mode], values.SwitchCost]
    jobs: tuple[model.Job, ...]
    budgets: Mapping[str, Budget]
    memory: Memory
    circuits: Mapping[str, Circuit] = dataclasses.field(default_factory=dict)
    shares: tuple[Share, ...] = ()
    demands: tuple[Demand, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One rig to another mode (never into AI: that is an Admission; out of a running gang only with a Preemption).

    `reason`: BetterMode, FirstChoice, WorkDone, MakesRoom (rests, so that a gang has the watts), and, whatever
    they cost, Pinned, ModeGone and CircuitOverLimit.
    `cost_usd` is the whole cost: wear and lost work, and what the seconds are worth on this rig.
    """

    rig: str
    to: model.Mode
    reason: str
    gain_usd_per_hour: float
    cost: values.SwitchCost
    cost_usd: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A whole gang on its rigs. `reserve_usd_per_gpu_hour` is what the bid had to beat."""

    job: str
    placement: tuple[model.Placement, ...]
    reserve_usd_per_gpu_hour: float
    message: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobRefusal:
    """A job that waits.

    Reasons: BidTooLow, NoEligibleRig, NotEnoughRigs, Suspended, DeadlinePassed, PriceUntrusted, BudgetSpent,
    LimitReached (a share or a circuit).
    """

    job: str
    reason: str
    message: str
    reserve_usd_per_gpu_hour: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """A running gang that is to be stopped whole, with notice, and to wait again.

    `targets` says where each of its rigs goes; a rig that another Admission of the same reply takes is not in it.
    """

    job: str
    reason: str
    message: str
    targets: Mapping[str, model.Mode]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One mode a rig could be in, as a person wants to see it. `worth` or `refusal`, never both.

    `cost_usd` is the whole cost of moving there, the value of the lost seconds included.
    """

    mode: model.Mode
    worth: values.Worth | None
    refusal: values.Refusal | None
    cost: values.SwitchCost | None
    regret_usd: float | None
    lacks: str
    cost_usd: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why a rig does what it does: the chosen mode and the alternatives, best first.

    `reason` is CamelCase: Best, RegretBelowCost, Switching, Held, Budget, Pinned, Admitted, Preempted, NoTrustedPrice,
    CircuitOverLimit, MakesRoom, LimitReached (a share or a circuit).
    `held_by` names the budget or hold that kept a better mode from being taken, "" if none did. `expert` is whose word
    the rig follows, "" where no expert was asked. `unlisted`: AIJobs that wait or run and are no alternative in the
    list.
    """

    rig: str
    chosen: model.Mode
    reason: str
    message: str
    alternatives: tuple[Alternative, ...]
    held_by: str = ""
    expert: str = ""
    unlisted: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanReply:
    """The plan. Moves, admissions and preemptions touch disjoint rigs.

    `solver`: "" or why gangs were weighed without bid prices, Late or Failed; `solver_message` says more, for people.
    """

    moves: tuple[Move, ...]
    admissions: tuple[Admission, ...]
    refusals: tuple[JobRefusal, ...]
    preemptions: tuple[Preemption, ...]
    reserve_usd_per_gpu_hour: Mapping[str, float]  # by class key
    decisions: Mapping[str, Decision]
    memory: Memory
    solver: str = ""
    solver_message: str = ""
