"""How a model is run: the same session for serving and for judging, so that a verdict is about what serves."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

_ERROR = 3


def load_session(path: Path, threads: int) -> ort.InferenceSession:
    """Load an ONNX model for `threads` CPU threads.

    The session may be shared by threads; one run at a time makes the best use of it. Its memory arena keeps what the
    largest run needed, so the caller bounds memory by bounding the batch.

    Raises:
        ValueError: `threads` is below 1.
        Stalled: The file is missing, damaged, or uses operators that this ONNX Runtime does not have.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; it must be at least 1")
    if not path.is_file():
        raise Stalled(Reason.ARTIFACT_CORRUPT, f"there is no model at {path}; the artifact must hold model.onnx")
    try:
        return ort.InferenceSession(path, _options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime has an exception class per status code with no common base but Exception.
        raise Stalled(
            Reason.NOT_SUPPORTED, f"ONNX Runtime {ort.__version__} cannot load {path.name}: {_first_line(error)}"
        ) from error


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


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
