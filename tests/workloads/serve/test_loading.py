"""From an artifact to a model that has answered once."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import structlog
from onnx import TensorProto, helper

from trimtab.workloads.serve.loading import fetched, load_fetched


@pytest.fixture
def pooled(tmp_path):
    """Return an artifact that takes images of any size from 8 by 8 pixels."""
    graph = helper.make_graph(
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[8, 8])],
        "pooled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, "p", "q"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 1, -1, -1]}
    (tmp_path / "config.json").write_text(json.dumps({"inputs": [tensor], "outputs": [{**tensor, "name": "y"}]}))
    return tmp_path


def test_a_model_that_does_not_take_the_guessed_size_is_served_all_the_same(pooled):
    """Only where every size is known a failing warm-up says that the model is broken."""
    with structlog.testing.capture_logs() as lines:
        run = load_fetched(fetched(lambda: pooled), threads=1, max_batch=4)
    assert run({"x": np.ones((2, 1, 8, 8), np.float32)})[0].ravel().tolist() == [1, 1]
    assert [(line["event"], line["rows"]) for line in lines] == [("warmup.skipped", 1), ("warmup.skipped", 4)]
