"""Weights stored in 8 or 4 bits: the file shrinks, and activations between layers stay in floating point."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

from trimtab.api.compression import Quantize, Scheme
from trimtab.workloads.compress.datasets import Array
from trimtab.workloads.compress.graph import write_graph
from trimtab.workloads.compress.quieting import quiet_libraries
from trimtab.workloads.compress.techniques.quantize.layers import (
    CONVOLUTIONS,
    PRODUCTS,
    TABLE,
    gemm_as_matmul,
    layers,
    replace_nodes,
    select,
)
from trimtab.workloads.compress.techniques.registry import Context

BLOCK = 32  # weights that share a scale
_INT8_SUMS = 4  # products round their inputs block by block: on MiniLM twice as fast in 8 bits, and as accurate
_HIGHEST = 127


def weight_only(step: Quantize, model: ModelProto, target: Path, context: Context) -> dict[str, Any]:
    """Write a graph with products in blocks of 8 or 4 bits, and convolutions and tables in 8 bits per channel or row.

    Four bits per channel ruin convolutions, whose kernels are too small for blocks.
    """
    bits = 4 if step.scheme is Scheme.INT4_WEIGHT_ONLY else 8
    chosen, kept = select(model, step.keep or [], context)
    gemm_as_matmul(model, (layer.name for layer in chosen))
    names = {layer.name for layer in chosen}
    others = [layer.name for layer in layers(model) if layer.name not in names]
    with quiet_libraries():
        config = DefaultWeightOnlyQuantConfig(
            block_size=BLOCK,
            is_symmetric=True,
            accuracy_level=_INT8_SUMS,
            bits=bits,
            op_types_to_quantize=("MatMul",),
        )
        quantizer = MatMulNBitsQuantizer(model, bits=bits, nodes_to_exclude=others, algo_config=config)
        quantizer.process()
    result: ModelProto = quantizer.model.model
    shrink_tables(result, {layer.name for layer in chosen if layer.operator == TABLE})
    _shrink_convolutions(result, {layer.name for layer in chosen if layer.operator in CONVOLUTIONS})
    write_graph(result, target)
    return {"bits": bits, "block": BLOCK, "kept": kept, "products": sum(x.operator in PRODUCTS for x in chosen)}


def rows_as_int8(weight: Array, axis: int) -> tuple[Array, Array]:
    """Return int8 numbers and FP32 scales [size of `axis`] whose product is nearest to the weight."""
    others = tuple(place for place in range(weight.ndim) if place != axis)
    scale = np.abs(weight).max(axis=others, keepdims=True).astype(np.float32) / _HIGHEST
    scale[scale == 0] = 1.0
    return np.clip(np.rint(weight / scale), -_HIGHEST, _HIGHEST).astype(np.int8), scale.reshape(-1)


def shrink_tables(model: ModelProto, names: Collection[str]) -> None:
    """Store tables in int8 with a scale per row; only the rows that are looked up become FP32."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != TABLE or node.name not in names:
            nodes.append(node)
            continue
        table, out = node.input[0], node.output[0]
        weight = numpy_helper.to_array(constants[table])
        numbers, scales = rows_as_int8(weight, 0)
        scales = scales.reshape(-1, *[1] * (weight.ndim - 1))
        for suffix, array in (("int8", numbers), ("scales", scales)):
            if f"{table}.{suffix}" not in constants:
                constants[f"{table}.{suffix}"] = numpy_helper.from_array(array, f"{table}.{suffix}")
                model.graph.initializer.append(constants[f"{table}.{suffix}"])
        nodes += [
            helper.make_node(TABLE, [f"{table}.int8", node.input[1]], [f"{out}.int8"], name=node.name, axis=0),
            helper.make_node("Cast", [f"{out}.int8"], [f"{out}.cast"], name=f"{node.name}.cast", to=TensorProto.FLOAT),
            helper.make_node(TABLE, [f"{table}.scales", node.input[1]], [f"{out}.scales"], name=f"{node.name}.scales"),
            helper.make_node("Mul", [f"{out}.cast", f"{out}.scales"], [out], name=f"{node.name}.scaled"),
        ]
    replace_nodes(model.graph, nodes)


def _shrink_convolutions(model: ModelProto, names: Collection[str]) -> None:
    """Store kernels in int8 with a scale per output channel, made FP32 by the engine."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    made: set[str] = set()
    for node in model.graph.node:
        if node.name in names:
            kernel = node.input[1]
            axis = 0 if node.op_type == "Conv" else 1
            if kernel not in made:
                made.add(kernel)
                numbers, scales = rows_as_int8(numpy_helper.to_array(constants[kernel]), axis)
                model.graph.initializer.append(numpy_helper.from_array(numbers, f"{kernel}.int8"))
                model.graph.initializer.append(numpy_helper.from_array(scales, f"{kernel}.scales"))
                inputs = [f"{kernel}.int8", f"{kernel}.scales"]
                nodes.append(
                    helper.make_node(
                        "DequantizeLinear", inputs, [f"{kernel}.fp32"], name=f"{node.name}.weight", axis=axis
                    )
                )
            node.input[1] = f"{kernel}.fp32"
        nodes.append(node)
    replace_nodes(model.graph, nodes)
