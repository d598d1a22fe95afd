from __future__ import annotations

import dataclasses
import datetime
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

import handover_world as world
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import record as rec
from switchyard.handover import records

_names = st.text(string.ascii_lowercase + string.digits + "-.", min_size=1, max_size=20)
_modes = st.one_of(
    st.builds(lambda name: model.Mode(model.ModeKind.MINING, name), _names),
    st.builds(lambda space, name: model.Mode(model.ModeKind.AI, f"{space}/{name}"), _names, _names),
    st.sampled_from([model.IDLE, model.OFF]),
)
_times = st.datetimes(
    min_value=datetime.datetime(2000, 1, 1),  # noqa: DTZ001 - Hypothesis wants naive bounds
    max_value=datetime.datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
)


@st.composite
def _records(draw: st.DrawFn) -> rec.Record:
    step = draw(st.sampled_from(rec.Step))
    return rec.Record(
        mode=draw(_modes),
        origin=draw(_modes),
        step=step,
        since=draw(_times),
        deadline=None if step is rec.Step.SETTLED else draw(_times),
        started=draw(_times),
        reason=draw(st.text(max_size=20)),
        message=draw(st.text(max_size=1000)),
        attempt=draw(st.integers(0, 50)),
        claim=draw(st.text(max_size=36)),
        cause=draw(st.text(max_size=20)),
        cause_message=draw(st.text(max_size=1000)),
        tried_at=draw(st.none() | _times),
        retry_at=draw(st.none() | _times),
    )


@given(_records())
def test_what_was_written_is_read(record: rec.Record) -> None:
    fitted = records.fit(record)
    text = records.write(fitted)
    assert records.parse(text) == fitted
    assert records.write(fitted) == text
    assert len(fitted.message) <= 512


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_garbage_reads_as_no_record(text: str) -> None:
    assert records.parse(text) is None


_GOOD = json.loads(
    records.write(
        rec.Record(
            mode=world.KAS,
            origin=model.IDLE,
            step=rec.Step.STOPPING,
            since=world.T0,
            deadline=world.after(60),
            started=world.T0,
            reason="Best",
        )
    )
)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "Mining"},
        {"mode": "Mining/a/b"},
        {"mode": "AI/no-namespace"},
        {"mode": "Idle/with-name"},
        {"mode": "Dreaming"},
        {"mode": 7},
        {"step": "Waiting"},
        {"step": "Settled"},
        {"since": "2026-03-01T12:00:00"},
        {"since": "0001-01-01T00:00:00+23:00"},
        {"since": None},
        {"attempt": -1},
        {"attempt": True},
        {"attempt": "3"},
        {"message": ["x"]},
        {"retryAt": "soon"},
    ],
)
def test_a_record_with_a_fault_in_it_is_none(changes: dict[str, object]) -> None:
    assert records.parse(json.dumps(_GOOD)) is not None
    assert records.parse(json.dumps({**_GOOD, **changes})) is None


@pytest.mark.parametrize("key", sorted(_GOOD))
def test_a_record_that_lacks_anything_is_none(key: str) -> None:
    assert records.parse(json.dumps({name: value for name, value in _GOOD.items() if name != key})) is None


def test_read_takes_it_from_the_annotation() -> None:
    node = world.World().nodes["r1"]
    assert records.read(node) is None
    text = json.dumps({**_GOOD, "somethingNewer": 1})
    found = records.read(dataclasses.replace(node, annotations={names.ANNOTATION_HANDOVER: text}))
    assert found is not None
    assert found.mode == world.KAS
