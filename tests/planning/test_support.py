"""What a pool can say but this version does not do."""

from __future__ import annotations

import pytest

from trimtab.api.capacity import CapacityPoolSpec
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.planning.support import pool_refusals, refusals

LABELS = {"labels": {"matchLabels": {"pool": "spot"}}}


@pytest.mark.parametrize(
    ("extra", "field", "value", "remedy"),
    [
        (
            {"instanceTypes": ["m7i.large", "m6i.large"]},
            "spec.instanceTypes",
            "m7i.large, m6i.large",
            "leave it out; the provider's own nodes have types",
        ),
        (
            {"provider": {"karpenter": {"nodePool": "spot"}}},
            "spec.provider.karpenter",
            "this provider",
            "use labels for nodes that exist, or embedded",
        ),
    ],
)
def test_what_a_pool_cannot_do_is_refused_by_name(extra, field, value, remedy) -> None:
    """Field, value and remedy, instead of silence."""
    spec = CapacityPoolSpec.model_validate({"capacityType": "Spot", "provider": LABELS} | extra)
    assert [str(refusal) for refusal in pool_refusals(spec)] == [
        f"{field}: {value} is not supported by this version; {remedy}"
    ]


def test_a_pool_of_labels_is_taken() -> None:
    """Nothing is refused that works."""
    assert pool_refusals(CapacityPoolSpec.model_validate({"capacityType": "Spot", "provider": LABELS})) == []


def test_an_accelerator_that_nothing_uses_is_refused() -> None:
    """Devices are dear."""
    spec = {
        "source": {"uri": "s3://models/digits"},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": "s3://data/digits.npz"}},
        "serving": {"accelerator": {"resource": "nvidia.com/gpu"}},
    }
    (found,) = refusals(OptimizedModelSpec.model_validate(spec))
    assert str(found).startswith("spec.serving.accelerator: nvidia.com/gpu with target.device CPU, where nothing")


@pytest.mark.parametrize(
    ("device", "remedy"),
    [
        ("GPU", "ONNX Runtime with CUDA takes the model.onnx"),
        ("NPU", "OpenVINO's NPU plugin takes"),
        ("FPGA", "FINN and Vitis AI take ONNX with QDQ nodes"),
        ("TPU", "TPUs take StableHLO, which no step writes"),
    ],
)
def test_devices_that_nothing_here_runs_on_are_refused_with_what_they_take(device, remedy) -> None:
    """A verdict of a CPU says nothing of another device; the file for it can be made all the same."""
    spec = {
        "source": {"uri": "s3://models/digits"},
        "compression": {"preset": "None", "target": {"device": device}},
        "guardrail": {"dataset": {"uri": "s3://data/digits.npz"}},
    }
    (found,) = refusals(OptimizedModelSpec.model_validate(spec))
    assert str(found).startswith(
        f"spec.compression.target.device: {device} is not supported by this version; use CPU; {remedy}"
    )
