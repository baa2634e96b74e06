"""Inference requests and answers as the Open Inference Protocol writes them for gRPC.

The message classes live in a pool of their own: another package that brings the same public names, as every client of
the protocol does, can be imported beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClassesForFiles

from trimtab.workloads.serve.artifact import ModelSpec, TensorSpec
from trimtab.workloads.serve.datatypes import NUMPY_TYPES, Array, BadTensor, Feeds, from_bytes, from_json, to_bytes
from trimtab.workloads.serve.messages import BadRequest, InferenceRequest, checked, checked_shape

SERVICE = "inference.GRPCInferenceService"
_DESCRIPTORS = Path(__file__).with_name("inference.binpb")
_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_WIDE = {"int_contents": np.int64, "uint_contents": np.uint64, "fp32_contents": np.float32, "fp64_contents": np.float64}


def message_classes() -> dict[str, Any]:
    """Return the protocol's messages by their names without the package."""
    pool = DescriptorPool()
    files = FileDescriptorSet.FromString(_DESCRIPTORS.read_bytes()).file
    for file in files:
        pool.Add(file)
    found = GetMessageClassesForFiles([file.name for file in files], pool)
    return {name.partition(".")[2]: message for name, message in found.items()}


def read_request(message: Any, spec: ModelSpec) -> InferenceRequest:
    """Return the request in a ModelInferRequest; its inputs are all raw or all typed.

    Raises:
        BadRequest: What is wrong, where, what was expected and what was found.
    """
    expected = {tensor.name: tensor for tensor in spec.inputs}
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise BadRequest(f"raw_input_contents has {len(raw)} entries for {len(message.inputs)} inputs")
    feeds: Feeds = {}
    for index, item in enumerate(message.inputs):
        tensor = expected.get(item.name)
        if tensor is None:
            raise BadRequest(f"input {item.name!r} is unknown; the model takes {', '.join(expected)}")
        if tensor.name in feeds:
            raise BadRequest(f"input '{item.name}' is given twice")
        try:
            feeds[tensor.name] = _tensor(item, tensor, raw[index] if raw else None)
        except BadTensor as error:
            raise BadRequest(str(error)) from None
    missing = [name for name in expected if name not in feeds]
    if missing:
        raise BadRequest(f"input '{missing[0]}' is missing; the model takes {', '.join(expected)}")
    outputs = {tensor.name: index for index, tensor in enumerate(spec.outputs)}
    unknown = next((item.name for item in message.outputs if item.name not in outputs), None)
    if unknown is not None:
        raise BadRequest(f"output {unknown!r} is unknown; the model has {', '.join(outputs)}")
    names = [item.name for item in message.outputs] or list(outputs)
    # Answers come the way that questions came; half floats have no typed form.
    binary = bool(raw) or any(tensor.datatype not in _CONTENTS for tensor in spec.outputs)
    parameters = {name: _parameter(value) for name, value in message.parameters.items()}
    return checked(feeds, spec, [(outputs[name], binary) for name in names], message.id or None, parameters or None)


def write_answer(
    answer: Any, request: InferenceRequest, outputs: list[Array], spec: ModelSpec, model: str, revision: str
) -> Any:
    """Fill a ModelInferResponse and return it; `outputs` are all outputs of the model in the spec's order."""
    answer.model_name, answer.model_version = model, revision
    if request.id is not None:
        answer.id = request.id
    for index, binary in request.wanted:
        tensor, array = spec.outputs[index], outputs[index]
        entry = answer.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
        if binary:
            answer.raw_output_contents.append(to_bytes(array))
        elif tensor.datatype == "BYTES":
            entry.contents.bytes_contents.extend(str(text).encode() for text in array.ravel())
        else:
            getattr(entry.contents, _CONTENTS[tensor.datatype]).extend(array.ravel().tolist())
    return answer


def _tensor(item: Any, tensor: TensorSpec, raw: bytes | None) -> Array:
    if item.datatype != tensor.datatype:
        raise BadRequest(f"input '{tensor.name}': expected datatype {tensor.datatype}, got {item.datatype!r}")
    shape = checked_shape(list(item.shape), tensor)
    if raw is not None:
        return from_bytes(tensor.name, tensor.datatype, shape, memoryview(raw))
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise BadRequest(f"input '{tensor.name}': {tensor.datatype} must be in raw_input_contents")
    values = getattr(item.contents, field)
    if tensor.datatype == "BYTES":
        return from_json(tensor.name, tensor.datatype, shape, _texts(tensor.name, values))
    return from_json(
        tensor.name, tensor.datatype, shape, np.array(values, _WIDE.get(field, NUMPY_TYPES[item.datatype]))
    )


def _texts(name: str, values: Any) -> list[str]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise BadTensor(f"input '{name}': a string is not UTF-8") from None


def _parameter(value: Any) -> Any:
    choice = value.WhichOneof("parameter_choice")
    return None if choice is None else getattr(value, choice)
