"""`trimtab diff` says what applying a file would cause."""

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from trimtab.api.optimizedmodel import OptimizedModel
from trimtab.cli import diff, main

MANIFEST = {
    "apiVersion": "trimtab.dev/v1alpha1",
    "kind": "OptimizedModel",
    "metadata": {"name": "digits", "namespace": "models"},
    "spec": {
        "source": {"uri": "s3://models/digits"},
        "compression": {"preset": "Balanced"},
        "guardrail": {"dataset": {"uri": "s3://data/digits.npz"}, "maxDrop": "1pp"},
    },
}


class Live:
    """A cluster with one model, defaults filled in as an API server does."""

    async def get(self, _: Any, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        if (namespace, name) != ("models", "digits"):
            return None
        return {**MANIFEST, "spec": OptimizedModel.model_validate(MANIFEST).spec.wire(), "status": {}}


@pytest.fixture(autouse=True)
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def connected(_: Any) -> Any:
        yield Live()

    monkeypatch.setattr(diff, "connected", connected)
    monkeypatch.setattr(diff, "chosen_namespace", lambda namespace, _: namespace or "default")


def run(text: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["diff", "-f", "-", *arguments], input=text)


def changed(**spec: Any) -> str:
    return yaml.safe_dump({**MANIFEST, "spec": {**MANIFEST["spec"], **spec}})  # type: ignore[dict-item]


def test_the_same_is_nothing() -> None:
    """Defaults that the API server filled in are no differences."""
    done = run(changed())
    assert (done.exit_code, done.stdout) == (0, "models/digits: nothing: the spec says the same\n")


def test_a_difference_is_said_with_its_effect() -> None:
    """As text with the fields, as JSON for machines, and by the exit code."""
    text = changed(compression={"preset": "Fast"})
    done = run(text)
    assert done.exit_code == 1
    first, second = done.stdout.splitlines()
    assert first.startswith("models/digits: a new run, then a rollout: ")
    assert second == "  spec.compression.preset: Balanced -> Fast"
    done = run(text, "--output", "json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)
    assert (found["namespace"], found["name"], found["effect"]) == ("models", "digits", "NewRun")
    assert found["fields"] == [{"field": "spec.compression.preset", "before": "Balanced", "after": "Fast"}]


def test_models_among_other_objects_are_found(tmp_path: Path) -> None:
    """In one file or several; other kinds are kubectl's."""
    file = tmp_path / "two.yaml"
    new = {**MANIFEST, "metadata": {"name": "other"}}
    file.write_text(yaml.safe_dump_all([{"kind": "Namespace", "apiVersion": "v1"}, new]))
    done = run(changed(), "-f", str(file), "--output", "json", "-n", "models")
    assert done.exit_code == 1
    assert [(one["name"], one["effect"]) for one in json.loads(done.stdout)] == [
        ("digits", "Nothing"),
        ("other", "NewRun"),
    ]


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("a: [", (), "<stdin>: no YAML"),
        ("kind: Pod\n", (), "no OptimizedModel, but Pod; see `kubectl diff`"),
        ("", (), "no OptimizedModel, but nothing"),
        (changed().replace("v1alpha1", "v2"), (), "apiVersion trimtab.dev/v2; this version reads trimtab.dev/v1alpha1"),
        (changed().replace("name: digits", "other: digits"), (), "metadata.name: not set"),
        (changed(), ("-n", "elsewhere"), "metadata.namespace: models, but --namespace elsewhere"),
        (changed(serving={"maxReplicas": "many"}), (), "models/digits: spec.serving.maxReplicas: 'many'"),
    ],
)
def test_what_cannot_be_compared_is_an_error(text: str, arguments: tuple[str, ...], said: str) -> None:
    """With an exit code of its own: 1 would say that something differs."""
    done = run(text, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
