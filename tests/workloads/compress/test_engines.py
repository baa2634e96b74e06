"""Models compiled for engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.store import open_artifact
from trimtab.workloads.compress.checkpoints import Checkpoints
from trimtab.workloads.compress.graph import optimise
from trimtab.workloads.compress.openvino import coverage, layers, read_onnx, write_ir
from trimtab.workloads.compress.report import read_report
from trimtab.workloads.compress.stopping import Interrupted, Stop
from trimtab.workloads.serve import loading

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
