"""Weights that share a few values: a smaller file that says the same in the same time."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import helper, numpy_helper

from trimtab.store import join, open_artifact
from trimtab.workloads.compress.report import REPORT_FOLDER, read_report
from trimtab.workloads.compress.techniques.cluster import packed
from trimtab.workloads.compress.techniques.codebooks import codebook, nearest
from trimtab.workloads.serve.engine import load_runner


@given(arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-4, 4, width=16)), st.integers(2, 16))
def test_every_value_gets_the_nearest_of_a_few(values, clusters):
    """The codebook rises, is no larger than asked for, and no other value of it is nearer."""
    book = codebook(values, clusters, seed=0)
    assert 1 <= len(book) <= clusters
    assert (np.diff(book) > 0).all()
    chosen = np.abs(book[nearest(values, book)] - values)
    assert np.allclose(chosen, np.abs(book[None, :] - values[:, None]).min(1), atol=1e-6)


def test_clusters_are_found():
    """Three heaps of numbers have three means."""
    draw = np.random.default_rng(1)
    values = np.concatenate([draw.normal(at, 0.01, 500) for at in (-2, 0.5, 3)]).astype(np.float32)
    assert codebook(values, 3, seed=0) == pytest.approx([-2, 0.5, 3], abs=0.01)


def test_it_is_better_than_even_steps_and_always_the_same():
    """K-means places its values where the weights are: Lloyd and Max's optimum for normal numbers is 0.0095."""
    values = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    book = codebook(values, 16, seed=3)
    steps = np.linspace(values.min(), values.max(), 16, dtype=np.float32)
    off, plain = (float(np.square(b[nearest(values, b)] - values).mean()) for b in (book, steps))
    assert off < 0.0096 < plain / 2
    assert np.array_equal(book, codebook(values, 16, seed=3))


def test_pruned_weights_stay_zero():
    """Many zeros have a value of their own."""
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    values[::2] = 0
    book = codebook(values, 4, seed=0)
    assert len(book) == 4
    assert (book[nearest(values, book)][values == 0] == 0).all()


@pytest.mark.parametrize(("bits", "row"), [(1, [5]), (2, [17, 0]), (4, [1, 1, 0]), (8, [1, 0, 1, 0, 0])])
def test_indices_share_bytes(bits, row):
    """Eight, four, two or one to a byte, the first in the lowest bits."""
    found = packed(np.array([1, 0, 1, 0, 0], np.uint8), bits)
    assert found.dtype == np.uint8
    assert found.ravel().tolist() == row


def a_classifier(path, inputs=64, hidden=129, classes=5):
    """Write two layers with random weights as ONNX, and the labels that it gives to random samples."""
    draw = np.random.default_rng(0)
    weights = {"a": draw.normal(size=(inputs, hidden)), "b": draw.normal(size=(hidden, classes))}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    x = draw.normal(size=(600, inputs)).astype(np.float32)
    return x, ort.InferenceSession(path).run(None, {"x": x})[0].argmax(1)


def weights_of(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("scope", ["PerLayer", "Global"])
@pytest.mark.parametrize(("clusters", "smaller"), [(2, 8), (4, 6), (16, 4), (256, 2)])
def test_the_file_shrinks_and_the_engine_sees_weights(request_for, execute, tmp_path, clusters, smaller, scope):
    """The artifact is smaller by the width of its indices; ONNX Runtime folds the lookups away as it loads."""
    x, y = a_classifier(tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x_test=x, y_test=y)
    result = execute(
        request_for(
            source={"uri": (tmp_path / "model.onnx").as_uri()},
            compression={"steps": [{"cluster": {"clusters": clusters, "scope": scope}}]},
            guardrail={"dataset": {"uri": (tmp_path / "data.npz").as_uri()}, "mode": "Report"},
        )
    )
    open_artifact(result.artifact.uri, result.artifact.digest, tmp_path / "artifact")
    path = tmp_path / "artifact" / "model.onnx"
    assert (tmp_path / "model.onnx").stat().st_size / path.stat().st_size > smaller
    open_artifact(join(result.artifact.uri, REPORT_FOLDER), None, tmp_path / "report")
    (facts,) = (step["facts"] for step in read_report(tmp_path / "report")["steps"])
    assert facts["bytesAfter"] < facts["bytesBefore"] / smaller
    assert facts["distinctValues"] <= clusters * (2 if scope == "PerLayer" else 1)
    assert facts["weightsClusteredPercent"] == 100.0
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    ort.InferenceSession(path, options)
    folded = onnx.load(tmp_path / "folded.onnx")
    assert [node.op_type for node in folded.graph.node if node.op_type in {"Gather", "Div", "Cast"}] == []
    a, b = sorted((weight for weight in weights_of(folded).values() if weight.ndim == 2), key=len)
    wanted = np.maximum(x[:9] @ a, 0) @ b
    assert np.allclose(load_runner(path, 1).run(None, {"x": x[:9]})[0], wanted, rtol=1e-4, atol=1e-3)
    assert len(np.unique(a)) <= clusters


def test_a_trained_network_keeps_its_accuracy(request_for, execute, tmp_path):
    """Sixteen values a layer are enough for the digits: a seventh of the file, and no drop beyond the limit."""
    result = execute(request_for(compression={"steps": [{"cluster": {"clusters": 16}}]}))
    assert result.guardrail.verdict.value == "Passed"
    assert result.artifact.source_bytes / result.artifact.bytes > 6.5
    again = execute(
        request_for(compression={"steps": [{"cluster": {"clusters": 16}}]}, output=(tmp_path / "again").as_uri())
    )
    assert again.artifact.digest == result.artifact.digest
