"""Keeps a sink equal to what the API server holds of one kind: list, then watch, for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

from switchyard.kube import client as clients
from switchyard.kube import errors

_LOG: Final = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes what a reflector sees. Bodies are the server's; those of lists of built-in kinds carry no kind.

    `resource_version` says as of when something is known to be gone, so that a sink fed from elsewhere too (answers to
    own writes overtake the watch) does not forget what is newer.
    """

    def apply(self, plural: str, body: dict[str, Any]) -> None:
        """An object is there, or has changed."""

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        """An object is gone."""

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        """These are all there are: what else was known is gone."""


class Reflector:
    """One kind. `run()` ends by cancellation alone.

    Attributes:
        synced: set once the first list is complete.
        last_event_at: the event loop's time of the last sign of life: a list, an event or a bookmark.
    """

    def __init__(
        self,
        *,
        client: clients.Client,
        resource: clients.Resource,
        sink: Sink,
        label_selector: str | None = None,
        field_selector: str | None = None,
        namespace: str | None = None,
        metadata_only: bool = False,
        page_size: int = 500,
        watch_seconds: int = 300,
        inactivity_seconds: float = 130.0,
        backoff_seconds: tuple[float, float] = (0.25, 30.0),
        on_trouble: Callable[[str, str], None] | None = None,
        on_life: Callable[[str], None] | None = None,
    ) -> None:
        """Describe what to reflect.

        Args:
            client: an entered client.
            resource: the kind.
            sink: where it goes. What it raises is logged and costs that one object.
            label_selector: leaves the choice to the server.
            field_selector: likewise.
            namespace: only there.
            metadata_only: ask for metadata alone (for Secrets: their contents never come here).
            page_size: objects per page of a list.
            watch_seconds: the server ends a watch after this long; spread by up to half, lest all end together.
            inactivity_seconds: silence after which a watch is taken for dead; bookmarks come every minute or so.
            backoff_seconds: first and longest wait after failures in a row; the true wait is a random part of it.
            on_trouble: called with the plural and what happened (`expired`, `refused`, `unreachable`), for metrics.
            on_life: called with the plural at each sign of life, as `last_event_at` is set.
        """
        self.synced = asyncio.Event()
        self.last_event_at = 0.0
        self._client = client
        self._resource = resource
        self._sink = sink
        self._scope = {"namespace": namespace, "label_selector": label_selector, "field_selector": field_selector}
        self._metadata_only = metadata_only
        self._page_size = page_size
        self._watch_seconds = watch_seconds
        self._inactivity_seconds = inactivity_seconds
        self._backoff_seconds = backoff_seconds
        self._on_trouble = on_trouble
        self._on_life = on_life
        # Where to go on; None asks for a list.
        self._version: str | None = None
        self._progress = False

    async def run(self) -> NoReturn:
        """List and watch for ever."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            self._progress = False
            try:
                if self._version is None:
                    self._version = await self._list()
                await self._watch(self._version)
                # The server ends a watch in good order now and then. One that ends at once without a word is trouble.
                self._progress |= loop.time() - started > 1.0
            except errors.KubeError as problem:
                self._troubled(problem)
            except Exception:  # noqa: BLE001 - a reflector that ends leaves the farm blind; a list puts things right
                _LOG.exception("reflecting %s failed unexpectedly; listing anew", self._resource.plural)
                self._version, self._progress = None, False
            failures = 0 if self._progress else failures + 1
            if failures:
                least, most = self._backoff_seconds
                await asyncio.sleep(random.uniform(0.5, 1.0) * min(most, least * 2 ** min(failures - 1, 16)))

    def _troubled(self, problem: errors.KubeError) -> None:
        plural = self._resource.plural
        kind = "unreachable"
        if isinstance(problem, errors.ApiError):
            kind = "expired" if problem.expired else "refused"
            # A busy or failing server will serve this watch later. Whatever else one says, only a list can clear it
            # up; 504 too, "Too large resource version": the server knows less than we do.
            if problem.status != 429 and (problem.status < 500 or problem.status == 504):
                self._version = None
        level = logging.INFO if kind == "expired" else logging.WARNING
        _LOG.log(level, "reflecting %s: %s: %s", plural, kind, problem)
        if self._on_trouble is not None:
            self._on_trouble(plural, kind)

    async def _list(self) -> str:
        plural = self._resource.plural
        present: set[tuple[str | None, str]] = set()
        version = ""
        pages = self._client.pages(
            self._resource, page_size=self._page_size, metadata_only=self._metadata_only, **self._scope
        )
        async with contextlib.aclosing(pages):
            async for page in pages:
                version = page.resource_version
                for body in page.items:
                    metadata = body["metadata"]
                    present.add((metadata.get("namespace"), metadata["name"]))
                    self._apply(body)
                self._lives()
        self._sink.sweep(plural, present, resource_version=_integer(version))
        self.synced.set()
        return version

    async def _watch(self, version: str) -> None:
        plural = self._resource.plural
        events = self._client.watch(
            self._resource,
            resource_version=version,
            server_seconds=int(self._watch_seconds * random.uniform(1.0, 1.5)),
            inactivity_seconds=self._inactivity_seconds,
            metadata_only=self._metadata_only,
            **self._scope,
        )
        async with contextlib.aclosing(events):
            async for event in events:
                metadata = event.body["metadata"]
                version = metadata["resourceVersion"]
                if event.type == "DELETED":
                    self._sink.remove(
                        plural, metadata.get("namespace"), metadata["name"], resource_version=_integer(version)
                    )
                elif event.type != "BOOKMARK":
                    self._apply(event.body)
                self._version = version
                self._progress = True
                self._lives()

    def _lives(self) -> None:
        self.last_event_at = asyncio.get_running_loop().time()
        if self._on_life is not None:
            self._on_life(self._resource.plural)

    def _apply(self, body: dict[str, Any]) -> None:
        try:
            self._sink.apply(self._resource.plural, body)
        except Exception:  # noqa: BLE001 - one object that the sink chokes on must not keep all others from it
            _LOG.exception("%s %s was not taken in", self._resource.kind, body.get("metadata", {}).get("name"))


def _integer(version: str) -> int | None:
    return int(version) if version.isdecimal() else None
