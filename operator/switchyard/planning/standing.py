"""What a rig sees from where it stands: nets as the plan counts them, and moves in dollars."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.planning import crews
from switchyard.planning import request as planning
from switchyard.valuation import values

OVER: Final = model.Mode(model.ModeKind.AI)
"""AI work that has ended by itself: leaving it needs no checkpoint and loses nothing."""

NO_MOVE: Final = values.SwitchCost(seconds=0.0, usd=0.0)

PAYBACK_HOURS: Final = 1.0
"""In which a move must have paid for itself where no past tells how long a price lasts."""

NEVER_USD: Final = 1e6
"""What a move costs that is not possible: nothing ever pays for it."""

_LONGEST_TICK_SECONDS: Final = 60 * 60.0
_OUTAGE_SECONDS: Final = 15 * 60.0
"""What a longer gap counts for: prices that nobody saw taught nothing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A rig of one class in one mode.

    Attributes:
        value: its class.
        mode: where it is.
        present_net: $/h of where it is; None where that mode is refused for want of a trusted price.
        nets: $/h of the modes that the plan can choose (all but AI). The present one counts in full, challengers after
            a haircut for what their quotes cannot be trusted.
        cost: of the move to each of them.
        usd: the same wholly in $.
    """

    value: values.ClassValue
    mode: model.Mode
    present_net: float | None
    nets: Mapping[model.Mode, float]
    cost: Mapping[model.Mode, values.SwitchCost]
    usd: Mapping[model.Mode, float]


Forgone = tuple[values.ClassValue, model.Mode, float, float, values.SwitchCost | None]
"""What a rig gives up for AI work: its class, the best other mode, $/h of that, $/h while it is handed over, and the
way back, None where there is none. `switchyard.planning.placing` works it out, once per class, mode and pin."""


class Desk:
    """The request, with look-ups that are worked out once per class and mode instead of once per rig."""

    def __init__(self, request: planning.PlanRequest) -> None:
        self.request = request
        self.now = request.now
        self.jobs = {job.key: job for job in request.jobs}
        self.roll = crews.roll(request.rigs)
        self.views = self.roll.views
        self.demands = {demand.mode: demand for demand in request.demands}
        self.gang_of = {
            placement.rig: job
            for _, job in sorted(self.jobs.items())
            if job.state is model.JobState.ADMITTED or job.state is model.JobState.PREEMPTING
            for placement in job.placement
        }
        self._standings: dict[tuple[str, model.Mode, int], Standing] = {}
        self._local: dict[str, tuple[tuple[model.Mode, float], ...]] = {}
        self.forgone: dict[tuple[str, model.Mode, model.Pin], Forgone] = {}

    @property
    def hours(self) -> float:
        """Length of the tick, from when the memory was last fed. An outage is not one giant tick."""
        since = self.request.memory.at
        if since is None:
            return 0.0
        seconds = max((self.now - since).total_seconds(), 0.0)
        return (seconds if seconds <= _LONGEST_TICK_SECONDS else _OUTAGE_SECONDS) / 3600

    def standing(self, class_key: str, mode: model.Mode, replicas: int = 0) -> Standing:
        """What a rig sees. `replicas`: of the gang that it works for; 0 where its job, if any, is over."""
        key = class_key, mode, replicas
        found = self._standings.get(key)
        if found is None:
            found = self._standings[key] = self._stand(*key)
        return found

    def cost(self, class_key: str, origin: model.Mode, target: model.Mode) -> values.SwitchCost | None:
        """The cost of a move; None where it is not possible."""
        return NO_MOVE if origin == target else self.request.costs.get((class_key, origin, target))

    def move_usd(self, value: values.ClassValue, origin: model.Mode, target: model.Mode) -> float:
        """The whole cost of a move in $; infinite where it is not possible."""
        cost = self.cost(value.rig_class.key, origin, target)
        if cost is None:
            return float("inf")
        return dollars(cost, max(rate(value, origin), rate(value, target)))

    def _stand(self, class_key: str, mode: model.Mode, replicas: int) -> Standing:
        value = self.request.classes[class_key]
        job = self.jobs.get(mode.name) if mode.kind is model.ModeKind.AI and replicas else None
        present = self._present(value, mode, job, replicas)
        origin = OVER if mode.kind is model.ModeKind.AI and job is None else mode
        nets: dict[model.Mode, float] = {}
        cost: dict[model.Mode, values.SwitchCost] = {}
        usd: dict[model.Mode, float] = {}
        left = rate(value, origin) if job is None else job.bid_usd_per_gpu_hour * job.gpus_per_replica * replicas
        for target, lost in self._rates(class_key, value):
            move = self.cost(class_key, origin, target)
            if move is None:
                continue
            worth = value.worths[target]
            nets[target] = worth.net_usd_per_hour if target == mode else haircut(worth, present)
            cost[target] = move
            usd[target] = dollars(move, max(left, lost))
        return Standing(value=value, mode=mode, present_net=present, nets=nets, cost=cost, usd=usd)

    def _rates(self, class_key: str, value: values.ClassValue) -> tuple[tuple[model.Mode, float], ...]:
        """The modes that a rig of a class can be moved to singly, each with what an hour without it loses, $."""
        found = self._local.get(class_key)
        if found is None:
            found = self._local[class_key] = tuple((mode, rate(value, mode)) for mode in choices(value))
        return found

    def _present(
        self, value: values.ClassValue, mode: model.Mode, job: model.Job | None, replicas: int
    ) -> float | None:
        if job is not None:
            return ai_net(value, job, replicas)
        worth = value.worths.get(mode)
        if worth is not None and mode.kind is not model.ModeKind.AI:
            return worth.net_usd_per_hour
        refusal = value.refusals.get(mode)
        if mode.kind is model.ModeKind.MINING and refusal is not None and refusal.reason == "NoTrustedPrice":
            return None
        # A coin that is no longer to be mined, or work that is over, earns nothing.
        return resting_net(value)


def choices(value: values.ClassValue) -> tuple[model.Mode, ...]:
    """The modes of a class that a rig can be moved to singly, in a fixed order: all but AI."""
    return tuple(sorted((mode for mode in value.worths if mode.kind is not model.ModeKind.AI), key=_order))


def _order(mode: model.Mode) -> tuple[str, str]:
    return mode.kind, mode.name


def within_pin(pin: model.Pin, modes: Iterable[model.Mode]) -> list[model.Mode]:
    """The modes that a person's word leaves. A rig pinned to AI idles until a job comes."""
    match pin:
        case model.Pin.AUTO:
            return list(modes)
        case model.Pin.MINING:
            return [mode for mode in modes if mode.kind is model.ModeKind.MINING]
        case model.Pin.OFF:
            return [mode for mode in modes if mode.kind is model.ModeKind.OFF]
        case model.Pin.IDLE | model.Pin.AI:
            return [mode for mode in modes if mode.kind is model.ModeKind.IDLE]


def resting_net(value: values.ClassValue) -> float:
    """$/h of a rig that does nothing, whether or not its pool allows that."""
    return -value.rest_watts * value.usd_per_watt_hour


def rate(value: values.ClassValue, mode: model.Mode) -> float:
    """What an hour is worth during which a rig cannot be in `mode`, $/h.

    That is the net that is lost plus the power that is drawn meanwhile all the same: together just revenue after fees.
    Where there is no revenue, what is drawn.
    """
    worth = value.worths.get(mode)
    if worth is None:
        return abs(resting_net(value))
    return max(worth.revenue_usd_per_hour - worth.fees_usd_per_hour, abs(worth.power_usd_per_hour))


def dollars(cost: values.SwitchCost, usd_per_hour: float) -> float:
    """A move in $: its seconds at the rate given, and the rest."""
    return cost.seconds / 3600 * usd_per_hour + cost.usd


def haircut(worth: values.Worth, present_net: float | None) -> float:
    """A challenger's $/h, less what its quotes are not trusted for.

    Revenue is cut by trust, power is not. A mode without revenue is only ever better by saving power; then it is that
    advantage that is cut.
    """
    net = worth.net_usd_per_hour
    if worth.trust >= 1:
        return net
    revenue = worth.revenue_usd_per_hour - worth.fees_usd_per_hour
    if revenue > 0:
        return revenue * worth.trust - worth.power_usd_per_hour
    if present_net is not None and net > present_net:
        return present_net + worth.trust * (net - present_net)
    return net


def ai_power(value: values.ClassValue, job: model.Job, replicas: int) -> float:
    """$/h of power with `replicas` of a job on a rig: from all at rest up to its slots in full."""
    rest = value.rest_watts * value.usd_per_watt_hour
    worth, slots = value.worths.get(job.mode), value.slots.get(job.key, 0)
    if worth is None or not slots:
        return rest
    return rest + (worth.power_usd_per_hour - rest) * replicas / slots


def ai_net(value: values.ClassValue, job: model.Job, replicas: int) -> float:
    """$/h of a rig with `replicas` of a job on it."""
    return job.bid_usd_per_gpu_hour * job.gpus_per_replica * replicas - ai_power(value, job, replicas)
