"""A reflector on a real API server that is killed, restarted and compacted under it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import yaml

from controlplane.launcher import ControlPlane
from switchyard.fleet import store as stores
from switchyard.kube import client as clients
from switchyard.kube import credentials, reflector

pytestmark = pytest.mark.cluster

NODES = clients.Resource(api_version="v1", plural="nodes", kind="Node", namespaced=False)
SECRETS = clients.Resource(api_version="v1", plural="secrets", kind="Secret", namespaced=True)


@pytest.fixture(scope="module")
def mortal() -> Iterator[ControlPlane]:
    """A control plane of these tests' own: they kill parts of it."""
    with ControlPlane(kwok=False) as started:
        yield started


class Wire:
    """A way to the API server that can be cut while the server lives on. TLS passes through unopened."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def join(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back_writer}
        await asyncio.gather(self._copy(reader, back_writer), self._copy(back_reader, writer))
        self._open -= {writer, back_writer}

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def wire(mortal: ControlPlane) -> AsyncIterator[Wire]:
    port = urllib.parse.urlsplit(mortal.server).port
    assert port is not None
    wire = Wire(port)
    await wire.join()
    yield wire
    await wire.cut()


@pytest.fixture
async def client(mortal: ControlPlane, wire: Wire, tmp_path: pathlib.Path) -> AsyncIterator[clients.Client]:
    config = yaml.safe_load(mortal.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    async with clients.Client(credentials=credentials.from_kubeconfig(str(path))) as opened:
        yield opened


@contextlib.asynccontextmanager
async def reflecting(watcher: reflector.Reflector) -> AsyncIterator[None]:
    task = asyncio.create_task(watcher.run())
    async with asyncio.timeout(10):
        await watcher.synced.wait()
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(check: Callable[[], bool], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - the store has no event for this
            await asyncio.sleep(0.02)


def create(mortal: ControlPlane, name: str) -> None:
    mortal.api.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {"test": "reflector"}}})


def compact(mortal: ControlPlane) -> None:
    """Have etcd forget all history."""
    port = mortal._running_layout.ports.etcd_client

    def ask(path: str, **body: Any) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v3/kv/{path}", data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    revision = ask("range", key="AA==")["header"]["revision"]
    ask("compaction", revision=revision, physical=True)


async def test_killed_restarted_and_compacted(mortal: ControlPlane, wire: Wire, client: clients.Client) -> None:
    store = stores.Store()
    troubles: list[str] = []
    watcher = reflector.Reflector(
        client=client,
        resource=NODES,
        sink=store,
        label_selector="test=reflector",
        page_size=2,
        backoff_seconds=(0.05, 1.0),
        on_trouble=lambda _, kind: troubles.append(kind),
    )
    api = mortal.api

    def here(*wanted: str) -> Callable[[], bool]:
        return lambda: set(store.snapshot().nodes) == set(wanted)

    for number in range(5):
        await asyncio.to_thread(create, mortal, f"n{number}")
    async with reflecting(watcher):
        assert here("n0", "n1", "n2", "n3", "n4")()

        # Events come, also the end of an object and of its belonging here.
        await asyncio.to_thread(create, mortal, "n5")
        await asyncio.to_thread(api.delete, "/api/v1/nodes/n0")
        await asyncio.to_thread(api.patch, "/api/v1/nodes/n1", {"metadata": {"labels": {"test": "elsewhere"}}})
        await until(here("n2", "n3", "n4", "n5"))
        assert not troubles

        # Cut off for a moment, it goes on where it was, with all that happened meanwhile.
        await wire.cut()
        await asyncio.to_thread(api.delete, "/api/v1/nodes/n2")
        await wire.join()
        await until(here("n3", "n4", "n5"))
        assert "expired" not in troubles

        # Killed with a deletion that nobody was told of; history is thrown away, so that only a list can tell.
        await wire.cut()
        await asyncio.to_thread(api.delete, "/api/v1/nodes/n3")
        await asyncio.to_thread(create, mortal, "n6")
        await asyncio.to_thread(mortal.kill, "kube-apiserver")
        await wire.join()
        await asyncio.to_thread(compact, mortal)
        await asyncio.sleep(0.5)
        assert here("n3", "n4", "n5")()
        await asyncio.to_thread(mortal.start, "kube-apiserver")
        await until(here("n4", "n5", "n6"))
        assert "expired" in troubles

        # And it goes on from there.
        await asyncio.to_thread(create, mortal, "n7")
        await until(here("n4", "n5", "n6", "n7"))
        assert store.snapshot().nodes["n7"].labels["test"] == "reflector"


async def test_a_secrets_content_does_not_come_here(mortal: ControlPlane, client: clients.Client) -> None:
    await asyncio.to_thread(
        mortal.api.create,
        "/api/v1/namespaces/default/secrets",
        {"metadata": {"name": "wallet"}, "stringData": {"address": "secret"}},
    )
    bodies: list[dict[str, Any]] = []

    class Sink(stores.Store):
        def apply(self, plural: str, body: Any) -> None:
            bodies.append(body)
            super().apply(plural, body)

    store = Sink()
    watcher = reflector.Reflector(client=client, resource=SECRETS, sink=store, namespace="default", metadata_only=True)
    async with reflecting(watcher):
        assert "wallet" in store.snapshot().secrets
        await asyncio.to_thread(
            mortal.api.patch, "/api/v1/namespaces/default/secrets/wallet", {"stringData": {"address": "other"}}
        )
        await until(lambda: len(bodies) >= 2)
        await asyncio.to_thread(mortal.api.delete, "/api/v1/namespaces/default/secrets/wallet")
        await until(lambda: "wallet" not in store.snapshot().secrets)
    assert all("data" not in body for body in bodies)
