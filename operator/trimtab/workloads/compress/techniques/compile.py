"""Compile for an engine: write the model in the form that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from trimtab.api.compression import Compile, CompileEngine
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.compiled import size_of
from trimtab.workloads.compress.graph import optimise
from trimtab.workloads.compress.network import first_line
from trimtab.workloads.compress.techniques.registry import Context, Model, technique

_MOST_GROWTH = 1.01


@technique(Compile)
def compile_(step: Compile, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the model for an engine; what a step before wrote for that engine already stays as it is."""
    compiled, facts = (model, {}) if model.compiled is not None else _COMPILERS[step.engine](model, context)
    file = compiled.compiled or compiled.graph
    return compiled, {"engine": step.engine.value, **facts, **({"bytes": size_of(file)} if file else {})}


def _for_onnx_runtime(model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Fuse now what ONNX Runtime would fuse at every start of a pod; layouts for one kind of CPU it chooses there."""
    source, target = context.graph(model), context.folder / f"compiled-{context.index}.onnx"
    try:
        optimise(source, target)
    except Exception as error:
        # ONNX Runtime has an exception class per status code with no common base but Exception.
        raise context.failed(
            Reason.STEP_FAILED, f"ONNX Runtime cannot optimise the graph ({first_line(error)}); remove the step"
        ) from error
    fused = len(onnx.load(source).graph.node) - len(onnx.load(target).graph.node)
    # Weights in codebooks are looked up by constant operators: done beforehand, they would be large again.
    smaller = target.stat().st_size <= source.stat().st_size * _MOST_GROWTH
    return Model(graph=target if smaller else source), {"operatorsFused": fused if smaller else 0}


def _for_openvino(model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """The same numbers in OpenVINO's own form; what was quantized with QDQ nodes stays so."""
    from trimtab.workloads.compress.openvino import read_onnx, write_ir

    target = context.folder / f"compiled-{context.index}.xml"
    write_ir(read_onnx(context.graph(model)), target)
    return Model(compiled=target), {}


def _for_aotinductor(model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """A library of the network's own kernels, with FP32 as it was trained."""
    from trimtab.workloads.compress.aotinductor import compile_network

    target = context.folder / f"compiled-{context.index}.pt2"
    needs = compile_network(context.network(model), context.data.evaluation, target, context.free)
    return Model(compiled=target), {"instructions": needs["cpu"]["isa"]}


_COMPILERS: dict[CompileEngine, Callable[[Model, Context], tuple[Model, dict[str, Any]]]] = {
    CompileEngine.ONNX_RUNTIME: _for_onnx_runtime,
    CompileEngine.OPEN_VINO: _for_openvino,
    CompileEngine.AOT_INDUCTOR: _for_aotinductor,
}
