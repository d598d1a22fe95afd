from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from switchyard.simulate import work

BOTH = frozenset({"a", "b"})


def gang(**more: float) -> work.Gang:
    return work.Gang(replicas=2, total_seconds=1000.0, checkpoint_every_seconds=more.get("every", 1e9))


def test_it_works_only_while_all_replicas_run() -> None:
    it = gang()
    it.observe(running=frozenset({"a"}), now=0)
    it.observe(running=BOTH, now=100)
    it.observe(running=BOTH, now=350)
    assert it.done_seconds == 250
    assert it.progress == 0.25
    it.observe(running=BOTH, now=5000)
    assert it.finished
    assert it.done_seconds == 1000


def test_a_gang_that_is_broken_up_falls_back_to_its_checkpoint() -> None:
    it = gang()
    it.observe(running=BOTH, now=0)
    it.observe(running=BOTH, now=300)
    it.save(300)
    it.observe(running=frozenset({"a"}), now=400)
    assert it.done_seconds == 300
    assert it.losses_seconds == 100
    it.observe(running=frozenset({"a", "c"}), now=500)
    it.observe(running=frozenset({"a", "c"}), now=650)
    assert it.done_seconds == 450


def test_nobody_pays_twice_for_the_same_work() -> None:
    it = gang()
    it.observe(running=BOTH, now=0)
    it.observe(running=frozenset(), now=400)
    assert (it.done_seconds, it.paid_seconds) == (0, 400)
    it.observe(running=BOTH, now=500)
    it.observe(running=BOTH, now=800)
    assert (it.done_seconds, it.paid_seconds) == (300, 400)


def test_it_saves_by_itself() -> None:
    it = gang(every=100)
    it.observe(running=BOTH, now=0)
    it.observe(running=BOTH, now=90)
    assert it.saved_at is None
    it.observe(running=BOTH, now=120)
    assert it.saved_seconds == 120


@hypothesis.given(
    st.lists(
        st.tuples(st.floats(0, 500), st.sampled_from([frozenset(), frozenset("a"), BOTH]), st.booleans()), max_size=40
    )
)
def test_done_saved_and_paid_stay_in_order(steps: list[tuple[float, frozenset[str], bool]]) -> None:
    it = gang(every=150)
    now = whole = 0.0
    for wait, running, save in steps:
        whole += wait if it.running else 0.0
        now += wait
        before = it.paid_seconds
        it.observe(running=running, now=now)
        if save:
            it.save(now)
        assert 0 <= it.saved_seconds <= it.done_seconds <= it.paid_seconds <= it.total_seconds
        assert before <= it.paid_seconds <= whole + 1e-6
    assert it.progress == pytest.approx(it.done_seconds / 1000)
