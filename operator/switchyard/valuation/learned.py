"""What the farm has learned of itself: averages over what was observed, each beginning from what the tables say.

An average is exponentially weighted: each sample makes all before it count 5 % less, the prior among them, which begins
as four samples. So a table's figure rules where nothing was seen, and is forgotten where much was. Values are frozen:
whoever plans holds a snapshot, whoever observes makes the next one.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import immutables

from switchyard.fleet import model

PRIOR_SAMPLES: Final = 4.0
"""How many samples a prior counts for before there are any."""
CLIP: Final = 4.0
"""A phase that took longer than so many times what is expected counts as just that: one that hung must not rule."""
_CLIP_FLOOR_SECONDS: Final = 5.0
_WINDOW: Final = 20.0
_MOST_KEYS: Final = 2000

TOLERANCE: Final = 0.10
"""A hash rate or a draw further from what is expected than this share (or than twice its usual spread) is doubted."""
_LENIENCE: Final = 0.02
"""By so much more may the next one deviate, for each that was doubted in a row: a truth is told again and again."""
MOST_DEVIATION: Final = 0.5
"""However often it is told, no more than this share from the Coin's own benchmark is believed."""

_HALF_LIFE_SECONDS: Final = 2000 * 3600.0


class Phase(enum.StrEnum):
    """Parts of a switch in which the rig earns nothing. See `switching_cost` for what each takes where nobody knows."""

    CHECKPOINT = "Checkpoint"
    STOP_MINER = "StopMiner"
    STOP_WORK = "StopWork"
    RELEASE = "Release"
    POWER_DOWN = "PowerDown"
    BOOT = "Boot"
    START_MINER = "StartMiner"
    LOAD_MINER = "LoadMiner"
    START_WORK = "StartWork"
    LOAD_WORK = "LoadWork"


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """What a phase's seconds hang on.

    Attributes:
        phase: which.
        kind: of hardware, as `kind_of` names it; "" where the hardware does not matter.
        what: the coin, or the class of work; "" where it does not matter.
    """

    phase: Phase
    kind: str = ""
    what: str = ""


@functools.lru_cache(maxsize=4096)
def kind_of(hardware: model.Hardware) -> str:
    """Names like hardware alike, wherever it stands: `6x NVIDIA-GeForce-RTX-3070, 8 GiB, 2 cores`.

    Coarser than a class of rigs: what a pod takes to start does not hang on the tariff.
    """
    counts = collections.Counter(gpu.model for gpu in hardware.gpus)
    cards = " + ".join(f"{count}x {name}" for name, count in sorted(counts.items()))
    return f"{cards}, {round(hardware.host_memory_mib / 1024)} GiB, {hardware.cpu_cores} cores"


@dataclasses.dataclass(frozen=True, slots=True)
class Average:
    """An exponentially weighted mean, without its prior. `weight` is what its samples count for, below 20."""

    mean: float = 0.0
    weight: float = 0.0

    def estimate(self, prior: float) -> float:
        """Samples and prior together. Always between the least and the largest of them."""
        # The weight is 20 (1 - 0.95^n) after n samples, so this is 0.95^n: the prior fades like any sample.
        faded = PRIOR_SAMPLES * (1.0 - self.weight / _WINDOW)
        return (faded * prior + self.weight * self.mean) / (faded + self.weight)

    def with_sample(self, value: float) -> Average:
        """One sample more."""
        kept = self.weight * (1.0 - 1.0 / _WINDOW)
        weight = kept + 1.0
        return Average((kept * self.mean + value) / weight, weight)


@dataclasses.dataclass(frozen=True, slots=True)
class Phases:
    """Seconds of each phase of a switch."""

    known: immutables.Map[Key, Average] = dataclasses.field(default_factory=immutables.Map)

    def seconds(self, key: Key, prior: float) -> float:
        """What is expected; the prior where nothing was seen."""
        found = self.known.get(key)
        return prior if found is None else found.estimate(prior)

    def observed(self, key: Key, seconds: float, prior: float) -> Phases:
        """A phase has been timed. One that hung counts as four times what was expected; what is no time is none."""
        if not (math.isfinite(seconds) and seconds >= 0.0):
            return self
        most = CLIP * max(self.seconds(key, prior), _CLIP_FLOOR_SECONDS)
        known = self.known.set(key, self.known.get(key, Average()).with_sample(min(seconds, most)))
        if len(known) > _MOST_KEYS:
            rarest = min((each for each in known if each != key), key=lambda each: known[each].weight)
            known = known.delete(rarest)
        return Phases(known)


@dataclasses.dataclass(frozen=True, slots=True)
class Guarded:
    """An average that does not believe everything.

    Attributes:
        average: of what was believed.
        spread: usual share by which a sample differs from what was expected.
        doubted: samples that were not believed since the last that was.
    """

    average: Average = dataclasses.field(default_factory=Average)
    spread: float = 0.0
    doubted: int = 0

    def with_sample(self, value: float, prior: float) -> Guarded:
        """One sample more, believed or not. `prior` is above 0."""
        if not (math.isfinite(value) and abs(value / prior - 1.0) <= MOST_DEVIATION):
            return self
        deviation = abs(value / self.average.estimate(prior) - 1.0)
        if deviation > max(TOLERANCE, 2.0 * self.spread) + _LENIENCE * self.doubted:
            return dataclasses.replace(self, doubted=self.doubted + 1)
        return Guarded(
            average=self.average.with_sample(value),
            spread=self.spread + (deviation - self.spread) / _WINDOW,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Yields:
    """What GPUs really do on coins, by (model of the GPU, coin): hash rate in the unit of `model.Benchmark`, watts."""

    known: immutables.Map[tuple[str, str], tuple[Guarded, Guarded]] = dataclasses.field(default_factory=immutables.Map)

    def benchmark(self, gpu: str, coin: str, seed: model.Benchmark) -> model.Benchmark:
        """What one GPU does; the Coin's own benchmark where nothing was measured."""
        found = self.known.get((gpu, coin))
        if found is None:
            return seed
        hashrate, watts = found
        return model.Benchmark(
            hashrate=hashrate.average.estimate(seed.hashrate), watts=round(watts.average.estimate(float(seed.watts)))
        )

    def observed(self, gpu: str, coin: str, *, hashrate: float, watts: float, seed: model.Benchmark) -> Yields:
        """A GPU was measured while it mined."""
        before = self.known.get((gpu, coin), (Guarded(), Guarded()))
        if len(self.known) >= _MOST_KEYS and (gpu, coin) not in self.known:
            return self
        after = before[0].with_sample(hashrate, seed.hashrate), before[1].with_sample(watts, float(seed.watts))
        return self if after == before else Yields(self.known.set((gpu, coin), after))

    def samples(self, gpu: str, coin: str) -> float:
        """What the measurements of the hash rate count for; 0 where there are none."""
        found = self.known.get((gpu, coin))
        return 0.0 if found is None else found[0].average.weight

    def coin(self, coin: model.Coin) -> model.Coin:
        """The coin with benchmarks as they were measured. Models that the Coin does not name stay out: no bounds."""
        measured = {gpu: self.benchmark(gpu, coin.name, seed) for gpu, seed in coin.benchmarks.items()}
        return coin if measured == coin.benchmarks else dataclasses.replace(coin, benchmarks=measured)

    def farm(self, farm: model.Farm) -> model.Farm:
        """The farm with its coins' benchmarks as they were measured."""
        coins = farm.coins
        for name, coin in farm.coins.items():
            if (measured := self.coin(coin)) is not coin:
                coins = coins.set(name, measured)
        return farm if coins is farm.coins else dataclasses.replace(farm, coins=coins)


@dataclasses.dataclass(frozen=True, slots=True)
class Stops:
    """How often work stops that nobody told to: by class, seconds that gangs ran and stops that came unannounced.

    Both fade together, half of them with every 2000 hours of work.
    """

    known: immutables.Map[str, tuple[float, float]] = dataclasses.field(default_factory=immutables.Map)

    def seconds_between(self, workload_class: str, prior: float) -> float:
        """Mean time between unannounced stops. Exponential times with the conjugate prior: quiet hours count too."""
        ran, stops = self.known.get(workload_class, (0.0, 0.0))
        return (PRIOR_SAMPLES * prior + ran) / (PRIOR_SAMPLES + stops)

    def observed(self, workload_class: str, *, ran_seconds: float, stops: int) -> Stops:
        """A gang has run for so long, and was stopped so often without notice."""
        if not (math.isfinite(ran_seconds) and ran_seconds >= 0.0):
            return self
        ran, before = self.known.get(workload_class, (0.0, 0.0))
        kept = 0.5 ** (ran_seconds / _HALF_LIFE_SECONDS)
        return Stops(self.known.set(workload_class, (ran * kept + ran_seconds, before * kept + stops)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """All of it."""

    phases: Phases = dataclasses.field(default_factory=Phases)
    yields: Yields = dataclasses.field(default_factory=Yields)
    stops: Stops = dataclasses.field(default_factory=Stops)


NOTHING: Final = Learned()


def dump(learned: Learned) -> dict[str, Any]:
    """As JSON: lists of rows, in an order of their own, numbers rounded so that noise is no news."""
    return {
        "phases": sorted(
            [key.phase.value, key.kind, key.what, *_numbers(average.mean, average.weight)]
            for key, average in learned.phases.known.items()
        ),
        "yields": sorted(
            [gpu, coin, *_guarded(hashrate), *_guarded(watts)]
            for (gpu, coin), (hashrate, watts) in learned.yields.known.items()
        ),
        "stops": sorted([name, *_numbers(*counts)] for name, counts in learned.stops.known.items()),
    }


def load(found: Any) -> Learned:
    """What `dump` gave.

    Raises:
        ValueError: it is nothing that `dump` gives; the message names the row.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"an object expected, not {type(found).__name__}")
    phases, yields, stops = {}, {}, {}
    for phase, kind, what, mean, weight in _rows(found, "phases", texts=3, numbers=2):
        if phase in Phase.__members__.values():
            phases[Key(Phase(phase), kind, what)] = _average(mean, weight)
    for gpu, coin, *figures in _rows(found, "yields", texts=2, numbers=8):
        yields[gpu, coin] = _guard(*figures[:4]), _guard(*figures[4:])
    for name, ran, count in _rows(found, "stops", texts=1, numbers=2):
        stops[name] = ran, count
    return Learned(
        phases=Phases(immutables.Map(phases)), yields=Yields(immutables.Map(yields)), stops=Stops(immutables.Map(stops))
    )


def _rows(found: Mapping[str, Any], part: str, *, texts: int, numbers: int) -> Sequence[Sequence[Any]]:
    rows = found.get(part, [])
    if not isinstance(rows, list):
        raise ValueError(f"{part}: a list expected")
    for position, row in enumerate(rows):
        sound = (
            isinstance(row, list)
            and len(row) == texts + numbers
            and all(isinstance(each, str) for each in row[:texts])
            and all(isinstance(each, int | float) and math.isfinite(each) and each >= 0 for each in row[texts:])
        )
        if not sound:
            raise ValueError(f"{part}[{position}]: {texts} texts and {numbers} numbers from 0 up expected, not {row!r}")
    return rows


def _average(mean: float, weight: float) -> Average:
    return Average(float(mean), min(float(weight), _WINDOW))


def _guard(mean: float, weight: float, spread: float, doubted: float) -> Guarded:
    return Guarded(_average(mean, weight), float(spread), int(doubted))


def _guarded(guarded: Guarded) -> list[float]:
    return _numbers(guarded.average.mean, guarded.average.weight, guarded.spread, guarded.doubted)


def _numbers(*values: float) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
