"""The memory that survives a restart: one ConfigMap in the operator's namespace.

Everything in it is a help and nothing a need: absent, broken or of another version it is begun anew. Each section is
JSON of its own, so that one that makes no sense does not take the others with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.kube import errors
from switchyard.loop import hands

_LOG = logging.getLogger(__name__)

VERSION: Final = "1"
MOST_BYTES: Final = 500_000
"""An object of etcd may have 1.5 MB; half a megabyte is what people still open."""
EVERY_SECONDS: Final = 600.0

_VERSION: Final = "version"
_SPEED: Final = "speed"
_RETRY_SECONDS: Final = 1.0


class Section(Protocol):
    """Somebody who remembers."""

    def dump(self) -> Any:
        """What there is to remember, as JSON."""

    def load(self, found: Any) -> None:
        """Go on from it. Raises ValueError where it makes no sense; then nothing has changed."""


def ref(*, name: str, namespace: str) -> cmd.Ref:
    """The ConfigMap."""
    return cmd.Ref(api_version="v1", kind="ConfigMap", plural="configmaps", name=name, namespace=namespace)


class Keeper:
    """Reads the memory at the start and writes it now and then, if it has changed.

    Args:
        ref: the ConfigMap.
        sections: by their name.
        speed: of farm time; what another speed has taught is not taken up.
        read: gives an object, or raises a KubeError.
        executor: writes it, and tells people of trouble.
        every_seconds: of the machine's time, between two writes.
    """

    def __init__(
        self,
        *,
        ref: cmd.Ref,
        sections: Mapping[str, Section],
        speed: float,
        read: Callable[[cmd.Ref], Awaitable[Mapping[str, Any]]],
        executor: hands.Executor,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._ref = ref
        self._sections = sections
        self._header = {_VERSION: VERSION, _SPEED: f"{speed:g}"}
        self._read = read
        self._executor = executor
        self._every_seconds = every_seconds
        self._recalled = False
        self._written: Mapping[str, str] | None = None

    async def recall(self) -> None:
        """Take up what was remembered. Whatever is wrong with it is told, and no reason not to start."""
        body = await self._found()
        self._recalled = True
        if body is None:
            return
        troubles = self._take(body.get("data"))
        if not troubles:
            _LOG.info("the memory in %s was taken up", self._ref)
            return
        words = f"{'; '.join(troubles)}: starting afresh there"
        _LOG.warning("the memory in %s: %s", self._ref, words)
        uid = str((body.get("metadata") or {}).get("uid", ""))
        await self._executor.run(
            [
                cmd.Emit(
                    ref=self._ref,
                    uid=uid,
                    reason="MemoryUnreadable",
                    message=words[:500],
                    action="Recall",
                    warning=True,
                )
            ]
        )

    async def _found(self) -> Mapping[str, Any] | None:
        """The ConfigMap; None where there is none for us. A server that is busy or away is waited for."""
        while True:
            try:
                return await self._read(self._ref)
            except errors.KubeError as problem:
                status = problem.status if isinstance(problem, errors.ApiError) else 503
                if status == 404:
                    _LOG.info("there is no memory in %s yet: starting afresh", self._ref)
                    return None
                if status < 500 and status != 429:
                    _LOG.warning("the memory in %s cannot be read, starting afresh: %s", self._ref, problem)
                    return None
                _LOG.warning("waiting for the memory in %s: %s", self._ref, problem)
            await asyncio.sleep(_RETRY_SECONDS)

    def _take(self, data: Any) -> list[str]:
        """Load what can be; gives what is wrong with the rest."""
        if not isinstance(data, Mapping):
            return ["it has no data"]
        for key, wanted in self._header.items():
            if data.get(key) != wanted:
                return [f"its {key} is {data.get(key)!r}, {wanted!r} is this operator's"]
        troubles = []
        for name, section in self._sections.items():
            if name not in data:
                continue
            try:
                section.load(json.loads(data[name]))
            except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as problem:
                troubles.append(f"{name} makes no sense ({problem})")
        if not troubles and data.keys() >= self._sections.keys():
            self._written = dict(data)
        return troubles

    async def run(self) -> None:
        """Write now and then, for ever."""
        while True:
            await asyncio.sleep(self._every_seconds)
            await self.keep()

    async def keep(self) -> None:
        """Write what there is to remember, if that is not what was written last. What goes wrong is logged."""
        if not self._recalled:
            # Who was stopped before he remembered has nothing to say.
            return
        try:
            data = self._data()
        except Exception:  # noqa: BLE001 - a section that cannot be told must not end the operator
            _LOG.exception("the memory cannot be put into words")
            return
        if data == self._written:
            return
        patch = cmd.Patch(
            ref=self._ref, body={"data": data}, type=cmd.PatchType.APPLY, field_manager=names.MANAGER_OPERATOR
        )
        (result,) = await self._executor.run([patch])
        if result.outcome is cmd.Outcome.DONE:
            self._written = data
        else:
            _LOG.warning("the memory was not written to %s: %s", self._ref, result.message or result.outcome.value)

    def _data(self) -> dict[str, str]:
        texts = {
            name: json.dumps(section.dump(), separators=(",", ":"), sort_keys=True)
            for name, section in self._sections.items()
        }
        # The largest goes first: half of a section is no section.
        while texts and sum(len(text.encode()) for text in texts.values()) > MOST_BYTES - 1000:
            largest = max(texts, key=lambda name: len(texts[name]))
            _LOG.warning(
                "the memory of %s has %d bytes, more than a ConfigMap shall hold: it is not kept",
                largest,
                len(texts.pop(largest)),
            )
        return {**self._header, **texts}
