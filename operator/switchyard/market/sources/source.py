"""What a source is to the feeds."""

from __future__ import annotations

import datetime
from typing import Protocol

from switchyard.market import cleaning, curves


class Source(Protocol):
    """Gives one value each time it is asked."""

    async def read(self, *, now: datetime.datetime) -> cleaning.Reading:
        """The value at `now` (farm time), or the trouble that stood in the way; what can go wrong is never raised."""


class Rows(Protocol):
    """Gives a list of times and values each time it is asked."""

    async def rows(self, *, now: datetime.datetime) -> list[curves.Row] | cleaning.Trouble:
        """The rows around `now` (farm time), or the trouble that stood in the way; nothing is ever raised."""
