"""The manifests that the demo applies: the very files of the repository, with the demo's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from trimtab.api.names import API_VERSION
from trimtab.errors import Stalled

Manifest = dict[str, Any]
OPERATOR_NAMESPACE = "trimtab-system"
OPERATOR = "trimtab-operator"
MODEL = "digits"
NAMESPACE = "default"
_PLACEHOLDER = "file:///demo"


def manifests_folder() -> Path:
    """Return the folder of the manifests: beside the package in a wheel, at the root of a checkout.

    Raises:
        Stalled: Neither is there.
    """
    here = Path(__file__).resolve()
    candidates = (here.parents[1] / "assets" / "manifests", here.parents[4] / "manifests")
    for folder in candidates:
        if (folder / "kustomization.yaml").is_file():
            return folder
    raise Stalled("NoManifests", f"no manifests in {candidates[0]} or {candidates[1]}; install Trimtab from its wheel")


def kustomized(folder: Path) -> list[Manifest]:
    """Return the objects of a kustomization that only lists resources, in its order.

    Raises:
        Stalled: It does more than list resources, which only kustomize can render.
    """
    file = folder / "kustomization.yaml"
    body = yaml.safe_load(file.read_text())
    if extra := sorted(body.keys() - {"apiVersion", "kind", "resources"}):
        raise Stalled(
            "NotSupported", f"{file}: {', '.join(extra)}: only `resources` is read here; use kubectl apply -k"
        )
    objects: list[Manifest] = []
    for entry in body["resources"]:
        path = (folder / entry).resolve()
        objects += kustomized(path) if path.is_dir() else documents(path)
    return objects


def documents(file: Path) -> list[Manifest]:
    """Return the objects of a YAML file."""
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def on_a_laptop(objects: list[Manifest], settings: Mapping[str, str]) -> list[Manifest]:
    """Return the objects with one operator and its environment changed; a setting that is there is replaced."""
    changed = []
    for body in objects:
        if body["kind"] == "Deployment" and body["metadata"]["name"] == OPERATOR:
            pod = body["spec"]["template"]["spec"]
            first, *others = pod["containers"]
            kept = [entry for entry in first.get("env", []) if entry["name"] not in settings]
            added = [{"name": name, "value": value} for name, value in settings.items()]
            pod = {**pod, "containers": [{**first, "env": [*kept, *added]}, *others]}
            template = {**body["spec"]["template"], "spec": pod}
            body = {**body, "spec": {**body["spec"], "replicas": 1, "template": template}}  # noqa: PLW2901 - the same object, changed
        changed.append(body)
    return changed


def operator_settings(folder: Path) -> dict[str, str]:
    """Return the operator's environment for a laptop: its folders, and patience of seconds instead of minutes."""
    return {
        "TRIMTAB_ARTIFACTS_URI": (folder / "artifacts").as_uri(),
        "TRIMTAB_ALLOW_CODE_NAMESPACES": NAMESPACE,
        "TRIMTAB_URL_TEMPLATE": "http://{clusterIP}:8080",
        "TRIMTAB_GATEWAY_REPLICAS": "1",  # a laptop's cores are for the replicas
        "TRIMTAB_ON_DEMAND_HOLD": "20s",
        "TRIMTAB_NODE_HOLD": "8s",
    }


def sample_model(samples: Path, folder: Path) -> Manifest:
    """Return the sample model with the demo's folder in the place of the sample's."""
    text = (samples / "digits.yaml").read_text().replace(_PLACEHOLDER, folder.as_uri())
    body: Manifest = yaml.safe_load(text)
    if body["apiVersion"] != API_VERSION:
        raise Stalled(
            "InvalidSpec", f"digits.yaml: apiVersion {body['apiVersion']!r}; this version reads {API_VERSION}"
        )
    return body
