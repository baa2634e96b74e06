"""Runs for devices that this machine does not have."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from trimtab.api.compression import Device
from trimtab.api.runs import RunSpec
from trimtab.errors import Stalled
from trimtab.workloads.compress import evaluate
from trimtab.workloads.compress.data import RunData
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.judging import judge
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.pipeline import Run
from trimtab.workloads.compress.probing import probe
from trimtab.workloads.compress.stopping import Stop

RECIPES = {
    "GPU": {"preset": "None"},
    "NPU": {"steps": [{"compile": {"engine": "OpenVino"}}]},
    "FPGA": {"steps": [{"quantize": {"scheme": "INT8"}}]},
}


def asked(folder, device):
    return RunSpec.model_validate(
        {
            "namespace": "default",
            "model": "digits",
            "key": "k",
            "source": {"uri": "file:///absent"},
            "compression": {**RECIPES[device], "target": {"device": device}},
            "guardrail": {"dataset": {"uri": "file:///absent.npz"}, "maxDrop": "2pp", "mode": "Report"},
            "output": (folder / "out").as_uri(),
        }
    )


def model_in(folder, *sizes):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(sizes))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(sizes))],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def data_for(spec):
    """Thirty samples of three numbers, the largest of which is the class."""
    x = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    return RunData(Samples({"x": x}, np.arange(30) % 3), {}, {}, (), spec.guardrail)


@pytest.mark.parametrize("device", ["GPU", "NPU"])
def test_a_run_for_a_device_that_is_not_there_ends_before_it_begins(monkeypatch, tmp_path, device):
    """Nothing is fetched, let alone trained: the source that is not there goes unnoticed."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    run = Run(asked(tmp_path, device), this_machine(1), tmp_path, lambda _line: None, Stop())
    with pytest.raises(Stalled, match=rf"target\.device: {device}, but .*set spec\.compression\.job\.image"):
        run.execute()


def test_a_run_for_an_fpga_begins_without_one(tmp_path):
    """It makes the form that FPGAs' tools take, which needs none."""
    run = Run(asked(tmp_path, "FPGA"), this_machine(1), tmp_path, lambda _line: None, Stop())
    with pytest.raises(Stalled, match=r"spec\.source\.uri: .*absent"):
        run.execute()


@pytest.mark.parametrize(("device", "told"), [("FPGA", True), ("GPU", False)])
def test_what_was_judged_elsewhere_says_so(monkeypatch, tmp_path, device, told):
    """A verdict of a CPU is none of an FPGA; one of the device itself needs no more words."""
    loaded, load_on_cpu = [], evaluate.load_runner

    def load(path, threads, on):
        loaded.append(on)
        return load_on_cpu(path, threads)

    monkeypatch.setattr(evaluate, "load_runner", load)
    spec, path = asked(tmp_path, device), model_in(tmp_path, "n", 3)
    found = judge(spec, this_machine(1), path, path, data_for(spec), Stop(), lambda _done, _what: None)
    sentence = "judged in ONNX Runtime on a CPU, which proves nothing of the FPGA"
    assert found.guardrail.message.endswith(sentence) is told
    assert loaded == ([Device.CPU] * 2 if told else [Device.GPU] * 2)


def test_free_sizes_are_refused_before_training_for_an_npu(tmp_path):
    """Which input, what it takes, what to do."""
    spec = asked(tmp_path, "NPU")
    with pytest.raises(Stalled, match=r"NPU, but input 'x' of the source takes \[-1, -1\], and NPUs take fixed sizes"):
        probe(model_in(tmp_path, "n", "length"), data_for(spec), 1, Device.NPU)


def test_a_build_for_gpus_is_another_library(monkeypatch):
    """It has another name, and answers by other kernels: artifacts have another key."""
    plain, find = this_machine(1).libraries["onnxruntime"], metadata.version

    def version(name):
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return find(name.removesuffix("-gpu"))

    monkeypatch.setattr(metadata, "version", version)
    assert this_machine(1).libraries["onnxruntime"] == f"gpu-{plain}"
