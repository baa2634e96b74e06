"""A step that changed nothing fails, whichever it is: a report may not claim what did not happen."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.api.compression import Scheme, Step
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

OPENVINO = {"compile": {"engine": "OpenVino"}}
NO_WEIGHT = "no weight changed; raise the learning rate"
BECAME = "0.0% of the weights became int8"
FEWER = "0.0% of the weights got fewer bits"
# What asks for nothing, by kind of step; every message says what to do instead.
IDLE = [
    ({"prune": {"method": "Structured", "sparsity": "0%"}}, "rounded to whole ones of this network, is none"),
    ({"prune": {"method": "Magnitude", "sparsity": "0%"}}, "is none more; raise the share, or remove the step"),
    ({"prune": {"method": "Layers", "sparsity": "0%"}}, "layers is none; ask for"),
    ({"quantize": {"scheme": "INT8", "keep": ["*"]}}, BECAME),
    (
        {"quantize": {"scheme": "INT8", "method": "QuantizationAware", "epochs": 1, "keep": ["*"]}},
        "0.0% of the weights",
    ),
    ({"quantize": {"scheme": "INT8Dynamic", "keep": ["*"]}}, BECAME),
    ({"quantize": {"scheme": "INT8WeightOnly", "keep": ["*"]}}, BECAME),
    ({"quantize": {"scheme": "INT4WeightOnly", "keep": ["*"]}}, BECAME),
    ({"quantize": {"scheme": "FP16", "keep": ["*"]}}, "0.0% of the weights became fp16"),
    ({"quantize": {"scheme": "Hybrid", "keep": ["*"]}}, BECAME),
    ({"finetune": {"epochs": 1, "learningRate": "0"}}, NO_WEIGHT),
    ({"distill": {"epochs": 1, "learningRate": "0"}}, NO_WEIGHT),
]
IDLE_IN_OPENVINO = [
    ({"quantize": {"scheme": "INT8WeightOnly", "keep": ["*"]}}, FEWER),
    ({"quantize": {"scheme": "INT4WeightOnly", "keep": ["*"]}}, FEWER),
]
ELSEWHERE = {
    "cluster": "below, on a graph that is small enough",
    "reduceInputs": "in test_reduce_inputs.py, on tables",
    "compile": "it brings another engine, which is its effect",
    "name": "not a kind of step",
}


@pytest.mark.parametrize(
    ("steps", "message"),
    [([step], message) for step, message in IDLE] + [([step, OPENVINO], message) for step, message in IDLE_IN_OPENVINO],
)
def test_a_step_that_changes_nothing_fails(execute, request_for, steps, message):
    """With the field at fault and what to do; nothing is published."""
    with pytest.raises(Stalled) as caught:
        execute(request_for(compression={"steps": steps}))
    assert caught.value.reason == Reason.STEP_HAD_NO_EFFECT
    assert caught.value.message.startswith(f"spec.compression.steps[0].{next(iter(steps[0]))}: ")
    assert message in caught.value.message


def test_clusters_that_save_nothing_fail(execute, request_for, a_graph, tmp_path):
    """A graph of 48 weights has none that a codebook would pay for."""
    a_graph(tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x_test=np.ones((200, 16), np.float32), y_test=np.zeros(200, int))
    spec = request_for(
        source={"uri": (tmp_path / "model.onnx").as_uri()},
        guardrail={"dataset": {"uri": (tmp_path / "data.npz").as_uri()}},
        compression={"steps": [{"cluster": {"clusters": 16}}]},
    )
    with pytest.raises(Stalled, match=r"no float32 weights of .* numbers or more; remove the step") as caught:
        execute(spec)
    assert caught.value.reason == Reason.STEP_HAD_NO_EFFECT


def test_every_kind_of_step_is_looked_at():
    """Who adds a kind of step, or a scheme, says here what it looks like when it does nothing."""
    steps = [step for step, _ in IDLE]
    kinds = {next(iter(step)) for step in steps}
    assert kinds | set(ELSEWHERE) == {field.alias or name for name, field in Step.model_fields.items()}
    schemes = {step["quantize"]["scheme"] for step in steps if "quantize" in step}
    assert schemes | {"BF16"} == {scheme.value for scheme in Scheme}  # BF16 takes no keep: all of the graph is in it
