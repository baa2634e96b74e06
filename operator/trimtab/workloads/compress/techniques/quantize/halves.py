"""Weights stored in 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from trimtab.api.compression import Quantize
from trimtab.workloads.compress.graph import write_graph
from trimtab.workloads.compress.techniques.quantize.layers import replace_nodes, select
from trimtab.workloads.compress.techniques.registry import Context

_HIGHEST = float(np.finfo(np.float16).max)


def half(step: Quantize, model: ModelProto, target: Path, context: Context) -> dict[str, Any]:
    """Write a graph whose weights are FP16; the engine makes them FP32 once, as it loads the file.

    No x86 kernel of the engine computes in FP16, so a graph that asked for it would be slower, not faster. Weights
    beyond FP16's range stay FP32.
    """
    chosen, kept = select(model, step.keep or [], context)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    casts, large = [], []
    for weight in dict.fromkeys(layer.weight for layer in chosen):
        values = numpy_helper.to_array(constants[weight])
        if np.abs(values).max(initial=0.0) > _HIGHEST:
            large += [layer.name for layer in chosen if layer.weight == weight]
            continue
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{weight}.fp16"))
        constants[weight].name = f"{weight}.fp32"  # read by nothing from here on
        casts.append(
            helper.make_node("Cast", [f"{weight}.fp16"], [weight], name=f"{weight}.cast", to=TensorProto.FLOAT)
        )
    replace_nodes(model.graph, [*casts, *model.graph.node])
    write_graph(model, target)
    return {"kept": kept} | ({"beyondRange": large} if large else {})
