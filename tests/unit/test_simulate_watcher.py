from __future__ import annotations

from typing import Any

import pytest

from switchyard.cluster import names
from switchyard.simulate import watcher


class Timer:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def onlooker(timer: Timer) -> watcher.Watcher:
    return watcher.Watcher(timer=timer)


def pod(
    name: str,
    *,
    node: str = "rig-1",
    role: str = "",
    coin: str = "",
    job: str = "",
    phase: str = "Running",
    gpus: int = 6,
    deleting: bool = False,
    namespace: str = "ns",
) -> dict[str, Any]:
    labels = {names.LABEL_ROLE: role, names.LABEL_COIN: coin, names.LABEL_AIJOB: job}
    body: dict[str, Any] = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": name,
            "labels": {k: v for k, v in labels.items() if v},
        },
        "spec": {
            "containers": [{"name": "main", "resources": {"limits": {names.GPU_RESOURCE: str(gpus)} if gpus else {}}}]
        },
        "status": {"phase": phase},
    }
    if node:
        body["spec"]["nodeName"] = node
    if deleting:
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return body


def miner(name: str, coin: str = "kas", **more: Any) -> dict[str, Any]:
    return pod(name, role=names.ROLE_MINER, coin=coin, **more)


def worker(name: str, job: str = "train", **more: Any) -> dict[str, Any]:
    return pod(name, role=names.ROLE_WORK, job=job, **more)


def test_it_times_a_miner_and_work_on_one_node(onlooker: watcher.Watcher, timer: Timer) -> None:
    onlooker.apply("pods", miner("m"))
    timer.now += 5
    onlooker.apply("pods", worker("w"))
    timer.now += 2
    onlooker.remove("pods", "ns", "m")
    timer.now += 10
    assert onlooker.double_owner_seconds == pytest.approx(2)
    (overlap,) = onlooker.overlaps
    assert (overlap.node, overlap.owners) == ("rig-1", ("mining/kas", "work/ns/train"))
    assert overlap.seconds == pytest.approx(2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (miner("a", "kas"), miner("b", "erg")),
        (worker("a", "train"), worker("b", "render")),
        (worker("a", "train", namespace="one"), worker("b", "train", namespace="two")),
        (miner("a"), pod("b")),
        (miner("a", deleting=True), worker("b")),
        (miner("a"), worker("b", phase="Pending")),
        (pod("a"), pod("b")),
    ],
    ids=[
        "two coins",
        "two jobs",
        "two tenants",
        "a stranger",
        "one that terminates",
        "bound, not running",
        "strangers",
    ],
)
def test_every_pair_of_owners_counts(
    onlooker: watcher.Watcher, timer: Timer, first: dict[str, Any], second: dict[str, Any]
) -> None:
    onlooker.apply("pods", first)
    onlooker.apply("pods", second)
    timer.now += 3
    assert onlooker.double_owner_seconds == pytest.approx(3)


@pytest.mark.parametrize(
    "second",
    [
        worker("b", "train"),
        miner("b", node=""),
        miner("b", node="rig-2"),
        miner("b", phase="Failed"),
        pod("b", gpus=0),
    ],
    ids=["same job", "not bound", "another node", "over", "no GPU"],
)
def test_what_does_not_count(onlooker: watcher.Watcher, timer: Timer, second: dict[str, Any]) -> None:
    onlooker.apply("pods", worker("a", "train"))
    onlooker.apply("pods", second)
    timer.now += 3
    assert onlooker.double_owner_seconds == 0
    assert onlooker.overlaps == ()


def test_an_end_without_deletion_lets_go(onlooker: watcher.Watcher, timer: Timer) -> None:
    onlooker.apply("pods", miner("m"))
    onlooker.apply("pods", miner("m", phase="Succeeded"))
    onlooker.apply("pods", worker("w"))
    timer.now += 3
    assert onlooker.overlaps == ()


def test_an_overlap_too_short_for_the_clock_is_not_lost(onlooker: watcher.Watcher) -> None:
    onlooker.apply("pods", miner("m"))
    onlooker.apply("pods", worker("w"))
    onlooker.remove("pods", "ns", "m")
    assert onlooker.double_owner_seconds > 0


def test_a_relist_that_misses_a_pod_lets_go_of_it(onlooker: watcher.Watcher, timer: Timer) -> None:
    onlooker.apply("pods", miner("m"))
    onlooker.sweep("pods", {("ns", "w")})
    onlooker.apply("pods", worker("w"))
    timer.now += 3
    assert onlooker.overlaps == ()
