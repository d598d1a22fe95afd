"""What a move from one mode to another costs: seconds without earnings, wear, lost work.

Each phase's seconds are what the farm itself has seen (`learned.Phases`), beginning from a table for a warm rig (image
and model cached), put together from published figures:

| phase | seconds | from |
|---|---|---|
| checkpoint on demand | 60, at most the job's notice | Young/Daly's worked case; the job earns until it saves |
| stop a miner / a job's Pods | 5 / 15 | SIGTERM to Pod gone; a gang waits for its slowest member |
| release: profile set and read back | 5 | NVML power is a 1 s average, read back after 2-3 s |
| start a miner | 5 + the coin's `startup` | Pod start p99 <= 5 s; `startup` holds the dataset (1.64 s/GB on a 3080) |
| start AI work | 5 + 75 | CUDA context 1-4 s per GPU, engine start 14-59 s, 5 GB over a Gen2 x1 riser 12 s |
| power down / boot | 30 / 180 | a reboot of a 12-GPU rig takes 1-3 minutes; each with a release |

which gives 65-100 s from mining to AI (observed: 40-120 s) and 55-60 s from AI to mining, its checkpoint apart
(observed: 30-60 s). Wear is 0.003 $ per GPU for a stop and start of another kind of work, 0.0005 $ between coins: the
estimates that the policies were compared with; nothing in a cluster measures it. Work that is not saved is lost: none
with notice; without, what has come since the last checkpoint, or where its Pods tell of none, half of the best
interval of its class (`checkpoints`).
"""

from __future__ import annotations

import datetime
import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.valuation import checkpoints, values
from switchyard.valuation import learned as learning

CHECKPOINT_SECONDS: Final = checkpoints.CHECKPOINT_SECONDS
STOP_MINER_SECONDS: Final = 5.0
STOP_WORK_SECONDS: Final = 15.0
RELEASE_SECONDS: Final = 5.0
START_POD_SECONDS: Final = 5.0
LOAD_WORK_SECONDS: Final = 75.0
POWER_DOWN_SECONDS: Final = 30.0
BOOT_SECONDS: Final = 180.0
WEAR_USD_PER_GPU: Final = 0.003
WEAR_BETWEEN_COINS_USD_PER_GPU: Final = 0.0005

STAY: Final = values.SwitchCost(seconds=0.0, usd=0.0)

Move = tuple[str, model.Mode, model.Mode]
_Phase = learning.Phase

_PRIOR_SECONDS: Final = {
    _Phase.CHECKPOINT: CHECKPOINT_SECONDS,
    _Phase.STOP_MINER: STOP_MINER_SECONDS,
    _Phase.STOP_WORK: STOP_WORK_SECONDS,
    _Phase.RELEASE: RELEASE_SECONDS,
    # The agent speaks when the rig is down, or up: the release cannot be told from it.
    _Phase.POWER_DOWN: POWER_DOWN_SECONDS + RELEASE_SECONDS,
    _Phase.BOOT: BOOT_SECONDS + RELEASE_SECONDS,
    _Phase.START_MINER: START_POD_SECONDS,
    _Phase.START_WORK: START_POD_SECONDS,
    _Phase.LOAD_WORK: LOAD_WORK_SECONDS,
}


def prior_seconds(phase: learning.Phase, coin: model.Coin | None = None) -> float:
    """What the table says of a phase; `coin` is the one that is to be mined, for LOAD_MINER."""
    if phase is _Phase.LOAD_MINER:
        return coin.startup_seconds if coin is not None else 0.0
    return _PRIOR_SECONDS[phase]


def releasing(origin: model.ModeKind, target: model.ModeKind) -> learning.Phase:
    """What happens between the last owner's Pods and the next one's."""
    if target is model.ModeKind.OFF:
        return _Phase.POWER_DOWN
    return _Phase.BOOT if origin is model.ModeKind.OFF else _Phase.RELEASE


def path(origin: model.ModeKind, target: model.ModeKind) -> tuple[learning.Phase, ...]:
    """The phases of a move, in their order."""
    leaving = {
        model.ModeKind.MINING: (_Phase.STOP_MINER,),
        model.ModeKind.AI: (_Phase.CHECKPOINT, _Phase.STOP_WORK),
    }
    arriving = {
        model.ModeKind.MINING: (_Phase.START_MINER, _Phase.LOAD_MINER),
        model.ModeKind.AI: (_Phase.START_WORK, _Phase.LOAD_WORK),
    }
    return (*leaving.get(origin, ()), releasing(origin, target), *arriving.get(target, ()))


def key(phase: learning.Phase, *, kind: str, coin: str = "", workload_class: str = "") -> learning.Key:
    """Where a phase is remembered: by hardware, and by coin or class of work where these make a difference."""
    match phase:
        case _Phase.CHECKPOINT:
            return checkpoints.key(workload_class)
        case _Phase.START_MINER | _Phase.LOAD_MINER:
            return learning.Key(phase, kind, coin)
        case _Phase.STOP_WORK | _Phase.START_WORK | _Phase.LOAD_WORK:
            return learning.Key(phase, kind, workload_class)
        case _:
            return learning.Key(phase, kind)


class Costs(Mapping[Move, values.SwitchCost]):
    """Cost of every move, by (class key, from, to), worked out when it is asked for and then kept.

    Iterating gives the pairs of modes that the class knows. A look-up also answers for modes it no longer knows (a job
    that has finished, a coin that left the pool): a rig may still be there. Only an unknown class is a KeyError.
    """

    def __init__(
        self,
        farm: model.Farm,
        valuation: values.Valuation,
        learned: learning.Learned,
        now: datetime.datetime | None,
    ) -> None:
        self._farm = farm
        self._now = now
        self._coins = farm.coins
        self._jobs = farm.jobs
        self._classes = valuation.classes
        self._learned = learned
        self._known: dict[Move, values.SwitchCost] = {}
        self._alike: dict[object, values.SwitchCost] = {}

    def __getitem__(self, move: Move) -> values.SwitchCost:
        """The cost of a move."""
        cost = self._known.get(move)
        if cost is None:
            name, origin, target = move
            # There may be thousands of jobs, but few that are told apart here.
            alike = (name, self._leaving(origin), self._arriving(target)) if origin != target else None
            cost = self._alike.get(alike) if alike is not None else None
            if cost is None:
                cost = self._cost(name, origin, target)
                if alike is not None:
                    self._alike[alike] = cost
            self._known[move] = cost
        return cost

    def _leaving(self, origin: model.Mode) -> object:
        """All of a mode that leaving it depends on."""
        job = self._jobs.get(origin.name) if origin.kind is model.ModeKind.AI else None
        if job is None:
            return origin if origin.kind is not model.ModeKind.AI else model.ModeKind.AI
        over = job.state is model.JobState.FINISHED
        # Work that has no notice loses some of its own.
        return job.workload_class, over, job.notice_seconds, origin if job.notice_seconds <= 0 else None

    def _arriving(self, target: model.Mode) -> object:
        """All of a mode that arriving in it depends on."""
        if target.kind is not model.ModeKind.AI:
            return target
        job = self._jobs.get(target.name)
        return model.ModeKind.AI, None if job is None else job.workload_class

    def __iter__(self) -> Iterator[Move]:
        """All moves between different modes of a class, refused ones included."""
        for name, value in self._classes.items():
            modes = sorted({*value.worths, *value.refusals})
            for origin, target in itertools.permutations(modes, 2):
                yield name, origin, target

    def __len__(self) -> int:
        """How many moves iteration gives."""
        sizes = (len({*value.worths, *value.refusals}) for value in self._classes.values())
        return sum(size * (size - 1) for size in sizes)

    def _cost(self, name: str, origin: model.Mode, target: model.Mode) -> values.SwitchCost:
        hardware = self._classes[name].rig_class.hardware
        if origin == target:
            return STAY
        between_coins = origin.kind is target.kind is model.ModeKind.MINING
        wear = WEAR_BETWEEN_COINS_USD_PER_GPU if between_coins else WEAR_USD_PER_GPU
        kind = learning.kind_of(hardware)
        return values.SwitchCost(
            seconds=sum(self._seconds(phase, kind, origin, target) for phase in path(origin.kind, target.kind)),
            usd=wear * len(hardware.gpus) + self._lost_usd(name, origin),
        )

    def _seconds(self, phase: learning.Phase, kind: str, origin: model.Mode, target: model.Mode) -> float:
        coin = self._coins.get(target.name) if target.kind is model.ModeKind.MINING else None
        loads = phase in (_Phase.START_WORK, _Phase.LOAD_WORK)
        job = self._jobs.get(target.name if loads else origin.name)
        found = key(
            phase,
            kind=kind,
            coin=target.name if target.kind is model.ModeKind.MINING else "",
            workload_class=str(job.workload_class) if job is not None else "",
        )
        seconds = self._learned.phases.seconds(found, prior_seconds(phase, coin))
        if phase is _Phase.CHECKPOINT:
            # What is over has nothing to save; who is late is stopped all the same.
            return 0.0 if job is None or job.state is model.JobState.FINISHED else min(seconds, job.notice_seconds)
        return seconds

    def _lost_usd(self, name: str, origin: model.Mode) -> float:
        job = self._jobs.get(origin.name) if origin.kind is model.ModeKind.AI else None
        if job is None or job.state is model.JobState.FINISHED or job.notice_seconds > 0:
            return 0.0
        slots = self._classes[name].slots.get(job.key, 0)
        held = min(slots, job.replicas) * job.gpus_per_replica
        lost_seconds = checkpoints.unsaved_seconds(self._learned, str(job.workload_class))
        if self._now is not None and job.key in self._saved_at:
            lost_seconds = max(0.0, (self._now - self._saved_at[job.key]).total_seconds())
        return job.bid_usd_per_gpu_hour * held * lost_seconds / 3600

    @functools.cached_property
    def _saved_at(self) -> Mapping[str, datetime.datetime]:
        """By job, the last checkpoint that all of its Pods have, of those that tell."""
        found: dict[str, datetime.datetime] = {}
        for pod in self._farm.pods.values():
            if pod.job and pod.holds_gpus and pod.checkpoint_at is not None:
                key = f"{pod.namespace}/{pod.job}"
                found[key] = min(pod.checkpoint_at, found.get(key, pod.checkpoint_at))
        return found


def costs(
    farm: model.Farm,
    valuation: values.Valuation,
    learned: learning.Learned = learning.NOTHING,
    now: datetime.datetime | None = None,
) -> Mapping[Move, values.SwitchCost]:
    """The cost of every move in every class, as far as it is known: with nothing learned, the tables'.

    `now`: for the age of checkpoints that Pods tell of; without it, and of work that does not tell, half an interval.
    """
    return Costs(farm, valuation, learned, now)
