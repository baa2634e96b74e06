"""INT8 with calibrated activations: QDQ nodes around the layers with weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry

from trimtab.api.compression import Quantize
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.graph import write_graph
from trimtab.workloads.compress.quieting import quiet_libraries
from trimtab.workloads.compress.techniques.quantize.calibrating import JUDGED, Ranges, error, observe, said
from trimtab.workloads.compress.techniques.quantize.layers import CONVOLUTIONS, TABLE, Layer, cheap_readers, select
from trimtab.workloads.compress.techniques.quantize.weights import shrink_tables
from trimtab.workloads.compress.techniques.registry import Context

_WORTH_SPARING = 0.5  # of the error
# Between convolutions these keep numbers in int8; elsewhere (softmax, normalisation, masks) int8 costs accuracy only.
_BETWEEN = frozenset({"Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Relu"})


def static(step: Quantize, model: ModelProto, target: Path, context: Context) -> dict[str, Any]:
    """Write the int8 graph with the better of two calibrations, told by the outputs of the calibration samples.

    Where nothing is to be kept, layers that read a table's columns stay FP32 if that halves the error at next to no
    cost: columns of unlike spread share one scale, and those of the least one vanish in it.
    """
    chosen, kept = select(model, step.keep or [], context)
    samples = context.data.calibration[context.field]
    full, trimmed = observe(model, watched(model, chosen), samples, context)
    judged = samples.first(JUDGED)
    wanted = said(context.folder / f"prepared-{context.seed}.onnx", judged, context)

    def better(layers: Sequence[Layer], stem: str) -> tuple[float, str, Path]:
        found = []
        for name, ranges in (("MinMax", full), ("Percentile", trimmed)):
            path = target.with_name(f"{target.stem}-{stem}{name}.onnx")
            write_int8(model, layers, ranges, path, context)
            found.append((error(wanted, said(path, judged, context)), name, path))
        return min(found)

    best = better(chosen, "")
    spared = [] if step.keep else cheap_readers(model, chosen)
    if spared:
        without = better([layer for layer in chosen if layer.name not in spared], "spared-")
        if without[0] <= best[0] * _WORTH_SPARING:
            best, kept = without, spared
    reached, method, path = best
    target.write_bytes(path.read_bytes())
    return {
        "calibrationSamples": len(samples),
        "calibrationMethod": method,
        "outputErrorPercent": round(reached * 100, 2),
        "reduceRange": context.reduce_range,
        "kept": kept,
    }


def watched(model: ModelProto, chosen: Iterable[Layer]) -> list[str]:
    """Return the tensors whose ranges are needed to quantize some layers."""
    names = set(_nodes(model, chosen))
    constants = {tensor.name for tensor in model.graph.initializer}
    found = dict.fromkeys(
        name
        for node in model.graph.node
        if node.name in names
        for name in (*node.input, *node.output)
        if name and name not in constants
    )
    return list(found)


def write_int8(model: ModelProto, chosen: Iterable[Layer], ranges: Ranges, target: Path, context: Context) -> None:
    """Write a graph whose chosen layers are int8: weights per channel and symmetric, activations unsigned with offset.

    Signed activations have no fast kernel on x86: measured on MiniLM, 8 times slower at batch 1 than unsigned ones.

    Raises:
        Stalled: StepFailed, ONNX Runtime cannot quantize the graph.
    """
    chosen = tuple(chosen)
    source = context.folder / f"prepared-{context.seed}.onnx"
    data = {
        name: TensorData(lowest=np.float32(min(low, 0.0)), highest=np.float32(max(high, 0.0)))
        for name, (low, high) in ranges.items()
    }
    try:
        with quiet_libraries():
            quantizer = QDQQuantizer(
                load_model_with_shape_infer(source),
                per_channel=True,
                reduce_range=context.reduce_range,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=TensorsData(CalibrationMethod.MinMax, data),
                nodes_to_quantize=_nodes(model, chosen) or [""],  # an empty list would mean all
                nodes_to_exclude=[],
                op_types_to_quantize=sorted(QDQRegistry),
                extra_options={},
            )
            quantizer.quantize_model()
    except (ValueError, RuntimeError, TypeError, KeyError) as failure:
        raise context.failed(
            Reason.STEP_FAILED,
            f"ONNX Runtime could not quantize the graph ({type(failure).__name__}: {str(failure)[:200]}); list the "
            "layers at fault in keep",
        ) from failure
    result: onnx.ModelProto = quantizer.model.model
    shrink_tables(result, {layer.name for layer in chosen if layer.operator == TABLE})
    write_graph(result, target)


def _nodes(model: ModelProto, chosen: Iterable[Layer]) -> list[str]:
    """Return the chosen layers' nodes, besides tables, and what lies between and behind convolutions."""
    names = {layer.name for layer in chosen if layer.operator != TABLE}
    int8: set[str] = set()
    found = []
    for node in model.graph.node:
        between = node.op_type in _BETWEEN and node.input and node.input[0] in int8
        if node.name not in names and not between:
            continue
        found.append(node.name)
        if between or node.op_type in CONVOLUTIONS:
            int8.update(node.output)
    return found
