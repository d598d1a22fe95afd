from __future__ import annotations

import asyncio

import pytest

from switchyard.loop import changes


async def test_a_change_wakes_and_is_taken_once() -> None:
    gathered = changes.Changes()
    gathered.take()
    waiting = asyncio.create_task(gathered.wait(30))
    await asyncio.sleep(0)
    gathered.note("nodes", "rig-1")
    gathered.note("pods", "miners/miner-rig-1")
    await asyncio.wait_for(waiting, 1)
    taken = gathered.take()
    assert (taken.nodes, taken.pods, taken.replan) == ({"rig-1"}, {"miners/miner-rig-1"}, False)
    assert not gathered.take().nodes


@pytest.mark.parametrize(
    ("plural", "replan"),
    [
        ("aijobs", True),
        ("gpupools", True),
        ("coins", True),
        ("sites", True),
        ("secrets", True),
        ("rigs", False),
        ("jobs", False),
    ],
)
def test_only_what_a_plan_depends_on_brings_one_forward(plural: str, replan: bool) -> None:
    gathered = changes.Changes()
    gathered.take()
    gathered.note(plural, "x")
    assert gathered.take().replan is replan


async def test_waiting_ends_by_itself() -> None:
    gathered = changes.Changes()
    gathered.take()
    await asyncio.wait_for(gathered.wait(0.01), 1)


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_that_comes_with_the_bell_is_not_lost(turns: int) -> None:
    gathered = changes.Changes()
    gathered.take()

    async def forever() -> None:
        while True:
            await gathered.wait(30)
            gathered.take()

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    gathered.note("nodes", "rig-1")
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)
    assert done
