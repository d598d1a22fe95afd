"""What a source is to the feeds."""

from __future__ import annotations

import datetime
from typing import Protocol

from switchyard.market import cleaning


class Source(Protocol):
    """Gives one value each time it is asked."""

    async def read(self, *, now: datetime.datetime) -> cleaning.Reading:
        """The value at `now` (farm time), or the trouble that stood in the way; what can go wrong is never raised."""
