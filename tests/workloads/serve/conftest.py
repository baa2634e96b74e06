"""Small models, and artifacts that hold them."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trimtab.store import write_manifest

CONFIG = {
    "engine": "OnnxRuntime",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}
WEIGHTS = np.array([[1, 0], [0, 1], [1, 1]], np.float32)


@pytest.fixture
def artifact(tmp_path):
    """Return (folder, digest) of a linear model: y0 = x0 + x2, y1 = x1 + x2."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [3, 2], WEIGHTS.ravel())],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder, write_manifest(folder).digest
