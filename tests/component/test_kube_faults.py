"""The client, reflector and executor against a server that plays the faults a healthy API server does not."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from switchyard.cluster import commands
from switchyard.kube import client as clients
from switchyard.kube import credentials, errors, executor, reflector

NODES = clients.Resource(api_version="v1", plural="nodes", kind="Node", namespaced=False)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def node(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def status(code: int, reason: str = "", message: str = "", *, headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code, headers=headers)


class Server:
    """Answers with what the test has lined up: one handler per request of a kind, the last one for ever."""

    def __init__(self) -> None:
        self.lists: list[Handler] = []
        self.watches: list[Handler] = []
        self.writes: list[Handler] = []
        self.seen: list[web.Request] = []
        self.at: list[float] = []
        self.news = asyncio.Event()
        self.credentials: credentials.Credentials

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.at.append(asyncio.get_running_loop().time())
        self.news.set()
        if request.method != "GET" or "limit" not in request.query:
            handlers = self.watches if "watch" in request.query else self.writes
        else:
            handlers = self.lists
        handler = handlers.pop(0) if len(handlers) > 1 else handlers[0]
        return await handler(request)

    def versions(self) -> list[str]:
        """The versions that watches asked to go on from."""
        return [each.query["resourceVersion"] for each in self.seen if "watch" in each.query]

    async def until_watched_from(self, version: str) -> None:
        async with asyncio.timeout(5):
            while version not in self.versions():
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def server(tmp_path: pathlib.Path) -> AsyncIterator[Server]:
    played = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", played.answer)
    # Watches that wait for ever must not hold up the end.
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(port, "{token: first}"))
    played.credentials = credentials.from_kubeconfig(str(path))
    yield played
    await runner.cleanup()


def kubeconfig(port: int, user: str) -> str:
    return (
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        f" clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}],"
        f" users: [{{name: u, user: {user}}}]}}"
    )


@pytest.fixture
async def client(server: Server) -> AsyncIterator[clients.Client]:
    async with clients.Client(credentials=server.credentials, request_seconds=2.0) as opened:
        yield opened


# --- reflector ---------------------------------------------------------------------------------------------------


class Sink:
    """Holds what a reflector says is there."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.told: list[str] = []
        self.changed = asyncio.Event()
        self.poison = ""

    def apply(self, plural: str, body: dict[str, Any]) -> None:
        name = body["metadata"]["name"]
        if name == self.poison:
            raise RuntimeError("this one is too much for me")
        self.held[name] = body["metadata"]["resourceVersion"]
        self._tell(f"apply {name}")

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        self.held.pop(name, None)
        self._tell(f"remove {name} {resource_version}")

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        names = {name for _, name in present}
        self.held = {name: version for name, version in self.held.items() if name in names}
        self._tell(f"sweep {resource_version}")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.changed.set()

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not check():
                self.changed.clear()
                await self.changed.wait()


def listing(*nodes: dict[str, Any], version: int, token: str = "") -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version)} | ({"continue": token} if token else {})
        return web.json_response({"metadata": metadata, "items": list(nodes)})

    return answer


def watching(*events: tuple[str, dict[str, Any]], then: str = "wait") -> Handler:
    """Say the events, then `wait` in silence, `end` in good order, or `break` off in the middle of a line."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for type_, body in events:
            await response.write(json.dumps({"type": type_, "object": body}).encode() + b"\n")
        if then == "break":
            await response.write(b'{"type":"ADDED","obj')
            assert request.transport is not None
            await asyncio.sleep(0.05)
            request.transport.abort()
        if then == "wait":
            await asyncio.sleep(60)
        return response

    return answer


def refusing(code: int, reason: str = "") -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return status(code, reason)

    return answer


@contextlib.asynccontextmanager
async def reflecting(
    client: clients.Client, sink: Sink, *, inactivity_seconds: float = 30.0, **more: Any
) -> AsyncIterator[reflector.Reflector]:
    watcher = reflector.Reflector(
        client=client,
        resource=NODES,
        sink=sink,
        inactivity_seconds=inactivity_seconds,
        backoff_seconds=(0.01, 0.1),
        **more,
    )
    task = asyncio.create_task(watcher.run())
    yield watcher
    assert not task.done(), "a reflector ends by cancellation alone"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_pages_then_events_then_bookmark_then_on_from_there(server: Server, client: clients.Client) -> None:
    sink = Sink()
    server.lists = [listing(node("a", 5), version=10, token="more"), listing(node("b", 6), version=10)]
    server.watches = [
        watching(("ADDED", node("c", 11)), ("DELETED", node("a", 12)), ("BOOKMARK", node("", 40)), then="end"),
        watching(),
    ]
    async with reflecting(client, sink) as watcher:
        await server.until_watched_from("40")
        assert watcher.synced.is_set()
    assert server.versions() == ["10", "40"]
    assert sink.held == {"b": "6", "c": "11"}
    assert sink.told == ["apply a", "apply b", "sweep 10", "apply c", "remove a 12"]
    assert [each.query.get("continue") for each in server.seen[:2]] == [None, "more"]


async def test_a_connection_that_breaks_is_taken_up_where_it_was(server: Server, client: clients.Client) -> None:
    sink = Sink()
    server.lists = [listing(version=10)]
    server.watches = [
        watching(("ADDED", node("a", 11)), then="break"),
        refusing(500),
        refusing(429),
        watching(("MODIFIED", node("a", 12))),
    ]
    async with reflecting(client, sink):
        await sink.until(lambda: sink.held == {"a": "12"})
    assert server.versions() == ["10", "11", "11", "11"]
    assert sink.told.count("sweep 10") == 1


async def test_a_silent_stream_is_taken_for_dead(server: Server, client: clients.Client) -> None:
    sink = Sink()
    troubles: list[str] = []
    server.lists = [listing(version=10)]
    server.watches = [watching(("ADDED", node("a", 11))), watching(("ADDED", node("b", 12)))]
    async with reflecting(
        client, sink, inactivity_seconds=0.3, on_trouble=lambda _, kind: troubles.append(kind)
    ) as watcher:
        await sink.until(lambda: "b" in sink.held)
        assert watcher.last_event_at > 0
    assert server.versions()[:2] == ["10", "11"]
    assert troubles[0] == "unreachable"


@pytest.mark.parametrize(
    "expiry",
    [
        refusing(410, "Expired"),
        watching(("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})),
    ],
    ids=["refused", "error-event"],
)
async def test_what_was_deleted_in_a_gap_is_swept(server: Server, client: clients.Client, expiry: Handler) -> None:
    sink = Sink()
    server.lists = [listing(node("a", 5), node("b", 6), version=10), listing(node("b", 6), version=90)]
    server.watches = [watching(then="break"), expiry, watching()]
    async with reflecting(client, sink):
        await sink.until(lambda: "sweep 90" in sink.told)
        await server.until_watched_from("90")
    assert sink.held == {"b": "6"}


async def test_a_list_whose_moment_was_forgotten_halfway_starts_anew(server: Server, client: clients.Client) -> None:
    sink = Sink()
    server.lists = [
        listing(node("a", 5), version=10, token="more"),
        refusing(410, "Expired"),
        listing(node("b", 6), version=20),
    ]
    server.watches = [watching()]
    async with reflecting(client, sink):
        await sink.until(lambda: "sweep 20" in sink.told)
    assert sink.held == {"b": "6"}
    assert "sweep 10" not in sink.told


async def test_a_server_that_ends_every_watch_at_once_is_not_hammered(server: Server, client: clients.Client) -> None:
    sink = Sink()
    server.lists = [listing(version=10)]
    server.watches = [watching(then="end")]
    async with reflecting(client, sink):
        await asyncio.sleep(0.6)
    # 10, 20, 40, 80, then 100 ms apart, each less up to a half.
    assert 4 <= len(server.versions()) <= 16


async def test_expiry_again_and_again_is_not_hammered_either(server: Server, client: clients.Client) -> None:
    sink = Sink()
    server.lists = [listing(version=10)]
    server.watches = [refusing(410, "Expired")]
    async with reflecting(client, sink):
        await asyncio.sleep(0.6)
    assert 4 <= len(server.versions()) <= 16


async def test_garbage_and_what_the_sink_chokes_on_do_not_end_it(server: Server, client: clients.Client) -> None:
    sink = Sink()
    sink.poison = "poison"

    async def garbage(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"<html>a proxy's page</html>\n")

    server.lists = [garbage, listing(node("poison", 3), node("a", 5), version=10)]
    server.watches = [
        garbage,
        watching(("ADDED", node("poison", 11)), ("ADDED", {"no": "metadata"}), then="end"),
        watching(("ADDED", node("b", 12))),
    ]
    async with reflecting(client, sink):
        await sink.until(lambda: "b" in sink.held)
    assert set(sink.held) == {"a", "b"}


async def test_a_very_long_line_is_one_event(server: Server, client: clients.Client) -> None:
    sink = Sink()
    long = node("a", 11)
    long["metadata"]["annotations"] = {"x": "y" * 1_500_000}
    server.lists = [listing(version=10)]
    server.watches = [watching(("ADDED", long), ("ADDED", node("b", 12)))]
    async with reflecting(client, sink):
        await sink.until(lambda: "b" in sink.held)
    assert sink.held == {"a": "11", "b": "12"}


# --- executor ----------------------------------------------------------------------------------------------------

NODE = commands.Ref(api_version="v1", kind="Node", plural="nodes", name="a")
POD = commands.Ref(api_version="v1", kind="Pod", plural="pods", name="p", namespace="n")


def patch(ref: commands.Ref = NODE, label: str = "x") -> commands.Patch:
    return commands.Patch(ref=ref, body={"metadata": {"labels": {label: "y"}}}, field_manager="tests")


def executing(client: clients.Client, **more: Any) -> executor.Executor:
    return executor.Executor(client=client, **{"writes_per_second": 10_000, "backoff_seconds": 0.01, **more})


async def fine(request: web.Request) -> web.StreamResponse:
    return web.json_response({"metadata": {"name": "a"}})


async def dropped(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def busy(seconds: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return status(429, "TooManyRequests", "busy", headers={"Retry-After": seconds})

    return answer


async def test_passing_trouble_is_waited_out(server: Server, client: clients.Client) -> None:
    taken: list[tuple[commands.Outcome, float]] = []
    server.writes = [refusing(503), dropped, refusing(500), fine]
    hands = executing(client, on_result=lambda result, seconds: taken.append((result.outcome, seconds)))
    (result,) = await hands.run([patch()])
    assert result.outcome is commands.Outcome.DONE
    assert result.body == {"metadata": {"name": "a"}}
    ((outcome, seconds),) = taken
    assert outcome is commands.Outcome.DONE
    assert seconds > 0.03


async def test_lasting_trouble_fails_after_a_few_tries(server: Server, client: clients.Client) -> None:
    server.writes = [refusing(503, "ServiceUnavailable")]
    (result,) = await executing(client, attempts=3).run([patch()])
    assert result.outcome is commands.Outcome.FAILED
    assert len(server.seen) == 3


async def test_a_busy_server_pauses_every_command(server: Server, client: clients.Client) -> None:
    server.writes = [busy("1"), fine]
    others = [patch(node_ref(f"n{number}")) for number in range(5)]
    hands = executing(client, workers=1)
    began = asyncio.get_running_loop().time()
    results = await hands.run([patch(), *others])
    assert {result.outcome for result in results} == {commands.Outcome.DONE}
    # Those that had their token already may still go; whoever asks for one waits.
    assert asyncio.get_running_loop().time() - began >= 1.0
    assert (await hands.run([patch()]))[0].outcome is commands.Outcome.DONE


def node_ref(name: str) -> commands.Ref:
    return commands.Ref(api_version="v1", kind="Node", plural="nodes", name=name)


async def test_an_eviction_that_meets_a_busy_server_is_tried_again(server: Server, client: clients.Client) -> None:
    server.writes = [busy("0"), fine]
    (result,) = await executing(client).run([commands.Evict(ref=POD, uid="u")])
    assert result.outcome is commands.Outcome.DONE


async def test_one_objects_commands_keep_their_order_and_others_do_not_wait(
    server: Server, client: clients.Client
) -> None:
    open_ = asyncio.Event()
    order: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        label = next(iter((await request.json())["metadata"]["labels"]))
        order.append(label)
        if label == "first":
            await open_.wait()
        if label == "other":
            open_.set()
        return web.json_response({"label": label})

    server.writes = [answer]
    hands = executing(client)
    results, more = await asyncio.gather(
        hands.run([patch(label="first"), patch(label="second"), patch(node_ref("b"), "other")]),
        hands.run([patch(label="third")]),
    )
    assert [order.index(each) for each in ("first", "second", "third")] == sorted(
        order.index(each) for each in ("first", "second", "third")
    )
    assert order.index("other") < order.index("second")
    assert [result.body for result in (*results, *more)] == [
        {"label": each} for each in ("first", "second", "other", "third")
    ]


async def test_no_more_at_once_than_there_are_workers_and_no_faster_than_the_rate(
    server: Server, client: clients.Client
) -> None:
    working = most = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0.01)
        working -= 1
        return web.json_response({})

    server.writes = [answer]
    hands = executing(client, workers=4, writes_per_second=100)
    began = asyncio.get_running_loop().time()
    await hands.run([patch(node_ref(f"n{number}")) for number in range(44)])
    assert most == 4
    # Four at once, then one each 10 ms.
    assert server.at[-1] - began >= 0.39


async def test_a_body_that_is_not_json_is_invalid_and_harms_nobody(server: Server, client: clients.Client) -> None:
    server.writes = [fine]
    bad = commands.Patch(ref=NODE, body={"at": datetime.datetime.now(datetime.UTC)}, field_manager="tests")
    results = await executing(client).run([bad, patch(node_ref("b"))])
    assert [result.outcome for result in results] == [commands.Outcome.INVALID, commands.Outcome.DONE]
    assert "datetime" in results[0].message


async def test_preconditions_go_into_the_body(server: Server, client: clients.Client) -> None:
    bodies: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        bodies.append((dict(request.query), request.headers["Content-Type"], await request.json()))
        return web.json_response({})

    server.writes = [answer]
    body = {"metadata": {"labels": {"a": "b"}}}
    common: dict[str, Any] = {"ref": POD, "body": body, "field_manager": "m", "resource_version": "7", "uid": "u"}
    apply = commands.Patch(type=commands.PatchType.APPLY, subresource="status", **common)
    await executing(client).run([commands.Patch(**common), apply])
    (merge_query, merge_type, merge_body), (apply_query, apply_type, apply_body) = bodies
    assert (merge_query, merge_type) == ({"fieldManager": "m"}, "application/merge-patch+json")
    assert merge_body["metadata"] == {"labels": {"a": "b"}, "resourceVersion": "7", "uid": "u"}
    assert (apply_query, apply_type) == ({"fieldManager": "m", "force": "true"}, "application/apply-patch+yaml")
    assert apply_body["metadata"] == merge_body["metadata"] | {"name": "p", "namespace": "n"}
    assert (apply_body["apiVersion"], apply_body["kind"]) == ("v1", "Pod")
    assert body == {"metadata": {"labels": {"a": "b"}}}


# --- credentials -------------------------------------------------------------------------------------------------


async def test_refused_credentials_are_read_anew_once(
    server: Server, client: clients.Client, tmp_path: pathlib.Path
) -> None:
    port = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer second":
            return web.json_response({"metadata": {"name": "a"}})
        (tmp_path / "kubeconfig").write_text(kubeconfig(port, "{token: second}"))
        return status(401, "Unauthorized")

    port = int((tmp_path / "kubeconfig").read_text().split("127.0.0.1:")[1].split("'")[0])
    server.writes = [answer]
    assert await client.get(NODE) == {"metadata": {"name": "a"}}
    assert len(server.seen) == 2


async def test_credentials_that_stay_refused_are_an_error(server: Server, client: clients.Client) -> None:
    server.writes = [refusing(401, "Unauthorized")]
    with pytest.raises(errors.ApiError, match="401"):
        await client.get(NODE)
    assert len(server.seen) == 2


async def test_an_exec_plugin_gives_the_token(server: Server, tmp_path: pathlib.Path) -> None:
    plugin = tmp_path / "plugin"
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-a-plugin"},
    }
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    plugin.chmod(0o700)
    port = int((tmp_path / "kubeconfig").read_text().split("127.0.0.1:")[1].split("'")[0])
    user = f"{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{plugin}', interactiveMode: Never}}}}"
    (tmp_path / "other").write_text(kubeconfig(port, user))
    server.writes = [fine]
    async with clients.Client(credentials=credentials.from_kubeconfig(str(tmp_path / "other"))) as client:
        await client.get(NODE)
    assert server.seen[0].headers["Authorization"] == "Bearer from-a-plugin"


async def test_a_service_accounts_token_is_read_from_its_folder(
    server: Server, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("one")
    # Any authority will do: what is shown here is what is read, not whom TLS trusts.
    import trustme

    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = credentials.in_cluster(environ=environ, folder=tmp_path)
    access = await found.access()
    assert access.server == "https://[fd00::1]:443"
    assert access.authorization.lower() == "bearer one"
    assert access.tls is not None
    (tmp_path / "token").write_text("two")
    assert (await found.access()) is access
    found.forget(access)
    assert (await found.access()).authorization.lower() == "bearer two"


async def test_no_credentials_are_an_error_that_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.CredentialsError):
        await credentials.in_cluster(environ={}, folder=tmp_path).access()
    (tmp_path / "half").write_text("{current-context: c}")
    with pytest.raises(errors.CredentialsError):
        await credentials.from_kubeconfig(str(tmp_path / "half")).access()
