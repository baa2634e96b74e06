"""Runs judged by metrics other than accuracy, on graphs with several inputs, numbers and embeddings."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Metric, Verdict
from trimtab.errors import Stalled


@pytest.fixture
def two_inputs(tmp_path):
    """Write a graph that weighs two inputs into three numbers, and return its URI with its function."""
    draw = np.random.default_rng(0)
    first, second = (draw.normal(size=(8, 3)).astype(np.float32) for _ in range(2))
    names = ("left", "right")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["left", "a"], ["p"], name="one"),
            helper.make_node("MatMul", ["right", "b"], ["q"], name="two"),
            helper.make_node("Add", ["p", "q"], ["sum"], name="sum"),
        ],
        "two",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in names],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")],
    )
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path.as_uri(), lambda left, right: left @ first + right @ second


@pytest.fixture
def judged(execute, request_for, two_inputs, tmp_path):
    """Quantize the graph and judge it by a metric; labels are made from what it says."""

    def run(labels, **guardrail):
        uri, function = two_inputs
        draw = np.random.default_rng(1)
        left, right = (draw.normal(size=(600, 8)).astype(np.float32) for _ in range(2))
        arrays = {"left_test": left, "right_test": right}
        said = labels(function(left, right), draw)
        np.savez(tmp_path / "two.npz", **arrays, **({} if said is None else {"y_test": said}))
        wanted = {"dataset": {"uri": (tmp_path / "two.npz").as_uri()}} | guardrail
        return execute(
            request_for(source={"uri": uri}, compression={"preset": "Fast"}, guardrail=wanted, allowCode=False)
        ).guardrail

    return run


def noisy(said, draw):
    return said + draw.normal(size=said.shape)


@pytest.mark.parametrize("metric", [Metric.MEAN_ABSOLUTE_ERROR, Metric.ROOT_MEAN_SQUARED_ERROR])
def test_errors_may_grow_by_a_share(judged, metric):
    """A regression's error in int8 grows by little against the noise of its labels."""
    found = judged(noisy, metric=metric.value, maxDrop="5%")
    assert (found.verdict, found.metric) == (Verdict.PASSED, metric)
    assert float(found.baseline) == pytest.approx(0.8 if metric is Metric.MEAN_ABSOLUTE_ERROR else 1.0, abs=0.1)
    assert "limit 5% of the original's error" in found.message


def test_embeddings_need_no_labels(judged):
    """Cosine similarity compares with the original's own outputs."""
    found = judged(lambda _said, _draw: None, metric="CosineSimilarity")
    assert (found.verdict, float(found.baseline)) == (Verdict.PASSED, 1)
    assert 0.99 < float(found.candidate) < 1
    assert found.message.startswith("cosine similarity to the original fell 0.")


@pytest.mark.parametrize("metric", ["F1", "AUROC", "TopKAccuracy"])
def test_classes_are_judged_by_other_scores(judged, metric):
    """F1, AUROC and top-k of int8 classes pass."""
    found = judged(lambda said, _draw: said.argmax(1), metric=metric, topK=2, maxDrop="5pp")
    assert found.verdict is Verdict.PASSED
    assert float(found.candidate) > 0.8


def test_arrays_that_are_no_inputs(execute, request_for, two_inputs, tmp_path):
    """One array for a model with two inputs names what the model takes."""
    np.savez(tmp_path / "one.npz", x_test=np.zeros((9, 8), np.float32), y_test=np.zeros(9, int))
    spec = request_for(source={"uri": two_inputs[0]}, guardrail={"dataset": {"uri": (tmp_path / "one.npz").as_uri()}})
    with pytest.raises(Stalled) as refused:
        execute(spec)
    assert refused.value.reason == Reason.DATASET_INVALID
    assert "the model takes left, right, but the data set has x; store one array per input" in refused.value.message


def test_a_metric_that_does_not_fit(judged):
    """Top-5 of three classes is no question; the message says why."""
    with pytest.raises(Stalled, match=r"spec\.guardrail\.metric: TopKAccuracy: .* more than 5 classes"):
        judged(lambda said, _draw: said.argmax(1), metric="TopKAccuracy")
