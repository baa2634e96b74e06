"""What a tool is asked for, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ONNX = "model.onnx"  # the network as its owner exports it, in the model's folder
CALIBRATION = 128  # samples, for tools that do not name a number of their own
MAX_DROP = 0.01


class Runtime(StrEnum):
    """How a variant is executed: worker.py knows how to load each."""

    EAGER = "eager"
    ONNX_RUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    SERVED = "served"
    """The engine of our server."""
    TORCHAO = "torchao"
    INDUCTOR = "inductor"


@dataclass(frozen=True, slots=True)
class Made:
    """A variant of a model."""

    runtime: Runtime
    file: Path
    """What the runtime loads; weights may lie beside it, in `files`."""
    files: tuple[Path, ...]
    """Everything that would be shipped."""
    note: str = ""
    weights: float | None = None
    """Share of the weights in fewer bits; None where it is counted in the file."""
