"""Share weights: each becomes one of a few values, stored as a short index into a codebook.

The graph itself looks the values up: engines fold that into plain weights as they load the file, so that only the file
gets smaller, not the memory or the time that a request takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trimtab.api.compression import Cluster, Scope
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.graph import write_graph
from trimtab.workloads.compress.techniques.codebooks import codebook, nearest
from trimtab.workloads.compress.techniques.registry import Context, Model, technique

_BITS = (1, 2, 4, 8)
_FEWEST = 64  # weights: less gains nothing over the nodes that look them up


@dataclass(frozen=True, slots=True)
class Clustered:
    """A weight as indices into a codebook."""

    name: str
    weight: NDArray[np.float32]
    indices: NDArray[np.uint8]
    """As many as weights, flat."""
    book: str
    """Name of the codebook."""


@technique(Cluster)
def cluster(step: Cluster, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return a graph whose weights are lookups, and how much smaller its file is.

    Raises:
        Stalled: StepHadNoEffect, no weight is large enough, or the file did not get smaller.
    """
    source = context.graph(model)
    graph = onnx.load(source)
    weights = dict(_weights(graph))
    if not weights:
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            f"the graph has no float32 weights of {_FEWEST} numbers or more; remove the step",
        )
    scope = step.scope or Scope.PER_LAYER
    books = _codebooks(weights, step.clusters, scope, context)
    found = [_clustered(name, weight, books, scope) for name, weight in weights.items()]
    _replace(graph, found, books)
    target = context.folder / f"clustered-{context.seed}.onnx"
    write_graph(graph, target)
    before, after = source.stat().st_size, target.stat().st_size
    if after >= before:
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            f"{step.clusters} clusters make the file {after} bytes where it had {before}; use fewer clusters, or "
            "remove the step",
        )
    facts = {"clusters": step.clusters, "scope": scope.value, "bytesBefore": before, "bytesAfter": after}
    return Model(graph=target), facts | _told(graph, found, books) | {"storageOnly": True}


def _weights(graph: ModelProto) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Find the float32 matrices and kernels that nodes read, by name."""
    read = {name for node in graph.graph.node for name in node.input}
    told = {value.name for value in (*graph.graph.input, *graph.graph.output)}
    for tensor in graph.graph.initializer:
        large = len(tensor.dims) > 1 and math.prod(tensor.dims) >= _FEWEST
        if tensor.data_type != TensorProto.FLOAT or not large or tensor.name not in read - told:
            continue
        array = numpy_helper.to_array(tensor)
        if np.isfinite(array).all():
            yield tensor.name, array


def _codebooks(
    weights: dict[str, NDArray[np.float32]], clusters: int, scope: Scope, context: Context
) -> dict[str, NDArray[np.float32]]:
    """Return the codebook of each weight by its name, or the one of all as `codebook`."""
    if scope is Scope.GLOBAL:
        everything = np.concatenate([weight.ravel() for weight in weights.values()])
        return {"codebook": codebook(everything, clusters, context.seed, context.stop.check)}
    books = {}
    for number, (name, weight) in enumerate(weights.items()):
        context.tick(number / len(weights), f"weight {number + 1} of {len(weights)}")
        books[f"{name}.codebook"] = codebook(weight.ravel(), clusters, context.seed + number, context.stop.check)
    return books


def _clustered(
    name: str, weight: NDArray[np.float32], books: dict[str, NDArray[np.float32]], scope: Scope
) -> Clustered:
    book = "codebook" if scope is Scope.GLOBAL else f"{name}.codebook"
    return Clustered(name, weight, nearest(weight.ravel(), books[book]), book)


def _replace(graph: ModelProto, found: list[Clustered], books: dict[str, NDArray[np.float32]]) -> None:
    """Put lookups where the weights were."""
    replaced = {weight.name for weight in found}
    kept = [tensor for tensor in graph.graph.initializer if tensor.name not in replaced]
    kept += [numpy_helper.from_array(values, name) for name, values in books.items()]
    nodes: list[NodeProto] = []
    for weight in found:
        more, lookups = _lookup(weight, len(books[weight.book]))
        kept += more
        nodes += lookups
    nodes += graph.graph.node
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(kept)


def _lookup(weight: Clustered, size: int) -> tuple[list[TensorProto], list[NodeProto]]:
    """Return constants and nodes that give a weight: unpack the indices of a byte, look up, bring into form.

    Integer division and remainder unpack, which every version of the operators has; four-bit tensors are newer.
    """
    name, count = weight.name, len(weight.indices)
    bits = next(bits for bits in _BITS if 2**bits >= size)
    constants = [
        numpy_helper.from_array(packed(weight.indices, bits), f"{name}.packed"),
        numpy_helper.from_array(np.array(weight.weight.shape, np.int64), f"{name}.shape"),
    ]
    nodes = [helper.make_node("Cast", [f"{name}.packed"], [f"{name}.bytes"], to=TensorProto.INT32)]
    indices = f"{name}.bytes"
    if bits < _BITS[-1]:
        shifts = (2 ** (bits * np.arange(8 // bits))).astype(np.int32)
        constants += [
            numpy_helper.from_array(shifts, f"{name}.shifts"),
            numpy_helper.from_array(np.array(2**bits, np.int32), f"{name}.radix"),
            numpy_helper.from_array(np.array([-1], np.int64), f"{name}.flat"),
            numpy_helper.from_array(np.array([0], np.int64), f"{name}.from"),
            numpy_helper.from_array(np.array([count], np.int64), f"{name}.to"),
        ]
        nodes += [
            helper.make_node("Div", [f"{name}.bytes", f"{name}.shifts"], [f"{name}.shifted"]),
            helper.make_node("Mod", [f"{name}.shifted", f"{name}.radix"], [f"{name}.unpacked"]),
            helper.make_node("Reshape", [f"{name}.unpacked", f"{name}.flat"], [f"{name}.padded"]),
            helper.make_node("Slice", [f"{name}.padded", f"{name}.from", f"{name}.to"], [f"{name}.indices"]),
        ]
        indices = f"{name}.indices"
    nodes += [
        helper.make_node("Gather", [weight.book, indices], [f"{name}.values"], axis=0),
        helper.make_node("Reshape", [f"{name}.values", f"{name}.shape"], [name]),
    ]
    return constants, nodes


def packed(indices: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack indices [N] of `bits` bits: bytes [N], or [ceil(N/m), 1] with m to a byte, the first in the lowest bits."""
    if bits == _BITS[-1]:
        return indices
    to_byte = 8 // bits
    rows = np.zeros(-(-len(indices) // to_byte) * to_byte, np.uint8)
    rows[: len(indices)] = indices
    shifted = rows.reshape(-1, to_byte) << (bits * np.arange(to_byte, dtype=np.uint8))
    return np.bitwise_or.reduce(shifted, axis=1, keepdims=True).astype(np.uint8)


def _told(graph: ModelProto, found: list[Clustered], books: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Return what the report says: how much of the model is shared, by how many values, and how far they are off."""
    clustered = sum(len(weight.indices) for weight in found)
    replaced = {f"{weight.name}.packed" for weight in found}
    plain = sum(
        math.prod(tensor.dims)
        for tensor in graph.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in {*replaced, *books}
    )
    off = sum(float(np.square(weight.weight.ravel() - books[weight.book][weight.indices]).sum()) for weight in found)
    size = sum(float(np.square(weight.weight).sum()) for weight in found)
    return {
        "weights": len(found),
        "weightsClusteredPercent": round(100 * clustered / (clustered + plain), 1),
        "distinctValues": len(np.unique(np.concatenate(list(books.values())))),
        "relativeError": f"{math.sqrt(off / max(size, 1e-30)):.4f}",
    }
