"""What the API once took, it takes: `first/` has the definitions and samples as they were first installable."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.api.capacity import CapacityPool
from trimtab.api.crds import crds
from trimtab.api.optimizedmodel import OptimizedModel
from trimtab.api.status import OptimizedModelStatus
from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster

FIRST = Path(__file__).parent / "first"
# What was taken away on purpose, and why nobody misses it.
DELIBERATE = {
    ".spec: new rule !has(self.serving) || !has(self.serving.accelerator) || (has(self.compression.target) && "
    "has(self.compression.target.device) && self.compression.target.device != 'CPU')": "no version served such a model",
    ".spec.compression.steps[].distill.student: new rule !has(self.entrypoint) || has(self.uri)": "no network then",
    ".spec.compression.search.space[].distill.student: new rule !has(self.entrypoint) || has(self.uri)": "as above",
    ".spec.guardrail: new rule !(self.metric in ['MeanAbsoluteError', 'RootMeanSquaredError']) || "
    "self.maxDrop.endsWith('%')": "an error has no percentage points",
    ".spec.guardrail.metric: MeanSquaredError is no more": "no version judged by it; RootMeanSquaredError does",
    ".spec.reoptimize.onDrift.metric: MeanSquaredError is no more": "as above",
    **{
        f".status.{place}metric: MeanSquaredError is no more": "no version wrote it"
        for place in (
            "guardrail.",
            "activeRevision.guardrail.",
            "candidateRevision.guardrail.",
            "revisions[].guardrail.",
        )
    },
    ".spec.serving.rollout.canary.steps[].weight: maxLength fell from 9 to 4": "no version rolled out by canaries",
    ".spec.serving.rollout.canary.steps[].weight: pattern became ^(100|[1-9][0-9]?)%$": "more than 100% means nothing",
}
LOWER, UPPER = ("minimum", "minLength", "minItems"), ("maximum", "maxLength", "maxItems")


def first(plural: str) -> Any:
    return json.loads((FIRST / f"{plural}.json").read_text())


def now(plural: str) -> Any:
    return next(crd for crd in crds().values() if crd["spec"]["names"]["plural"] == plural)


def samples() -> list[dict[str, Any]]:
    return [body for body in yaml.safe_load_all((FIRST / "samples.yaml").read_text()) if body]


def schema(crd: Any) -> Any:
    (version,) = [entry for entry in crd["spec"]["versions"] if entry["name"] == "v1alpha1"]
    assert (version["served"], version["storage"]) == (True, True)
    return version["schema"]["openAPIV3Schema"]


def taken_away(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield what `old` allows and `new` does not; rules in CEL are compared as texts."""
    here = path or "."
    if old.get("type") != new.get("type"):
        yield f"{here}: type {old.get('type')} became {new.get('type')}"
        return
    for word in LOWER:
        if new.get(word, float("-inf")) > old.get(word, float("-inf")) and not (word != "minimum" and new[word] == 0):
            yield f"{here}: {word} rose from {old.get(word, 'none')} to {new[word]}"
    for word in UPPER:
        if new.get(word, float("inf")) < old.get(word, float("inf")):
            yield f"{here}: {word} fell from {old.get(word, 'none')} to {new[word]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{here}: pattern became {new['pattern']}"
    if "default" in old and new.get("default") != old["default"]:
        yield f"{here}: default {old['default']} became {new.get('default', 'none')}"
    if "enum" in new and (gone := set(old.get("enum", ["any value"])) - set(new["enum"])):
        yield f"{here}: {', '.join(sorted(gone))} is no more"
    if added := set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{here}: {', '.join(sorted(added))} became required"
    known = {rule["rule"] for rule in old.get("x-kubernetes-validations", ())}
    for rule in new.get("x-kubernetes-validations", ()):
        if rule["rule"] not in known:
            yield f"{here}: new rule {rule['rule']}"
    properties = new.get("properties", {})
    for name, part in old.get("properties", {}).items():
        if name in properties:
            yield from taken_away(part, properties[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: is no more"
    for inner in ("items", "additionalProperties"):
        if isinstance(old.get(inner), dict) and isinstance(new.get(inner), dict):
            yield from taken_away(old[inner], new[inner], f"{path}[]")


@pytest.mark.parametrize("plural", ["optimizedmodels", "capacitypools"])
def test_nothing_was_taken_away(plural: str) -> None:
    """Fields, values, bounds and defaults: a manifest that was good is good, and means the same."""
    gone = [text for text in taken_away(schema(first(plural)), schema(now(plural))) if text not in DELIBERATE]
    assert gone == []


def test_what_was_deliberate_is_still_so() -> None:
    """A reason that nothing needs any more goes."""
    gone = {
        text
        for plural in ("optimizedmodels", "capacitypools")
        for text in taken_away(schema(first(plural)), schema(now(plural)))
    }
    assert set(DELIBERATE) <= gone


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"properties": {}}, ".uri: is no more"),
        ({"properties": {"uri": {"type": "integer"}}}, ".uri: type string became integer"),
        ({"properties": {"uri": {"type": "string", "maxLength": 9}}}, ".uri: maxLength fell from 10 to 9"),
        ({"properties": {"uri": {"type": "string", "minLength": 1}}}, ".uri: minLength rose from none to 1"),
        ({"properties": {"uri": {"type": "string", "enum": ["A"]}}}, ".uri: B is no more"),
        ({"properties": {"uri": {"type": "string", "default": "B"}}}, ".uri: default A became B"),
        ({"properties": {"uri": {"type": "string", "pattern": "^a"}}}, ".uri: pattern became ^a"),
        ({"required": ["uri"]}, ".: uri became required"),
        ({"x-kubernetes-validations": [{"rule": "false"}]}, ".: new rule false"),
    ],
)
def test_each_loss_is_named(change: dict[str, Any], said: str) -> None:
    """The comparison itself misses nothing of what it is about."""
    uri = {"type": "string", "maxLength": 10, "enum": ["A", "B"], "default": "A"}
    old = {"type": "object", "properties": {"uri": uri}}
    new = {**old, **change}
    if change.get("properties"):
        new["properties"] = {"uri": {**uri, **change["properties"]["uri"]}}
    assert said in list(taken_away(old, new))
    assert list(taken_away(old, old)) == []


def test_old_samples_are_read() -> None:
    """By today's models, with every field that they set."""
    read = {"OptimizedModel": OptimizedModel, "CapacityPool": CapacityPool}
    for body in samples():
        read[body["kind"]].model_validate(body)
    assert {body["kind"] for body in samples()} == set(read)


@pytest.mark.integration
async def test_old_objects_are_served_by_new_definitions(cluster: Cluster, namespace: str) -> None:
    """Stored under the first definitions, read and changed under today's: nothing of them is lost."""
    try:
        for plural in ("optimizedmodels", "capacitypools"):
            await cluster.apply(first(plural))
        stored = []
        for number, body in enumerate(samples()):
            body["metadata"] = {"name": f"{namespace}-{number}"}
            if body["kind"] == "OptimizedModel":
                body["metadata"]["namespace"] = namespace
            async with asyncio.timeout(60):
                stored.append(await cluster.apply(body, manager="kubectl"))
    finally:
        for crd in crds().values():
            await cluster.apply(crd)
    for body in stored:
        kind = kinds.kind_of(body)
        found = await cluster.get(kind, body["metadata"]["name"], body["metadata"].get("namespace"))
        assert found is not None
        assert lost(body["spec"], found["spec"]) == []
        assert found["metadata"]["generation"] == body["metadata"]["generation"], "nothing of it was changed"
        again = await cluster.apply({**body, "metadata": named(body), "status": None}, manager="kubectl")
        assert lost(body["spec"], again["spec"]) == []
        if kind is kinds.POOLS:
            await cluster.delete(kind, body["metadata"]["name"])


def named(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body["metadata"][name] for name in ("name", "namespace") if name in body["metadata"]}


def lost(before: Any, after: Any, path: str = "spec") -> list[str]:
    """What `before` says and `after` does not."""
    if isinstance(before, dict):
        return [
            text for name, value in before.items() for text in lost(value, (after or {}).get(name), f"{path}.{name}")
        ]
    return [] if before == after else [f"{path}: {before} became {after}"]


def test_an_old_status_is_understood() -> None:
    """What an operator of that time wrote does not stop one of today."""
    status = {
        "observedGeneration": 1,
        "conditions": [],
        "lastRun": {"name": "m-run-1", "key": "1", "phase": "Succeeded", "progressPercent": 100},
        "activeRevision": {
            "name": "m-1",
            "runName": "m-run-1",
            "artifact": {"uri": "s3://a/b", "digest": "sha256:0", "bytes": 1, "sourceBytes": 2},
            "generation": 1,
            "since": "2026-11-21T05:00:00Z",
        },
        "replicas": {"desired": 2, "ready": 2, "onDemand": 1, "spot": 1},
        "traffic": {"revisions": [{"revision": "m-1", "weight": 100}], "avoidNodes": []},
    }
    read = OptimizedModelStatus.model_validate(status)
    assert read.active_revision is not None
    assert read.active_revision.artifact.source_bytes == 2
