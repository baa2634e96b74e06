"""What presets choose, and how a source is told to be of a kind."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from trimtab.api.compression import Preset, SourceFormat, Step
from trimtab.api.runs import RunSpec
from trimtab.api.serving import Engine
from trimtab.planning.support import step_refusals
from trimtab.workloads.compress.families import Family, family_of_operators, family_of_weights, kind_of
from trimtab.workloads.compress.presets import Observed, steps_of
from trimtab.workloads.compress.recipe import recipe
from trimtab.workloads.compress.sources.fetching import FetchedSource

INT8, DYNAMIC = {"quantize": {"scheme": "INT8"}}, {"quantize": {"scheme": "INT8Dynamic"}}
OPENVINO = {"compile": {"engine": "OpenVino"}}
LARGE = 5_000_000


def seen(family, **changes):
    wanted = {"weights": LARGE, "trainable": True, "training_samples": 4000, "labelled": True}
    return Observed(family=family, **wanted | changes)


def a_request(compression):
    return RunSpec.model_validate(
        {
            "namespace": "default",
            "model": "m",
            "key": "k",
            "source": {"uri": "file:///m"},
            "compression": compression,
            "guardrail": {"dataset": {"uri": "file:///d.npz"}},
            "output": "file:///o",
        }
    )


def chosen(preset, observed):
    return [step.wire() for step in steps_of(preset, observed).steps]


@pytest.mark.parametrize(
    ("preset", "observed", "steps"),
    [
        (Preset.NONE, seen(Family.TRANSFORMER), []),
        (Preset.FAST, seen(Family.TRANSFORMER), [INT8, OPENVINO]),
        (Preset.FAST, seen(Family.TRANSFORMER, engine=Engine.ONNX_RUNTIME), [DYNAMIC]),
        (Preset.FAST, seen(Family.CONVOLUTIONAL), [INT8, OPENVINO]),
        (Preset.FAST, seen(Family.CONVOLUTIONAL, weights=200_000), [INT8]),
        (Preset.FAST, seen(Family.DENSE), [INT8]),
        (Preset.FAST, seen(Family.DENSE, engine=Engine.OPEN_VINO), [INT8, OPENVINO]),
        (Preset.SMALLEST, seen(Family.CLASSICAL, trainable=False), []),
        (
            Preset.BALANCED,
            seen(Family.CONVOLUTIONAL),
            [{"prune": {"method": "Structured", "sparsity": "50%"}}, {"distill": {"epochs": 10}}, INT8, OPENVINO],
        ),
        (
            Preset.SMALLEST,
            seen(Family.TRANSFORMER),
            [{"prune": {"method": "Layers", "sparsity": "33%"}}, {"distill": {"epochs": 5}}, INT8, OPENVINO],
        ),
        (Preset.BALANCED, seen(Family.TRANSFORMER), [INT8, OPENVINO]),
        (Preset.BALANCED, seen(Family.DEPTHWISE), [INT8, OPENVINO]),
        (Preset.BALANCED, seen(Family.CONVOLUTIONAL, trainable=False), [INT8, OPENVINO]),
        (Preset.BALANCED, seen(Family.CONVOLUTIONAL, training_samples=150), [INT8, OPENVINO]),
        (Preset.SMALLEST, seen(Family.TRANSFORMER, labelled=False), [INT8, OPENVINO]),
    ],
)
def test_a_preset_fits_the_model_and_its_data(preset, observed, steps):
    """What can learn is pruned first; where it cannot, or is judged by its very answers, bits are all that goes."""
    assert chosen(preset, observed) == steps


def test_every_choice_can_be_done_and_is_explained():
    """No combination is refused by ourselves, each survives being pasted back as steps, and each has its reasons."""
    sizes, samples = (0, LARGE), (0, 200, 10_000_000)
    engines = (Engine.AUTO, Engine.ONNX_RUNTIME, Engine.OPEN_VINO)
    for preset, family, weights, trainable, count, labelled, engine in product(
        Preset, Family, sizes, (True, False), samples, (True, False), engines
    ):
        observed = Observed(family, weights, trainable, count, labelled, engine)
        found = steps_of(preset, observed)
        assert found.reasons
        assert found == steps_of(preset, observed)
        if not found.steps:
            continue
        assert [refusal for step in found.steps for refusal in step_refusals("", step)] == []
        pasted = [Step.model_validate(step.wire()) for step in found.steps]
        placed = recipe(a_request({"steps": [step.wire() for step in pasted]}), source_is_graph=not trainable)
        assert [one.step for one in placed] == list(found.steps)
        assert trainable or not any(one.needs_network for one in placed)


@pytest.mark.parametrize(
    ("samples", "epochs"), [(200, 12), (997, 12), (4000, 10), (40_000, 4), (10_000_000, 4)], ids=str
)
def test_more_samples_take_fewer_passes(samples, epochs):
    """Recovery sees about as many samples, however often that is all of them."""
    steps = steps_of(Preset.BALANCED, seen(Family.CONVOLUTIONAL, training_samples=samples)).steps
    assert steps[1].distill.epochs == epochs


def test_the_reasons_say_what_is_missing():
    """Who asked for Balanced and got int8 alone reads why, and what to add."""
    reasons = "\n".join(steps_of(Preset.BALANCED, seen(Family.CONVOLUTIONAL, training_samples=0)).reasons)
    assert "not pruned: there are 0 training samples, and recovery takes 200; add x_train and y_train" in reasons
    reasons = "\n".join(steps_of(Preset.BALANCED, seen(Family.DENSE, engine=Engine.OPEN_VINO)).reasons)
    assert "OpenVino: as spec.serving.engine asks" in reasons


@pytest.mark.parametrize(
    ("network", "family"),
    [
        (nn.TransformerEncoderLayer(16, 2), Family.TRANSFORMER),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(16, 2)), Family.CONVOLUTIONAL),
        (nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3)), Family.CONVOLUTIONAL),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1), nn.Linear(16, 2)),
            Family.DEPTHWISE,
        ),
        (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), Family.DENSE),
        (nn.LSTM(4, 8), Family.OTHER),
        (nn.BatchNorm1d(4), Family.OTHER),
    ],
    ids=lambda value: value.value if isinstance(value, Family) else "",
)
def test_weights_tell_the_family(network, family, tmp_path):
    """Names and shapes in the file are enough: no code of the source is needed."""
    weights = network.state_dict()
    assert family_of_weights({name: tuple(weight.shape) for name, weight in weights.items()}) is family
    save_file(weights, tmp_path / "model.safetensors")
    kind = kind_of(FetchedSource("file:///x", tmp_path, "", SourceFormat.PYTHON, tmp_path, "m:f"))
    assert kind == (family, sum(weight.numel() for weight in weights.values()))


def a_graph_of(nodes, domain=""):
    weights = [
        numpy_helper.from_array(torch.zeros(4, 4).numpy(), "dense"),
        numpy_helper.from_array(torch.zeros(4, 4, 3, 3).numpy(), "convolution"),
        numpy_helper.from_array(torch.zeros(4, 1, 3, 3).numpy(), "depthwise"),
    ]
    made = [helper.make_node(kind, inputs, [f"{index}"], domain=domain) for index, (kind, *inputs) in enumerate(nodes)]
    form = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(made, "g", [form], [form], weights))


@pytest.mark.parametrize(
    ("nodes", "family"),
    [
        ([("MatMul", "x", "dense")], Family.DENSE),
        ([("Gemm", "x", "dense"), ("Softmax", "0")], Family.DENSE),
        ([("MatMul", "x", "dense"), ("Softmax", "0"), ("MatMul", "1", "0")], Family.TRANSFORMER),
        ([("Conv", "x", "convolution"), ("Gemm", "0", "dense")], Family.CONVOLUTIONAL),
        ([("Conv", "x", "convolution"), ("Conv", "0", "depthwise")], Family.DEPTHWISE),
        ([("LSTM", "x", "dense", "dense")], Family.OTHER),
        ([("Add", "x", "dense")], Family.OTHER),
    ],
)
def test_operators_tell_the_family(nodes, family):
    """A graph has no names to go by, but what it computes."""
    assert family_of_operators(a_graph_of(nodes)) is family


def test_classical_estimators_have_no_layers():
    """Trees come as one operator."""
    assert family_of_operators(a_graph_of([("TreeEnsembleClassifier", "x")], "ai.onnx.ml")) is Family.CLASSICAL


@pytest.mark.parametrize(
    "kind", [SourceFormat.PYTHON, SourceFormat.ONNX, SourceFormat.SKLEARN, SourceFormat.TORCH_EXPORT]
)
def test_what_cannot_be_read_is_of_another_kind(kind, tmp_path):
    """The loader says what is wrong with it; choosing does not get in its way."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"not a model")
    assert kind_of(FetchedSource("file:///x", tmp_path, "", kind, path, "")) == (Family.OTHER, 0)
