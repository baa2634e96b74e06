"""What kind of model a source is, told from the names and shapes of its weights, or from its operators.

Nothing of the source is run for it: presets are chosen before a model is loaded.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trimtab.api.compression import SourceFormat
from trimtab.workloads.compress.sources.fetching import FetchedSource

if TYPE_CHECKING:
    from onnx import ModelProto

Shapes = Mapping[str, tuple[int, ...]]
# How libraries name the projections that make queries, keys and values.
_ATTENTION = re.compile(r"(^|[._])(query|key|value|[qkv]_proj|qkv|to_[qkv]|in_proj_weight|c_attn|q_lin)")
# Recurrent layers of torch keep what they multiply their state with under these names.
_RECURRENT = re.compile(r"(^|\.)weight_hh(_l\d+)?")
_DEPTHWISE_SHARE = 0.25  # of the spatial convolutions: MobileNets and EfficientNets have nearly nothing else
_PRODUCTS = frozenset({"Gemm", "MatMul"})
_STATEFUL = frozenset({"LSTM", "GRU", "RNN"})


class Family(StrEnum):
    """Models that the same recipe suits."""

    TRANSFORMER = "transformer"
    CONVOLUTIONAL = "convolutional network"
    DEPTHWISE = "network of depthwise convolutions"
    DENSE = "dense network"
    CLASSICAL = "classical estimator"
    """Trees, nearest neighbours, linear models as scikit-learn writes them: nothing to prune or to quantize."""
    OTHER = "network of another kind"
    """Recurrent ones above all."""


class Kind(NamedTuple):
    """What is told of a source."""

    family: Family
    weights: int
    """Numbers in it; 0 where that is not known."""


_UNKNOWN = Kind(Family.OTHER, 0)


def kind_of(fetched: FetchedSource) -> Kind:
    """Look at a source's files; what cannot be read is of another kind, and told in full where it is loaded."""
    match fetched.format:
        case SourceFormat.ONNX:
            return _of_graph_file(fetched.file)
        case SourceFormat.SKLEARN:
            return Kind(_of_estimator(fetched.file), 0)
        case SourceFormat.TORCH_EXPORT:
            return _of_archive(fetched.file)
        case _:
            return _of_shapes(_shapes(fetched.folder.glob("*.safetensors")))


def family_of_weights(shapes: Shapes) -> Family:
    """Return the family of a network with such weights: attention by its names, convolutions by their shapes.

    A transformer may have a convolution or two, which cut an image or a sound into pieces.
    """
    if any(_ATTENTION.search(name) for name in shapes):
        return Family.TRANSFORMER
    if any(_RECURRENT.search(name) for name in shapes):
        return Family.OTHER
    convolutions = [shape for shape in shapes.values() if len(shape) > 2]
    if not convolutions:
        return Family.DENSE if any(len(shape) == 2 for shape in shapes.values()) else Family.OTHER
    # Pointwise convolutions mix channels only: what looks around them is one spatial layer of its own.
    spatial = [shape for shape in convolutions if any(size > 1 for size in shape[2:])]
    return _convolutional(sum(shape[1] == 1 and shape[0] > 1 for shape in spatial[1:]), len(spatial))


def family_of_operators(model: ModelProto) -> Family:
    """Return the family of an ONNX graph."""
    nodes = model.graph.node
    kinds = {node.op_type for node in nodes}
    if "Attention" in kinds or ("Softmax" in kinds and _has_attention(model)):
        return Family.TRANSFORMER
    if kinds & _STATEFUL:
        return Family.OTHER
    weights = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    convolutions = [weights.get(node.input[1], ()) for node in nodes if node.op_type == "Conv"]
    if convolutions:
        spatial = [shape for shape in convolutions if any(size > 1 for size in shape[2:])]
        return _convolutional(sum(shape[1] == 1 and shape[0] > 1 for shape in spatial[1:]), len(spatial))
    if any(node.op_type in _PRODUCTS and any(name in weights for name in node.input) for node in nodes):
        return Family.DENSE
    return Family.CLASSICAL if any(node.domain == "ai.onnx.ml" for node in nodes) else Family.OTHER


def _convolutional(depthwise: int, spatial: int) -> Family:
    return Family.DEPTHWISE if depthwise > spatial * _DEPTHWISE_SHARE else Family.CONVOLUTIONAL


def _has_attention(model: ModelProto) -> bool:
    """Whether a softmax is multiplied with something, as attention does."""
    said = {name for node in model.graph.node if node.op_type == "Softmax" for name in node.output}
    return any(node.op_type == "MatMul" and said & set(node.input) for node in model.graph.node)


def _of_graph_file(path: Path) -> Kind:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError):
        return _UNKNOWN
    return Kind(family_of_operators(model), sum(math.prod(weight.dims) for weight in model.graph.initializer))


def _of_shapes(shapes: Shapes) -> Kind:
    return Kind(family_of_weights(shapes), sum(math.prod(shape) for shape in shapes.values()))


def _of_estimator(path: Path) -> Family:
    """Networks of scikit-learn become products of matrices; the others have operators of their own."""
    try:
        with zipfile.ZipFile(path) as opened:
            schema = opened.read("schema.json")
    except (zipfile.BadZipFile, KeyError, OSError):
        return Family.OTHER
    return Family.DENSE if re.search(rb'"MLP(Classifier|Regressor)"', schema) else Family.CLASSICAL


def _of_archive(path: Path) -> Kind:
    from trimtab.workloads.compress.sources.archive import ArchiveError, read_archive

    try:
        tensors = read_archive(path).tensors
    except ArchiveError:
        return _UNKNOWN
    return _of_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()})


def _shapes(paths: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(paths):
        try:
            with safe_open(path, framework="np") as opened:
                found |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            continue
    return found
