"""What a move from one mode to another costs: seconds without earnings, wear, lost work.

The seconds are priors for a warm rig (image and model cached), put together from published figures:

| phase | seconds | from |
|---|---|---|
| checkpoint on demand | 60, at most the job's notice | Young/Daly's worked case; the job earns until it saves |
| stop a miner / a job's Pods | 5 / 15 | SIGTERM to Pod gone; a gang waits for its slowest member |
| release: profile set and read back | 5 | NVML power is a 1 s average, read back after 2-3 s |
| start a miner | 5 + the coin's `startup` | Pod start p99 <= 5 s; `startup` holds the dataset (1.64 s/GB on a 3080) |
| start AI work | 5 + 75 | CUDA context 1-4 s per GPU, engine start 14-59 s, 5 GB over a Gen2 x1 riser 12 s |
| power down / boot | 30 / 180 | a reboot of a 12-GPU rig takes 1-3 minutes |

which gives 65-100 s from mining to AI (observed: 40-120 s) and 55-60 s from AI to mining, its checkpoint apart
(observed: 30-60 s). Wear is 0.003 $ per GPU for a stop and start of another kind of work, 0.0005 $ between coins: the
estimates that the policies were compared with. Work that is not saved is lost: none with notice; without, half of the
27 minutes that are the best checkpoint interval for one minute a checkpoint and six hours between evictions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.valuation import values

CHECKPOINT_SECONDS: Final = 60.0
STOP_MINER_SECONDS: Final = 5.0
STOP_WORK_SECONDS: Final = 15.0
RELEASE_SECONDS: Final = 5.0
START_POD_SECONDS: Final = 5.0
LOAD_WORK_SECONDS: Final = 75.0
POWER_DOWN_SECONDS: Final = 30.0
BOOT_SECONDS: Final = 180.0
WEAR_USD_PER_GPU: Final = 0.003
WEAR_BETWEEN_COINS_USD_PER_GPU: Final = 0.0005
UNSAVED_SECONDS: Final = 27 * 60 / 2

STAY: Final = values.SwitchCost(seconds=0.0, usd=0.0)

Move = tuple[str, model.Mode, model.Mode]


def seconds(*, origin: model.Mode, target: model.Mode, startup_seconds: float, checkpoint_seconds: float) -> float:
    """Seconds in which a rig earns nothing on its way from `origin` to `target`; 0 for staying.

    Args:
        origin: the mode it leaves.
        target: the mode it goes to.
        startup_seconds: of the target coin, from Pod start until it hashes.
        checkpoint_seconds: what the job at `origin` needs to save; 0 where it has nothing to save.
    """
    if origin == target:
        return 0.0
    stop = {
        model.ModeKind.MINING: STOP_MINER_SECONDS,
        model.ModeKind.AI: checkpoint_seconds + STOP_WORK_SECONDS,
        model.ModeKind.IDLE: 0.0,
        model.ModeKind.OFF: BOOT_SECONDS,
    }[origin.kind]
    start = {
        model.ModeKind.MINING: START_POD_SECONDS + startup_seconds,
        model.ModeKind.AI: START_POD_SECONDS + LOAD_WORK_SECONDS,
        model.ModeKind.IDLE: 0.0,
        model.ModeKind.OFF: POWER_DOWN_SECONDS,
    }[target.kind]
    return stop + RELEASE_SECONDS + start


class Costs(Mapping[Move, values.SwitchCost]):
    """Cost of every move, by (class key, from, to), worked out when it is asked for and then kept.

    Iterating gives the pairs of modes that the class knows. A look-up also answers for modes it no longer knows (a job
    that has finished, a coin that left the pool): a rig may still be there. Only an unknown class is a KeyError.
    """

    def __init__(self, farm: model.Farm, valuation: values.Valuation) -> None:
        self._coins = farm.coins
        self._jobs = farm.jobs
        self._classes = valuation.classes
        self._known: dict[Move, values.SwitchCost] = {}

    def __getitem__(self, move: Move) -> values.SwitchCost:
        """The cost of a move."""
        cost = self._known.get(move)
        if cost is None:
            cost = self._known[move] = self._cost(*move)
        return cost

    def __iter__(self) -> Iterator[Move]:
        """All moves between different modes of a class, refused ones included."""
        for key, value in self._classes.items():
            modes = sorted({*value.worths, *value.refusals})
            for origin, target in itertools.permutations(modes, 2):
                yield key, origin, target

    def __len__(self) -> int:
        """How many moves iteration gives."""
        sizes = (len({*value.worths, *value.refusals}) for value in self._classes.values())
        return sum(size * (size - 1) for size in sizes)

    def _cost(self, key: str, origin: model.Mode, target: model.Mode) -> values.SwitchCost:
        gpus = len(self._classes[key].rig_class.hardware.gpus)
        if origin == target:
            return STAY
        coin = self._coins.get(target.name) if target.kind is model.ModeKind.MINING else None
        job = self._jobs.get(origin.name) if origin.kind is model.ModeKind.AI else None
        saves = lost_usd = 0.0
        if job is not None and job.state is not model.JobState.FINISHED:
            saves = min(CHECKPOINT_SECONDS, job.notice_seconds)
            if job.notice_seconds <= 0:
                slots = self._classes[key].slots.get(job.key, 0)
                held = min(slots, job.replicas) * job.gpus_per_replica
                lost_usd = job.bid_usd_per_gpu_hour * held * UNSAVED_SECONDS / 3600
        between_coins = origin.kind is target.kind is model.ModeKind.MINING
        wear = WEAR_BETWEEN_COINS_USD_PER_GPU if between_coins else WEAR_USD_PER_GPU
        return values.SwitchCost(
            seconds=seconds(
                origin=origin,
                target=target,
                startup_seconds=coin.startup_seconds if coin is not None else 0.0,
                checkpoint_seconds=saves,
            ),
            usd=wear * gpus + lost_usd,
        )


def costs(farm: model.Farm, valuation: values.Valuation) -> Mapping[Move, values.SwitchCost]:
    """The cost of every move in every class."""
    return Costs(farm, valuation)
