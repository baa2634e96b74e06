"""The layers of a graph that carry weights: which they are, what they are called, and which stay as they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trimtab.api.conditions import Reason
from trimtab.workloads.compress.techniques.registry import Context

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
PRODUCTS = frozenset({"Gemm", "MatMul"})
_SMALL_PART = 0.1  # of the weights: what reads a table is narrow
TABLE = "Gather"
"""A lookup in a table of weights, such as an embedding."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A node with a constant weight of at least two dimensions."""

    name: str
    operator: str
    weight: str
    """Its initializer."""
    count: int
    """Numbers in it."""


def layers(model: ModelProto) -> tuple[Layer, ...]:
    """Return the layers with FP32 weights in the order of the graph; nodes have names, see `name_nodes`."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        tensor = constants.get(_weight_of(node))
        if tensor is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            found.append(Layer(node.name, node.op_type, tensor.name, math.prod(tensor.dims)))
    return tuple(found)


def select(model: ModelProto, keep: Sequence[str], context: Context) -> tuple[tuple[Layer, ...], list[str]]:
    """Return the layers to quantize, and the names of those that the patterns in `keep` leave as they are.

    Raises:
        Stalled: InvalidSpec, a pattern matches no layer; the message lists the layers.
    """
    every = layers(model)
    for pattern in keep:
        if not any(fnmatchcase(layer.name, pattern) for layer in every):
            names = ", ".join(layer.name for layer in every[:20])
            raise context.failed(Reason.INVALID_SPEC, f"keep: {pattern} matches no layer; the layers are {names}")
    kept = [layer.name for layer in every if any(fnmatchcase(layer.name, pattern) for pattern in keep)]
    return tuple(layer for layer in every if layer.name not in kept), kept


def cheap_readers(model: ModelProto, chosen: Sequence[Layer]) -> list[str]:
    """Return the products that read the inputs before any other layer does, where they are a small part of all."""
    names = {layer.name for layer in chosen}
    behind: set[str] = set()
    found = []
    for node in model.graph.node:
        reads = bool(behind.intersection(node.input))
        if node.name in names and node.op_type in PRODUCTS and not reads:
            found.append(node.name)
        if reads or node.name in names:
            behind.update(node.output)
    count = sum(layer.count for layer in chosen if layer.name in found)
    return found if count <= _SMALL_PART * sum(layer.count for layer in chosen) else []


def name_nodes(model: ModelProto) -> None:
    """Give every node a name of its own: quantizers choose layers by name, and exporters may leave names out."""
    taken = {node.name for node in model.graph.node if node.name}
    seen: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        wanted = f"{node.op_type}_{index}"
        while wanted in taken:
            wanted += "_"
        node.name = wanted
        taken.add(wanted)
        seen.add(wanted)


def gemm_as_matmul(model: ModelProto, names: Iterable[str]) -> None:
    """Write plain Gemm nodes as MatMul and Add, under the same name: block-wise kernels take products only."""
    graph, wanted = model.graph, set(names)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        options = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        plain = options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0 and not options.get("transA", 0)
        if node.op_type != "Gemm" or node.name not in wanted or not plain or node.input[1] not in constants:
            nodes.append(node)
            continue
        weight = node.input[1]
        if options.get("transB", 0):
            turned = np.ascontiguousarray(numpy_helper.to_array(constants[weight]).T)
            weight = f"{node.input[1]}.turned"
            if weight not in constants:
                constants[weight] = numpy_helper.from_array(turned, weight)
                graph.initializer.append(constants[weight])
        biased = len(node.input) > 2 and bool(node.input[2])
        product = f"{node.output[0]}.product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], weight], [product], name=node.name))
        if biased:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}.bias"))
    replace_nodes(graph, nodes)


def replace_nodes(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Put nodes in the place of a graph's, and drop the constants that nothing reads any more."""
    kept = list(nodes)
    graph.ClearField("node")
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input} | {value.name for value in graph.output}
    used = [tensor for tensor in graph.initializer if tensor.name in read or _is_read_below(graph, tensor.name)]
    graph.ClearField("initializer")
    graph.initializer.extend(used)


def _is_read_below(graph: GraphProto, name: str) -> bool:
    """Tell whether a branch or the body of a loop reads a constant of the graph around it."""
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                if any(name in inner.input for inner in body.node) or _is_read_below(body, name):
                    return True
    return False


def _weight_of(node: NodeProto) -> str:
    """Return the input that may be the weight, or nothing."""
    if node.op_type in CONVOLUTIONS | PRODUCTS and len(node.input) > 1:
        return str(node.input[1])
    if node.op_type == TABLE and all(item.name != "axis" or item.i == 0 for item in node.attribute):
        return str(node.input[0])
    return ""
