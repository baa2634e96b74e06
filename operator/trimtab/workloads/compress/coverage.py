"""How much of a graph is int8: a quantization that quietly left everything alone looks perfectly accurate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_INT8 = {TensorProto.INT8, TensorProto.UINT8}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares (0 to 1) of weights and of multiply-accumulates that work on int8 weights."""

    weights: float
    macs: float


def coverage(model: ModelProto) -> Coverage:
    """Return the int8 shares of a QDQ graph. Work per weight comes from the inferred output shapes."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    shapes = _shapes(model)
    weights = macs = int8_weights = int8_macs = 0.0
    for node in model.graph.node:
        if node.op_type not in WEIGHTED:
            continue
        tensor = _weight(node, constants, makers)
        if tensor is None:
            continue
        count = math.prod(tensor.dims)
        work = count * _uses(node, shapes)
        is_int8 = tensor.data_type in _INT8
        weights, macs = weights + count, macs + work
        int8_weights, int8_macs = int8_weights + count * is_int8, int8_macs + work * is_int8
    return Coverage(int8_weights / weights if weights else 0.0, int8_macs / macs if macs else 0.0)


def _weight(node: NodeProto, constants: dict[str, TensorProto], makers: dict[str, NodeProto]) -> TensorProto | None:
    """Return the constant that a node multiplies with, looking through DequantizeLinear."""
    for name in node.input[1::-1]:  # the second input, for MatMul also the first
        maker = makers.get(name)
        origin = maker.input[0] if maker is not None and maker.op_type == "DequantizeLinear" else name
        if origin in constants and len(constants[origin].dims) > 1:
            return constants[origin]
    return None


def _uses(node: NodeProto, shapes: dict[str, list[int]]) -> int:
    """Return how often each weight is used per sample: at each place of a convolution, in each row of a product."""
    shape = shapes.get(node.output[0], [])
    places = shape[2:] if node.op_type.startswith("Conv") else shape[1:-1]
    return math.prod(size for size in places if size > 0)


def _shapes(model: ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.output)
    }


def weight_bytes(model: ModelProto) -> int:
    """Return the size of all constants."""
    return sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)
