"""Commands carried out, and our own writes read back at once: the watch may be a moment behind."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from switchyard.cluster import commands as cmd
from switchyard.fleet import store as stores
from switchyard.loop import changes as changing

_LOG = logging.getLogger(__name__)


class Executor(Protocol):
    """Carries out commands; `switchyard.kube.executor` in the operator."""

    async def run(self, todo: Iterable[cmd.Command]) -> list[cmd.Result]:
        """Results in the order of the commands."""


class Hands:
    """The executor, with what every caller has to do about its answers."""

    def __init__(self, *, executor: Executor, store: stores.Store, changes: changing.Changes) -> None:
        self._executor = executor
        self._store = store
        self._changes = changes

    async def do(self, todo: Iterable[cmd.Command]) -> list[cmd.Result]:
        """Carry out commands; results in their order."""
        asked = list(todo)
        if not asked:
            return []
        results = await self._executor.run(asked)
        for result in results:
            ref = result.command.ref
            if result.body is not None and ref.plural in stores.PLURALS and not isinstance(result.command, cmd.Emit):
                self._store.apply(ref.plural, result.body)
            if result.outcome is cmd.Outcome.CONFLICT:
                # Somebody was quicker: look again with what they wrote.
                self._changes.note(ref.plural, f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name)
            elif result.outcome in (cmd.Outcome.INVALID, cmd.Outcome.FAILED):
                _LOG.warning("%s %s: %s", ref, result.outcome.value, result.message)
        return results
