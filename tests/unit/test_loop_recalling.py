"""The policy's memory over a restart: lines from what was kept, what gangs have forgone from the rigs' statuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

import sample_farm as sample
from sample_world import World, changed_rig
from switchyard.fleet import model
from switchyard.loop import recalling


def planned() -> tuple[World, recalling.Recall]:
    world, recall = World(sample.farm()), recalling.Recall()
    for price in (4.0, 4.0, 2.0):
        recall.planned(world.step(sample.market(kas=price, rvn=3.0)).memory)
    return world, recall


def test_a_policy_goes_on_where_it_was_after_a_restart() -> None:
    world, recall = planned()
    assert recall.memory(world.farm) is world.memory
    text = json.dumps(recall.dump())
    assert json.loads(text)["lines"], "the lines of a farm that was planned"

    again = recalling.Recall()
    again.load(json.loads(text))
    assert json.dumps(again.dump()) == text, "not planned yet, and nothing is forgotten"
    work = {"decision": {"alternatives": [{"mode": "AI/tenant/train", "regretUsd": "0.25"}]}}
    farm = changed_rig(world.farm, next(iter(world.farm.rigs)), status=work)
    taken_up = again.memory(farm)
    assert taken_up.lines.keys() == world.memory.lines.keys()
    assert taken_up.at is None, "nobody knows what the time in between has cost"
    assert list(taken_up.work_usd.values()) == [{model.Mode(model.ModeKind.AI, "tenant/train"): 0.25}]
    again.planned(world.memory)
    assert again.memory(farm) is world.memory


@pytest.mark.parametrize("found", [None, [], "lines", 7])
def test_what_is_no_memory_is_refused(found: Any) -> None:
    recall = recalling.Recall()
    with pytest.raises(ValueError, match="an object expected"):
        recall.load(found)
    assert recall.memory(model.Farm()).lines == {}
