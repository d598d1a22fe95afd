"""What waiting gangs fit, for the program: replicas and watts on a rig of each block."""

from __future__ import annotations

from collections.abc import Mapping

from switchyard.fleet import model
from switchyard.planning import program_values
from switchyard.valuation import values


class Fits:
    """What waiting gangs fit, by block. Many fit the same in the same way, and share it: blocks are many."""

    def __init__(self, value_of: Mapping[str, values.ClassValue]) -> None:
        self._value_of = value_of
        self._classes = {value.rig_class.key: value for value in value_of.values()}
        self._known: dict[tuple[tuple[str, program_values.Fit], ...], Mapping[str, program_values.Fit]] = {}

    def of(self, job: model.Job) -> Mapping[str, program_values.Fit]:
        """Replicas and watts of a job on a rig of each block that it fits."""
        by_class = {
            key: _fit(value, job)
            for key, value in self._classes.items()
            if value.slots.get(job.key) and job.mode in value.worths
        }
        alike = tuple(by_class.items())
        found = self._known.get(alike)
        if found is None:
            found = self._known[alike] = {
                key: by_class[value.rig_class.key]
                for key, value in self._value_of.items()
                if value.rig_class.key in by_class
            }
        return found


def _fit(value: values.ClassValue, job: model.Job) -> program_values.Fit:
    slots = value.slots[job.key]
    worth = value.worths[job.mode]
    share = min(slots, job.replicas) / slots
    return program_values.Fit(slots=slots, watts=value.rest_watts + (worth.watts - value.rest_watts) * share)
