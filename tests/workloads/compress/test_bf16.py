"""Models that compute in BF16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import openvino as ov
import pytest

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.errors import Stalled
from trimtab.store import open_artifact
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.pipeline import Run
from trimtab.workloads.compress.report import read_report
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.serve.engine import load_runner
from trimtab.workloads.serve.engine_openvino import PRECISION

BF16 = {"quantize": {"scheme": "BF16"}}
OPENVINO = {"compile": {"engine": "OpenVino"}}
HERE = this_machine(1)


@pytest.mark.integration
@pytest.mark.skipif(not HERE.bf16, reason="this CPU has no BF16, and emulating it proves nothing")
def test_bf16_is_stored_and_computed_in(execute, request_for, tmp_path):
    """Half the bytes, BF16 kernels in the serving engine, accuracy proven there, and equal bytes each time."""
    results = [
        execute(request_for(compression={"steps": [BF16, OPENVINO]}, output=(tmp_path / name).as_uri()))
        for name in ("first", "second")
    ]
    result = results[0]
    assert result.artifact.digest == results[1].artifact.digest
    assert result.guardrail.verdict is Verdict.PASSED
    assert result.artifact.source_bytes / result.artifact.bytes > 1.5
    facts = read_report(Path(result.artifact.uri.removeprefix("file://")) / "report")["steps"][0]["facts"]
    assert facts["weightsBf16Percent"] > 90
    assert facts["computesIn"] == "BF16"
    assert float(result.guardrail.drop.removesuffix("pp")) < 0.3  # weights that were rounded, not lost
    open_artifact(result.artifact.uri, result.artifact.digest, tmp_path / "pod")
    model = load_runner(tmp_path / "pod" / "model.xml", 1)._request.get_compiled_model()
    assert model.get_property("INFERENCE_PRECISION_HINT") == ov.Type.bf16


def test_a_cpu_without_bf16_does_not_serve_it(a_graph, tmp_path, monkeypatch):
    """OpenVINO takes the hint anywhere, and is 21 times slower where it has to emulate."""
    a_graph(tmp_path / "model.onnx")
    model = ov.Core().read_model(tmp_path / "model.onnx")
    model.set_rt_info("bf16", PRECISION)
    ov.save_model(model, tmp_path / "model.xml")
    monkeypatch.setattr("trimtab.workloads.serve.engine_openvino._BF16", "BF17")
    with pytest.raises(Stalled, match=r"model\.xml computes in BF16, which this CPU would emulate") as caught:
        load_runner(tmp_path / "model.xml", 1)
    assert caught.value.reason == Reason.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("steps", "bf16", "message"),
    [
        ([BF16], True, "steps[0].quantize.scheme: BF16 without OpenVino is not supported by this version; add a step"),
        ([BF16, OPENVINO], False, "steps[0].quantize.scheme: BF16, but this CPU ("),
        (
            [{"quantize": {"scheme": "BF16", "keep": ["*"]}}, OPENVINO],
            True,
            "steps[0].quantize: keep: ",
        ),
    ],
)
def test_where_nothing_computes_in_bf16_it_is_refused(request_for, tmp_path, steps, bf16, message):
    """With the field and what to do instead."""
    run = Run(request_for(compression={"steps": steps}), replace(HERE, bf16=bf16), tmp_path, lambda _line: None, Stop())
    with pytest.raises(Stalled) as caught:
        run.execute()
    assert message in caught.value.message
