"""Loading a model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import openvino as ov
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


@pytest.fixture
def doubling_ir(doubling, tmp_path):
    """The same model for OpenVINO."""
    path = tmp_path / "model.xml"
    ov.save_model(ov.Core().read_model(doubling), path)
    return path


@pytest.fixture(params=["doubling", "doubling_ir"])
def either(request):
    """The model's file for each engine."""
    return request.getfixturevalue(request.param)


def test_a_loaded_model_answers_batches_of_any_size(either):
    """One runner serves every number of rows, in every engine."""
    runner = load_runner(either, threads=1)
    assert runner.inputs == (("x", None),)
    assert runner.outputs == ("y",)
    for rows in (1, 2, 5):
        (answer,) = runner.run(None, {"x": np.ones((rows, 3), np.float32)})
        assert answer.tolist() == [[2.0, 2.0, 2.0]] * rows


def test_the_threads_are_those_asked_for_and_never_spin(doubling):
    """A pod uses the CPUs it was given, and none while it waits."""
    options = load_runner(doubling, threads=2)._session.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_an_answer_is_the_callers_own(either):
    """The next run does not write into it, and inputs may be read-only views of a request's bytes."""
    runner = load_runner(either, threads=1)
    ones = np.frombuffer(np.ones(3, np.float32).tobytes(), np.float32).reshape(1, 3)
    (first,) = runner.run(["y"], {"x": ones})
    runner.run(["y"], {"x": np.zeros((1, 3), np.float32)})
    assert first.tolist() == [[2.0, 2.0, 2.0]]
    first[0, 0] = 7
    assert runner.run(None, {"x": ones})[0].tolist() == [[2.0, 2.0, 2.0]]


def test_threads_share_a_model(either):
    """Runs of several threads do not mix their tensors."""
    runner = load_runner(either, threads=1)

    def double(number):
        return runner.run(None, {"x": np.full((2, 3), number, np.float32)})[0].max()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(double, range(200))) == [2 * number for number in range(200)]


def test_a_wrong_shape_is_told_in_one_line(either):
    """What the client hears names the sizes, not a line of the engine's source."""
    with pytest.raises(Exception, match="2") as caught:
        load_runner(either, threads=1).run(None, {"x": np.zeros((1, 2), np.float32)})
    assert "Exception from" not in str(caught.value)


def test_openvino_computes_as_it_was_judged(doubling_ir):
    """The CPU's own precision and pinning are left alone; threads are those asked for."""
    model = load_runner(doubling_ir, threads=2)._request.get_compiled_model()
    assert model.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert model.get_property("INFERENCE_NUM_THREADS") == 2
    assert model.get_property("NUM_STREAMS") == 1
    assert model.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.xml", b"<net>", r"OpenVINO .* cannot load model\.xml"),
        ("model.bin", None, r"no weights beside .*model\.xml; the artifact must hold model\.bin"),
    ],
)
def test_a_damaged_ir_is_refused_with_its_file(doubling_ir, name, content, message):
    """Both files are needed, and each is named."""
    if content is None:
        doubling_ir.with_name(name).unlink()
    else:
        doubling_ir.with_name(name).write_bytes(content)
    with pytest.raises(Stalled, match=message):
        load_runner(doubling_ir, threads=1)


def test_a_file_for_no_engine_is_a_mistake_of_ours(tmp_path):
    """Callers choose the file by the artifact's engine."""
    with pytest.raises(ValueError, match=r"model\.gguf is for no engine"):
        load_runner(tmp_path / "model.gguf", threads=1)


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
