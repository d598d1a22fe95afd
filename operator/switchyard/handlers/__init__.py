"""The only kopf code: parse, pass on. kopf serves the kinds of which there are few."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import kopf

from switchyard.cluster import names

FEW: Final = ("sites", "gpupools", "coins", "pricefeeds")
"""Plurals of the kinds kopf serves. Rigs, AIJobs, Nodes and Pods come through our own reflector: kopf costs twenty
times as much per event, and after a relist it never tells what was deleted meanwhile."""


class Sink(Protocol):
    """Where objects go."""

    def apply(self, plural: str, body: Mapping[str, Any]) -> None:
        """An object was seen, new or changed."""

    def remove(self, plural: str, namespace: str | None, name: str) -> None:
        """An object is gone."""


def register(
    *,
    registry: kopf.OperatorRegistry,
    sink: Sink,
    login: Callable[[], Awaitable[kopf.AiohttpSession]],
) -> None:
    """Register every handler.

    Args:
        registry: kopf's, explicit: nothing is registered by importing a module.
        sink: takes the objects.
        login: gives the address and credentials of the API server.
    """
    for plural in FEW:
        _register_kind(registry=registry, sink=sink, plural=plural)

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        return await login()


def _register_kind(*, registry: kopf.OperatorRegistry, sink: Sink, plural: str) -> None:
    # An event handler, not create/update/delete ones: those would write annotations and finalizers on what people
    # own, and a finalizer outlives an operator that was uninstalled first.
    @kopf.on.event(names.GROUP, names.VERSION, plural, registry=registry, id=plural)
    async def pass_on(event: kopf.RawEvent, **_: Any) -> None:
        body = event["object"]
        if event["type"] == "DELETED":
            sink.remove(plural, None, body["metadata"]["name"])
        else:
            sink.apply(plural, body)


def configure(settings: kopf.OperatorSettings) -> None:
    """Set kopf up for a program that embeds it: no scanning, no peering, no log lines posted as Events."""
    settings.persistence.finalizer = f"{names.GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP, v1=False)
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 610
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.posting.loggers = False
    # The kinds are there before the operator is: the chart brings them.
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.queueing.exit_timeout = 2.0
    settings.execution.max_workers = 1
