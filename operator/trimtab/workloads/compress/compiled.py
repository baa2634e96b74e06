"""Models in the files of an engine other than ONNX Runtime: one or more files that share a stem."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from trimtab.api.serving import Engine
from trimtab.workloads.serve.artifact import MODEL_FILES

STEM = "model"
_BESIDE = {".xml": ".bin", ".pt2": ".json"}


def engine_of(path: Path) -> Engine:
    """Return the engine that takes a file, by its suffix."""
    return next(engine for engine, name in MODEL_FILES.items() if name.endswith(path.suffix))


def parts(path: Path) -> list[Path]:
    """Return all files of a model: IR keeps its weights beside its graph, a package what it needs of a machine."""
    beside = _BESIDE.get(path.suffix)
    return [path] if beside is None else [path, path.with_suffix(beside)]


def size_of(path: Path) -> int:
    """Return the bytes of all files of a model."""
    return sum(part.stat().st_size for part in parts(path))


def copy_compiled(path: Path, folder: Path) -> Path:
    """Copy a model into a folder under the names that an artifact has, and return its first file there."""
    for part in parts(path):
        shutil.copyfile(part, folder / f"{STEM}{part.suffix}")
    return folder / f"{STEM}{path.suffix}"


def compiled_in(folder: Path) -> Path | None:
    """Return the model that `copy_compiled` put into a folder; None when there is none, only ONNX, or only code."""
    names = [name for engine, name in MODEL_FILES.items() if engine not in {Engine.ONNX_RUNTIME, Engine.TORCH}]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def is_code(path: Path | None) -> bool:
    """Whether loading a model runs what is in its file: such a one is made again rather than fetched back."""
    return path is not None and engine_of(path) is Engine.TORCH


def required_of(path: Path) -> dict[str, Any]:
    """Return what a model needs of a CPU, for people who choose nodes: {"cpu": …}, or nothing."""
    return {"cpu": json.loads(path.with_suffix(".json").read_bytes())["cpu"]} if is_code(path) else {}
