"""OpenVINO IR: written from ONNX, described, and its low-bit weights counted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import openvino as ov
from openvino.passes import ConstantFolding, Manager

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.coverage import Coverage

_WEIGHTED = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"})
LOW = frozenset({"i8", "u8", "i4", "u4"})
BITS_BF16 = frozenset({"bf16"})
# What may stand between a layer and its stored weights.
_DECODING = frozenset({"Convert", "Subtract", "Multiply", "Reshape", "Transpose", "FakeQuantize"})
_WITHOUT_BIAS = "/WithoutBiases"  # how the importer names the product inside a layer that adds a bias


def read_onnx(path: Path) -> ov.Model:
    """Return an ONNX file as an OpenVINO model whose names do not depend on what this process read before.

    Raises:
        Stalled: NotSupported, OpenVINO lacks an operator of the graph.
    """
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"OpenVINO {ov.__version__} does not take the graph ({lines[-1][:200]}); compile it for OnnxRuntime",
        ) from error
    name_by_place(model, names_of(path))
    return model


def fold_weights(model: ov.Model) -> None:
    """Compute what depends on constants alone, unless weights are stored in fewer bits, which that would undo.

    The importer reshapes the weights of grouped convolutions within the graph, by sizes that are computed there, too:
    NNCF then takes a column of a kernel for a channel, and a layer with such scales runs in FP32.
    """
    if any(constant.get_element_type().get_type_name() in LOW for _, constant, _ in _products(model)):
        return
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)


def names_of(path: Path) -> frozenset[str]:
    """Return the names in an ONNX graph, which stay as they are: users write them into `keep`."""
    graph = onnx.load(path, load_external_data=False).graph
    found = {node.name for node in graph.node}
    return frozenset(found.union(*(node.output for node in graph.node)))


def name_by_place(model: ov.Model, kept: frozenset[str]) -> None:
    """Rename operators that got a number from a counter of the process, after their place in the graph."""
    for place, node in enumerate(model.get_ordered_ops()):
        name = node.get_friendly_name()
        if name not in kept and re.fullmatch(rf"{node.get_type_name()}_\d+", name):
            node.set_friendly_name(f"{node.get_type_name()}.{place}")


def write_ir(model: ov.Model, path: Path, *, half: bool = False) -> None:
    """Write model.xml and model.bin; equal models give equal bytes. `half` stores float weights in 16 bits."""
    ov.save_model(model, path, compress_to_fp16=half)


def has_attention(model: ov.Model) -> bool:
    """Whether a softmax is multiplied with something, as attention does."""
    return any(
        node.get_type_name() == "ScaledDotProductAttention"
        or (
            node.get_type_name() == "Softmax"
            and any(target.get_node().get_type_name() == "MatMul" for target in node.output(0).get_target_inputs())
        )
        for node in model.get_ops()
    )


def has_grouped_convolutions(model: ov.Model) -> bool:
    """Whether there are convolutions whose channels see some of the inputs only: depthwise ones, as a rule."""
    return any(node.get_type_name() == "GroupConvolution" for node in model.get_ops())


def layers(model: ov.Model) -> dict[str, str]:
    """Return the operators with weights, by the name that users know: layer name to operator name, in order."""
    return {name.removesuffix(_WITHOUT_BIAS): name for name, _, _ in _products(model)}


def coverage(path: Path, formats: frozenset[str] = LOW) -> Coverage:
    """Return the shares of weights and of multiply-accumulates that an IR file stores in some formats, 8 or 4 bits."""
    weights = macs = low_weights = low_macs = 0.0
    for _, constant, uses in _products(ov.Core().read_model(path)):
        count = math.prod(constant.get_output_shape(0))
        low = constant.get_element_type().get_type_name() in formats
        weights, macs = weights + count, macs + count * uses
        low_weights, low_macs = low_weights + count * low, low_macs + count * uses * low
    return Coverage(low_weights / weights if weights else 0.0, low_macs / macs if macs else 0.0)


def _products(model: ov.Model) -> Iterator[tuple[str, Any, int]]:
    """Yield name, stored weights and uses of each weight per sample, of each operator with constant weights."""
    for node in model.get_ordered_ops():
        if node.get_type_name() not in _WEIGHTED:
            continue
        for port in (1, 0):
            constant = _stored(node.input_value(port).get_node())
            if constant is not None and len(constant.get_output_shape(0)) > 1:
                yield node.get_friendly_name(), constant, _uses(node)
                break


def _stored(node: Any) -> Any:
    """Return the constant that a node's value is decoded from; None when it depends on an input."""
    while node.get_type_name() in _DECODING:
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None


def _uses(node: Any) -> int:
    shape = node.get_output_partial_shape(0)
    if shape.rank.is_dynamic:
        return 1
    sizes = [1 if dimension.is_dynamic else dimension.get_length() for dimension in shape]
    return math.prod(sizes[1:-1] if node.get_type_name() == "MatMul" else sizes[2:])
