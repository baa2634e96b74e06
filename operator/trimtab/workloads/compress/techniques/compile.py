"""Compile for an engine: for ONNX Runtime that is the export, since the engine optimises the graph as it loads."""

from __future__ import annotations

from typing import Any

from trimtab.api.compression import Compile
from trimtab.workloads.compress.techniques.registry import Context, Model, technique


@technique(Compile)
def compile_(step: Compile, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the model as an ONNX file."""
    return Model(graph=context.graph(model)), {"engine": step.engine.value}
