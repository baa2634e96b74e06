"""Every manifest in the documents is one that an API server with our definitions takes."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
import yaml
from documents import PAGES, ROOT, Block, blocks, is_shell

from trimtab.api.names import API_VERSION
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster
from trimtab.planning.support import refusals

# A part of a model is shown alone: where it belongs, and what is around it.
PLACES = {
    **dict.fromkeys(("capacity", "compression", "guardrail", "serving", "source"), ("spec",)),
    "rollout": ("spec", "serving"),
    "spec": (),
}
AROUND: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "OptimizedModel",
    "metadata": {"name": "shown"},
    "spec": {
        "source": {"uri": "s3://models/shown"},
        "compression": {"preset": "Balanced"},
        "guardrail": {"dataset": {"uri": "s3://data/shown.npz"}, "maxDrop": "1pp"},
    },
}


def manifests() -> list[tuple[str, dict[str, Any]]]:
    """Return what is YAML, with its place: what says so, and of the rest what names an API or a part of a model."""
    found = []
    for block in (block for path in PAGES for block in blocks(path)):
        if block.language in {"", "yaml"} and not is_shell(block):
            bodies = list(read(block))
            found += [(f"{block}-{number}", body) for number, body in enumerate(bodies)]
    return found


def read(block: Block) -> list[dict[str, Any]]:
    try:
        bodies = [body for body in yaml.safe_load_all(block.text) if body]
    except yaml.YAMLError:
        assert not block.language, f"{block} is no YAML"
        return []
    known = [body for body in bodies if isinstance(body, dict) and ("apiVersion" in body or next(iter(body)) in PLACES)]
    assert known == bodies or not block.language, f"{block}: neither an object nor a part of a model"
    return [body if "apiVersion" in body else whole(body) for body in known]


def whole(part: dict[str, Any]) -> dict[str, Any]:
    """Return a model with a part in its place."""
    model: dict[str, Any] = json.loads(json.dumps(AROUND))
    for key, value in part.items():
        inner = model
        for step in PLACES[key]:
            inner = inner.setdefault(step, {})
        inner[key] = {**inner.get(key, {}), **value}
        if key == "compression":
            inner[key] = value if {"preset", "steps", "search"} & value.keys() else inner[key]
    return model


MANIFESTS = manifests()
OURS = [pytest.param(body, id=where) for where, body in MANIFESTS if body["apiVersion"] == API_VERSION]
OTHERS = [pytest.param(body, id=where) for where, body in MANIFESTS if body["apiVersion"] != API_VERSION]


def test_there_are_manifests() -> None:
    """Were none found, nothing would be tested."""
    assert len(OURS) > 12
    assert OTHERS


@pytest.mark.integration
@pytest.mark.parametrize("body", OURS)
async def test_an_api_server_takes_it(body: dict[str, Any], cluster: Cluster, namespace: str) -> None:
    """Types, bounds and rules of the definitions; and this version refuses nothing in it."""
    kind = kinds.kind_of(body)
    name = f"{body['metadata']['name']}-{namespace}"[:40]
    if kind == kinds.MODELS:
        assert refusals(OptimizedModelSpec.model_validate(body["spec"])) == []
        await cluster.create({**body, "metadata": {"name": name, "namespace": namespace}})
        return
    await cluster.create({**body, "metadata": {"name": name}})
    await cluster.delete(kind, name)


@pytest.mark.parametrize("body", OTHERS)
def test_others_are_what_their_api_publishes(body: dict[str, Any]) -> None:
    """Kubernetes' own kinds; the embedded cluster's node group has a test of its own."""
    if body["apiVersion"] == "local.trimtab.dev/v1":
        assert body["kind"] == "NodeGroup"
    else:
        kubernetes_validate.validate(body, "1.37", strict=True)


@pytest.mark.integration
@pytest.mark.needs("this-machine")
async def test_the_node_group_is_one(client: Cluster, namespace: str) -> None:
    """Every field of it is known to the embedded cluster; none of its machines has to start."""
    (body,) = [param.values[0] for param in OTHERS if param.values[0]["kind"] == "NodeGroup"]
    name = f"shown-{namespace}"
    made = await client.create({**body, "metadata": {"name": name}, "spec": {**body["spec"], "desired": 0}})
    await client.delete(kinds.NODE_GROUPS, name)
    assert made["spec"] == {**body["spec"], "desired": 0}


def test_repositories_of_argo_cd_and_flux_are_laid_out_as_ours() -> None:
    """Both point to the folder that the sample of a repository has."""
    gitops = ROOT / "manifests" / "gitops"
    (application,) = yaml.safe_load_all((gitops / "argocd-application.yaml").read_text())
    source, flux = yaml.safe_load_all((gitops / "flux" / "models.yaml").read_text())
    assert (gitops / "repository" / application["spec"]["source"]["path"] / "kustomization.yaml").is_file()
    assert (gitops / "repository" / flux["spec"]["path"] / "kustomization.yaml").is_file()
    assert flux["spec"]["sourceRef"] == {"kind": source["kind"], "name": source["metadata"]["name"]}
