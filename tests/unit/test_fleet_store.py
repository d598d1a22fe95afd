"""The store: whatever comes in whatever order, the farm is what a store would hold that saw only the end of it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from switchyard.cluster import names
from switchyard.fleet import model, store

GPU = "NVIDIA-GeForce-RTX-3070"
OTHER = "NVIDIA-P106-100"


def body(name: str, *, version: int, namespace: str | None = None, **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "generation": 1}
    if namespace:
        metadata["namespace"] = namespace
    metadata |= more.pop("metadata", {})
    return {"metadata": metadata, **more}


def node(name: str, *, version: int = 1, product: str = GPU, gpus: int = 2, **labels: str) -> dict[str, Any]:
    found = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(gpus), "nvidia.com/gpu.memory": "8192"}
    return body(
        name,
        version=version,
        metadata={"labels": (found if product else {}) | labels},
        status={
            "capacity": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": str(gpus)},
            "allocatable": {"nvidia.com/gpu": str(gpus)},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    )


def rig(name: str, *, version: int = 1, on: str = "", status: Any = None, **labels: Any) -> dict[str, Any]:
    return body(
        name,
        version=version,
        metadata={"labels": labels},
        spec={"nodeName": on or name, "siteRef": {"name": "barn"}},
        status=status or {},
    )


def pool(name: str, *, version: int = 1, models: tuple[str, ...] = (), **labels: Any) -> dict[str, Any]:
    spec = {"rigSelector": {"matchLabels": labels}, "gpuModels": list(models)}
    return body(name, version=version, spec=spec)


def pod(
    name: str, *, version: int = 1, on: str = "", gpus: int = 1, role: str = "", namespace: str = "tenant", **more: Any
) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    spec: dict[str, Any] = {"containers": [{"name": "c", "resources": {"limits": limits}}]}
    if on:
        spec["nodeName"] = on
    metadata = {"labels": {names.LABEL_ROLE: role} if role else {}}
    metadata |= more.pop("metadata", {})
    return body(name, version=version, namespace=namespace, metadata=metadata, spec=spec, **more)


# --- any order, same end -----------------------------------------------------------------------------------------

_few: Any = strategies.sampled_from
_labels = strategies.dictionaries(_few(["pool", "zone"]), _few(["a", "b"]), max_size=2)
_KEYS: dict[str, list[tuple[str | None, str]]] = {
    "nodes": [(None, "n1"), (None, "n2")],
    "rigs": [(None, "r1"), (None, "r2"), (None, "r3")],
    "gpupools": [(None, "p1"), (None, "p2"), (None, "p3")],
    "pods": [("a", "x"), ("b", "x"), ("a", "y")],
    "secrets": [("miners", "wallet"), ("miners", "other")],
}
_agents = strategies.lists(_few([GPU, OTHER]), max_size=2).map(
    lambda models: {"agent": {"gpus": [{"model": each, "memoryMiB": 6144} for each in models]}}
)


@strategies.composite
def _body(draw: strategies.DrawFn, plural: str, namespace: str | None, name: str) -> dict[str, Any]:
    match plural:
        case "nodes":
            return node(name, product=draw(_few([GPU, OTHER, ""])), gpus=draw(_few([1, 2])))
        case "rigs":
            return rig(name, on=draw(_few(["n1", "n2", "n3"])), status=draw(_agents), **draw(_labels))
        case "gpupools":
            return pool(name, models=draw(_few([(), (GPU,), (GPU, OTHER)])), **draw(_labels))
        case "pods":
            where, role = draw(_few(["", "n1", "n2"])), draw(_few(["", names.ROLE_MINER]))
            return pod(name, on=where, gpus=draw(_few([0, 1])), role=role, namespace=namespace or "")
        case _:
            return body(name, version=1, namespace=namespace)


@strategies.composite
def _steps(draw: strategies.DrawFn) -> list[tuple[str, str, tuple[str | None, str], Any]]:
    steps: list[tuple[str, str, tuple[str | None, str], Any]] = []
    for _ in range(draw(strategies.integers(1, 25))):
        plural = draw(_few(sorted(_KEYS)))
        key = draw(_few(_KEYS[plural]))
        match draw(_few(["apply", "apply", "apply", "remove", "sweep"])):
            case "apply":
                steps.append(("apply", plural, key, draw(_body(plural, *key))))
            case "remove":
                steps.append(("remove", plural, key, None))
            case _:
                steps.append(("sweep", plural, key, draw(strategies.sets(_few(_KEYS[plural])))))
    return steps


def _without_versions(farm: model.Farm) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return dataclasses.replace(value, resource_version="") if hasattr(value, "resource_version") else value

    return {
        field.name: (
            getattr(farm, field.name)
            if field.name == "secrets"
            else {key: plain(value) for key, value in getattr(farm, field.name).items()}
        )
        for field in dataclasses.fields(farm)
        # What was looked for in vain is history by its nature.
        if field.name != "missing_secrets"
    }


@hypothesis.given(steps=_steps(), late=strategies.booleans())
def test_any_history_ends_where_its_end_alone_would(
    steps: list[tuple[str, str, tuple[str | None, str], Any]], late: bool
) -> None:
    """With `late`, every answer comes a second time, long after it was true: nothing may go back."""
    lived = store.Store()
    final: dict[tuple[str, tuple[str | None, str]], dict[str, Any]] = {}
    stale = []
    for version, (what, plural, key, given) in enumerate(steps, start=1):
        match what:
            case "apply":
                given["metadata"]["resourceVersion"] = str(version)
                lived.apply(plural, copy.deepcopy(given))
                final[plural, key] = given
                stale.append((plural, given))
            case "remove":
                lived.remove(plural, *key, resource_version=version)
                final.pop((plural, key), None)
            case _:
                lived.sweep(plural, given, resource_version=version)
                final = {each: held for each, held in final.items() if each[0] != plural or each[1] in given}
    before = lived.snapshot()
    if late:
        for plural, given in stale:
            lived.apply(plural, copy.deepcopy(given))
        assert _without_versions(lived.snapshot()) == _without_versions(before)

    fresh = store.Store()
    for (plural, _), given in sorted(final.items(), key=str):
        fresh.apply(plural, given)

    assert _without_versions(lived.snapshot()) == _without_versions(fresh.snapshot())
    assert _membership(lived.snapshot()) == _by_brute_force(lived.snapshot())
    assert _whereabouts(lived.snapshot()) == dict(lived.snapshot().pods_on)


def _membership(farm: model.Farm) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    return dict(farm.pool_of), dict(farm.contested)


def _by_brute_force(farm: model.Farm) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    claimed = {
        name: sorted(
            each.name
            for each in farm.pools.values()
            if each.rig_selector.matches(found.labels)
            and (
                not each.gpu_models
                or (found.hardware.gpus and {gpu.model for gpu in found.hardware.gpus} <= set(each.gpu_models))
            )
        )
        for name, found in farm.rigs.items()
    }
    return (
        {name: pools[0] for name, pools in claimed.items() if pools},
        {name: tuple(pools[1:]) for name, pools in claimed.items() if len(pools) > 1},
    )


def _whereabouts(farm: model.Farm) -> dict[str, frozenset[str]]:
    places: dict[str, set[str]] = {}
    for key, found in farm.pods.items():
        places.setdefault(found.node_name, set()).add(key)
    return {place: frozenset(keys) for place, keys in places.items()}


@hypothesis.given(steps=_steps())
def test_snapshots_stay_as_they_were(steps: list[tuple[str, str, tuple[str | None, str], Any]]) -> None:
    lived = store.Store()
    taken = []
    for version, (what, plural, key, given) in enumerate(steps, start=1):
        if what == "apply":
            given["metadata"]["resourceVersion"] = str(version)
            lived.apply(plural, given)
        elif what == "remove":
            lived.remove(plural, *key)
        else:
            lived.sweep(plural, given)
        taken.append((lived.snapshot(), _without_versions(lived.snapshot())))
    assert all(_without_versions(farm) == was for farm, was in taken)
    assert lived.snapshot() is lived.snapshot()


# --- told of changes ---------------------------------------------------------------------------------------------


@pytest.fixture
def farm() -> store.Store:
    return store.Store()


@pytest.fixture
def told(farm: store.Store) -> Callable[[], list[tuple[str, str]]]:
    changes: list[tuple[str, str]] = []
    farm.on_change = lambda plural, key: changes.append((plural, key))

    def take() -> list[tuple[str, str]]:
        taken = changes[:]
        changes.clear()
        return taken

    return take


def test_a_heartbeat_is_no_change_but_its_version_is_kept(farm: store.Store, told: Any) -> None:
    farm.apply("nodes", node("n1", version=1))
    assert told() == [("nodes", "n1")]
    farm.apply("nodes", node("n1", version=2))
    assert told() == []
    assert farm.snapshot().nodes["n1"].resource_version == "2"


def test_an_older_body_is_passed_over_as_a_number(farm: store.Store, told: Any) -> None:
    farm.apply("nodes", node("n1", version=10, gpus=4))
    farm.apply("nodes", node("n1", version=9, gpus=1))
    assert farm.snapshot().nodes["n1"].gpus_allocatable == 4


def test_an_answer_to_a_write_does_not_raise_the_dead(farm: store.Store) -> None:
    farm.apply("pods", pod("x", version=5, on="n1"))
    farm.remove("pods", "tenant", "x", resource_version=8)
    farm.apply("pods", pod("x", version=7, on="n1"))
    assert not farm.snapshot().pods
    farm.apply("pods", pod("x", version=9, on="n1"))
    assert farm.snapshot().pods["tenant/x"].resource_version == "9"


def test_a_list_does_not_sweep_what_is_newer_than_it(farm: store.Store) -> None:
    farm.apply("pods", pod("old", version=5))
    farm.apply("pods", pod("new", version=15))
    farm.sweep("pods", set(), resource_version=10)
    assert set(farm.snapshot().pods) == {"tenant/new"}


def test_a_deletion_of_a_predecessor_spares_the_successor(farm: store.Store) -> None:
    farm.apply("pods", pod("x", version=12))
    farm.remove("pods", "tenant", "x", resource_version=10)
    assert "tenant/x" in farm.snapshot().pods


def test_a_node_that_changes_makes_its_rig_another(farm: store.Store, told: Any) -> None:
    farm.apply("rigs", rig("r1", on="n1"))
    assert farm.snapshot().rigs["r1"].hardware == model.Hardware()
    told()
    farm.apply("nodes", node("n1", gpus=3))
    assert set(told()) == {("nodes", "n1"), ("rigs", "r1")}
    assert len(farm.snapshot().rigs["r1"].hardware.gpus) == 3


def test_a_pool_that_changes_tells_of_the_rigs_it_gains_and_loses(farm: store.Store, told: Any) -> None:
    farm.apply("rigs", rig("r1", zone="a"))
    farm.apply("rigs", rig("r2", zone="b"))
    farm.apply("gpupools", pool("p1", version=3, zone="a"))
    assert set(told()) == {("rigs", "r1"), ("rigs", "r2"), ("gpupools", "p1")}
    farm.apply("gpupools", pool("p1", version=4, zone="b"))
    assert set(told()) == {("rigs", "r1"), ("rigs", "r2"), ("gpupools", "p1")}
    assert dict(farm.snapshot().pool_of) == {"r2": "p1"}


def test_labels_that_go_for_a_while_do_not_take_the_cards_along(farm: store.Store) -> None:
    remembered = {"hardware": {"gpus": [{"model": GPU, "memoryMiB": 8192}], "hostMemoryMiB": 1, "cpuCores": 1}}
    farm.apply("rigs", rig("r1", on="n1", status=remembered))
    assert farm.snapshot().rigs["r1"].hardware.gpus[0].model == GPU
    farm.apply("nodes", node("n1", product=""))
    hardware = farm.snapshot().rigs["r1"].hardware
    assert hardware.gpus[0].model == GPU
    assert hardware.host_memory_mib == 8192


# --- what cannot be read -----------------------------------------------------------------------------------------


def test_an_object_that_cannot_be_read_stays_out_and_says_why(farm: store.Store, told: Any) -> None:
    bad = body("barn", version=1, spec={"nodeSelector": {"matchLabels": {"a": "b"}}, "tariff": {}})
    farm.apply("sites", bad)
    assert "barn" not in farm.snapshot().sites
    assert farm.problems["sites", "barn"] == "tariff must have exactly one of fixed, timeOfUse and feed"
    assert told() == [("sites", "barn")]
    farm.remove("sites", None, "barn")
    assert not farm.problems
    assert told() == [("sites", "barn")]


def test_the_last_good_reading_stays_while_there_is_none_better(farm: store.Store, told: Any) -> None:
    def site(price: str, version: int) -> dict[str, Any]:
        spec = {
            "nodeSelector": {"matchLabels": {"a": "b"}},
            "tariff": {"fixed": {"usdPerKilowattHour": price}},
        }
        return body("barn", version=version, spec=spec)

    farm.apply("sites", site("0.08", 1))
    farm.apply("sites", site("eight cents", 2))
    tariff = farm.snapshot().sites["barn"].tariff
    assert tariff == model.FixedTariff(usd_per_kwh=0.08)
    assert farm.problems["sites", "barn"].startswith("spec.tariff.fixed.usdPerKilowattHour: ")
    told()
    farm.apply("sites", site("0.08", 3))
    assert not farm.problems
    assert told() == [("sites", "barn")]


@hypothesis.given(
    plural=_few(sorted(store.PLURALS)),
    rest=strategies.recursive(
        strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=5),
        lambda inner: (
            strategies.lists(inner, max_size=3)
            | strategies.dictionaries(
                _few(["spec", "status", "conditions", "containers", "type", "agent", "placement", "tariff"]), inner
            )
        ),
        max_leaves=12,
    ),
)
def test_no_body_makes_the_store_raise(plural: str, rest: Any) -> None:
    held = store.Store()
    held.apply(plural, {"spec": rest, "status": rest, **body("x", version=1)})
    held.apply(plural, {**(rest if isinstance(rest, dict) else {}), **body("x", version=2)})
    held.remove(plural, None, "x")
    assert dataclasses.replace(held.snapshot(), missing_secrets=frozenset()) == model.Farm()
    assert not held.problems


def test_an_unknown_kind_is_a_mistake_in_the_program(farm: store.Store) -> None:
    with pytest.raises(ValueError, match="configmaps"):
        farm.apply("configmaps", body("x", version=1))


def test_a_secret_is_unknown_until_it_was_looked_for() -> None:
    held = store.Store()
    told: list[tuple[str, str]] = []
    held.on_change = lambda plural, key: told.append((plural, key))
    assert not held.snapshot().missing_secrets
    held.remove("secrets", "miners", "wallet")
    held.remove("secrets", "miners", "wallet")
    assert held.snapshot().missing_secrets == {"wallet"}
    assert told == [("secrets", "miners/wallet")]
    held.apply("secrets", {"metadata": {"name": "wallet", "namespace": "miners", "resourceVersion": "7"}})
    assert held.snapshot().secrets == {"wallet"}
    assert not held.snapshot().missing_secrets
    assert len(told) == 2
