"""A value that people wrote down: always there, always of this moment."""

from __future__ import annotations

import dataclasses
import datetime

from switchyard.market import cleaning


@dataclasses.dataclass(frozen=True, slots=True)
class Static:
    """Gives the same value for ever."""

    value: float

    async def read(self, *, now: datetime.datetime) -> cleaning.Reading:
        """The value, as of `now`."""
        return cleaning.Reading(value=self.value, as_of=now)
