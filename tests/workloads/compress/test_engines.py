"""Models compiled for engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.store import open_artifact
from trimtab.workloads.compress.checkpoints import Checkpoints
from trimtab.workloads.compress.graph import optimise
from trimtab.workloads.compress.openvino import coverage, fold_weights, layers, read_onnx, write_ir
from trimtab.workloads.compress.report import read_report
from trimtab.workloads.compress.stopping import Interrupted, Stop
from trimtab.workloads.serve import loading
from trimtab.workloads.serve.engine import load_runner

INT8 = {"quantize": {"scheme": "INT8"}}
OPENVINO = {"compile": {"engine": "OpenVino"}}


@pytest.fixture
def fetched(tmp_path):
    """Fetch a result's artifact and its report."""

    def fetch(result):
        folder = tmp_path / "fetched"
        open_artifact(result.artifact.uri, result.artifact.digest, folder)
        return folder, read_report(Path(result.artifact.uri.removeprefix("file://")) / "report")

    return fetch


@pytest.fixture
def digits(customer):
    with np.load(customer[1]) as arrays:
        return arrays["x_test"].astype(np.float32)


@pytest.mark.integration
def test_a_model_compiled_for_openvino_says_the_same_there(execute, request_for, fetched, digits):
    """Same weights, another engine: no drop, and the pod serves the IR as config.json says."""
    result = execute(request_for(compression={"steps": [OPENVINO]}))
    folder, report = fetched(result)
    assert result.guardrail.verdict is Verdict.PASSED
    assert float(result.guardrail.drop.removesuffix("pp")) == 0
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        "config.json", "manifest.json", "model.bin", "model.xml"
    ]  # fmt: skip
    assert report["steps"][0]["facts"] == {
        "engine": "OpenVino",
        "bytes": result.artifact.bytes,
        "bytesAfter": result.artifact.bytes,
    }
    found = loading.fetched(lambda: folder)
    assert found.spec.engine is Engine.OPEN_VINO
    assert loading.load_fetched(found, 1, 4)({"input": digits[:3]})[0].shape == (3, 10)


@pytest.mark.integration
def test_int8_for_openvino_is_what_runs(execute, request_for, fetched):
    """NNCF's own quantization, in either order of the steps: all weights in int8, a third of the size, proven."""
    results = [execute(request_for(compression={"steps": steps})) for steps in ([INT8, OPENVINO], [OPENVINO, INT8])]
    folder, report = fetched(results[0])
    facts = report["steps"][0]["facts"]
    assert facts["weightsInt8Percent"] == 100
    assert facts["macsInt8Percent"] == 100
    assert results[0].guardrail.verdict is Verdict.PASSED
    assert results[0].artifact.source_bytes / results[0].artifact.bytes > 3
    assert results[1].reused  # the compile step goes last wherever it stands: these are one recipe
    assert json.loads((folder / "config.json").read_bytes())["engine"] == "OpenVino"


@pytest.mark.integration
@pytest.mark.parametrize(("scheme", "at_least"), [("INT8WeightOnly", 3), ("INT4WeightOnly", 3), ("FP16", 1.8)])
def test_weights_for_openvino_shrink(execute, request_for, scheme, at_least):
    """Each scheme that is offered makes the file smaller and keeps the accuracy."""
    steps = [{"quantize": {"scheme": scheme}}, OPENVINO]
    result = execute(request_for(compression={"steps": steps}))
    assert result.artifact.source_bytes / result.artifact.bytes > at_least
    assert result.guardrail.verdict is Verdict.PASSED


@pytest.mark.integration
def test_kept_layers_stay_in_openvino(execute, request_for, fetched):
    """Layers are named as in ONNX."""
    steps = [{"quantize": {"scheme": "INT8", "keep": ["*Gemm"]}}, OPENVINO]
    _, report = fetched(execute(request_for(compression={"steps": steps})))
    assert [name.rpartition("/")[2] for name in report["steps"][0]["facts"]["kept"]] == ["Gemm"]
    assert report["steps"][0]["facts"]["weightsInt8Percent"] < 100


@pytest.mark.parametrize(
    ("steps", "reason", "message"),
    [
        ([OPENVINO, OPENVINO], Reason.INVALID_SPEC, "spec.compression.steps[1].compile: a model is compiled for one"),
        ([INT8, INT8, OPENVINO], Reason.INVALID_SPEC, "spec.compression.steps[1].quantize: comes after quantize"),
        (
            [{"quantize": {"scheme": "INT8", "keep": ["none*"]}}, OPENVINO],
            Reason.INVALID_SPEC,
            "keep: none* matches no layer; the layers are ",
        ),
        (
            [{"quantize": {"scheme": "INT8", "keep": ["*"]}}, OPENVINO],
            Reason.STEP_HAD_NO_EFFECT,
            "0.0% of the weights got fewer bits",
        ),
    ],
)
def test_what_openvino_is_not_given(execute, request_for, steps, reason, message):
    """The field, and what to do instead."""
    with pytest.raises(Stalled) as caught:
        execute(request_for(compression={"steps": steps}))
    assert caught.value.reason == reason
    assert message in caught.value.message


def test_ir_does_not_depend_on_what_was_read_before(a_graph, tmp_path):
    """OpenVINO numbers operators by a counter of the process; the files are the same all the same."""
    a_graph(tmp_path / "model.onnx")
    for name in ("first.xml", "second.xml"):
        write_ir(read_onnx(tmp_path / "model.onnx"), tmp_path / name)
    assert (tmp_path / "first.xml").read_bytes() == (tmp_path / "second.xml").read_bytes()
    assert (tmp_path / "first.bin").read_bytes() == (tmp_path / "second.bin").read_bytes()
    assert list(layers(ov.Core().read_model(tmp_path / "first.xml"))) == ["scores"]
    assert coverage(tmp_path / "first.xml").weights == 0


@pytest.mark.integration
def test_a_run_resumes_with_the_engines_own_files(execute, request_for, monkeypatch, capsys, tmp_path):
    """Stopped after NNCF, the next pod takes graph and weights from the checkpoint, and ends with the same bytes."""
    monkeypatch.setattr(Checkpoints, "due", True)
    spec = request_for(compression={"steps": [INT8, OPENVINO]})
    stop = Stop()
    with pytest.raises(Interrupted):
        execute(spec, stop=stop, emit=lambda line: stop.ask() if '"step":"compile"' in line else None)
    capsys.readouterr()
    resumed = execute(spec)
    assert "step=quantize" not in capsys.readouterr().out
    whole = execute(request_for(compression=spec.compression.wire(), output=(tmp_path / "whole").as_uri()))
    assert resumed.artifact.digest == whole.artifact.digest


@pytest.mark.integration
def test_compiling_for_onnx_runtime_fuses_beforehand(execute, request_for, fetched):
    """Fewer operators, the same answers, and equal bytes each time."""
    result = execute(request_for(compression={"steps": [{"compile": {"engine": "OnnxRuntime"}}]}))
    folder, report = fetched(result)
    assert report["steps"][0]["facts"]["operatorsFused"] > 0
    assert float(result.guardrail.drop.removesuffix("pp")) == 0
    optimise(folder / "model.onnx", folder / "again.onnx")
    assert (folder / "again.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    assert loading.fetched(lambda: folder).spec.engine is Engine.ONNX_RUNTIME


@pytest.fixture
def a_depthwise_graph():
    """Write a small network of a convolution, a depthwise and a pointwise one as ONNX."""

    def write(path):
        draw = np.random.default_rng(0)
        shapes = {"first": (16, 1, 3, 3), "depthwise": (16, 1, 3, 3), "pointwise": (24, 16, 1, 1), "head": (24, 10)}
        weights = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        nodes = [
            helper.make_node("Conv", ["x", "first"], ["a"], name="one", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"], name="two"),
            helper.make_node("Conv", ["b", "depthwise"], ["c"], name="three", group=16, pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["d"], name="four"),
            helper.make_node("Conv", ["d", "pointwise"], ["e"], name="five"),
            helper.make_node("GlobalAveragePool", ["e"], ["f"], name="six"),
            helper.make_node("Flatten", ["f"], ["g"], name="seven"),
            helper.make_node("MatMul", ["g", "head"], ["scores"], name="eight"),
        ]
        forms = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("x", ["batch", 1, 12, 12]), ("scores", ["batch", 10]))
        ]
        stored = [numpy_helper.from_array(weight, name) for name, weight in weights.items()]
        graph = helper.make_graph(nodes, "depthwise", forms[:1], forms[1:], stored)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)

    return write


@pytest.mark.integration
def test_depthwise_convolutions_compute_in_int8(execute, request_for, fetched, a_depthwise_graph, tmp_path):
    """Their weights have a scale per channel, so that the engine has no layer left to compute in FP32."""
    a_depthwise_graph(tmp_path / "model.onnx")
    x = np.random.default_rng(1).normal(size=(400, 1, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "images.npz", x_test=x)
    result = execute(
        request_for(
            source={"uri": (tmp_path / "model.onnx").as_uri()},
            compression={"steps": [INT8, OPENVINO]},
            guardrail={
                "dataset": {"uri": (tmp_path / "images.npz").as_uri()},
                "metric": "CosineSimilarity",
                "maxDrop": "2pp",
            },
        )
    )
    assert result.guardrail.verdict is Verdict.PASSED
    folder, report = fetched(result)
    assert report["steps"][0]["facts"]["weightsInt8Percent"] == 100
    runs = load_runner(folder / "model.xml", 1)._request.get_compiled_model().get_runtime_model().get_ordered_ops()
    told = [{name: node.get_rt_info()[name].astype(str) for name in ("layerType", "runtimePrecision")} for node in runs]
    precisions = [one["runtimePrecision"] for one in told if "Convolution" in one["layerType"]]
    assert len(precisions) == 3
    assert not any("f32" in precision for precision in precisions)


def test_weights_that_are_int8_already_stay_so(a_depthwise_graph, tmp_path):
    """What quantization-aware training stored is not computed back into FP32."""
    a_depthwise_graph(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    weights = {weight.name: weight for weight in model.graph.initializer}
    stored = numpy_helper.from_array(np.ones((16, 1, 3, 3), np.int8), "small")
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    model.graph.initializer.remove(weights["depthwise"])
    model.graph.initializer.extend([stored, scale])
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["small", "scale"], ["depthwise"], name="decode"))
    onnx.save(model, tmp_path / "model.onnx")
    graph = read_onnx(tmp_path / "model.onnx")
    fold_weights(graph)
    write_ir(graph, tmp_path / "model.xml")
    assert coverage(tmp_path / "model.xml").weights > 0
