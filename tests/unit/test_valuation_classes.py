"""Classes of rigs that are kept while rigs, pools and sites stay as they are, and what stands still of them."""

from __future__ import annotations

import dataclasses

import immutables
import pytest

import sample_farm as sample
from switchyard.fleet import model
from switchyard.valuation import plant, values, worth

KAS = model.mining("kas")
MARKET = sample.market(kas=4.0, rvn=3.0)


def farm(**over: object) -> model.Farm:
    found = sample.farm(
        rigs=[*(sample.rig(f"rig-{index}") for index in range(3)), sample.rig("stray", labels={})],
        jobs=[sample.job("a"), sample.job("b"), sample.job("wide", gpus_per_replica=6)],
    )
    return dataclasses.replace(found, **over)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: found, id="nothing"),
        pytest.param(
            lambda found: dataclasses.replace(
                found, rigs=found.rigs.set("rig-1", sample.rig("rig-1", base_watts=200)).delete("rig-2")
            ),
            id="rigs",
        ),
        pytest.param(
            lambda found: dataclasses.replace(
                found,
                pools=found.pools.set("other", sample.pool("other")),
                pool_of=found.pool_of.set("rig-0", "other").set("stray", "main"),
            ),
            id="pools",
        ),
        pytest.param(lambda found: dataclasses.replace(found, sites=immutables.Map()), id="no site"),
        pytest.param(lambda found: dataclasses.replace(found, pool_of=found.pool_of.delete("rig-0")), id="no pool"),
    ],
)
def test_what_is_known_of_rigs_that_have_not_changed_is_what_would_be_found_anew(change: object) -> None:
    first = worth.classify(farm())
    after = change(first.farm)  # type: ignore[operator]
    assert worth.classify(after, first) == worth.classify(after)
    back = worth.classify(first.farm, worth.classify(after, first))
    assert back == first


def test_rigs_that_have_not_changed_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = worth.classify(farm())
    looked: list[str] = []

    def key(signature: tuple[str, ...]) -> str:
        looked.append(signature[1])
        return "new"

    monkeypatch.setattr(worth, "_key", key)
    changed = dataclasses.replace(first.farm, rigs=first.farm.rigs.set("rig-1", sample.rig("rig-1", base_watts=99)))
    assert worth.classify(changed, first).class_of["rig-1"] == "new"
    assert len(looked) == 1


def test_what_stands_still_is_worked_out_anew_when_site_or_pool_say_something_else() -> None:
    found = farm()
    classes = worth.classify(found)
    worth.appraise(found, classes, MARKET, sample.NOW)
    (known,) = classes.plants.values()
    told = dataclasses.replace(
        found,
        sites=found.sites.set("barn", dataclasses.replace(found.sites["barn"], status={"seen": 1})),
        pools=found.pools.set("main", dataclasses.replace(found.pools["main"], status={"seen": 1})),
    )
    worth.appraise(told, classes, MARKET, sample.NOW)
    assert list(classes.plants.values()) == [known]
    less = dataclasses.replace(
        found, pools=found.pools.set("main", dataclasses.replace(found.pools["main"], workload_classes=frozenset()))
    )
    (value,) = worth.appraise(less, classes, MARKET, sample.NOW).classes.values()
    assert {refusal.reason for refusal in value.refusals.values()} == {"ClassNotServed"}
    assert value == one(less)


def test_a_coin_that_changes_is_looked_at_again() -> None:
    found = farm()
    classes = worth.classify(found)
    worth.appraise(found, classes, MARKET, sample.NOW)
    better = sample.coin("kas", benchmarks={sample.GPU: model.Benchmark(hashrate=0.06, watts=140)})
    faster = dataclasses.replace(found, coins=found.coins.set("kas", better))
    (value,) = worth.appraise(faster, classes, MARKET, sample.NOW).classes.values()
    assert value.worths[KAS].watts == 80 + 6 * 140
    assert value == one(faster)


def test_jobs_of_one_shape_are_measured_once_and_told_apart() -> None:
    found = farm()
    classes = worth.classify(found)
    (value,) = worth.appraise(found, classes, MARKET, sample.NOW).classes.values()
    assert value.slots == {"tenant/a": 2, "tenant/b": 2, "tenant/wide": 1}
    assert value.worths[found.jobs["tenant/b"].mode].mode.name == "tenant/b"
    large = sample.job("large", requirements=model.Requirements(gpu_memory_mib=80_000))
    larger = dataclasses.replace(large, name="larger")
    found = dataclasses.replace(found, jobs=immutables.Map({job.key: job for job in (large, larger)}))
    (value,) = worth.appraise(found, classes, MARKET, sample.NOW).classes.values()
    refused = [value.refusals[job.mode] for job in (large, larger)]
    assert [each.mode.name for each in refused] == ["tenant/large", "tenant/larger"]
    assert {each.reason for each in refused} == {"NotEnoughGpuMemory"}


def test_what_customers_ask_for_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plant, "_MOST_SHAPES", 2)
    found = farm()
    (rig_class,) = worth.classify(found).found.values()
    here = plant.Plant(rig_class, found.sites["barn"], found.pools["main"])
    for mib in range(5):
        job = sample.job(requirements=model.Requirements(gpu_memory_mib=mib))
        assert here.room(job, plant.shape(job)) == plant.Room(slots=2, gpus=6, watts=1280.0)
    assert len(here._rooms) <= 2


def one(found: model.Farm) -> values.ClassValue:
    (value,) = worth.value(found, MARKET, sample.NOW).classes.values()
    return value
