"""ONNX files in ONNX Runtime."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.serve.devices import CUDA
from trimtab.workloads.serve.engine import Array, InputForm, first_line
from trimtab.workloads.serve.weights import Mapped

_ERROR = 3
_CPU = "CPUExecutionProvider"
# As judged: FP32 where the model says FP32, not TF32; and no search for kernels with each new size of a batch.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


class OnnxRunner:
    """An ONNX file in ONNX Runtime.

    Read from where its weights are mapped it is the same in a third of the time, and without room for the file.
    """

    def __init__(self, path: Path, threads: int, device: Device = Device.CPU, mapped: Mapped | None = None) -> None:
        options = _options(threads)
        if mapped is not None:
            self._weights = _lend(mapped, options)
        try:
            self._session = ort.InferenceSession(
                mapped.model if mapped else path, options, providers=_providers(device)
            )
        except Exception as error:
            # ONNX Runtime has an exception class per status code with no common base but Exception.
            raise Stalled(
                Reason.NOT_SUPPORTED, f"ONNX Runtime {ort.__version__} cannot load {path.name}: {first_line(error)}"
            ) from error
        if device is Device.GPU and CUDA not in self._session.get_providers():
            # ONNX Runtime only warns, and goes on without.
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"ONNX Runtime {ort.__version__} has CUDA, but cannot use it in this pod: no GPU, or no CUDA libraries "
                "of its version; set spec.serving.accelerator to what brings GPUs into pods, and "
                "spec.compression.job.image and spec.serving.image to images with CUDA and cuDNN",
            )
        self.inputs = tuple(InputForm(node.name, _fixed(node.shape)) for node in self._session.get_inputs())
        self.outputs = tuple(node.name for node in self._session.get_outputs())

    def run(self, outputs: list[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        found: list[Array] = self._session.run(outputs, feeds)
        return found


class MappedOnnxRunner:
    """An ONNX model that uses its mapped weights as they are.

    Raises:
        Exception: ONNX Runtime's own; there is always another way to load a model.
    """

    def __init__(self, mapped: Mapped, threads: int) -> None:
        options = _options(threads)
        options.add_session_config_entry("session.disable_prepacking", "1")
        if not mapped.quantized:
            # It takes longer than the first runs gain. Only for quantized weights it makes other operators, which round
            # in other places: those were judged.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._weights = _lend(mapped, options)
        self._session = ort.InferenceSession(mapped.model, options, providers=[_CPU])

    def run(self, outputs: list[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        found: list[Array] = self._session.run(outputs, feeds)
        return found


def _lend(mapped: Mapped, options: ort.SessionOptions) -> list[ort.OrtValue]:
    """Give a session its weights, and return what has to live as long: it neither copies nor owns them."""
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(mapped.folder))
    lent = []
    for name, array in mapped.weights.items():
        lent.append(ort.OrtValue.ortvalue_from_numpy(array))
        options.add_initializer(name, lent[-1])
    return lent


def _fixed(shape: list[Any]) -> int | None:
    return shape[0] if shape and isinstance(shape[0], int) else None


def _providers(device: Device) -> list[Any]:
    if device is not Device.GPU:
        return [_CPU]
    with contextlib.redirect_stdout(sys.stderr):  # where it says what it did not find
        ort.preload_dlls()  # CUDA and cuDNN where they are Python packages
    return [(CUDA, _CUDA_OPTIONS), _CPU]  # operators without a kernel for GPUs run on the CPU


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERROR
    # Idle pods share their node: threads that spin between requests burn the CPU that a neighbour is billed for.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A memory plan is kept for every input shape ever seen, and batches come in every size.
    options.enable_mem_pattern = False
    return options
