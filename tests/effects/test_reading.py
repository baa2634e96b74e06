"""Bad specs are explained in the words of who wrote them."""

from typing import Any

import pytest
from pydantic import ValidationError

from trimtab.api.capacity import CapacityPool
from trimtab.api.optimizedmodel import OptimizedModel
from trimtab.effects.reading import explain


def model(**changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "source": {"uri": "file:///m"},
        "compression": {"preset": "Fast"},
        "guardrail": {"dataset": {"uri": "file:///d.npz"}},
    }
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": "m", "namespace": "d"},
        "spec": {**spec, **changes},
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sorce": 1}, "spec.sorce: unknown field; remove it or correct its name"),
        ({"source": {}}, "spec.source.uri: required, but not set"),
        ({"serving": {"maxReplicas": "four"}}, "spec.serving.maxReplicas: 'four': Input should be a valid integer"),
        ({"serving": {"maxReplicas": 2, "minReplicas": 3}}, "minReplicas (3) must not be above maxReplicas (2)"),
        ({"compression": {}}, "exactly one of preset, steps, search; none given"),
        ({"compression": {"preset": "Fast", "steps": [{"prune": {"sparsity": "50%"}}]}}, "preset and steps given"),
        ({"compression": {"steps": [{}]}}, "spec.compression.steps[0]: a step takes exactly one of prune"),
        ({"guardrail": {"dataset": {"uri": "file:///d"}, "maxDrop": "0.01"}}, "spec.guardrail.maxDrop: '0.01'"),
        (
            {"serving": {"rollout": {"progressDeadline": 9 * "9" + "h"}}},
            "'999999999h': longer than ten years; write at",
        ),
        ({"serving": {"scaling": {"scaleDownDelay": 31 * "9" + "h"}}}, "spec.serving.scaling.scaleDownDelay: '9999"),
        (
            {"serving": {"resources": {"limits": {"cpu": "lots"}}}},
            "spec.serving.resources.limits.cpu: 'lots': 'lots' is not a resource quantity; write it like 250m",
        ),
        ({"serving": {"resources": {"limits": {"cpu": "1e400"}}}}, "'1e400' is not a resource quantity"),
        ({"serving": {"resources": {"limits": {"cpu": "1e9999999"}}}}, "'1e9999999' is not a resource quantity"),
        (
            {"compression": {"preset": "Fast", "job": {"resources": {"requests": {"memory": -1}}}}},
            "spec.compression.job.resources.requests.memory: -1: less than nothing; write 0 or more",
        ),
    ],
)
def test_explain(changes: Any, said: str) -> None:
    """Path, value, and what would do."""
    with pytest.raises(ValidationError) as caught:
        OptimizedModel.model_validate(model(**changes))
    assert said in explain(caught.value)


def test_explain_pools() -> None:
    """Pools are read with the same care."""
    body = {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "CapacityPool",
        "metadata": {"name": "spot"},
        "spec": {"capacityType": "Spot", "provider": {"embedded": {}, "labels": {"matchLabels": {}}}},
    }
    with pytest.raises(ValidationError) as caught:
        CapacityPool.model_validate(body)
    assert "labels and embedded given" in explain(caught.value)
