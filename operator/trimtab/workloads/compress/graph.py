"""ONNX graphs: read safely, checked, tidied, described."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

DATATYPES = {
    onnx.TensorProto.BOOL: "BOOL",
    onnx.TensorProto.UINT8: "UINT8",
    onnx.TensorProto.UINT16: "UINT16",
    onnx.TensorProto.UINT32: "UINT32",
    onnx.TensorProto.UINT64: "UINT64",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.INT16: "INT16",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.DOUBLE: "FP64",
}
# Operators that ONNX Runtime itself brings; any other domain needs a library, which is code.
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}


def read_source_graph(path: Path, folder: Path, uri: str) -> ModelProto:
    """Read a user's ONNX file with its external data, which must lie in the source's folder.

    Raises:
        Stalled: SourceInvalid, naming the file and what is wrong with it.
    """
    name = path.relative_to(folder).as_posix()
    try:
        model = onnx.load(path, load_external_data=False)
        nodes = len(model.graph.node)
    except Exception as error:
        raise _invalid(uri, name, f"is no ONNX model ({_first_line(error)}); export it again") from error
    if nodes == 0:
        raise _invalid(uri, name, "has no nodes; export it again")
    foreign = sorted({entry.domain for entry in model.opset_import} - _DOMAINS)
    if foreign:
        raise _invalid(uri, name, f"uses operators of {', '.join(foreign)}, which need a library; export without them")
    _check_external(model, path, folder, uri)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except Exception as error:
        raise _invalid(uri, name, f"does not pass ONNX's checker ({_first_line(error)}); export it again") from error
    return model


def write_graph(model: ModelProto, path: Path) -> None:
    """Write one self-contained file; equal models give equal bytes."""
    tidy(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def optimise(source: Path, target: Path) -> None:
    """Write a graph with ONNX Runtime's fusions that hold on every CPU; it then runs in ONNX Runtime alone."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    write_graph(onnx.load(target), target)


def tidy(model: ModelProto) -> None:
    """Remove what says where and how the model was exported: stack traces with paths, and inferred shapes."""
    model.ClearField("metadata_props")
    model.doc_string = ""
    graph = model.graph
    graph.ClearField("metadata_props")
    graph.ClearField("value_info")  # stale after fusions, and quantization trips over it
    graph.doc_string = ""
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        item.ClearField("metadata_props")
        item.doc_string = ""


def name_by_scope(model: ModelProto) -> None:
    """Name each node after the module it came from and its operator, such as 4.0/Conv: what `keep` patterns match."""
    taken: dict[str, int] = {}
    for node in model.graph.node:
        wanted = f"{_scope(node)}/{node.op_type}".lstrip("/")
        taken[wanted] = taken.get(wanted, 0) + 1
        node.name = wanted if taken[wanted] == 1 else f"{wanted}_{taken[wanted]}"


def tensors(model: ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Return inputs and outputs as config.json has them; -1 is any length.

    Raises:
        Stalled: SourceInvalid, one of them is no tensor of numbers.
    """
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    return {"inputs": [_tensor(value) for value in inputs], "outputs": [_tensor(value) for value in model.graph.output]}


def _tensor(value: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type not in DATATYPES:
        raise Stalled(
            Reason.SOURCE_INVALID,
            f"spec.source.uri: {value.name} of the model is no tensor of numbers; export it without maps and strings "
            "(for scikit-learn: zipmap=False)",
        )
    shape = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else -1 for dim in kind.shape.dim]
    return {"name": value.name, "datatype": DATATYPES[kind.elem_type], "shape": shape}


def _scope(node: NodeProto) -> str:
    """Return the dotted path of the innermost module, from the exporter's notes."""
    for entry in node.metadata_props:
        if entry.key == "namespace":
            scopes = [part.split(":", 1)[0].strip() for part in entry.value.split("/")]
            return scopes[-2] if len(scopes) > 1 else ""
    return ""


def _check_external(model: ModelProto, path: Path, folder: Path, uri: str) -> None:
    bodies = (model.graph, *model.functions)
    for tensor in (tensor for body in bodies for tensor in _tensors_of(body)):
        for entry in tensor.external_data:
            if entry.key != "location":
                continue
            target = (path.parent / entry.value).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise _invalid(
                    uri, path.name, f"keeps {tensor.name} at {entry.value}, outside the source's folder; move it there"
                )


def _tensors_of(body: GraphProto | FunctionProto) -> Iterator[TensorProto]:
    """Yield every constant of a graph or function: initializers, attributes, and those of branches and loops."""
    if isinstance(body, GraphProto):
        yield from body.initializer
        for sparse in body.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in (attribute for node in body.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors_of(inner)


def _invalid(uri: str, name: str, what: str) -> Stalled:
    return Stalled(Reason.SOURCE_INVALID, f"spec.source.uri: {uri}: {name} {what}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
