"""How much of a graph has fewer bits: a quantization that quietly left everything alone looks perfectly accurate."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger", "ConvInteger", "Gather"})
BLOCKS = "MatMulNBits"
BITS_8 = frozenset({TensorProto.INT8, TensorProto.UINT8})
BITS_16 = frozenset({TensorProto.FLOAT16})
_WEIGHTS = BITS_8 | BITS_16 | {TensorProto.FLOAT}
_READ_THROUGH = {"DequantizeLinear", "Cast"}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares (0 to 1) of weights, and of multiply-accumulates that work on such weights."""

    weights: float
    macs: float


def coverage(model: ModelProto, formats: Collection[int] = BITS_8) -> Coverage:
    """Return how much of a graph is stored in some formats; blocks of 4 or 8 bits count as bytes.

    Tables, such as embeddings, count among the weights, but do no work. Work per weight comes from the inferred
    output shapes.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    shapes = _shapes(model)
    weights = macs = small_weights = small_macs = 0.0
    seen: set[str] = set()
    for node in model.graph.node:
        found = _stored(node, constants, makers)
        if found is None:
            continue
        name, count, form = found
        work = 0 if node.op_type == "Gather" else count * _uses(node, shapes)
        count = 0 if name in seen else count  # a weight that several layers share is stored once
        seen.add(name)
        is_small = form in formats
        weights, macs = weights + count, macs + work
        small_weights, small_macs = small_weights + count * is_small, small_macs + work * is_small
    return Coverage(small_weights / weights if weights else 0.0, small_macs / macs if macs else 0.0)


def _stored(
    node: NodeProto, constants: dict[str, TensorProto], makers: dict[str, NodeProto]
) -> tuple[str, int, int] | None:
    """Return name, size and format of the weight that a node uses."""
    if node.op_type == BLOCKS:
        size = {item.name: item.i for item in node.attribute}
        return node.input[1], size["K"] * size["N"], TensorProto.UINT8
    tensor = _weight(node, constants, makers) if node.op_type in WEIGHTED else None
    return None if tensor is None else (tensor.name, math.prod(tensor.dims), tensor.data_type)


def _weight(node: NodeProto, constants: dict[str, TensorProto], makers: dict[str, NodeProto]) -> TensorProto | None:
    """Return the constant that a node multiplies with or looks up, through what turns it into FP32."""
    names = node.input[:1] if node.op_type == "Gather" else node.input[1::-1]  # of products maybe also the first
    for name in names:
        maker = makers.get(name)
        origin = maker.input[0] if maker is not None and maker.op_type in _READ_THROUGH else name
        tensor = constants.get(origin)
        if tensor is None or len(tensor.dims) < 2 or tensor.data_type not in _WEIGHTS:
            continue
        if node.op_type != "Gather" or not _is_scales(tensor):
            return tensor
    return None


def _is_scales(tensor: TensorProto) -> bool:
    """Tell whether a constant is one number per row, which says how to read another one."""
    return bool(math.prod(tensor.dims) == tensor.dims[0])


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
