"""The CRDs: up to date, structural, bounded and explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from switchyard import api
from switchyard.api import base, crd

CRDS = Path(__file__).parents[2] / "crds"


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part of a schema with its path; entries of lists end in `[]`, values of maps in `{}`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".lstrip("."))
    for key, end in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], path + end)


def schemas() -> list[tuple[str, dict[str, Any]]]:
    return [(plural, crd.schema(kind)) for plural, kind in api.KINDS.items()]


ALL = pytest.mark.parametrize(("plural", "schema"), schemas(), ids=list(api.KINDS))


def test_the_files_are_those_of_the_models(capsys: pytest.CaptureFixture[str]) -> None:
    status = crd.main(["--check", str(CRDS)])

    assert status == 0, capsys.readouterr().out


def test_check_shows_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main([str(tmp_path)]) == 0
    rigs = tmp_path / "rigs.switchyard.farm.yaml"
    rigs.write_text(rigs.read_text().replace("maximum: 5000", "maximum: 6000"))
    (tmp_path / "old.switchyard.farm.yaml").write_text("gone: true\n")
    (tmp_path / "kustomization.yaml").write_text("ours: false\n")

    assert crd.main(["--check", str(tmp_path)]) == 1
    told = capsys.readouterr()
    lines = [line.split() for line in told.out.splitlines()]
    assert ["-", "maximum:", "6000"] in lines
    assert ["+", "maximum:", "5000"] in lines
    assert "-gone: true" in told.out
    assert f"python -m switchyard.api.crd {tmp_path}" in told.err

    assert crd.main([str(tmp_path)]) == 0
    assert crd.main(["--check", str(tmp_path)]) == 0
    assert (tmp_path / "kustomization.yaml").exists()


@ALL
def test_schemas_are_small(plural: str, schema: dict[str, Any]) -> None:
    assert (CRDS / f"{plural}.{base.GROUP}.yaml").stat().st_size < 100_000


@ALL
def test_every_field_is_explained(plural: str, schema: dict[str, Any]) -> None:
    silent = [
        path
        for path, node in nodes(schema)
        if not node.get("description") and not path.endswith(("[]", "{}")) and not path.startswith("metadata")
    ]

    assert silent == []
    assert all("\n" not in node.get("description", "") for _, node in nodes(schema))


@ALL
def test_everything_people_write_is_bounded(plural: str, schema: dict[str, Any]) -> None:
    """Otherwise the API server cannot tell what rules cost, and refuses them."""
    unbounded = []
    for path, node in nodes(schema["properties"]["spec"], "spec"):
        match node.get("type"):
            case "array":
                bounded = "maxItems" in node
            case "string":
                bounded = "maxLength" in node or "enum" in node or node.get("format") == "date-time"
            case "object":
                bounded = "additionalProperties" not in node or "maxProperties" in node
            case "integer":
                bounded = "minimum" in node and "maximum" in node
            case "boolean":
                bounded = True
            case _:
                bounded = bool(node.get("x-kubernetes-int-or-string"))
        if not bounded:
            unbounded.append(path)

    assert unbounded == []


@ALL
def test_rules_tell_people_what_to_do(plural: str, schema: dict[str, Any]) -> None:
    for path, node in nodes(schema):
        for rule in node.get(base.RULES, ()):
            assert len(rule["message"]) > 20, path
            assert "\n" not in rule["message"], path
            assert set(rule) <= {"rule", "message", "fieldPath"}, path


@ALL
def test_defaults_are_for_specs_alone(plural: str, schema: dict[str, Any]) -> None:
    status = schema["properties"]["status"]

    assert [path for path, node in nodes(status) if "default" in node or base.RULES in node] == []
    for path, node in nodes(schema["properties"]["spec"]):
        required = set(node.get("required", ()))
        assert not [
            name for name, child in node.get("properties", {}).items() if "default" in child and name in required
        ]
        assert "default" not in node or node["default"] is not None, path


@ALL
def test_statuses_have_conditions_by_type(plural: str, schema: dict[str, Any]) -> None:
    status = schema["properties"]["status"]["properties"]

    assert status["observedGeneration"]["type"] == "integer"
    assert status["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert set(status["conditions"]["items"]["properties"]) == {
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime",
        "observedGeneration",
    }


def test_what_has_one_writer_is_atomic() -> None:
    status = crd.schema(api.KINDS["rigs"])["properties"]["status"]["properties"]

    for name in ("agent", "decision", "hardware", "mode", "step"):
        assert status[name]["x-kubernetes-map-type"] == "atomic"


@ALL
def test_columns_show_fields_that_exist(plural: str, schema: dict[str, Any]) -> None:
    names = api.KINDS[plural].names
    paths = {path for path, _ in nodes(schema)}

    assert names.columns[-1] == base.AGE
    assert any(".status.conditions" in column.path for column in names.columns)
    for column in names.columns[:-1]:
        path = column.path.lstrip(".")
        if "[?(" in path:
            path = path.partition("[?(")[0] + "[]" + path.partition(")]")[2]
        assert path in paths


def test_the_files_are_whole() -> None:
    for plural, kind in api.KINDS.items():
        document = yaml.safe_load((CRDS / f"{plural}.{base.GROUP}.yaml").read_text())
        assert document["spec"]["names"]["categories"] == ["switchyard"]
        assert document["spec"]["scope"] == ("Namespaced" if kind.names.namespaced else "Cluster")
        (version,) = document["spec"]["versions"]
        assert version["subresources"] == {"status": {}}
        assert version["schema"]["openAPIV3Schema"] == crd.schema(kind)
