"""Tensors between JSON and NumPy, with the names that the Open Inference Protocol gives their types."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
"""Inputs of a model by name."""
Outcome = list[Array] | Exception
"""What became of a request: the model's outputs in order, or why there are none."""
Run = Callable[[Feeds], list[Array]]

NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
_NAMES = {"b": "booleans", "i": "integers", "u": "integers", "f": "numbers", "U": "strings", "O": "mixed values"}


class BadTensor(ValueError):  # noqa: N818 - says what the client hears
    """The client's tensor is not what it says or not what the model takes; the message is the client's answer."""


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Array:
    """Return JSON `data`, flat or nested in row-major order, as an array of `shape`.

    `data` may be an array already, of any number type, in the shape of its nesting.

    Raises:
        BadTensor: The data is ragged, holds other values than `datatype` says, or does not fill `shape`.
    """
    if not isinstance(data, list | np.ndarray):
        raise BadTensor(f"input '{name}': data must be an array, got {_json_type(data)}")
    array = _strings(name, data) if datatype == "BYTES" else _numbers(name, datatype, data)
    if array.shape == shape:
        return array
    if array.ndim == 1 and array.size == math.prod(shape):
        return array.reshape(shape)
    if array.size == math.prod(shape):
        raise BadTensor(f"input '{name}': data is nested as {list(array.shape)}, shape says {list(shape)}")
    raise BadTensor(
        f"input '{name}': shape {list(shape)} expects {math.prod(shape)} elements, got {array.size} in data"
    )


def from_bytes(name: str, datatype: str, shape: tuple[int, ...], data: memoryview) -> Array:
    """Return little-endian bytes as a read-only array of `shape`, without a copy.

    Raises:
        BadTensor: The bytes do not fill `shape`.
    """
    if datatype == "BYTES":
        array = _split_strings(name, data)
        if array.size != math.prod(shape):
            raise BadTensor(f"input '{name}': shape {list(shape)} expects {math.prod(shape)} strings, got {array.size}")
        return array.reshape(shape)
    dtype = NUMPY_TYPES[datatype]
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise BadTensor(f"input '{name}': shape {list(shape)} of {datatype} expects {expected} bytes, got {len(data)}")
    return np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape)


def to_bytes(array: Array) -> bytes:
    """Return the elements as little-endian bytes; strings each behind their length in four bytes."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes()
    encoded = [str(text).encode() for text in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)


def _numbers(name: str, datatype: str, data: list[Any] | Array) -> Array:
    wanted = NUMPY_TYPES[datatype]
    try:
        found = np.asarray(data)
    except ValueError:
        raise BadTensor(f"input '{name}': data is ragged; every row must have the same length") from None
    except OverflowError:
        raise BadTensor(f"input '{name}': data holds numbers beyond {datatype}") from None
    if found.dtype == wanted:
        return found
    exact = wanted.kind in "iu" and found.dtype.kind in "fO" and _holds_only_integers(data)
    if exact:
        found = np.array(data, dtype=np.object_)  # of 2**63 and 0 together NumPy makes floats
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[wanted.kind]
    if found.size and found.dtype.kind not in kinds and not exact:
        raise BadTensor(
            f"input '{name}': expected {_NAMES[wanted.kind]} for {datatype}, got {_NAMES[found.dtype.kind]} in data"
        )
    if wanted.kind == "f":
        return _narrow(name, datatype, found)
    bounds = np.iinfo(wanted)
    if found.size and (found.min() < bounds.min or found.max() > bounds.max):
        raise BadTensor(
            f"input '{name}': expected {datatype} ({bounds.min}..{bounds.max}), got {found.min()}..{found.max()}"
        )
    return found.astype(wanted)


def _holds_only_integers(data: list[Any] | Array) -> bool:
    return all(type(value) is int for value in np.array(data, dtype=np.object_).ravel())


def _narrow(name: str, datatype: str, found: Array) -> Array:
    try:
        # JSON has no infinity, so one can only come from a number that does not fit.
        with np.errstate(over="raise"):
            return found.astype(NUMPY_TYPES[datatype])
    except FloatingPointError:
        raise BadTensor(f"input '{name}': data holds numbers beyond {datatype}") from None


def _strings(name: str, data: list[Any] | Array) -> Array:
    array = np.array(data, dtype=np.object_)
    for element in array.ravel():
        if not isinstance(element, str):
            raise BadTensor(f"input '{name}': expected strings for BYTES, got {_json_type(element)} in data")
    return array


def _split_strings(name: str, data: memoryview) -> Array:
    texts: list[str] = []
    position = 0
    while position < len(data):
        start = position + 4
        end = start + int.from_bytes(data[position:start], "little")
        if end > len(data):
            raise BadTensor(f"input '{name}': string {len(texts)} ends beyond the {len(data)} bytes of the tensor")
        try:
            texts.append(str(data[start:end], "utf-8"))
        except UnicodeDecodeError:
            raise BadTensor(f"input '{name}': string {len(texts)} is not UTF-8") from None
        position = end
    return np.array(texts, dtype=np.object_)


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}.get(
        type(value), "an object"
    )


def zeros(datatype: str, shape: tuple[int, ...]) -> Array:
    """Return an array to try a model with; the zero of BYTES is the empty string."""
    return np.full(shape, "", dtype=np.object_) if datatype == "BYTES" else np.zeros(shape, NUMPY_TYPES[datatype])
