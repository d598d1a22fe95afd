"""The policy's memory from plan to plan, and from one life of the operator to the next."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from switchyard.fleet import model
from switchyard.planning import compose, memory
from switchyard.planning import request as planning

_LOG = logging.getLogger(__name__)


class Recall:
    """Holds what the last plan left.

    After a restart what gangs have forgone comes from their rigs' statuses, where it is newest; all else is as it was
    kept.
    """

    def __init__(self) -> None:
        self._last: planning.Memory | None = None
        self._kept = planning.Memory()

    def memory(self, farm: model.Farm) -> planning.Memory:
        """For the next plan."""
        if self._last is not None:
            return self._last
        return dataclasses.replace(self._kept, at=None, work_usd=compose.recall(farm).work_usd)

    def planned(self, left: planning.Memory) -> None:
        """A plan was made, and leaves this."""
        self._last = left

    def dump(self) -> Any:
        """What is worth keeping, as JSON."""
        return memory.dump(self._kept if self._last is None else self._last)

    def load(self, found: Any) -> None:
        """Go on from what was kept. Raises ValueError where it makes no sense."""
        if not isinstance(found, Mapping):
            raise ValueError(f"an object expected, not {type(found).__name__}")
        self._kept = memory.load(
            found,
            on_trouble=lambda line, problem: _LOG.warning(
                "what was remembered of line %s cannot be read: %s", line, problem
            ),
        )
