"""A real API server takes our CRDs, and refuses by them what it should."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.effects import kinds
from trimtab.effects.kubernetes import ApiError, Cluster

pytestmark = pytest.mark.integration

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
SPEC: dict[str, Any] = {
    "source": {"uri": "s3://models/digits/v3"},
    "compression": {"preset": "Fast"},
    "guardrail": {"dataset": {"uri": "s3://data/digits/test.npz"}},
}


def model(namespace: str, **changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": "m", "namespace": namespace},
        "spec": {**SPEC, **changes},
    }


async def test_an_accelerator_for_a_device_is_taken(cluster: Cluster, namespace: str) -> None:
    """The rule that refuses it for CPUs sees the defaults."""
    compression = {"preset": "None", "target": {"device": "GPU"}}
    serving = {"accelerator": {"resource": "nvidia.com/gpu"}}
    made = await cluster.create(model(namespace, compression=compression, serving=serving))
    assert made["spec"]["serving"]["accelerator"]["count"] == 1


async def test_they_are_established(cluster: Cluster) -> None:
    """Structural, with their names accepted and nothing to remark."""
    for name in ("optimizedmodels.trimtab.dev", "capacitypools.trimtab.dev"):
        found = await cluster.get(kinds.CRDS, name)
        assert found is not None
        conditions = {entry["type"]: entry["status"] for entry in found["status"]["conditions"]}
        assert (conditions["NamesAccepted"], conditions["Established"]) == ("True", "True")
        assert conditions.get("NonStructuralSchema", "False") == "False"


async def test_the_samples_are_accepted(cluster: Cluster, namespace: str) -> None:
    """What the documentation shows is what the server takes."""
    taken = 0
    for path in sorted(SAMPLES.glob("*.yaml")):
        for body in yaml.safe_load_all(path.read_text()):
            kind = kinds.kind_of(body)
            if kind.namespaced:
                body["metadata"]["namespace"] = namespace
            else:
                body["metadata"]["name"] += f"-{namespace}"
            made = await cluster.create(body)
            taken += 1
            if not kind.namespaced:
                await cluster.delete(kind, made["metadata"]["name"])
    assert taken >= 3


async def test_defaults_are_filled_in(cluster: Cluster, namespace: str) -> None:
    """At creation, the status of a model that nobody has looked at included."""
    made = await cluster.create(model(namespace))
    assert made["status"]["observedGeneration"] == -1
    assert made["spec"]["guardrail"]["maxDrop"] == "1pp"
    assert made["spec"]["serving"]["minReplicas"] >= 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compression": {"preset": "Tiny"}}, 'spec.compression.preset: Unsupported value: "Tiny"'),
        ({"serving": {"maxReplicas": "four"}}, "spec.serving.maxReplicas: Invalid value"),
        ({"guardrail": {"dataset": {"uri": "no-scheme"}}}, "spec.guardrail.dataset.uri: Invalid value"),
        ({"compression": {}}, "exactly one of preset, steps, search"),
        ({"serving": {"minReplicas": 3, "maxReplicas": 2}}, "minReplicas must not be above maxReplicas"),
        ({"serving": {"accelerator": {"resource": "nvidia.com/gpu"}}}, "accelerator needs compression.target.device"),
    ],
)
async def test_mistakes_are_refused(cluster: Cluster, namespace: str, changes: dict[str, Any], said: str) -> None:
    """By schema and by rule, naming the field."""
    with pytest.raises(ApiError, match=said) as refused:
        await cluster.create(model(namespace, **changes))
    assert refused.value.status == 422
