"""Loading a model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trimtab.errors import Stalled
from trimtab.workloads.serve.engine import load_runner


@pytest.fixture
def doubling(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_loaded_model_answers_batches_of_any_size(doubling):
    """One runner serves every number of rows."""
    runner = load_runner(doubling, threads=1)
    for rows in (1, 2, 5):
        (answer,) = runner.run(None, {"x": np.ones((rows, 3), np.float32)})
        assert answer.tolist() == [[2.0, 2.0, 2.0]] * rows


def test_the_threads_are_those_asked_for_and_never_spin(doubling):
    """A pod uses the CPUs it was given, and none while it waits."""
    options = load_runner(doubling, threads=2)._session.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_damaged_model_is_refused_with_its_name(tmp_path):
    """A file that is no model cannot be served however often it is tried."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no protobuf at all")
    with pytest.raises(Stalled, match=r"cannot load model\.onnx"):
        load_runner(path, threads=1)


def test_a_missing_model_is_refused_with_its_path(tmp_path):
    """The message says where the model was looked for."""
    with pytest.raises(Stalled, match=r"no model at .*absent\.onnx"):
        load_runner(tmp_path / "absent.onnx", threads=1)


def test_threads_below_one_are_refused(doubling):
    """Zero would mean "as many as the machine has" to ONNX Runtime."""
    with pytest.raises(ValueError, match="threads is 0"):
        load_runner(doubling, threads=0)
