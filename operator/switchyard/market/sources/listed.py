"""Rows of times and values from any web service that answers a JSON array."""

from __future__ import annotations

import dataclasses
import datetime

import aiohttp

from switchyard.market import cleaning, curves
from switchyard.market.sources import moments, pointer, web


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpRows:
    """Asks a web service for an array.

    Attributes:
        session: to ask with.
        url: http or https.
        pointer: where the array is.
        time_pointer: where an entry has its time (ISO 8601 with a zone, or Unix seconds).
        value_pointer: where an entry has its value.
        timeout_seconds: for one attempt, in the machine's own time.
    """

    session: aiohttp.ClientSession
    url: str
    pointer: str
    time_pointer: str
    value_pointer: str
    timeout_seconds: float = 5.0

    async def rows(self, *, now: datetime.datetime) -> list[curves.Row] | cleaning.Trouble:
        """All rows the service gives, or why there are none. `now` makes no difference."""
        answer = await web.fetch_json(self.session, self.url, timeout_seconds=self.timeout_seconds)
        if isinstance(answer, cleaning.Trouble):
            return answer
        name = web.redact(self.url)
        try:
            entries = pointer.resolve(answer.document, self.pointer)
        except (LookupError, ValueError) as problem:
            return cleaning.Trouble(reason="PointerMissing", message=f"{name}: {problem.args[0]}")
        if not isinstance(entries, list):
            return cleaning.Trouble(
                reason="NotAList", message=f"{name}: there is no array at {self.pointer or 'its root'}"
            )
        rows = []
        for index, entry in enumerate(entries):
            where = f"{name} at {self.pointer}/{index}"
            try:
                moment = moments.parse(pointer.resolve(entry, self.time_pointer))
                value = pointer.resolve(entry, self.value_pointer)
            except LookupError as problem:
                return cleaning.Trouble(reason="PointerMissing", message=f"{where}: {problem.args[0]}")
            except ValueError as problem:
                return cleaning.Trouble(reason="BadTime", message=f"{where}: cannot read this time: {problem}")
            rows.append(curves.Row(moment, value, where))
        return rows
