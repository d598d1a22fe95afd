"""CustomResourceDefinitions from the models.

    python -m switchyard.api.crd [--check] OUTDIR

writes one file per kind; with `--check` it writes nothing, shows what differs and ends with 1 if something does.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pydantic
import yaml

from switchyard import api
from switchyard.api import base

_HEADER: Final = "# Made by `python -m switchyard.api.crd`: edit the models in operator/switchyard/api instead.\n"
# What API servers take of JSON schema and pydantic may emit; anything else is refused rather than dropped in silence.
_KNOWN: Final = frozenset(
    {
        "additionalProperties", "default", "description", "enum", "format", "items", "maxItems", "maxLength",
        "maxProperties", "maximum", "minItems", "minLength", "minimum", "pattern", "properties", "required", "type",
    }
)  # fmt: skip


def documents() -> dict[str, str]:
    """The text of every file, by file name."""
    return {f"{plural}.{base.GROUP}.yaml": _text(definition(kind)) for plural, kind in sorted(api.KINDS.items())}


def definition(kind: type[base.Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    names = kind.names
    called: dict[str, Any] = {
        "kind": names.kind,
        "listKind": f"{names.kind}List",
        "plural": names.plural,
        "singular": names.singular,
        "categories": [base.CATEGORY],
    }
    if names.short:
        called["shortNames"] = list(names.short)
    version = {
        "name": base.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in names.columns],
        "schema": {"openAPIV3Schema": schema(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.plural}.{base.GROUP}"},
        "spec": {
            "group": base.GROUP,
            "scope": "Namespaced" if names.namespaced else "Cluster",
            "names": called,
            "versions": [version],
        },
    }


def schema(kind: type[base.Resource]) -> dict[str, Any]:
    """The structural schema of a kind's objects."""
    properties: dict[str, Any] = {
        # The API server owns these three; described here because `kubectl explain` shows them too.
        "apiVersion": {"description": f"Always {base.API_VERSION}.", "type": "string"},
        "kind": {"description": f"Always {kind.names.kind}.", "type": "string"},
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": _part(kind.model_fields["spec"]),
        "status": _without_defaults(_part(kind.model_fields["status"])),
    }
    built: dict[str, Any] = {
        "description": _one_line(kind.__doc__),
        "type": "object",
        "required": ["spec"],
        "properties": properties,
    }
    if kind.rules:
        built[base.RULES] = [rule.as_schema() for rule in kind.rules]
    return built


def _part(field: pydantic.fields.FieldInfo) -> dict[str, Any]:
    model = field.annotation
    if not (inspect.isclass(model) and issubclass(model, base.Model)):
        raise TypeError(f"spec and status are models, not {model!r}")
    generated = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(generated, generated.get("$defs", {}))


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A node without references, titles and nulls, with the list types and defaults the API server wants."""
    node = _resolved(node, definitions)
    built: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("title", "$defs", "uniqueItems", "additionalProperties") and not isinstance(value, Mapping):
            continue  # uniqueItems is said by the list type; additional properties are pruned
        if key == "$defs":
            continue
        if key == "description":
            built[key] = _one_line(value)
        elif key == "properties":
            built[key] = {name: _property(child, definitions) for name, child in value.items()}
        elif key in ("items", "additionalProperties"):
            built[key] = _structural(value, definitions)
        elif key == "default" and value is None:
            continue
        elif key in _KNOWN or key.startswith("x-kubernetes-"):
            built[key] = value
        else:
            raise ValueError(f"an API server does not take {key!r}: {value!r}")
    if built.get("type") == "array":
        built.setdefault("x-kubernetes-list-type", "atomic")
        if not built.get("default", True):
            # An empty list says nothing that its absence does not.
            del built["default"]
    return {key: built[key] for key in sorted(built, key=_place)}


def _place(key: str) -> tuple[bool, str]:
    """What a reader looks for first comes first."""
    return key not in ("description", "type"), key


def _without_defaults(node: Mapping[str, Any]) -> dict[str, Any]:
    """The API server must not write into a status: its writer compares what stands there with what it would write."""
    built = {key: value for key, value in node.items() if key != "default"}
    if "properties" in built:
        built["properties"] = {name: _without_defaults(child) for name, child in built["properties"].items()}
    if "items" in built:
        built["items"] = _without_defaults(built["items"])
    return built


def _property(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    built = _structural(node, definitions)
    if "default" in built and built.get("type") == "object":
        # Spelled out from its fields: the API server holds a default against the object's rules before it fills it in.
        fields = built.get("properties", {})
        built["default"] = {name: child["default"] for name, child in fields.items() if "default" in child}
    return built


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """References replaced by what they mean; what stands beside one goes first. `X | None` is X: absent, not null."""
    merged = dict(node)
    while "$ref" in merged or "anyOf" in merged:
        if "$ref" in merged:
            other = definitions[merged.pop("$ref").removeprefix("#/$defs/")]
        else:
            real = [choice for choice in merged.pop("anyOf") if choice.get("type") != "null"]
            if len(real) != 1:
                raise ValueError(f"a structural schema has one type per field: {node!r}")
            other = real[0]
        rules = [*other.get(base.RULES, ()), *merged.get(base.RULES, ())]
        merged = {**other, **merged}
        if rules:
            merged[base.RULES] = rules
    return merged


def _column(column: base.Column) -> dict[str, Any]:
    built: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        built["description"] = column.description
    if column.priority:
        built["priority"] = column.priority
    return built


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


class _Dumper(yaml.SafeDumper):
    """Writes every value in full: anchors would be read, but not by people."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(document: Mapping[str, Any]) -> str:
    return _HEADER + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _differences(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    present = {path.name: path.read_text() for path in folder.glob(f"*.{base.GROUP}.yaml")}
    lines: list[str] = []
    for name in sorted({*present, *wanted}):
        old, new = present.get(name, ""), wanted.get(name, "")
        lines += difflib.unified_diff(
            old.splitlines(), new.splitlines(), f"{folder / name}", f"{name} as the models have it", lineterm=""
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or compare them. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m switchyard.api.crd", description="CRDs from the models")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when files differ")
    parser.add_argument("folder", type=Path, metavar="OUTDIR")
    options = parser.parse_args(arguments)
    wanted = documents()
    if options.check:
        differences = _differences(options.folder, wanted)
        if differences:
            sys.stdout.write("\n".join(differences) + "\n")
            sys.stderr.write(
                f"{options.folder} differs from the models; run: python -m switchyard.api.crd {options.folder}\n"
            )
        return 1 if differences else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (options.folder / name).write_text(text)
    for path in options.folder.glob(f"*.{base.GROUP}.yaml"):
        if path.name not in wanted:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
