"""The web sources against a real server on loopback that misbehaves in every way, and against a real Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from controlplane.prometheus import Prometheus as RealPrometheus
from switchyard.market import cleaning
from switchyard.market.sources import http, prometheus
from switchyard.market.sources import web as fetching

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers every request with `answer`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[web.Request] = []
        self.answer: Answer = says({"price": 1})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answer(request)


def says(document: Any, *, status: int = 200, kind: str = "application/json") -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        text = document if isinstance(document, str) else json.dumps(document)
        return web.Response(text=text, status=status, content_type=kind)

    return answer


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise web.HTTPGatewayTimeout


async def hangs_halfway(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"price": ')
    await asyncio.sleep(30)
    return response


async def slams(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def floods(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b" " * 2**16)
    return response


# 64 MiB of spaces in 64 KiB.
BOMB = gzip.compress(b" " * 2**26)


async def inflates(request: web.Request) -> web.StreamResponse:
    return web.Response(body=BOMB, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def runs_in_circles(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(f"/{len(request.path)}?key=secret")


async def sends_away(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "http://[secret/"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    application = web.Application()
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    found = Server("")
    application.router.add_route("*", "/{path:.*}", found.handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def source(server: Server, session: aiohttp.ClientSession) -> http.Http:
    return http.Http(session=session, url=f"{server.url}/v1?key=secret", pointer="/price", timeout_seconds=0.5)


async def test_a_number_is_read_as_of_now(server: Server, source: http.Http) -> None:
    reading = await source.read(now=NOW)
    assert reading == cleaning.Reading(value=1, as_of=NOW, origin=f"{server.url}/v1 at /price")
    assert server.requests[0].query == {"key": "secret"}


@pytest.mark.parametrize("raw", ["2026-03-01T05:30:00-06:00", 1772364600, "1772364600"])
async def test_the_sources_own_time_is_taken(server: Server, session: aiohttp.ClientSession, raw: object) -> None:
    server.answer = says({"data": [{"at": raw, "usd": 4.5}]})
    source = http.Http(session=session, url=server.url, pointer="/data/0/usd", time_pointer="/data/0/at")
    reading = await source.read(now=NOW)
    assert (reading.value, reading.as_of) == (4.5, NOW - datetime.timedelta(minutes=30))


@pytest.mark.parametrize(
    ("raw", "reason"), [("2026-03-01T05:30:00", "BadTime"), (1772364600000, "BadTime"), (None, "BadTime")]
)
async def test_a_time_that_cannot_be_read_is_trouble(
    server: Server, session: aiohttp.ClientSession, raw: object, reason: str
) -> None:
    server.answer = says({"at": raw, "usd": 4.5})
    source = http.Http(session=session, url=server.url, pointer="/usd", time_pointer="/at")
    reading = await source.read(now=NOW)
    assert reading.trouble is not None
    assert reading.trouble.reason == reason


FAILURES: list[tuple[Answer, str, str]] = [
    (says("<html>Please log in</html>", kind="text/html"), "NotJson", "answered 200 with text/html, which is not JSON"),
    (says(""), "NotJson", "which is not JSON"),
    (says("[" * 100_000), "NotJson", "which is not JSON"),
    (says('{"price": ' + "9" * 5000 + "}"), "NotJson", "which is not JSON"),
    (says("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), kind="text/plain"), "NotJson", "text/plain"),
    (says({"price": 1}, status=500), "HttpStatus", "answered 500"),
    (says({"price": 1}, status=404), "HttpStatus", "answered 404"),
    (says({"price": 1}, status=204), "HttpStatus", "answered 204"),
    (says({"cost": 1}), "PointerMissing", "nothing at /price: the document is an object without that key"),
    (says([1]), "PointerMissing", "nothing at /price: the document is a list of 1"),
    (hangs, "TimedOut", "has not answered in full within 0.5 s"),
    (hangs_halfway, "TimedOut", "has not answered in full within 0.5 s"),
    (slams, "Unreachable", "closed the connection"),
    (floods, "TooLarge", "answered more than 1048576 bytes"),
    (inflates, "TooLarge", "answered more than 1048576 bytes"),
    (runs_in_circles, "TooManyRedirects", "redirected more than 3 times"),
    (sends_away, "Unreachable", "no address that can be asked"),
]


@pytest.mark.parametrize(("answer", "reason", "message"), FAILURES)
async def test_every_failure_is_told_without_secrets_and_the_next_reading_counts(
    server: Server, source: http.Http, caplog: pytest.LogCaptureFixture, answer: Answer, reason: str, message: str
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer = answer
    reading = await source.read(now=NOW)
    assert reading.trouble is not None
    assert reading.trouble.reason == reason
    assert message in reading.trouble.message
    assert reading.trouble.message.startswith(f"{server.url}/v1")
    assert "secret" not in reading.trouble.message
    server.answer = says({"price": 2})
    assert (await source.read(now=NOW)).value == 2
    assert "secret" not in "".join(record.getMessage() for record in caplog.records if record.name != "aiohttp.access")


async def test_a_server_that_is_not_there_is_trouble(session: aiohttp.ClientSession) -> None:
    source = http.Http(session=session, url="http://me:secret@127.0.0.1:1/v1?key=secret", pointer="")
    reading = await source.read(now=NOW)
    assert reading.trouble == cleaning.Trouble(
        reason="Unreachable", message="http://127.0.0.1:1/v1: Connection refused"
    )


@pytest.mark.parametrize("url", ["http://[secret/", "http:///x", "ftp://x/", "http://x:99999/", "nonsense", ""])
async def test_an_address_that_is_none_is_trouble(session: aiohttp.ClientSession, url: str) -> None:
    reading = await http.Http(session=session, url=url, pointer="").read(now=NOW)
    assert reading.trouble is not None
    assert reading.trouble.reason == "Unreachable"
    assert "secret" not in reading.trouble.message


# --- Prometheus ------------------------------------------------------------------------------------------


def ask(session: aiohttp.ClientSession, url: str, query: str = "price") -> prometheus.Prometheus:
    return prometheus.Prometheus(session=session, url=url, query=query, timeout_seconds=5)


@pytest.mark.parametrize(
    ("document", "status", "reason", "message"),
    [
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, 200, "NoSample", "gives a matrix"),
        ({"status": "error", "error": "parse error"}, 400, "QueryFailed", "parse error"),
        ({"status": "error", "error": "timed out"}, 503, "QueryFailed", "timed out"),
        ({"message": "no"}, 400, "HttpStatus", "answered 400"),
        ({"message": "no"}, 401, "HttpStatus", "answered 401"),
        ({"price": 1}, 200, "NotPrometheus", "does not answer as Prometheus does"),
        ([], 200, "NotPrometheus", "does not answer as Prometheus does"),
        (
            {"status": "success", "data": {"resultType": "scalar", "result": [0, "much"]}},
            200,
            "NotPrometheus",
            "does not answer",
        ),
        (
            {"status": "success", "data": {"resultType": "vector", "result": [{"histogram": [0, {}]}]}},
            200,
            "NotANumber",
            "histogram",
        ),
    ],
)
async def test_what_prometheus_cannot_answer_is_told(
    server: Server, session: aiohttp.ClientSession, document: object, status: int, reason: str, message: str
) -> None:
    server.answer = says(document, status=status)
    reading = await ask(session, server.url).read(now=NOW)
    assert reading.trouble is not None
    assert reading.trouble.reason == reason
    assert message in reading.trouble.message


async def test_its_api_is_found_below_a_path(server: Server, session: aiohttp.ClientSession) -> None:
    await ask(session, f"{server.url}/prometheus/").read(now=NOW)
    assert server.requests[0].path == "/prometheus/api/v1/query"
    assert server.requests[0].query == {"query": "price"}


@pytest.mark.cluster
@pytest.mark.timeout(1200)  # where Prometheus has yet to be built
async def test_a_real_prometheus_is_asked(server: Server, session: aiohttp.ClientSession) -> None:
    exposed = "\n".join(
        [
            'power_usd_per_mwh{zone="west"} 31.5',
            'power_usd_per_mwh{zone="north"} 40',
            "broken NaN",
            "endless +Inf",
            "",
        ]
    )

    async def metrics(request: web.Request) -> web.StreamResponse:
        return web.Response(text=exposed, headers={"Content-Type": "text/plain; version=0.0.4"})

    server.answer = metrics
    real = RealPrometheus(scrape_targets=[server.url.removeprefix("http://")], scrape_interval="250ms")
    # Its start and its waits block; the exporter above lives in this loop, so they must not.
    with contextlib.ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, real)
        await asyncio.to_thread(real.wait_for, "power_usd_per_mwh")
        began = datetime.datetime.now(datetime.UTC)

        async def read(query: str) -> cleaning.Reading:
            return await ask(session, real.url, query).read(now=began)

        reading = await read('power_usd_per_mwh{zone="west"}')
        assert reading.value == 31.5
        assert reading.as_of is not None
        assert abs((reading.as_of - began).total_seconds()) < 5
        assert (await read("scalar(sum(power_usd_per_mwh)) * 2")).value == 143
        assert str((await read("broken")).value) == "nan"
        assert str((await read("endless")).value) == "inf"
        for query, reason, message in (
            ("power_usd_per_mwh", "ManySamples", "gives 2 samples where exactly 1 is needed"),
            ("nothing_at_all", "NoSample", "gives 0 samples where exactly 1 is needed"),
            ("power_usd_per_mwh[1m]", "NoSample", "gives a matrix, not one sample"),
            ('"text"', "NoSample", "gives a string, not one sample"),
            ("sum(", "QueryFailed", "parse error"),
        ):
            trouble = (await read(query)).trouble
            assert trouble is not None
            assert (trouble.reason, message in trouble.message) == (reason, True)

        # A target that fails takes its series with it at once; nobody goes on with its last value.
        server.answer = says("", status=500)
        deadline = asyncio.get_running_loop().time() + 10
        while (trouble := (await read('power_usd_per_mwh{zone="west"}')).trouble) is None:
            assert asyncio.get_running_loop().time() < deadline
        assert trouble.reason == "NoSample"
    assert (await ask(session, real.url or "http://127.0.0.1:1").read(now=NOW)).trouble is not None


def test_the_limit_of_size_is_the_documented_one() -> None:
    assert fetching.SIZE_LIMIT_BYTES == 1024 * 1024
