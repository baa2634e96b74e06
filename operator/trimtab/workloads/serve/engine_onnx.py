"""ONNX files in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.serve.engine import Array, InputForm, first_line

_ERROR = 3


class OnnxRunner:
    """An ONNX file in ONNX Runtime."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._session = ort.InferenceSession(path, _options(threads), providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime has an exception class per status code with no common base but Exception.
            raise Stalled(
                Reason.NOT_SUPPORTED, f"ONNX Runtime {ort.__version__} cannot load {path.name}: {first_line(error)}"
            ) from error
        self.inputs = tuple(InputForm(node.name, _fixed(node.shape)) for node in self._session.get_inputs())
        self.outputs = tuple(node.name for node in self._session.get_outputs())

    def run(self, outputs: list[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        found: list[Array] = self._session.run(outputs, feeds)
        return found


class MappedOnnxRunner:
    """An ONNX model whose weights are mapped from files in a folder, and used as they are.

    Raises:
        Exception: ONNX Runtime's own; there is always another way to load a model.
    """

    def __init__(self, model: bytes, folder: Path, threads: int) -> None:
        options = _options(threads)
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, outputs: list[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        found: list[Array] = self._session.run(outputs, feeds)
        return found


def _fixed(shape: list[Any]) -> int | None:
    return shape[0] if shape and isinstance(shape[0], int) else None


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
