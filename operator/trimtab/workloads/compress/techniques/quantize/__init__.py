"""Store, and where the engine can also compute, in fewer bits: which scheme does it, and how much was reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from trimtab.api.compression import CompileEngine, Quantize, QuantizeMethod, Scheme
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.coverage import BITS_8, BITS_16, coverage
from trimtab.workloads.compress.graph import write_graph
from trimtab.workloads.compress.techniques.openvino import quantize_for_openvino
from trimtab.workloads.compress.techniques.quantize.aware import aware
from trimtab.workloads.compress.techniques.quantize.dynamic import dynamic
from trimtab.workloads.compress.techniques.quantize.halves import half
from trimtab.workloads.compress.techniques.quantize.hybrid import hybrid
from trimtab.workloads.compress.techniques.quantize.layers import layers, name_nodes
from trimtab.workloads.compress.techniques.quantize.static import static
from trimtab.workloads.compress.techniques.quantize.weights import weight_only
from trimtab.workloads.compress.techniques.registry import Context, Model, technique

LEAST_COVERAGE = 0.01  # a graph with less than a hundredth of its weights in fewer bits is the old one with extra nodes
_SCHEMES: dict[Scheme, Callable[[Quantize, ModelProto, Path, Context], dict[str, Any]]] = {
    Scheme.INT8: static,
    Scheme.INT8_DYNAMIC: dynamic,
    Scheme.INT8_WEIGHT_ONLY: weight_only,
    Scheme.INT4_WEIGHT_ONLY: weight_only,
    Scheme.FP16: half,
    Scheme.HYBRID: hybrid,
}


@technique(Quantize)
def quantize(step: Quantize, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return a graph with fewer bits, and how much of the model really has them.

    Raises:
        Stalled: StepHadNoEffect, next to nothing changed; InvalidSpec, a `keep` pattern matches no layer; StepFailed,
            the graph cannot be quantized.
        Interrupted: The run was asked to end.
    """
    is_aware = step.method is QuantizeMethod.QUANTIZATION_AWARE
    if context.engine is CompileEngine.OPEN_VINO and not is_aware:
        return quantize_for_openvino(step, model, context)
    target = context.folder / f"quantized-{context.seed}.onnx"
    if is_aware:
        facts = aware(step, model, target, context)
    else:
        facts = _SCHEMES[step.scheme](step, prepared(context.graph(model), context), target, context)
    name = "Fp16" if step.scheme is Scheme.FP16 else "Int8"
    covered = coverage(onnx.load(target), BITS_16 if step.scheme is Scheme.FP16 else BITS_8)
    if covered.weights < LEAST_COVERAGE:
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            f"{covered.weights:.1%} of the weights became {name.lower()}{_why(facts)}; shorten keep, or remove the "
            "step",
        )
    return Model(graph=target), {
        "scheme": step.scheme.value,
        f"weights{name}Percent": round(covered.weights * 100, 1),
        f"macs{name}Percent": round(covered.macs * 100, 1),
        **facts,
    }


def prepared(source: Path, context: Context) -> ModelProto:
    """Return a graph whose nodes all have names; it also lies in the scratch space, for tools that take files."""
    model = onnx.load(source)
    name_nodes(model)
    write_graph(model, context.folder / f"prepared-{context.seed}.onnx")
    if not layers(model):
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            "0.0% of the weights can have fewer bits: no convolution, product or table has constant FP32 weights; "
            "remove the step",
        )
    return model


def _why(facts: dict[str, Any]) -> str:
    return f" ({facts['warning']})" if "warning" in facts else ""
