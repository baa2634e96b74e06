"""Texts of different length in one batch: only where a trial shows that filling them up changes nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trimtab.api.compression import Device
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.filling import with_filling
from trimtab.workloads.compress.graph import tensors
from trimtab.workloads.serve.artifact import parse_spec

IDS = np.random.default_rng(0).integers(1, 60, (20, 12))
MASK = (np.arange(12) < np.random.default_rng(1).integers(4, 13, (20, 1))).astype(np.int64)
TEXTS = Samples({"input_ids": IDS, "attention_mask": MASK})
INPUTS = ("input_ids", "attention_mask")
COUNTED = helper.make_node("Mul", ["input_ids", "attention_mask"], ["counted"])
TOTAL = [COUNTED, helper.make_node("ReduceSum", ["counted", "axis"], ["y"], keepdims=0)]
TAGGED = [COUNTED, helper.make_node("Add", ["counted", "counted"], ["y"])]
MEAN = [COUNTED, helper.make_node("ReduceMean", ["counted", "axis"], ["y"], keepdims=0)]
REVERSED = [
    COUNTED,
    helper.make_node("Add", ["counted", "counted"], ["twice"]),
    helper.make_node("ReverseSequence", ["twice", "lengths"], ["y"], batch_axis=0, time_axis=1),
]
LENGTHS = [
    helper.make_node("Shape", ["input_ids"], ["shape"]),
    helper.make_node("Gather", ["shape", "axis"], ["size"]),
    helper.make_node("Gather", ["shape", "first"], ["rows"]),
    helper.make_node("Expand", ["size", "rows"], ["lengths"]),
]


def asked(tmp_path, nodes, output, inputs=INPUTS, length="length"):
    """Write a graph and return what config.json says of it."""
    graph = helper.make_graph(
        nodes,
        "texts",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length]) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.INT64, output)],
        [
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor("first", TensorProto.INT64, [1], [0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    samples = Samples({name: TEXTS.inputs[name] for name in inputs})
    config = with_filling(tensors(model), tmp_path / "model.onnx", samples, 1, Device.CPU)
    return parse_spec(config)


@pytest.mark.parametrize(
    ("nodes", "output", "axes"),
    [(TOTAL, ["batch"], (None,)), (TAGGED, ["batch", "length"], (None, "length"))],
    ids=["one number for a text", "one for each token"],
)
def test_what_changes_nothing_is_allowed(tmp_path, nodes, output, axes):
    """Both inputs may be filled up, and outputs that grow with them say so."""
    spec = asked(tmp_path, nodes, output)
    assert [(tensor.axes, tensor.pad) for tensor in spec.inputs] == [((None, "length"), 0)] * 2
    assert spec.outputs[0].axes == axes


@pytest.mark.parametrize(
    ("nodes", "output", "settings"),
    [
        (MEAN, ["batch"], {}),
        (LENGTHS + REVERSED, ["batch", "length"], {}),
        ([helper.make_node("Identity", ["input_ids"], ["y"])], ["batch", "length"], {"inputs": INPUTS[:1]}),
        (TOTAL, ["batch"], {"length": 12}),
    ],
    ids=["the mean of all", "from the end", "no mask", "fixed"],
)
def test_what_would_change_an_answer_is_not(tmp_path, nodes, output, settings):
    """A model that counts what was filled up, or that cannot tell it from text, runs texts of equal length only."""
    assert not asked(tmp_path, nodes, output, **settings).pads
