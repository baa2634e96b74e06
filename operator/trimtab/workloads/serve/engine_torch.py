"""AOTInductor packages (model.pt2, and model.json that says what they need) in torch.

A package is a library of machine code, which loading runs: nothing but an artifact of our own is ever loaded, every
byte of which the pod has compared with the manifest whose digest it was started with. Torch itself only warns of a CPU
that lacks instructions, and checks neither types nor sizes of inputs: both would end in a crash, so both are looked at
here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.serve.cpus import processor
from trimtab.workloads.serve.datatypes import NUMPY_TYPES
from trimtab.workloads.serve.engine import Array, InputForm, first_line


class TorchRunner:
    """A network that AOTInductor compiled."""

    def __init__(self, path: Path, threads: int) -> None:
        form = _form(path)
        _require_torch(path, form["torch"])
        _require_processor(path, form)
        try:
            # What torch offers on top unpickles other parts of such archives; this reads the library alone.
            self._package: Any = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)  # noqa: SLF001
        except RuntimeError as error:
            raise Stalled(
                Reason.ARTIFACT_CORRUPT,
                f"torch {torch.__version__} cannot load {path.name}: {first_line(error)}; compress the model again",
            ) from error
        self._inputs = form["inputs"]
        self._threads = threads
        self._told = threading.local()
        self.inputs = tuple(InputForm(tensor["name"], _fixed(tensor["shape"])) for tensor in self._inputs)
        self.outputs = tuple(form["outputs"])

    def run(self, outputs: list[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        """Return the named outputs.

        Raises:
            ValueError: An input has another type or size than the package was compiled for.
        """
        _require_forms(self._inputs, feeds)
        if not getattr(self._told, "threads", False):  # OpenMP keeps the number of threads per calling thread
            torch.set_num_threads(self._threads)
            self._told.threads = True
        given = [torch.from_numpy(_owned(feeds[tensor["name"]])) for tensor in self._inputs]
        found = dict(zip(self.outputs, self._package.boxed_run(given), strict=True))
        return [found[name].numpy() for name in (self.outputs if outputs is None else outputs)]


def _form(path: Path) -> dict[str, Any]:
    """Return what model.json says: torch, cpu, inputs and outputs of the package."""
    beside = path.with_suffix(".json")
    try:
        form: dict[str, Any] = json.loads(beside.read_bytes())
    except (OSError, ValueError) as error:
        raise Stalled(
            Reason.ARTIFACT_CORRUPT,
            f"{beside.name} beside {path.name} cannot be read ({first_line(error)}); the artifact must hold it",
        ) from error
    return form


def _require_torch(path: Path, wanted: str) -> None:
    if torch.__version__ != wanted:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"{path.name} was compiled for torch {wanted}, and this image has {torch.__version__}: set "
            "spec.serving.image to one with the compression image's torch, or compress again",
        )


def _require_processor(path: Path, form: Mapping[str, Any]) -> None:
    model, flags = processor()
    missing = sorted(set(form["cpu"]["flags"]) - flags)
    if missing:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"{path.name} was compiled for {form['cpu']['isa']} and would crash on this CPU ({model}), which lacks "
            f"{', '.join(missing)}: let replicas and Job run on one kind of node (spec.capacity.pools, "
            "spec.compression.job.pool), or compile for OnnxRuntime or OpenVino",
        )


def _require_forms(inputs: list[dict[str, Any]], feeds: Mapping[str, Array]) -> None:
    sizes: dict[str, int] = {}
    for tensor in inputs:
        name, given = tensor["name"], feeds[tensor["name"]]
        if given.dtype != NUMPY_TYPES[tensor["datatype"]]:
            raise ValueError(f"input '{name}': got {given.dtype}, the model takes {tensor['datatype']}")
        fits = given.ndim == len(tensor["shape"]) and all(
            size == (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted) and size > 0
            for size, wanted in zip(given.shape, tensor["shape"], strict=True)
        )
        if not fits:
            raise ValueError(f"input '{name}': got {list(given.shape)}, the model takes {tensor['shape']}")


def _owned(array: Array) -> Array:
    """Return an array as torch takes it: in one piece, and writable."""
    return np.require(array, requirements=["C", "W"])


def _fixed(shape: list[int | str]) -> int | None:
    return shape[0] if shape and isinstance(shape[0], int) else None
