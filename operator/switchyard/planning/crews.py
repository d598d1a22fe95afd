"""Rigs sorted once by what makes them alike: class and pin, and within these the mode they are in.

A plan is made every minute, in a back-test fifty thousand times, and mostly of the same rigs in the same modes: as long
as a request brings the same rigs, they are not sorted again.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model
from switchyard.planning import request as planning
from switchyard.planning import same

Ints = npt.NDArray[np.int64]
Key = tuple[str, model.Pin]
"""Class and pin."""

_BY_NAME: Final = operator.attrgetter("name")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """Rigs of a crew that nothing tells apart: `view` stands for all; `places` [n] are theirs in the crew, rising."""

    view: planning.RigView
    places: Ints


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crew:
    """Rigs of one class under one pin, by name, and sorted into kinds."""

    views: Sequence[planning.RigView]
    kinds: tuple[Kind, ...]

    def __len__(self) -> int:
        """How many rigs."""
        return len(self.views)

    def without(self, kinds: Collection[Kind]) -> Crew:
        """The others, in the same order."""
        if not kinds:
            return self
        kept = np.ones(len(self.views), dtype=bool)
        for kind in kinds:
            kept[kind.places] = False
        place = np.cumsum(kept) - 1
        return Crew(
            views=[self.views[at] for at in np.flatnonzero(kept).tolist()],
            kinds=tuple(Kind(view=kind.view, places=place[kind.places]) for kind in self.kinds if kept[kind.places[0]]),
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roll:
    """All rigs of a request.

    Attributes:
        views: by name, in order of their names.
        crews: of the rigs that are not held.
        stands: every class, mode and pin that there is.
    """

    views: Mapping[str, planning.RigView]
    crews: Mapping[Key, Crew]
    stands: frozenset[tuple[str, model.Mode, model.Pin]]

    def free(self, elsewhere: Collection[str]) -> Mapping[Key, Crew]:
        """The crews without these rigs."""
        if not elsewhere:
            return self.crews
        found: dict[Key, Crew] = {}
        for key, crew in self.crews.items():
            kept = [view for view in crew.views if view.name not in elsewhere]
            if kept:
                found[key] = crew if len(kept) == len(crew) else _crew(kept)
        return found


def roll(rigs: tuple[planning.RigView, ...]) -> Roll:
    """Sort the rigs of a request; the same answer for the same tuple."""
    return _called(same.Same(rigs))


@functools.lru_cache(maxsize=2)
def _called(found: same.Same[tuple[planning.RigView, ...]]) -> Roll:
    views = {view.name: view for view in sorted(found.value, key=_BY_NAME)}
    lines: dict[Key, list[planning.RigView]] = {}
    for view in views.values():
        if not view.held:
            lines.setdefault((view.class_key, view.pin), []).append(view)
    return Roll(
        views=views,
        crews={key: _crew(members) for key, members in lines.items()},
        stands=frozenset((view.class_key, view.mode, view.pin) for view in views.values()),
    )


def _crew(views: Sequence[planning.RigView]) -> Crew:
    places: dict[object, list[int]] = {}
    for place, view in enumerate(views):
        key = (view.mode, view.switching, frozenset(view.barred)) if view.switching or view.barred else view.mode
        places.setdefault(key, []).append(place)
    return Crew(
        views=views,
        kinds=tuple(Kind(view=views[found[0]], places=np.array(found, dtype=np.int64)) for found in places.values()),
    )
