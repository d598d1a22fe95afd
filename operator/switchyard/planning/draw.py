"""How many watts rigs draw from their circuits: in the mode they are in, and in one they could go to.

Watts are those of the whole rig, before PUE: cooling and losses hang on other circuits. What the plan counts on is the
class's figure for a mode (a miner's benchmark, AI work on every GPU at once). What agents read back corrects it,
upwards only: a rig that draws less today may draw what its class says tomorrow.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Final

from switchyard.fleet import model
from switchyard.planning import request as planning

NOISE: Final = 1.05
"""A measurement counts against the class's figure where it is greater by more than this factor: NVML's readings of
board power are good to about 5 %, and no rig shall be stopped for an error of measurement."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Watts on one circuit.

    Attributes:
        drawn: now: as measured lately, else what the rigs' modes draw.
        feared: at most, while hand-overs are under way and of some rigs nobody knows what they do.
        rigs: on it.
    """

    drawn: float = 0.0
    feared: float = 0.0
    rigs: int = 0


class Meter:
    """Watts of every rig of a request in every mode; worked out once per class and mode."""

    def __init__(self, request: planning.PlanRequest) -> None:
        self._request = request
        self._classes = request.classes
        self._known: dict[tuple[str, model.Mode], float] = {}

    def planned(self, class_key: str, mode: model.Mode) -> float:
        """What a rig of a class draws in a mode; 0 for an unknown class."""
        key = class_key, mode
        watts = self._known.get(key)
        if watts is None:
            watts = self._known[key] = self._figure(class_key, mode) * self._corrections.get(key, 1.0)
        return watts

    def settled(self, view: planning.RigView) -> float:
        """What a rig draws once it is in its mode, where it is going or already there."""
        watts = self.planned(view.class_key, view.mode)
        return watts if view.switching else max(watts, self._read(view, watts))

    def now(self, view: planning.RigView) -> float:
        """What a rig draws now, its hand-over included: the greater of the modes at both ends."""
        watts = self.settled(view)
        if view.switching:
            # Of a rig whose origin nobody knows, anything its class can do.
            end = self.most(view.class_key) if view.origin is None else self.planned(view.class_key, view.origin)
            return max(watts, end)
        return watts

    def feared(self, view: planning.RigView) -> float:
        """What a rig can draw now at most: `now()`, or anything it can do where nobody knows what it does."""
        if not (view.nameplate_watts or view.measured_watts or view.switching):
            return self.planned(view.class_key, view.mode)  # nearly every rig, and there are thousands
        if not view.nameplate_watts:
            return self.now(view)
        return max(self.now(view), view.nameplate_watts, self.most(view.class_key))

    def more(self, view: planning.RigView, target: model.Mode) -> float:
        """Watts to be set aside before a rig may set out for a mode: during a hand-over the greater end counts."""
        present = self.feared(view) if view.held else self.now(view)
        return max(0.0, self.planned(view.class_key, target) - present)

    def lowers(self, view: planning.RigView, target: model.Mode) -> bool:
        """Whether a rig surely draws no more in a mode than it does now: then it may go there from any circuit.

        A gang may use few of the GPUs that are counted for it, and a coin that is gone may have drawn little.
        """
        value = self._classes.get(view.class_key)
        if value is None:
            return False
        known = view.mode in value.worths or view.mode in value.watts or view.mode.kind is not model.ModeKind.MINING
        sure = known and view.mode.kind is not model.ModeKind.AI and not view.switching
        present = self.planned(view.class_key, view.mode) if sure else value.rest_watts
        return self.planned(view.class_key, target) <= present

    def most(self, class_key: str) -> float:
        """The most that a rig of a class is known to draw in any mode."""
        value = self._classes.get(class_key)
        if value is None:
            return 0.0
        worths = (worth.watts for worth in value.worths.values())
        return max(value.ai_watts, value.rest_watts, *value.watts.values(), *worths, 0.0)

    def _figure(self, class_key: str, mode: model.Mode) -> float:
        value = self._classes.get(class_key)
        if value is None:
            return 0.0
        worth = value.worths.get(mode)
        own = worth.watts if worth is not None else value.watts.get(mode)
        if mode.kind is model.ModeKind.AI:
            # Which and how many of its GPUs a gang will use is not settled before it runs: count all of them.
            return max(value.ai_watts, own or 0.0)
        if own is not None:
            return own
        if mode.kind is model.ModeKind.MINING:
            return self.most(class_key)  # a coin that the pool no longer mines
        return value.rest_watts if mode == model.IDLE else 0.0

    def _read(self, view: planning.RigView, planned: float) -> float:
        return view.measured_watts if view.measured_watts > planned * NOISE else 0.0

    @functools.cached_property
    def _corrections(self) -> dict[tuple[str, model.Mode], float]:
        """By class and mode, how many times the class's figure its rigs draw on average, where that is more than once.

        Without it a rig that was stopped for drawing too much would be let in again on the figure that was wrong.
        """
        sums: dict[tuple[str, model.Mode], tuple[float, int]] = {}
        for view in self._request.rigs:
            if view.measured_watts > 0 and not view.switching and not view.nameplate_watts:
                total, count = sums.get((view.class_key, view.mode), (0.0, 0))
                sums[view.class_key, view.mode] = total + view.measured_watts, count + 1
        found = {}
        for (class_key, mode), (total, count) in sums.items():
            figure = self._figure(class_key, mode)
            if figure > 0 and total / count > figure * NOISE:
                found[class_key, mode] = total / count / figure
        return found


def loads(request: planning.PlanRequest) -> dict[str, Load]:
    """What every circuit carries now, for people."""
    meter = Meter(request)
    found = {key: [0.0, 0.0, 0.0] for key in request.circuits}
    for view in request.rigs:
        if view.circuit in found:
            sums = found[view.circuit]
            sums[0] += view.measured_watts or meter.now(view)
            sums[1] += meter.feared(view)
            sums[2] += 1
    return {key: Load(drawn=drawn, feared=feared, rigs=round(rigs)) for key, (drawn, feared, rigs) in found.items()}
