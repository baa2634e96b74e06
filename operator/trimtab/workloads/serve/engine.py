"""How a model is run: the same runner for serving and for judging, so that a verdict is about what serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import onnxruntime as ort
from numpy.typing import NDArray

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

_ERROR = 3
Array = NDArray[Any]


class InputForm(NamedTuple):
    """An input of a loaded model."""

    name: str
    batch: int | None
    """The one size of its first dimension; None takes any."""


class Runner(Protocol):
    """A loaded model. It may be shared by threads; one run at a time makes the best use of it."""

    @property
    def inputs(self) -> tuple[InputForm, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names, in order."""

    def run(self, outputs: list[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        """Return the named outputs, or all of them, as arrays of the caller's own."""


def load_runner(path: Path, threads: int) -> Runner:
    """Load a model for `threads` CPU threads; the file's suffix tells the engine.

    Its memory arena keeps what the largest run needed, so the caller bounds memory by bounding the batch.

    Raises:
        ValueError: `threads` is below 1.
        Stalled: The file is missing, damaged, or uses operators that this engine does not have.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; it must be at least 1")
    if not path.is_file():
        raise Stalled(Reason.ARTIFACT_CORRUPT, f"there is no model at {path}; the artifact must hold {path.name}")
    return OnnxRunner(path, threads)


class OnnxRunner:
    """An ONNX file in ONNX Runtime."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._session = ort.InferenceSession(path, _options(threads), providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime has an exception class per status code with no common base but Exception.
            raise Stalled(
                Reason.NOT_SUPPORTED, f"ONNX Runtime {ort.__version__} cannot load {path.name}: {_first_line(error)}"
            ) from error
        self._inputs = tuple(InputForm(node.name, _fixed(node.shape)) for node in self._session.get_inputs())
        self._outputs = tuple(node.name for node in self._session.get_outputs())

    @property
    def inputs(self) -> tuple[InputForm, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._outputs

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


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
