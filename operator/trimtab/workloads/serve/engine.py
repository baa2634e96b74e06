"""How a model is run: the same runner for serving and for judging, so that a verdict is about what serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.serve.devices import SUFFIXES, require_device

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


def load_runner(path: Path, threads: int, device: Device = Device.CPU) -> Runner:
    """Load a model for `threads` CPU threads, or for another device; the file's suffix tells the engine.

    Its memory arena keeps what the largest run needed, so the caller bounds memory by bounding the batch.

    Raises:
        ValueError: `threads` is below 1, or no engine takes files with this suffix.
        Stalled: The file is missing, damaged, or uses operators that this engine does not have; or the engine is not
            installed here, or does not run on the device.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; it must be at least 1")
    if path.suffix not in _LOADERS:
        raise ValueError(f"{path.name} is for no engine; expected one of {', '.join(_LOADERS)}")
    if not path.is_file():
        raise Stalled(Reason.ARTIFACT_CORRUPT, f"there is no model at {path}; the artifact must hold {path.name}")
    try:
        _require_device(path, device)
        return _LOADERS[path.suffix](path, threads, device)
    except ModuleNotFoundError as error:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"{path.name} needs {error.name}, which this image does not have; set spec.serving.image to one that does",
        ) from error


def _require_device(path: Path, device: Device) -> None:
    if device is Device.CPU:
        return
    require_device(device)
    if path.suffix != SUFFIXES[device]:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"{path.name} cannot run on a device of kind {device}, which takes *{SUFFIXES[device]}; compress the model "
            "with this compression.target.device",
        )


# Each engine takes a quarter of a second or more to import: only the one that is needed is.


def _onnx(path: Path, threads: int, device: Device) -> Runner:
    from trimtab.workloads.serve.engine_onnx import OnnxRunner

    return OnnxRunner(path, threads, device)


def _openvino(path: Path, threads: int, device: Device) -> Runner:
    from trimtab.workloads.serve.engine_openvino import OpenVinoRunner

    return OpenVinoRunner(path, threads, device)


def _torch(path: Path, threads: int, _device: Device) -> Runner:
    from trimtab.workloads.serve.engine_torch import TorchRunner

    return TorchRunner(path, threads)


_LOADERS: dict[str, Callable[[Path, int, Device], Runner]] = {".onnx": _onnx, ".xml": _openvino, ".pt2": _torch}


def first_line(error: Exception) -> str:
    """Return what an engine's error says, in one line of at most 300 characters."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]
