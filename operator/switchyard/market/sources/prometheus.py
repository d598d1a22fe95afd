"""A price from a Prometheus, by an instant query that must give exactly one sample."""

from __future__ import annotations

import dataclasses
import datetime

import aiohttp

from switchyard.market import cleaning
from switchyard.market.sources import moments, web

# Prometheus explains these in a JSON document of its usual shape: a bad query, one that fails, one that times out.
_EXPLAINED = frozenset({400, 422, 503})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """Evaluates a query now.

    The sample's time is the time of evaluation: how long ago the value was scraped Prometheus does not say. It drops a
    series at once when its target cannot be scraped, and after 5 minutes otherwise; from then on there is no sample.

    Attributes:
        session: to ask with.
        url: where Prometheus is, without a query; its API is looked for below that.
        query: PromQL.
        timeout_seconds: for one attempt, in the machine's own time.
    """

    session: aiohttp.ClientSession
    url: str
    query: str
    timeout_seconds: float = 5.0

    async def read(self, *, now: datetime.datetime) -> cleaning.Reading:
        """The one sample of the query, or why there is none."""
        answer = await web.fetch_json(
            self.session,
            f"{self.url.rstrip('/')}/api/v1/query",
            params={"query": self.query},
            timeout_seconds=self.timeout_seconds,
            also_read=_EXPLAINED,
        )
        if isinstance(answer, cleaning.Trouble):
            return cleaning.Reading(trouble=answer)
        name = web.redact(self.url)
        match answer.document:
            case {"status": "success", "data": {"resultType": "vector", "result": [{"value": [moment, text]}]}}:
                pass
            case {"status": "success", "data": {"resultType": "scalar", "result": [moment, text]}}:
                pass
            case {"status": "success", "data": {"resultType": "vector", "result": [{"histogram": _}]}}:
                return cleaning.Reading.failed("NotANumber", f"{name}: the query gives a histogram, not a number")
            case {"status": "success", "data": {"resultType": "vector", "result": [*samples]}}:
                reason = "ManySamples" if samples else "NoSample"
                return cleaning.Reading.failed(
                    reason, f"{name}: the query gives {len(samples)} samples where exactly 1 is needed"
                )
            case {"status": "success", "data": {"resultType": str(kind)}}:
                return cleaning.Reading.failed("NoSample", f"{name}: the query gives a {kind}, not one sample")
            case {"status": "error", "error": str(problem)}:
                return cleaning.Reading.failed("QueryFailed", f"{name}: {problem[:200]}")
            case _ if answer.status != 200:
                return cleaning.Reading.failed("HttpStatus", f"{name} answered {answer.status}")
            case _:
                return cleaning.Reading.failed("NotPrometheus", f"{name} does not answer as Prometheus does")
        try:
            # Values are texts in this API, so that NaN and Inf fit into JSON.
            return cleaning.Reading(value=float(text), as_of=moments.parse(moment), origin=name)
        except (ValueError, TypeError):
            return cleaning.Reading.failed("NotPrometheus", f"{name} does not answer as Prometheus does")
