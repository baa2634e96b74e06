"""Inference requests and answers as the Open Inference Protocol (version 2, REST) writes them.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md; the binary form is Triton's
docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from trimtab.workloads.serve import jsontensors
from trimtab.workloads.serve.artifact import ModelSpec, TensorSpec
from trimtab.workloads.serve.datatypes import Array, BadTensor, Feeds, from_bytes, from_json, to_bytes
from trimtab.workloads.serve.padding import group_of, lengths_of


class BadRequest(ValueError):  # noqa: N818 - the status of the answer
    """The client's mistake; the message is the client's answer."""


@dataclass(slots=True)
class InferenceRequest:
    """A checked request: `feeds` fit the model; `wanted` holds (index of the output, whether in binary form)."""

    feeds: dict[str, Array]
    rows: int
    group: tuple[tuple[int, ...], ...]
    wanted: list[tuple[int, bool]]
    id: str | None
    parameters: dict[str, Any] | None
    timeout_s: float | None = None
    """How long its client waits, counted from its first byte."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An answer's body; `header_length` is set where raw tensors follow the JSON."""

    body: bytes
    header_length: int | None = None


def parse_request(body: bytes | bytearray, header_length: bytes | None, spec: ModelSpec) -> InferenceRequest:
    """Return the request in `body`; `header_length` is the value of Inference-Header-Content-Length.

    Raises:
        BadRequest: What is wrong, where, what was expected and what was found.
    """
    header, raw = _split(body, header_length)
    try:
        message = jsontensors.loads(header)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadRequest("the body must be a JSON object with inputs")
    parameters = _parameters(message, "the request")
    feeds = _feeds(message, raw, spec)
    request_id = message.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise BadRequest("id must be a string")
    return checked(feeds, spec, _wanted(message, parameters, spec), request_id, parameters)


def checked(
    feeds: Feeds,
    spec: ModelSpec,
    wanted: list[tuple[int, bool]],
    request_id: str | None,
    parameters: dict[str, Any] | None,
) -> InferenceRequest:
    """Return the request around tensors that each fit the model.

    Raises:
        BadRequest: They do not fit each other, or a parameter has a value that it cannot have.
    """
    rows = _rows(feeds, spec)
    try:
        if spec.pads:
            lengths_of(feeds, spec)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    return InferenceRequest(
        feeds=feeds,
        rows=rows,
        group=group_of(feeds, spec),
        wanted=wanted,
        id=request_id,
        parameters=parameters,
        timeout_s=_timeout_s(parameters),
    )


def encode_answer(
    request: InferenceRequest, outputs: list[Array], spec: ModelSpec, model: str, revision: str
) -> Encoded:
    """Return the answer; `outputs` are all outputs of the model in the spec's order.

    Numbers that JSON cannot hold (NaN and the infinities) become null; the binary form keeps them.
    """
    message, raw = answer_message(request, outputs, spec, model, revision, _json_data)
    header = orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
    if not raw:
        return Encoded(header)
    return Encoded(b"".join([header, *raw]), header_length=len(header))


def answer_message(
    request: InferenceRequest,
    outputs: list[Array],
    spec: ModelSpec,
    model: str,
    revision: str,
    json_data: Callable[[Array], Any],
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the JSON of an answer, with what `json_data` makes of each tensor in it, and the raw tensors behind it."""
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for index, binary in request.wanted:
        tensor, array = spec.outputs[index], outputs[index]
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": array.shape}
        if binary:
            data = to_bytes(array)
            entry["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            entry["data"] = json_data(array)
        described.append(entry)
    message: dict[str, Any] = {"model_name": model, "model_version": revision, "outputs": described}
    if request.id is not None:
        message["id"] = request.id
    if request.parameters:
        message["parameters"] = request.parameters
    return message, raw


def _json_data(array: Array) -> Any:
    # orjson knows numbers of NumPy, but not objects; flat and contiguous is what it writes fastest
    return array.ravel().tolist() if array.dtype.kind == "O" else array.ravel()


def encode_error(message: str) -> bytes:
    """Return the protocol's error object."""
    return orjson.dumps({"error": message})


def _split(
    body: bytes | bytearray, header_length: bytes | None
) -> tuple[bytes | bytearray | memoryview, memoryview | None]:
    if header_length is None:
        return body, None
    if not header_length.isdigit() or len(header_length) > 18 or int(header_length) > len(body):
        raise BadRequest(
            f"Inference-Header-Content-Length is {header_length.decode('latin-1')!r}; "
            f"expected a number up to the {len(body)} bytes of the body"
        )
    view = memoryview(body)
    length = int(header_length)
    return view[:length], view[length:]


def _feeds(message: dict[str, Any], raw: memoryview | None, spec: ModelSpec) -> dict[str, Array]:
    inputs = message.get("inputs")
    expected = spec.inputs_by_name
    if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
        raise BadRequest(f"inputs must be an array with one object per input: {', '.join(expected)}")
    feeds: dict[str, Array] = {}
    position = 0
    for item in inputs:
        name = item.get("name")
        tensor = expected.get(name) if isinstance(name, str) else None
        if tensor is None:
            raise BadRequest(f"input {name!r} is unknown; the model takes {', '.join(expected)}")
        if tensor.name in feeds:
            raise BadRequest(f"input '{name}' is given twice")
        feeds[tensor.name], position = _tensor(item, tensor, raw, position)
    if raw is not None and position != len(raw):
        raise BadRequest(f"the inputs take {position} bytes of raw data, got {len(raw)}")
    if len(feeds) < len(expected):
        missing = next(name for name in expected if name not in feeds)
        raise BadRequest(f"input '{missing}' is missing; the model takes {', '.join(expected)}")
    return feeds


def _tensor(item: dict[str, Any], tensor: TensorSpec, raw: memoryview | None, position: int) -> tuple[Array, int]:
    """Return the tensor and where the next one's raw data starts."""
    if item.get("datatype") != tensor.datatype:
        raise BadRequest(f"input '{tensor.name}': expected datatype {tensor.datatype}, got {item.get('datatype')!r}")
    shape = checked_shape(item.get("shape"), tensor)
    size = (_parameters(item, f"input '{tensor.name}'") or {}).get("binary_data_size")
    try:
        if size is None:
            return from_json(tensor.name, tensor.datatype, shape, item.get("data")), position
        if type(size) is not int or size < 0 or raw is None or position + size > len(raw):
            available = 0 if raw is None else len(raw) - position
            raise BadRequest(f"input '{tensor.name}': binary_data_size is {size!r}, got {available} bytes of raw data")
        data = raw[position : position + size]
        return from_bytes(tensor.name, tensor.datatype, shape, data), position + size
    except BadTensor as error:
        raise BadRequest(str(error)) from None


def checked_shape(given: Any, tensor: TensorSpec) -> tuple[int, ...]:
    """Return a shape that the model takes.

    Raises:
        BadRequest: It is no shape, or another one.
    """
    if not isinstance(given, list) or not all(type(size) is int and size > 0 for size in given):
        raise BadRequest(f"input '{tensor.name}': shape must be an array of positive integers, got {given!r}")
    shape = tuple(given)
    if not tensor.takes(shape):
        raise BadRequest(f"input '{tensor.name}': expected shape {list(tensor.shape)}, got {given}")
    return shape


def _rows(feeds: dict[str, Array], spec: ModelSpec) -> int:
    if not spec.stackable:
        return 1
    first = spec.inputs[0].name
    rows = len(feeds[first])
    for name, array in feeds.items():
        if len(array) != rows:
            raise BadRequest(f"input '{name}': expected {rows} rows as in '{first}', got {len(array)}")
    return rows


def _wanted(message: dict[str, Any], parameters: dict[str, Any] | None, spec: ModelSpec) -> list[tuple[int, bool]]:
    binary = bool(parameters and parameters.pop("binary_data_output", False))
    outputs = message.get("outputs")
    if outputs is None or outputs == []:
        return [(index, binary) for index in range(len(spec.outputs))]
    indices = {tensor.name: index for index, tensor in enumerate(spec.outputs)}
    if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
        raise BadRequest(f"outputs must be an array with one object per output: {', '.join(indices)}")
    wanted: list[tuple[int, bool]] = []
    for item in outputs:
        name = item.get("name")
        if not isinstance(name, str) or name not in indices:
            raise BadRequest(f"output {name!r} is unknown; the model has {', '.join(indices)}")
        own = (_parameters(item, f"output '{name}'") or {}).get("binary_data", binary)
        wanted.append((indices[name], bool(own)))
    return wanted


def _timeout_s(parameters: dict[str, Any] | None) -> float | None:
    """Return the parameter `timeout`, which is in microseconds."""
    value = parameters.get("timeout") if parameters else None
    if value is None:
        return None
    if type(value) is not int or value <= 0:
        raise BadRequest(f"parameter timeout must be a positive number of microseconds, got {value!r}")
    return value / 1e6


def _parameters(message: dict[str, Any], where: str) -> dict[str, Any] | None:
    parameters = message.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise BadRequest(f"parameters of {where} must be an object")
    return parameters
