"""The demo applies the repository's manifests, and changes only what a laptop needs."""

from pathlib import Path

import pytest
import yaml

from trimtab.api.capacity import CapacityPool
from trimtab.api.optimizedmodel import OptimizedModel
from trimtab.cli.demo import assets
from trimtab.effects.kinds import kind_of
from trimtab.errors import Stalled

MANIFESTS = assets.manifests_folder()
OVERLAY = MANIFESTS / "overlays" / "embedded"


def operator(objects: list[assets.Manifest]) -> assets.Manifest:
    return next(body for body in objects if body["kind"] == "Deployment")


def test_every_object_is_one_that_the_demo_can_apply() -> None:
    """There is no kind among the manifests that the client does not know."""
    kinds = [kind_of(body).kind for body in assets.kustomized(OVERLAY)]
    assert kinds[:3] == ["CustomResourceDefinition", "CustomResourceDefinition", "Namespace"]
    assert "ClusterRole" in kinds
    assert "Deployment" in kinds


def test_environment_is_replaced_not_doubled(tmp_path: Path) -> None:
    """A setting that the Deployment has is changed in place of being added, the rest stays, the source is untouched."""
    objects = assets.kustomized(OVERLAY)
    before = {entry["name"] for entry in operator(objects)["spec"]["template"]["spec"]["containers"][0]["env"]}
    changed = assets.on_a_laptop(objects, assets.operator_settings(tmp_path))
    env = operator(changed)["spec"]["template"]["spec"]["containers"][0]["env"]
    names = [entry["name"] for entry in env]
    assert len(names) == len(set(names))
    assert set(names) == before
    assert {"name": "TRIMTAB_ARTIFACTS_URI", "value": f"{tmp_path.as_uri()}/artifacts"} in env
    assert (operator(objects)["spec"]["replicas"], operator(changed)["spec"]["replicas"]) == (2, 1)


def test_samples_are_valid(tmp_path: Path) -> None:
    """The samples are what the API's own models accept, and the model points to the demo's folder."""
    model = OptimizedModel.model_validate(assets.sample_model(MANIFESTS / "samples", tmp_path))
    assert model.spec.source.uri == f"{tmp_path.as_uri()}/model"
    assert model.spec.guardrail.dataset.uri == f"{tmp_path.as_uri()}/data/digits.npz"
    for name in ("pools-embedded.yaml", "pools-labels.yaml"):
        pools = [CapacityPool.model_validate(body) for body in assets.documents(MANIFESTS / "samples" / name)]
        assert {pool.spec.capacity_type.label for pool in pools} == {"on-demand", "spot"}


def test_a_kustomization_that_patches_is_refused(tmp_path: Path) -> None:
    """What only kustomize can render is not applied half."""
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [], "patches": []}))
    with pytest.raises(Stalled, match="patches"):
        assets.kustomized(tmp_path)


def test_a_sample_of_another_version_is_refused(tmp_path: Path) -> None:
    """An old checkout beside a new package is named."""
    (tmp_path / "digits.yaml").write_text("apiVersion: trimtab.dev/v0\nkind: OptimizedModel\n")
    with pytest.raises(Stalled, match=r"trimtab\.dev/v0"):
        assets.sample_model(tmp_path, tmp_path)
