"""What has changed since the last turn, and the bell that wakes the loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses


@dataclasses.dataclass(slots=True)
class Changed:
    """Names of what changed. `everything` stands for all of it: at the start, and at each planning tick."""

    rigs: set[str] = dataclasses.field(default_factory=set)
    nodes: set[str] = dataclasses.field(default_factory=set)
    jobs: set[str] = dataclasses.field(default_factory=set)
    pods: set[str] = dataclasses.field(default_factory=set)
    others: set[str] = dataclasses.field(default_factory=set)
    replan: bool = False
    everything: bool = False


# Which changes may make another plan right, and which only move a hand-over on.
_REPLAN = frozenset({"sites", "gpupools", "coins", "aijobs", "secrets"})


class Changes:
    """Collects changes from the store and the feeds; the loop takes them all at once."""

    def __init__(self) -> None:
        self._changed = Changed(everything=True, replan=True)
        self._bell = asyncio.Event()
        self._bell.set()

    def note(self, plural: str, key: str) -> None:
        """An object of the store has changed: `key` is `namespace/name`, or `name` for a cluster-scoped kind."""
        changed = self._changed
        match plural:
            case "nodes":
                changed.nodes.add(key)
            case "rigs":
                changed.rigs.add(key)
            case "pods":
                # Which node a Pod is on is for the snapshots to say: it may just have been bound, or be gone.
                changed.pods.add(key)
            case "aijobs" | "jobs":
                changed.jobs.add(key)
            case _:
                changed.others.add(f"{plural}/{key}")
        if plural in _REPLAN:
            changed.replan = True
        self._bell.set()

    def price(self, *, feed: str, large: bool) -> None:
        """A feed has a new value or a new trouble; a large change is worth a plan of its own."""
        self._changed.others.add(f"pricefeeds/{feed}")
        self._changed.replan = self._changed.replan or large
        self._bell.set()

    def everything(self) -> None:
        """Look at all there is, for instance after a turn that failed half-way."""
        self._changed.everything = True
        self._bell.set()

    def take(self) -> Changed:
        """All that has gathered; the next call starts from nothing."""
        taken, self._changed = self._changed, Changed()
        self._bell.clear()
        return taken

    async def wait(self, seconds: float) -> None:
        """Return when something changes, or after so many real seconds."""
        # Not wait_for: on Python 3.11 it can swallow a cancellation that comes together with the bell.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()
