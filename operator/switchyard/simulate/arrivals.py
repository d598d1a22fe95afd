"""Customers: which AIJobs arrive when. Drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

import dataclasses
import datetime
import math
import pathlib
import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from switchyard.api import text
from switchyard.cluster import names
from switchyard.simulate import machines, work

_P90: Final = 1.2815515655446004  # the standard normal's 90 % quantile


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a card, and the rig around it, must offer."""

    gpu_mib: int = 0
    capability: tuple[int, int] = (0, 0)
    link: float = 0.0
    host_mib: int = 0
    jurisdictions: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One job.

    Attributes:
        at: when it is submitted.
        namespace, name: where.
        work_seconds: how long it really runs (its owner's estimate, `duration` in the spec, is a little off).
        bid: $ per GPU-hour.
        spec: of the AIJob.
    """

    at: datetime.datetime
    namespace: str
    name: str
    workload_class: str
    replicas: int
    gpus_per_replica: int
    work_seconds: float
    bid: float
    needs: Needs
    spec: Mapping[str, Any]

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def usd_per_hour(self) -> float:
        """What the whole gang earns while it runs."""
        return self.bid * self.replicas * self.gpus_per_replica

    def manifest(self) -> dict[str, Any]:
        """The AIJob."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": "AIJob",
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": self.spec,
        }

    def slots(self, rig: machines.Machine, *, jurisdiction: str) -> int:
        """How many replicas a rig can hold; 0 where it does not fit."""
        if self.needs.jurisdictions and jurisdiction not in self.needs.jurisdictions:
            return 0
        if rig.host_memory_mib < self.needs.host_mib:
            return 0
        fitting = sum(
            card.memory_mib >= self.needs.gpu_mib
            and card.compute_capability >= self.needs.capability
            and card.link_gigabytes_per_second >= self.needs.link
            for card in rig.cards
        )
        return fitting // self.gpus_per_replica


def draw(path: pathlib.Path, *, start: datetime.datetime, hours: float) -> tuple[Arrival, ...]:
    """Draw the jobs of a window from a file such as examples/demo/simulation/demand.yaml, in order of arrival.

    Args:
        path: the file; it describes the process.
        start: of the window, aware.
        hours: its length; jobs that would arrive later are not drawn.

    Raises:
        ValueError: the file is not of that form.
    """
    demand = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return _draw(demand, start=start, hours=hours)
    except (KeyError, TypeError) as problem:
        raise ValueError(f"{path}: {problem!r} is missing or not of the expected form") from None


def _draw(demand: Mapping[str, Any], *, start: datetime.datetime, hours: float) -> tuple[Arrival, ...]:
    chance = random.Random(demand["seed"])
    kinds = demand["kinds"]
    shares = [kind["share"] for kind in kinds]
    # The moments come before the jobs: a longer window adds jobs at its end and changes none before.
    steady = _steady(demand["rate"], start=start, hours=hours, chance=chance)
    drawn = [
        (hour, random.Random(f"{demand['seed']}/{hour:.6f}"))
        for hour in sorted([*steady, *_bursts(demand["bursts"])])
        if hour < hours
    ]
    planned = [(hour, dice.choices(kinds, weights=shares)[0], dice) for hour, dice in drawn]
    planned += [
        (float(kind["hour"]), kind, random.Random(f"{demand['seed']}/{kind['name']}"))
        for kind in demand["certain"]
        if kind["hour"] < hours
    ]
    counts: dict[str, int] = {}
    arrivals = []
    for hour, kind, dice in sorted(planned, key=lambda entry: (entry[0], entry[1]["name"])):
        counts[kind["name"]] = number = counts.get(kind["name"], 0) + 1
        arrivals.append(_job(kind, number=number, at=start + datetime.timedelta(hours=hour), chance=dice))
    return tuple(arrivals)


def _steady(
    rate: Mapping[str, Any], *, start: datetime.datetime, hours: float, chance: random.Random
) -> Iterator[float]:
    """Hours of a Poisson process by thinning: drawn at the highest rate, each kept with its hour's share of that."""
    calm, busy = float(rate["jobsPerHour"]), float(rate["busyJobsPerHour"])
    first, end = rate["busyHoursUtc"]
    highest = max(calm, busy)
    hour = 0.0
    while True:
        hour += chance.expovariate(highest)
        kept = chance.random()
        if hour >= hours:
            return
        of_day = (start + datetime.timedelta(hours=hour)).astimezone(datetime.UTC).hour
        if kept * highest < (busy if first <= of_day < end else calm):
            yield hour


def _bursts(bursts: list[Mapping[str, Any]]) -> Iterator[float]:
    """A burst's jobs come a minute and a half apart."""
    for burst in bursts:
        yield from (burst["hour"] + number / 40 for number in range(burst["jobs"]))


def _job(kind: Mapping[str, Any], *, number: int, at: datetime.datetime, chance: random.Random) -> Arrival:
    median = float(kind["medianMinutes"])
    spread = math.log(kind["p90Minutes"] / median) / _P90 if "p90Minutes" in kind else 0.0
    # Nobody rents a rig for less than half an hour.
    minutes = min(max(chance.lognormvariate(math.log(median), spread), 30.0), float(kind.get("maxMinutes", median)))
    estimate = 15 * max(1, round(minutes * chance.uniform(0.9, 1.25) / 15))
    bid = round(chance.uniform(kind["bid"]["low"], kind["bid"]["high"]), 3)
    replicas = chance.choice(kind["replicas"])
    wanted = kind["requirements"]
    seconds = round(minutes * 60)
    return Arrival(
        at=at,
        namespace=kind["tenant"],
        name=f"{kind['name']}-{number:02d}",
        workload_class=kind["workloadClass"],
        replicas=replicas,
        gpus_per_replica=kind["gpusPerReplica"],
        work_seconds=float(seconds),
        bid=bid,
        needs=Needs(
            gpu_mib=text.parse_mebibytes(wanted["gpuMemory"]) if "gpuMemory" in wanted else 0,
            capability=text.parse_capability(wanted["computeCapability"]) if "computeCapability" in wanted else (0, 0),
            link=float(wanted.get("hostLinkGigabytesPerSecond", "0")),
            host_mib=text.parse_mebibytes(wanted["hostMemory"]) if "hostMemory" in wanted else 0,
            jurisdictions=frozenset(wanted.get("jurisdictions", ())),
        ),
        spec={
            "workloadClass": kind["workloadClass"],
            "replicas": replicas,
            "gpusPerReplica": kind["gpusPerReplica"],
            "bid": {"usdPerGpuHour": text.format_decimal(bid)},
            "duration": text.format_duration(estimate * 60),
            "requirements": dict(wanted),
            "preemption": {"policy": "Allowed", "notice": kind.get("notice", "15m"), "minRuntime": "10m"},
            "template": {
                "metadata": {"annotations": {work.WORK_SECONDS: str(seconds), work.REPLICAS: str(replicas)}},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "work", "image": kind["image"]}],
                },
            },
        },
    )
