"""Where the weights of an ONNX file lie in it, so that they can be used from there instead of being read.

For that a small model is made whose large tensors refer to the bytes of the file itself, which must be aligned in it:
`aligned` writes them so. Field numbers are those of onnx/onnx.proto; no library here knows where a field begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_GRAPH, _INITIALIZER = 7, 5
_DIMENSION, _DATA_TYPE, _NAME = 1, 2, 8
_RAW_DATA, _DOC_STRING, _EXTERNAL_DATA, _DATA_LOCATION = 9, 12, 13, 14
_BYTES = 2  # wire type of everything that has a length
ALIGNMENT = 64  # a cache line, and the widest vector register
_LEAST_BYTES = 16 * 1024  # smaller tensors are cheaper to copy than to map


_LARGE_MODEL_BYTES = 8 * 1024 * 1024  # a smaller model is loaded as soon as it would be mapped


class NotOnnx(ValueError):  # noqa: N818 - what was found
    """The bytes are no protocol buffer."""


class _Field(NamedTuple):
    number: int
    wire_type: int
    start: int
    """Of the field with its tag."""
    body: int
    """Of its content."""
    end: int


class _Tensor(NamedTuple):
    """An initializer with data of its own in the file."""

    others: bytes
    """Its other fields."""
    data: memoryview
    offset: int


class Weight(NamedTuple):
    """A large tensor, and where its data lies in the file."""

    name: str
    datatype: int
    """By onnx.TensorProto.DataType."""
    shape: tuple[int, ...]
    offset: int
    bytes: int


class Referring(NamedTuple):
    """A model without its large weights, and those."""

    model: bytes
    weights: tuple[Weight, ...]


def is_large(model_bytes: int) -> bool:
    """Whether a model is worth mapping."""
    return model_bytes >= _LARGE_MODEL_BYTES


def align_weights(path: Path) -> None:
    """Write an ONNX file anew with its weights in line, where it is one, and large; it stays the same model."""
    if path.suffix == ".onnx" and is_large(path.stat().st_size):
        path.write_bytes(aligned(memoryview(path.read_bytes())))


def references(model: memoryview, file_name: str) -> Referring | None:
    """Return a model whose large weights refer to `file_name`, in which `model` lies; None where that is no use.

    Raises:
        NotOnnx: The bytes are no model.
    """
    made: list[bytes] = []
    weights: list[Weight] = []
    for field in _fields(model, 0, len(model)):
        if (field.number, field.wire_type) != (_GRAPH, _BYTES):
            made.append(bytes(model[field.start : field.end]))
            continue
        graph: list[bytes] = []
        for part in _fields(model, field.body, field.end):
            tensor = _large(model, part)
            if tensor is None or tensor.offset % ALIGNMENT:
                graph.append(bytes(model[part.start : part.end]))
            else:
                weights.append(_weight(tensor))
                graph.append(_with_length(_INITIALIZER, _referring(tensor, file_name)))
        made.append(_with_length(_GRAPH, b"".join(graph)))
    mapped = sum(weight.bytes for weight in weights)
    return Referring(b"".join(made), tuple(weights)) if 2 * mapped >= len(model) else None


def aligned(model: memoryview) -> bytes:
    """Return the same model with its large weights at multiples of `ALIGNMENT`.

    Raises:
        NotOnnx: The bytes are no model.
    """
    made = bytearray()
    for field in _fields(model, 0, len(model)):
        if (field.number, field.wire_type) == (_GRAPH, _BYTES):
            made += _aligned_graph(model, field, len(made))
        else:
            made += model[field.start : field.end]
    return bytes(made)


def _aligned_graph(model: memoryview, field: _Field, start: int) -> bytes:
    # How long the graph becomes depends on where it begins, which depends on how many digits its length has.
    digits = len(_varint(field.end - field.body))
    while True:
        made = bytearray()
        for part in _fields(model, field.body, field.end):
            tensor = _large(model, part)
            if tensor is None:
                made += model[part.start : part.end]
            else:
                made += _padded(tensor, start + 1 + digits + len(made))
        if len(_varint(len(made))) == digits:
            return _with_length(_GRAPH, bytes(made))
        digits = len(_varint(len(made)))


def _padded(tensor: _Tensor, start: int) -> bytes:
    """Return a tensor that begins at `start`, with a comment of the right length before its data."""
    data_head = _tag(_RAW_DATA) + _varint(len(tensor.data))
    for padding in range(2, 2 + 2 * ALIGNMENT):
        comment = _with_length(_DOC_STRING, b" " * (padding - 2))
        before = tensor.others + comment + data_head
        head = _tag(_INITIALIZER) + _varint(len(before) + len(tensor.data))
        if (start + len(head) + len(before)) % ALIGNMENT == 0:
            return head + before + tensor.data
    raise AssertionError("some padding fits")


def _large(model: memoryview, part: _Field) -> _Tensor | None:
    if (part.number, part.wire_type) != (_INITIALIZER, _BYTES) or part.end - part.body < _LEAST_BYTES:
        return None
    others: list[bytes] = []
    data: _Field | None = None
    for field in _fields(model, part.body, part.end):
        if field.number in {_EXTERNAL_DATA, _DATA_LOCATION}:
            return None  # its data lies elsewhere already
        if field.number == _RAW_DATA:
            data = field
        elif field.number != _DOC_STRING:
            others.append(bytes(model[field.start : field.end]))
    if data is None or data.end - data.body < _LEAST_BYTES:
        return None
    return _Tensor(b"".join(others), model[data.body : data.end], data.body)


def _weight(tensor: _Tensor) -> Weight:
    others = memoryview(tensor.others)
    name, datatype = "", 0
    shape: list[int] = []
    for field in _fields(others, 0, len(others)):
        if field.number == _NAME:
            name = str(others[field.body : field.end], "utf-8", "replace")
        elif field.number == _DATA_TYPE and field.wire_type == 0:
            datatype, _ = _read_varint(others, field.body, field.end)
        elif field.number == _DIMENSION and field.wire_type in {0, _BYTES}:  # one by one, or packed
            position = field.body
            while position < field.end:
                size, position = _read_varint(others, position, field.end)
                shape.append(size)
    return Weight(name, datatype, tuple(shape), tensor.offset, len(tensor.data))


def _referring(tensor: _Tensor, file_name: str) -> bytes:
    entries = {"location": file_name, "offset": str(tensor.offset), "length": str(len(tensor.data))}
    made = [tensor.others]
    for key, value in entries.items():
        entry = _with_length(1, key.encode()) + _with_length(2, value.encode())
        made.append(_with_length(_EXTERNAL_DATA, entry))
    made.append(_varint(_DATA_LOCATION << 3) + b"\x01")
    return b"".join(made)


# --- protocol buffers ---


def _fields(data: memoryview, position: int, end: int) -> Iterator[_Field]:
    while position < end:
        start = position
        tag, position = _read_varint(data, position, end)
        number, wire_type = tag >> 3, tag & 7
        body = position
        if wire_type == 0:
            _, position = _read_varint(data, position, end)
        elif wire_type == 1:
            position += 8
        elif wire_type == _BYTES:
            size, body = _read_varint(data, position, end)
            position = body + size
        elif wire_type == 5:
            position += 4
        else:
            raise NotOnnx(f"wire type {wire_type} at byte {start}")
        if position > end:
            raise NotOnnx(f"field {number} at byte {start} ends beyond byte {end}")
        yield _Field(number, wire_type, start, body, position)


def _read_varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise NotOnnx(f"no number at byte {position}")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _tag(number: int) -> bytes:
    return _varint(number << 3 | _BYTES)


def _with_length(number: int, content: bytes) -> bytes:
    return _tag(number) + _varint(len(content)) + content
