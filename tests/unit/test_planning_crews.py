"""Rigs sorted once by what makes them alike."""

from __future__ import annotations

import dataclasses
import datetime

from switchyard.fleet import model
from switchyard.planning import crews
from switchyard.planning import request as planning

KAS = model.mining("kas")
NOW = datetime.datetime(2026, 7, 1, tzinfo=datetime.UTC)


def view(name: str, mode: model.Mode = KAS, **over: object) -> planning.RigView:
    found = planning.RigView(name=name, class_key="shed", pool="main", mode=mode, since=NOW, switching=False)
    return dataclasses.replace(found, **over)  # type: ignore[arg-type]


def names(crew: crews.Crew) -> dict[str, list[str]]:
    """By the mode of each kind, who is of it."""
    return {str(kind.view.mode): [crew.views[place].name for place in kind.places] for kind in crew.kinds}


def test_rigs_are_sorted_by_class_and_pin_and_then_by_mode() -> None:
    roll = crews.roll(
        (
            view("c"),
            view("b", model.OFF),
            view("a"),
            view("pinned", pin=model.Pin.IDLE),
            view("other", class_key="barn"),
            view("held", held="Maintenance"),
        )
    )
    assert list(roll.views) == ["a", "b", "c", "held", "other", "pinned"]
    assert set(roll.crews) == {("shed", model.Pin.AUTO), ("shed", model.Pin.IDLE), ("barn", model.Pin.AUTO)}
    assert names(roll.crews["shed", model.Pin.AUTO]) == {"Mining/kas": ["a", "c"], "Off": ["b"]}
    assert ("shed", KAS, model.Pin.IDLE) in roll.stands


def test_rigs_on_their_way_and_rigs_that_something_is_barred_to_are_kinds_of_their_own() -> None:
    rigs = (view("a"), view("b", switching=True), view("c", barred={model.OFF: "failed"}), view("d"))
    (crew,) = crews.roll(rigs).crews.values()
    assert [[crew.views[place].name for place in kind.places] for kind in crew.kinds] == [["a", "d"], ["b"], ["c"]]


def test_the_same_rigs_are_not_sorted_again_and_others_that_are_like_them_are() -> None:
    rigs = (view("a"), view("b"))
    assert crews.roll(rigs) is crews.roll(rigs)
    assert crews.roll((rigs[0], rigs[1])) is not crews.roll(rigs)


def test_who_is_elsewhere_is_left_out() -> None:
    roll = crews.roll((view("a"), view("b", model.OFF), view("c"), view("d", class_key="barn")))
    free = roll.free({"a", "d", "unknown"})
    assert set(free) == {("shed", model.Pin.AUTO)}
    assert names(free["shed", model.Pin.AUTO]) == {"Off": ["b"], "Mining/kas": ["c"]}
    assert roll.free({"unknown"}) == roll.crews


def test_a_crew_without_some_kinds_counts_its_places_anew() -> None:
    (crew,) = crews.roll((view("a"), view("b", model.OFF), view("c", model.IDLE), view("d"))).crews.values()
    left = crew.without([crew.kinds[0]])
    assert [each.name for each in left.views] == ["b", "c"]
    assert names(left) == {"Off": ["b"], "Idle": ["c"]}
    assert crew.without([]) is crew
    assert not crew.without(crew.kinds).kinds
