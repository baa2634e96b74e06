"""Devices other than CPUs, as far as they can be told without one: what engines are asked for, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
from onnx import TensorProto, helper

from trimtab.api.compression import Device
from trimtab.errors import Stalled
from trimtab.workloads.serve import engine_onnx, engine_openvino
from trimtab.workloads.serve.devices import CUDA, require_device
from trimtab.workloads.serve.engine import load_runner


def saved(folder, *sizes):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(sizes))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(sizes))],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def saved_ir(folder, *sizes):
    path = folder / "model.xml"
    ov.save_model(ov.Core().read_model(saved(folder, *sizes)), path)
    return path


@pytest.fixture
def an_npu(monkeypatch):
    """A CPU that is taken for an NPU: rows one by one, and a fixed size, are checked on it."""
    monkeypatch.setattr("trimtab.workloads.serve.engine.require_device", lambda _device: None)
    monkeypatch.setitem(engine_openvino._PLUGINS, Device.NPU, "CPU")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (
            "GPU",
            r"target\.device: GPU, but ONNX Runtime .* has only .*CPUExecutionProvider; set spec\.",
        ),
        (
            "NPU",
            r"target\.device: NPU, but OpenVINO .* finds only CPU.* in this pod; set spec\.compression\.job",
        ),
        ("FPGA", r"target\.device: FPGA, but no engine of this image runs on one; set spec\.serving\.image"),
        ("TPU", r"target\.device: TPU, but no engine of this image runs on one; set spec\.serving\.image"),
    ],
)
def test_a_device_that_this_image_does_not_run_on_is_refused(monkeypatch, tmp_path, device, message):
    """What there is, and what to set."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(ov, "Core", lambda: type("Core", (), {"available_devices": ["CPU"]}))
    with pytest.raises(Stalled, match=message) as stalled:
        load_runner(saved(tmp_path, "n", 3), 1, Device(device))
    assert stalled.value.reason == "NotSupported"


def test_cpus_are_always_there():
    """Nothing is imported, nothing asked."""
    require_device(Device.CPU)


@pytest.mark.parametrize(("used", "refused"), [([CUDA], False), (["CPUExecutionProvider"], True)])
def test_a_gpu_that_cannot_be_used_is_refused(monkeypatch, tmp_path, used, refused):
    """ONNX Runtime only warns where its CUDA part finds no GPU, and would answer from the CPU for ever."""
    told = {}

    class Session:
        def __init__(self, _path, _options, providers):
            told["providers"] = providers

        def get_providers(self):
            return used

        def get_inputs(self):
            return []

        get_outputs = get_inputs

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(engine_onnx.ort, "preload_dlls", lambda: told.setdefault("preloaded", True))
    monkeypatch.setattr(engine_onnx.ort, "InferenceSession", Session)
    path = saved(tmp_path, "n", 3)
    if refused:
        with pytest.raises(Stalled, match=r"has CUDA, but cannot use it in this pod: no GPU, or no CUDA libraries"):
            load_runner(path, 1, Device.GPU)
    else:
        load_runner(path, 1, Device.GPU)
    (first, options), second = told["providers"]
    assert (first, second, options["use_tf32"]) == (CUDA, "CPUExecutionProvider", "0")
    assert told["preloaded"]


def test_a_model_for_another_device_is_refused(monkeypatch, tmp_path):
    """OpenVINO's file is none for CUDA."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA])
    with pytest.raises(Stalled, match=r"model\.xml cannot run on a device of kind GPU, which takes \*\.onnx"):
        load_runner(saved_ir(tmp_path, "n", 3), 1, Device.GPU)


@pytest.mark.usefixtures("an_npu")
@pytest.mark.parametrize("rows", [1, 5])
def test_rows_run_one_by_one_where_sizes_are_fixed(tmp_path, rows):
    """The model is compiled for one row, and takes any number all the same, in order."""
    runner = load_runner(saved_ir(tmp_path, "n", 3), 1, Device.NPU)
    assert runner._request.get_compiled_model().inputs[0].shape == ov.Shape([1, 3])
    assert runner.inputs[0].batch is None
    given = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    (found,) = runner.run(None, {"x": given})
    assert (found == 2 * given).all()


@pytest.mark.usefixtures("an_npu")
def test_a_fixed_batch_runs_whole(tmp_path):
    """It has one size already."""
    runner = load_runner(saved_ir(tmp_path, 4, 3), 1, Device.NPU)
    assert runner.inputs[0].batch == 4
    assert runner.run(None, {"x": np.ones((4, 3), np.float32)})[0].tolist() == [[2.0] * 3] * 4


@pytest.mark.usefixtures("an_npu")
def test_other_free_sizes_are_refused(tmp_path):
    """Sentences of any length, say: which input, what it takes, what to do."""
    with pytest.raises(Stalled, match=r"model\.xml: input 'x' takes \[.*\], and NPUs take fixed sizes only; export"):
        load_runner(saved_ir(tmp_path, "n", "length"), 1, Device.NPU)
