"""The live farm: fed with bodies from the API server, read as frozen snapshots. No clock, no I/O, one thread.

It is fed from two sides, the watch and the answers to own writes, and these overtake each other. What is held never
goes back: a body that is older than the one held is passed over, and so is one that is older than its object's end.
"""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import immutables
import pydantic

from switchyard.fleet import hardware, membership, model, parse

Body = Mapping[str, Any]

# How many ends of objects are remembered. An answer to an own write is late by seconds, not by thousands of deletions.
_ENDS: Final = 4096

# Where each kind stands in the farm, and who reads it. Rigs, Pods and Secrets have ways of their own.
_READERS: Final[Mapping[str, tuple[str, Callable[[Body], Any]]]] = {
    "sites": ("sites", parse.site_of),
    "gpupools": ("pools", parse.pool_of),
    "coins": ("coins", parse.coin_of),
    "pricefeeds": ("feeds", parse.feed_of),
    "rigs": ("rigs", parse.rig_of),
    "nodes": ("nodes", parse.node_of),
    "aijobs": ("jobs", parse.job_of),
    "jobs": ("kube_jobs", parse.kube_job_of),
    "pods": ("pods", parse.pod_of),
    "secrets": ("secrets", lambda _: None),
}
# Which part of an object a model reads that is not its spec.
_PARTS: Final = {"AgentStatus": "status.agent", "HardwareStatus": "status.hardware"}

PLURALS: Final = frozenset(_READERS)


class OnChange(Protocol):
    """Told what has changed: the kind's plural, and `namespace/name` or `name`."""

    def __call__(self, plural: str, key: str, /) -> None:
        """Something about this object is new."""


class Store:
    """Holds the farm. `apply`, `remove` and `sweep` take what comes and never raise for what is in a body.

    Attributes:
        on_change: called after the farm has changed in more than a resourceVersion, for each object concerned: also
            for a Rig whose Node or pool made it another, and for an object that has, or no longer has, a problem.
    """

    def __init__(self) -> None:
        self.on_change: OnChange | None = None
        self._maps: dict[str, immutables.Map[str, Any]] = {
            place: immutables.Map() for place, _ in _READERS.values() if place != "secrets"
        }
        self._pods_on: immutables.Map[str, frozenset[str]] = immutables.Map()
        self._secrets: frozenset[str] = frozenset()
        self._missing_secrets: frozenset[str] = frozenset()
        self._membership = membership.Membership()
        # resourceVersion held, by plural and key, of everything known: also of what could not be read.
        self._versions: dict[str, dict[str, int]] = {plural: {} for plural in _READERS}
        self._ends: collections.OrderedDict[tuple[str, str], int] = collections.OrderedDict()
        self._problems: dict[tuple[str, str], str] = {}
        # What a Rig's body says of its hardware, by its name, and the rigs that stand on a Node, by the Node's name.
        self._told: dict[str, tuple[model.Hardware, tuple[model.Gpu, ...]]] = {}
        self._standing: dict[str, set[str]] = {}
        self._snapshot: model.Farm | None = model.Farm()

    # --- reading -----------------------------------------------------------------------------------------------

    def snapshot(self) -> model.Farm:
        """The farm as it stands; the same object as long as nothing changes."""
        if self._snapshot is None:
            self._snapshot = model.Farm(
                **self._maps,
                pods_on=self._pods_on,
                pool_of=self._membership.pool_of,
                contested=self._membership.contested,
                secrets=self._secrets,
                missing_secrets=self._missing_secrets,
            )
        return self._snapshot

    @property
    def problems(self) -> Mapping[tuple[str, str], str]:
        """Why objects could not be read, by plural and key. The last good reading, if any, is still in the farm."""
        return types.MappingProxyType(self._problems)

    # --- feeding -----------------------------------------------------------------------------------------------

    def apply(self, plural: str, body: Body) -> None:
        """An object is there, or has changed. Raises ValueError for a plural that is not in `PLURALS`."""
        place, read = self._reader(plural)
        metadata = body["metadata"]
        key = parse.key(metadata.get("namespace"), metadata["name"])
        version = _integer(metadata.get("resourceVersion"))
        if version is not None:
            if version <= max(self._versions[plural].get(key, -1), self._ends.get((plural, key), -1)):
                return
            self._versions[plural][key] = version
        else:
            self._versions[plural].setdefault(key, 0)
        try:
            value = read(body)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as problem:
            self._note_problem(plural, key, _words(problem))
            return
        changed = self._problems.pop((plural, key), None) is not None
        match plural:
            case "secrets":
                changed |= self._put_secret(metadata["name"])
            case "pods" if value is None:
                # Most Pods of a cluster: nothing of them is kept, not even their version.
                del self._versions[plural][key]
                changed |= self._drop(plural, place, key)
            case "rigs":
                changed |= self._put_rig(key, *value)
            case _:
                changed |= self._put(plural, place, key, value)
        if changed:
            self._notify(plural, key)

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        """An object is gone; as of `resource_version`, where that is known. Raises ValueError for an unknown plural."""
        place, _ = self._reader(plural)
        key = parse.key(namespace, name)
        held = self._versions[plural].get(key)
        if held is not None and resource_version is not None and held > resource_version:
            return
        self._remember_end(plural, key, held if resource_version is None else resource_version)
        self._versions[plural].pop(key, None)
        changed = self._problems.pop((plural, key), None) is not None
        if plural == "secrets":
            changed |= name not in self._missing_secrets
            self._secrets -= {name}
            self._missing_secrets |= {name}
            self._snapshot = None
        else:
            changed |= self._drop(plural, place, key)
        if changed:
            self._notify(plural, key)

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        """After a list as of `resource_version`: forget what it does not hold. Raises ValueError as `apply`."""
        self._reader(plural)
        keys = {parse.key(namespace, name) for namespace, name in present}
        for key in [key for key in self._versions[plural] if key not in keys]:
            namespace, _, name = key.rpartition("/")
            self.remove(plural, namespace or None, name, resource_version=resource_version)

    # --- underneath --------------------------------------------------------------------------------------------

    @staticmethod
    def _reader(plural: str) -> tuple[str, Callable[[Body], Any]]:
        try:
            return _READERS[plural]
        except KeyError:
            raise ValueError(f"no kind of the farm's has the plural {plural!r}") from None

    def _notify(self, plural: str, key: str) -> None:
        if self.on_change is not None:
            self.on_change(plural, key)

    def _note_problem(self, plural: str, key: str, words: str) -> None:
        if self._problems.get((plural, key)) != words:
            self._problems[plural, key] = words
            self._notify(plural, key)

    def _remember_end(self, plural: str, key: str, version: int | None) -> None:
        if version is None:
            return
        self._ends[plural, key] = max(version, self._ends.pop((plural, key), -1))
        if len(self._ends) > _ENDS:
            self._ends.popitem(last=False)

    def _put_secret(self, name: str) -> bool:
        if name in self._secrets:
            return False
        self._secrets |= {name}
        self._missing_secrets -= {name}
        self._snapshot = None
        return True

    def _put(self, plural: str, place: str, key: str, value: Any) -> bool:
        """Hold a value and what follows from it. Returns whether more than its version is new."""
        old = self._maps[place].get(key)
        if old == value:
            return False
        self._maps[place] = self._maps[place].set(key, value)
        self._snapshot = None
        self._follow(plural, key, old, value)
        return old is None or not _same_but_for_version(old, value)

    def _drop(self, plural: str, place: str, key: str) -> bool:
        old = self._maps[place].get(key)
        if old is None:
            return False
        self._maps[place] = self._maps[place].delete(key)
        self._snapshot = None
        self._follow(plural, key, old, None)
        return True

    def _follow(self, plural: str, key: str, old: Any, new: Any) -> None:
        """Put right what is derived from a value that has changed."""
        match plural:
            case "pods":
                self._move_pod(key, old, new)
            case "nodes":
                if old is None or new is None or old.hardware != new.hardware:
                    for name in sorted(self._standing.get(key, ())):
                        if self._put_rig_value(name, self._maps["rigs"][name]):
                            self._notify("rigs", name)
            case "gpupools":
                for name in self._membership.put_pool(key, old, new, self._maps["rigs"]):
                    self._notify("rigs", name)
            case "rigs":
                self._membership.put_rig(key, new, self._maps["pools"])
                if new is None:
                    del self._told[key]
                if old is not None and (new is None or new.node_name != old.node_name):
                    self._standing[old.node_name].discard(key)
                    if not self._standing[old.node_name]:
                        del self._standing[old.node_name]
                if new is not None:
                    self._standing.setdefault(new.node_name, set()).add(key)

    def _put_rig(self, key: str, rig: model.Rig, gpus: tuple[model.Gpu, ...]) -> bool:
        self._told[key] = (rig.hardware, gpus)
        return self._put_rig_value(key, rig)

    def _put_rig_value(self, key: str, rig: model.Rig) -> bool:
        """Hold a Rig with the hardware that its Node and its agent together make."""
        remembered, gpus = self._told[key]
        node = self._maps["nodes"].get(rig.node_name)
        base = remembered if node is None else node.hardware
        # Labels go when feature discovery is installed anew; the cards do not.
        seen = gpus or (() if base.gpus else remembered.gpus)
        return self._put("rigs", "rigs", key, dataclasses.replace(rig, hardware=hardware.overlay(base, seen)))

    def _move_pod(self, key: str, old: model.Pod | None, new: model.Pod | None) -> None:
        left = None if old is None else old.node_name
        reached = None if new is None else new.node_name
        if left == reached:
            return
        if left is not None:
            rest = self._pods_on[left] - {key}
            self._pods_on = self._pods_on.set(left, rest) if rest else self._pods_on.delete(left)
        if reached is not None:
            self._pods_on = self._pods_on.set(reached, self._pods_on.get(reached, frozenset()) | {key})


def _same_but_for_version(old: Any, new: Any) -> bool:
    """Whether nobody who decides need look again: a kubelet's heartbeat moves a Node's version and nothing else."""
    version = getattr(new, "resource_version", None)
    return version is not None and bool(dataclasses.replace(old, resource_version=version) == new)


def _integer(version: Any) -> int | None:
    return int(version) if isinstance(version, str) and version.isdecimal() else None


def _words(problem: Exception) -> str:
    if isinstance(problem, pydantic.ValidationError):
        part = _PARTS.get(problem.title, "spec")
        return "; ".join(
            f"{'.'.join((part, *map(str, error['loc'])))}: {error['msg'].removeprefix('Value error, ')}"
            for error in problem.errors(include_url=False)
        )
    if isinstance(problem, KeyError):
        return f"{problem.args[0]} is missing"
    return str(problem)
