"""Models in the files of an engine other than ONNX Runtime: one or more files that share a stem."""

from __future__ import annotations

import shutil
from pathlib import Path

from trimtab.api.serving import Engine
from trimtab.workloads.serve.artifact import MODEL_FILES

STEM = "model"


def engine_of(path: Path) -> Engine:
    """Return the engine that takes a file, by its suffix."""
    return next(engine for engine, name in MODEL_FILES.items() if name.endswith(path.suffix))


def parts(path: Path) -> list[Path]:
    """Return all files of a model: IR keeps its weights beside its graph."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def size_of(path: Path) -> int:
    """Return the bytes of all files of a model."""
    return sum(part.stat().st_size for part in parts(path))


def copy_compiled(path: Path, folder: Path) -> Path:
    """Copy a model into a folder under the names that an artifact has, and return its first file there."""
    for part in parts(path):
        shutil.copyfile(part, folder / f"{STEM}{part.suffix}")
    return folder / f"{STEM}{path.suffix}"


def compiled_in(folder: Path) -> Path | None:
    """Return the model that `copy_compiled` put into a folder; None when there is none, or only ONNX."""
    names = [name for engine, name in MODEL_FILES.items() if engine is not Engine.ONNX_RUNTIME]
    return next((folder / name for name in names if (folder / name).is_file()), None)
