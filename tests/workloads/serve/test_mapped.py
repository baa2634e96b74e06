"""Weights that are mapped from where they lie."""

from __future__ import annotations

import contextlib
import itertools
import json

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from trimtab.api.compression import Device
from trimtab.api.serving import Engine
from trimtab.workloads.serve import loading, mapped
from trimtab.workloads.serve.mapped import ALIGNMENT, NotOnnx, aligned, references
from trimtab.workloads.serve.weights import map_weights


def model_of(sizes, name="w"):
    """Return a model of matrix products through layers of these sizes."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(0, 0.1, (a, b)).astype(np.float32), f"{name}{i}")
        for i, (a, b) in enumerate(itertools.pairwise(sizes))
    ]
    nodes = [helper.make_node("MatMul", [f"x{i}", w.name], [f"x{i + 1}"]) for i, w in enumerate(weights)]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["n", sizes[0]])],
        [helper.make_tensor_value_info(f"x{len(weights)}", TensorProto.FLOAT, ["n", sizes[-1]])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@given(name=st.text("abc", min_size=1, max_size=200), sizes=st.lists(st.integers(1, 120), min_size=2, max_size=4))
def test_an_aligned_model_is_the_same_model(name, sizes):
    """Every large tensor begins at a multiple of the alignment, and nothing else changes."""
    model = model_of(sizes, name)
    written = aligned(memoryview(model.SerializeToString()))
    found = onnx.load_from_string(written)
    for tensor in found.graph.initializer:
        if len(tensor.raw_data) >= 16 * 1024:
            assert written.index(tensor.raw_data) % ALIGNMENT == 0
        tensor.ClearField("doc_string")
    assert found == model
    assert aligned(memoryview(written)) == written


def test_a_reference_leads_to_the_same_bytes():
    """What is small stays in the model; what is large is named by its place."""
    written = aligned(memoryview(model_of([100, 200, 3]).SerializeToString()))
    made, weights = references(memoryview(written), "model.onnx")
    assert len(made) < 4096
    large, small = onnx.load_from_string(made).graph.initializer
    entries = {entry.key: entry.value for entry in large.external_data}
    start = int(entries["offset"])
    original = onnx.load_from_string(written).graph.initializer[0]
    assert entries["location"] == "model.onnx"
    assert written[start : start + int(entries["length"])] == original.raw_data
    assert small.raw_data
    assert weights == ((large.name, TensorProto.FLOAT, (100, 200), start, len(original.raw_data)),)


def test_weights_out_of_line_are_left_where_they_are():
    """A pointer into the middle of a number is nothing that every CPU follows."""
    plain = model_of([100, 200]).SerializeToString()
    while plain.index(onnx.load_from_string(plain).graph.initializer[0].raw_data) % ALIGNMENT == 0:
        plain = b"\x32\x01x" + plain  # a comment, three bytes
    assert references(memoryview(plain), "model.onnx") is None


@given(st.binary(max_size=60))
def test_what_is_no_model_is_refused(data):
    """No bytes whatsoever raise anything else."""
    for function in (lambda: references(memoryview(data), "m"), lambda: aligned(memoryview(data))):
        with contextlib.suppress(NotOnnx):
            function()


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Return an artifact that counts as large."""
    monkeypatch.setattr(mapped, "_LARGE_MODEL_BYTES", 1000)
    (tmp_path / "model.onnx").write_bytes(model_of([100, 300, 100, 5]).SerializeToString())
    mapped.align_weights(tmp_path / "model.onnx")
    tensors = [("inputs", "x0", 100), ("outputs", "x3", 5)]
    config = {field: [{"name": n, "datatype": "FP32", "shape": [-1, size]}] for field, n, size in tensors}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return loading.fetched(lambda: tmp_path)


def test_a_mapped_model_answers_as_the_loaded_one(large):
    """Up to the last digits: other kernels add in another order."""
    x = np.random.default_rng(1).normal(size=(4, 100)).astype(np.float32)
    first = loading.load_mapped(large, loading.prepare(large), 1, warm_up=True)
    full = loading.load_fetched(large, 1, 4)
    np.testing.assert_allclose(first({"x0": x})[0], full({"x0": x})[0], rtol=1e-4, atol=1e-5)


def test_a_model_loaded_from_mapped_weights_is_the_one_that_was_judged(large):
    """To the last bit; and where that fails, the file is read."""
    x = np.random.default_rng(1).normal(size=(4, 100)).astype(np.float32)
    mapping, read = loading.prepare(large), loading.load_fetched(large, 1, 4)
    for weights in (mapping, mapping._replace(model=b"no model")):
        full = loading.load_fetched(large, 1, 4, mapped=weights)
        np.testing.assert_array_equal(full({"x0": x})[0], read({"x0": x})[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int8])
def test_weights_of_any_type_are_used_from_where_they_lie(tmp_path, monkeypatch, dtype):
    """Nothing of them is copied, and quantized ones are marked."""
    monkeypatch.setattr(mapped, "_LARGE_MODEL_BYTES", 1000)
    values = (np.arange(20_000).reshape(200, 100) % 100).astype(dtype)
    graph = helper.make_graph([], "none", [], [], [numpy_helper.from_array(values, "w")])
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    mapped.align_weights(path)
    found = map_weights(path, path.stat().st_size, Engine.ONNX_RUNTIME, Device.CPU)
    np.testing.assert_array_equal(found.weights["w"], values)
    assert found.weights["w"].dtype == dtype
    assert not found.weights["w"].flags.owndata
    assert found.quantized is (dtype is np.int8)


@pytest.mark.parametrize(
    ("size", "engine", "device"),
    [
        pytest.param(1, Engine.ONNX_RUNTIME, Device.CPU, id="small"),
        pytest.param(10**9, Engine.OPEN_VINO, Device.CPU, id="of an engine that maps by itself"),
        pytest.param(10**9, Engine.ONNX_RUNTIME, Device.GPU, id="for another memory"),
    ],
)
def test_where_nothing_is_gained_nothing_is_mapped(tmp_path, size, engine, device):
    """The file is not even opened."""
    assert map_weights(tmp_path / "missing", size, engine, device) is None


def test_what_cannot_be_mapped_is_loaded_as_ever(large):
    """No reason to fail: the real load will tell."""
    good = loading.prepare(large)
    assert loading.load_mapped(large, good._replace(model=b"no model"), 1, warm_up=False) is None
    large.model.write_bytes(b"\xff" * 5000)
    assert loading.prepare(large) is None
