"""YAML as scenario files need it: dates and hours stay text, keys are unique, and every field knows its line."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import pydantic
import yaml


class ScenarioError(ValueError):
    """A scenario or one of its files cannot be used. The message names the file and line and what to do."""


class MissingDataError(Exception):
    """Data that the scenario takes from outside is not there: the scenario can be skipped. The message says what."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 14:00 as 840, off as false and a date as a date: here they are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in {"merge", "null"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+[.][0-9]*([eE][-+]?[0-9]+)?|[.][0-9]+([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A YAML file: what it says, and its nodes."""

    path: pathlib.Path
    content: dict[str, Any]
    root: yaml.MappingNode

    def error(self, problem: pydantic.ValidationError) -> ScenarioError:
        """The model's complaints, each with its line."""
        lines = []
        for each in problem.errors(include_url=False):
            line, field = self._find(each["loc"])
            lines.append(f"{self.path}:{line}: {field}{_plain(each)}")
        return ScenarioError("\n".join(dict.fromkeys(lines)))

    def _find(self, location: Sequence[int | str]) -> tuple[int, str]:
        """Line and dotted name of a place; parts that do not stand in the file (tags of unions) are passed over."""
        node: yaml.Node = self.root
        line, names = 1, []
        for index, part in enumerate(location):
            last = index == len(location) - 1
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in _pairs(node) if key.value == str(part)), None)
                if found is not None:
                    line, node = found[0].start_mark.line + 1, found[1]
                elif not last or part in {"number", "series", "[key]"}:
                    continue
                names.append(str(part))
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
                names.append(str(part))
        return line, ".".join(names) + (": " if names else "")


def _check_keys(root: yaml.Node) -> None:
    """Refuse mappings with a key twice, of which YAML would keep the last. Before construction: that merges nodes."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                if isinstance(key.value, str) and key.value in lines:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} stands here and in line {lines[key.value]}; keep one of them",
                        problem_mark=key.start_mark,
                    )
                if isinstance(key.value, str):
                    lines[key.value] = key.start_mark.line + 1
                waiting.append(value)


def _pairs(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    pairs = []
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
            pairs += [pair for each in merged for pair in _pairs(each)]
        else:
            pairs.insert(0, (key, value))
    return pairs


def _plain(problem: Any) -> str:
    words = {
        "extra_forbidden": "there is no such field here; docs/backtest.md lists them",
        "missing": "is missing",
    }
    return words.get(problem["type"]) or str(problem["msg"]).removeprefix("Value error, ")


def read(path: pathlib.Path) -> Document:
    """Read a YAML file whose top is a mapping. Top-level keys that begin with `x-` are left out: a place for anchors.

    Raises:
        ScenarioError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is not None:
                _check_keys(root)
            content = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except (OSError, UnicodeDecodeError) as problem:
        raise ScenarioError(f"cannot read {path}: {problem}") from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ScenarioError(f"{path}:{line}: {problem.problem or problem.context}") from None
    except yaml.YAMLError as problem:
        raise ScenarioError(f"{path}: {problem}") from None
    if not isinstance(root, yaml.MappingNode) or not isinstance(content, dict):
        raise ScenarioError(f"{path}:1: a scenario is a mapping with description, start, sites, groups, switching, ...")
    kept = {str(key): value for key, value in content.items() if not str(key).startswith("x-")}
    return Document(path=path, content=kept, root=root)
