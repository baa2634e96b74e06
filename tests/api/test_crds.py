"""The CRDs on disk are those of the models, and are such as an API server accepts."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from trimtab.api.crds import crds
from trimtab.cli.crds import crds as command

ROOT = Path(__file__).parents[2]


def schemas() -> list[Any]:
    return [
        pytest.param(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], id=name) for name, crd in crds().items()
    ]


def nodes(schema: Any, path: str = "") -> Any:
    """Yield every schema below this one, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for field in ("items", "additionalProperties"):
        if isinstance(schema.get(field), dict):
            yield from nodes(schema[field], f"{path}[{field}]")


def test_written_crds_are_current() -> None:
    """Whoever changes a model writes the CRDs anew."""
    result = CliRunner().invoke(command, ["--check", "--directory", str(ROOT / "crds")])
    assert result.exit_code == 0, result.output


def test_stale_crds_are_named(tmp_path: Path) -> None:
    """The check fails on a file that differs, and says what to do."""
    CliRunner().invoke(command, ["--directory", str(tmp_path)], catch_exceptions=False)
    (tmp_path / "trimtab.dev_capacitypools.yaml").write_text("changed: true\n")
    result = CliRunner().invoke(command, ["--check", "--directory", str(tmp_path)])
    assert result.exit_code == 1
    assert "trimtab.dev_capacitypools.yaml stale; run `trimtab crds`" in result.output


@pytest.mark.parametrize("schema", schemas())
def test_schemas_are_structural(schema: Any) -> None:
    """No references, unions or nulls; every node has a type; nothing beside properties."""
    for path, node in nodes(schema):
        assert not {"$ref", "anyOf", "oneOf", "allOf", "nullable", "uniqueItems"} & node.keys(), path
        assert node.get("type") or node.get("x-kubernetes-int-or-string"), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert node.get("type") != "number", f"{path}: no floats in the API"


@pytest.mark.parametrize("schema", schemas())
def test_spec_fields_are_described_and_bounded(schema: Any) -> None:
    """`kubectl explain` shows something for every field, and no rule can cost an API server dearly."""
    for path, node in nodes(schema["properties"]["spec"], "spec"):
        if not path.endswith("[additionalProperties]") and not path.endswith("[items]"):
            assert node.get("description"), path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "enum" in node:
            assert not {"Off", "On", "Yes", "No", "off", "on", "yes", "no", "true", "false"} & set(node["enum"]), path


@pytest.mark.parametrize("schema", schemas())
def test_no_defaults_inside_atomic_lists(schema: Any) -> None:
    """A default there would be drift for whoever applied the list without it."""
    for path, node in nodes(schema):
        if "[items]" in path and "conditions" not in path:
            assert "default" not in node, path


def test_columns_are_those_people_look_for() -> None:
    """kubectl shows what the design promises, in that order."""
    columns = crds()["trimtab.dev_optimizedmodels.yaml"]["spec"]["versions"][0]["additionalPrinterColumns"]
    names = [column["name"].upper() for column in columns]
    shown = ["READY", "STATUS", "COMPRESSION", "SIZE", "DROP", "REPLICAS", "SPOT", "URL", "AGE"]
    assert names == [*shown, "REVISION", "LB", "COST/H", "MESSAGE"]
    assert [c["name"] for c in columns if c.get("priority") == 1] == ["Revision", "LB", "Cost/H", "Message"]


def test_status_starts_unobserved() -> None:
    """Before the first reconcile no tool may take the generation for observed."""
    schema = crds()["trimtab.dev_optimizedmodels.yaml"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_crds_are_plain_yaml() -> None:
    """No anchors: people and diffs read these files."""
    for path in (ROOT / "crds").glob("trimtab.dev_*.yaml"):
        text = path.read_text()
        assert "&id" not in text
        assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"
