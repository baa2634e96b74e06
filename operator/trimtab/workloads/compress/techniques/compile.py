"""Compile for an engine: write the model in the form that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimtab.api.compression import Compile, CompileEngine
from trimtab.workloads.compress.compiled import size_of
from trimtab.workloads.compress.techniques.registry import Context, Model, technique


@technique(Compile)
def compile_(step: Compile, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the model for an engine; what a step before wrote for that engine already stays as it is."""
    compiled, facts = (model, {}) if model.compiled is not None else _COMPILERS[step.engine](model, context)
    file = compiled.compiled or compiled.graph
    return compiled, {"engine": step.engine.value, **facts, **({"bytes": size_of(file)} if file else {})}


def _for_onnx_runtime(model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """ONNX Runtime optimises the graph as it loads it."""
    return Model(graph=context.graph(model)), {}


def _for_openvino(model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """The same numbers in OpenVINO's own form; what was quantized with QDQ nodes stays so."""
    from trimtab.workloads.compress.openvino import read_onnx, write_ir

    target = context.folder / f"compiled-{context.index}.xml"
    write_ir(read_onnx(context.graph(model)), target)
    return Model(compiled=target), {}


_COMPILERS: dict[CompileEngine, Callable[[Model, Context], tuple[Model, dict[str, Any]]]] = {
    CompileEngine.ONNX_RUNTIME: _for_onnx_runtime,
    CompileEngine.OPEN_VINO: _for_openvino,
}
