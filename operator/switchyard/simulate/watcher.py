"""An onlooker who knows nothing of the operator: did two owners ever hold GPUs of one Node at once?

It sees Pods only, in the order in which the API server saw them change. A Pod holds from the moment it is bound to a
Node until its object is gone or it has ended for good; one that is being deleted still holds.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from switchyard.simulate import sight


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A stretch in which more than one owner held GPUs of a Node. Seconds are the machine's own."""

    node: str
    owners: tuple[str, ...]
    seconds: float


class Watcher:
    """A sink for a watch on Pods. `timer` gives monotonic seconds of the machine."""

    def __init__(self, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._pods: dict[tuple[str, str], sight.Pod] = {}
        self._holders: dict[str, dict[tuple[str, str], str]] = {}
        self._open: dict[str, tuple[float, set[str]]] = {}
        self._closed: list[Overlap] = []
        self.events = 0

    def apply(self, plural: str, body: Mapping[str, Any]) -> None:
        """A Pod was seen, new or changed."""
        if plural != "pods":
            return
        seen = sight.pod(body)
        if seen is None:
            return
        self.events += 1
        before = self._pods.get(seen.key)
        if before is not None and before.holds and (before.node != seen.node or not seen.holds):
            self._let_go(before)
        self._pods[seen.key] = seen
        if seen.holds:
            self._hold(seen)

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        """A Pod is gone."""
        if plural == "pods":
            self._forget((namespace or "", name))

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        """These Pods exist and no others."""
        if plural == "pods":
            for key in self._pods.keys() - {(namespace or "", name) for namespace, name in present}:
                self._forget(key)

    @property
    def overlaps(self) -> tuple[Overlap, ...]:
        """All of them, those that last included."""
        now = self._timer()
        lasting = [
            Overlap(node=node, owners=tuple(sorted(owners)), seconds=now - since)
            for node, (since, owners) in sorted(self._open.items())
        ]
        return (*self._closed, *lasting)

    @property
    def double_owner_seconds(self) -> float:
        """Seconds, summed over Nodes. An overlap too short for the clock still counts for a millisecond."""
        return sum(max(overlap.seconds, 0.001) for overlap in self.overlaps)

    def _forget(self, key: tuple[str, str]) -> None:
        seen = self._pods.pop(key, None)
        if seen is not None and seen.holds:
            self._let_go(seen)

    def _hold(self, seen: sight.Pod) -> None:
        self._holders.setdefault(seen.node, {})[seen.key] = seen.owner
        self._judge(seen.node)

    def _let_go(self, seen: sight.Pod) -> None:
        self._holders.get(seen.node, {}).pop(seen.key, None)
        self._judge(seen.node)

    def _judge(self, node: str) -> None:
        owners = set(self._holders.get(node, {}).values())
        if len(owners) > 1:
            since, before = self._open.get(node, (self._timer(), set()))
            self._open[node] = (since, before | owners)
        elif node in self._open:
            since, before = self._open.pop(node)
            self._closed.append(Overlap(node=node, owners=tuple(sorted(before)), seconds=self._timer() - since))
