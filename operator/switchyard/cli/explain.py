"""`switchyard explain KIND/NAME`: decisions in words, read from the objects' own statuses."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from rich import table as rich_table

    from switchyard.kube import client as kube
    from switchyard.status import explain

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Rig": ("rig", "rigs"),
    "AIJob": ("aijob", "aijobs", "job"),
    "PriceFeed": ("pricefeed", "pricefeeds", "feed", "feeds"),
    "GPUPool": ("gpupool", "gpupools", "gp", "pool", "pools"),
}
_PLURALS: Final = {kind: words[1] for kind, words in _KINDS.items()}
_MOST_NAMES: Final = 12


class TellableError(Exception):
    """Trouble whose text says all that the person at the keyboard needs."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be explained. `namespace` is None for kinds that have none."""

    kind: str
    name: str
    namespace: str | None


class Reader(Protocol):
    """Where objects are read."""

    async def get(self, kind: str, name: str, namespace: str | None) -> Mapping[str, Any] | None:
        """One object, or None where there is none."""

    async def all(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """Every object of a kind, in all namespaces."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `explain` can be told."""
    parser.add_argument("what", nargs="+", metavar="KIND/NAME", help="rig/gpu-7, aijob/train, feed/ercot, gpupool/main")
    parser.add_argument(
        "-n", "--namespace", default="default", help="of an AIJob (default); or write aijob/NAMESPACE/NAME"
    )
    parser.add_argument("--kubeconfig", type=Path, help="default: KUBECONFIG, the Pod's own account, ~/.kube/config")
    parser.add_argument("--context", help="of the kubeconfig, if not its current one")
    parser.add_argument("--plain", action="store_true", help="plain text in a terminal, too")


def run(arguments: argparse.Namespace) -> int:
    """Explain each of what is named. 1 when one of them could not be."""
    import asyncio

    try:
        targets = parse(arguments.what, namespace=arguments.namespace)
    except TellableError as trouble:
        sys.stderr.write(f"{trouble}\n")
        return 2
    return asyncio.run(_run(arguments, targets))


def parse(words: Sequence[str], *, namespace: str) -> list[Target]:
    """Read `rig/gpu-7 aijob/tenant/train`, or kubectl's other way, `rig gpu-7 gpu-8`.

    Raises:
        TellableError: what is not understood, and what would be.
    """
    if "/" not in words[0]:
        if len(words) == 1:
            raise TellableError(f"Which {words[0]}? Say KIND/NAME, such as rig/gpu-7.")
        words = [f"{words[0]}/{name}" for name in words[1:]]
    return [_target(word, namespace) for word in words]


def _target(word: str, namespace: str) -> Target:
    given, _, name = word.partition("/")
    kind = next((kind for kind, spellings in _KINDS.items() if given.lower() in spellings), None)
    if kind is None:
        known = ", ".join(spellings[0] for spellings in _KINDS.values())
        raise TellableError(f"{given!r} is no kind that can be explained. Those are: {known}.")
    if kind != "AIJob":
        namespace_ = None
    else:
        namespace_, _, name = name.rpartition("/")
        namespace_ = namespace_ or namespace
    if not name or "/" in name or "/" in (namespace_ or ""):
        raise TellableError(f"{word!r} names nothing: say {given}/NAME.")
    return Target(kind=kind, name=name, namespace=namespace_)


async def explain_all(
    reader: Reader, targets: Sequence[Target], *, now: datetime.datetime
) -> list[explain.Explanation | TellableError]:
    """An explanation of each target, or what to say where there is none."""
    return [await _explain(reader, target, now=now) for target in targets]


async def _explain(reader: Reader, target: Target, *, now: datetime.datetime) -> explain.Explanation | TellableError:
    from switchyard.status import explain

    body = await reader.get(target.kind, target.name, target.namespace)
    if body is None:
        return await _not_found(reader, target)
    match target.kind:
        case "Rig":
            return explain.rig(body, now=now, feeds=await reader.all("PriceFeed"))
        case "AIJob":
            return explain.aijob(body, now=now)
        case "PriceFeed":
            return explain.pricefeed(body, now=now)
        case _:
            return explain.gpupool(body, now=now)


async def _not_found(reader: Reader, target: Target) -> TellableError:
    import difflib

    found = [body["metadata"] for body in await reader.all(target.kind)]
    names = sorted(f"{one['namespace']}/{one['name']}" if one.get("namespace") else one["name"] for one in found)
    sought = f"{target.namespace}/{target.name}" if target.namespace else target.name
    words = f"{target.kind} {sought} not found."
    if not names:
        return TellableError(f"{words} There is none of that kind.")
    near = difflib.get_close_matches(sought, names, n=2, cutoff=0.85)
    if near:
        words += f" Do you mean {' or '.join(near)}?"
    shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    there = f"There are {len(names)}" if len(names) > 1 else "There is one"
    return TellableError(f"{words} {there}: {shown}")


async def _run(arguments: argparse.Namespace, targets: Sequence[Target]) -> int:
    from switchyard.kube import client as kube
    from switchyard.kube import credentials, errors

    path = str(arguments.kubeconfig) if arguments.kubeconfig else os.environ.get("KUBECONFIG", "")
    if not path and not arguments.context and "KUBERNETES_SERVICE_HOST" in os.environ:
        access = credentials.in_cluster(environ=os.environ)
    else:
        access = credentials.from_kubeconfig(path or str(Path.home() / ".kube" / "config"), context=arguments.context)
    try:
        async with kube.Client(credentials=access) as client:
            found = await explain_all(_Cluster(client), targets, now=datetime.datetime.now(datetime.UTC))
    except errors.ApiError as trouble:
        if trouble.status == 404:
            sys.stderr.write("This cluster does not know Switchyard's kinds: are its CRDs installed?\n")
        else:
            sys.stderr.write(f"The API server says no: {trouble.message or trouble}\n")
        return 1
    except errors.KubeError as trouble:
        sys.stderr.write(f"The cluster cannot be reached: {trouble}\n")
        return 1
    return show(found, plain=arguments.plain or not sys.stdout.isatty())


class _Cluster:
    """Reads a real cluster."""

    def __init__(self, client: kube.Client) -> None:
        self._client = client

    async def get(self, kind: str, name: str, namespace: str | None) -> Mapping[str, Any] | None:
        from switchyard.kube import errors

        try:
            return await self._client.get(_resource(kind).ref(name, namespace))
        except errors.ApiError as trouble:
            # The kind itself may be unknown: then there is more to say than that one object is missing.
            if trouble.status == 404 and trouble.reason == "NotFound":
                return None
            raise

    async def all(self, kind: str) -> Sequence[Mapping[str, Any]]:
        return [body async for page in self._client.pages(_resource(kind)) for body in page.items]


def _resource(kind: str) -> kube.Resource:
    from switchyard.cluster import names
    from switchyard.kube import client as kube

    return kube.Resource(api_version=names.API_VERSION, plural=_PLURALS[kind], kind=kind, namespaced=kind == "AIJob")


def show(found: Sequence[explain.Explanation | TellableError], *, plain: bool) -> int:
    """Write the explanations, and to standard error what could not be explained. Gives the exit code."""
    from switchyard.status import explain

    code, shown = 0, 0
    for one in found:
        if isinstance(one, TellableError):
            sys.stderr.write(f"{one}\n")
            code = 1
            continue
        if shown:
            sys.stdout.write("\n")
        shown += 1
        if plain:
            sys.stdout.write("\n".join(explain.lines(one)) + "\n")
        else:
            _paint(one)
    return code


def _paint(one: explain.Explanation) -> None:
    """For a terminal: the same, with colour, and a table that keeps to the window's width."""
    from rich import console as consoles
    from rich import text

    console = consoles.Console(file=sys.stdout, highlight=False)
    console.print(text.Text(one.headline, style="bold"))
    width = max((len(name) for name, _ in one.facts), default=0)
    for name, words in one.facts:
        style = "bold red" if name == "Trouble" else "dim"
        console.print(text.Text.assemble("  ", (f"{name:<{width}}", style), "  ", words))
    # A table brings its own space around it.
    console.print(_table(one.table) if one.table is not None else "")
    for note in one.notes:
        console.print(text.Text(note))


def _table(table: explain.Table) -> rich_table.Table:
    from rich import box, text
    from rich import table as rich_table

    drawn = rich_table.Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    drawn.add_column("")
    for place, column in enumerate(table.columns):
        number = column in table.numbers
        # Numbers are never broken; words are what gives way in a narrow window.
        drawn.add_column(column, justify="right" if number else "left", no_wrap=number or place == 0, overflow="fold")
    for place, row in enumerate(table.rows):
        marked = place in table.marked
        cells = [text.Text(cell) for cell in (">" if marked else "", *row)]
        drawn.add_row(*cells, style="bold green" if marked else "")
    return drawn
