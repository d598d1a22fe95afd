"""A price from any web service that answers JSON."""

from __future__ import annotations

import dataclasses
import datetime

import aiohttp

from switchyard.market import cleaning
from switchyard.market.sources import moments, pointer, web


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Asks a web service and takes the number a JSON pointer names.

    Attributes:
        session: to ask with.
        url: http or https.
        pointer: where the value is.
        time_pointer: where its time is (ISO 8601 with a zone, or Unix seconds); None takes the moment of asking.
        timeout_seconds: for one attempt, in the machine's own time.
    """

    session: aiohttp.ClientSession
    url: str
    pointer: str
    time_pointer: str | None = None
    timeout_seconds: float = 5.0

    async def read(self, *, now: datetime.datetime) -> cleaning.Reading:
        """The value the service gives, or why there is none."""
        answer = await web.fetch_json(self.session, self.url, timeout_seconds=self.timeout_seconds)
        if isinstance(answer, cleaning.Trouble):
            return cleaning.Reading(trouble=answer)
        name = web.redact(self.url)
        try:
            value = pointer.resolve(answer.document, self.pointer)
            raw = pointer.resolve(answer.document, self.time_pointer) if self.time_pointer is not None else None
        except (LookupError, ValueError) as problem:
            return cleaning.Reading.failed("PointerMissing", f"{name}: {problem.args[0]}")
        as_of = now
        if self.time_pointer is not None:
            try:
                as_of = moments.parse(raw)
            except ValueError as problem:
                return cleaning.Reading.failed(
                    "BadTime", f"{name} at {self.time_pointer}: cannot read this time: {problem}"
                )
        return cleaning.Reading(value=value, as_of=as_of, origin=f"{name} at {self.pointer or 'its root'}")
