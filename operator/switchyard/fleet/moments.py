"""Times as the API server and other people's annotations write them, read as aware UTC."""

from __future__ import annotations

import datetime
from typing import Any


def utc(moment: datetime.datetime | None) -> datetime.datetime | None:
    """In UTC; one without a zone is taken to be there already."""
    if moment is None:
        return None
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)


def read(words: str | None) -> datetime.datetime | None:
    """An RFC 3339 time; None for none. Raises ValueError, TypeError."""
    return utc(datetime.datetime.fromisoformat(words)) if words else None


def read_leniently(words: Any) -> datetime.datetime | None:
    """An RFC 3339 time; None for anything else."""
    try:
        return read(words)
    except (ValueError, TypeError):
        return None
