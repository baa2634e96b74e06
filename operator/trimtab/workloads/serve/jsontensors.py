"""JSON of an inference request, with numbers read straight into arrays.

simdjson flattens what it reads, so a request takes this way only where every bracket is accounted for; anything odd is
left to the general parser, whose messages say what is wrong.
"""

from __future__ import annotations

import threading
from math import prod
from typing import Any

import numpy as np
import orjson
import simdjson

from trimtab.workloads.serve.datatypes import NUMPY_TYPES, Array

_LEAST_BYTES = 512  # below it the general parser is faster
_LEAST_ROW = 16
_MOST_KEYS = 16
_FEW_BRACKETS = 16
_KEPT_BYTES = 1024 * 1024  # a parser keeps some times the memory of its largest text
_WIDE = {"f": ("d", np.float64), "i": ("i", np.int64), "u": ("u", np.uint64)}


class _Odd(Exception):  # noqa: N818 - a turn in the way, not an error
    """Not what the fast way reads."""


class _Parsers(threading.local):
    def __init__(self) -> None:
        self.parser = simdjson.Parser()


_parsers = _Parsers()


def loads(text: bytes | bytearray | memoryview) -> Any:
    """Return decoded JSON; `data` of an input may be an array of the widest type of its kind instead of a list.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
    """
    if len(text) >= _LEAST_BYTES:
        whole = bytes(text)
        try:
            return _message(whole, _parsers.parser if len(whole) <= _KEPT_BYTES else simdjson.Parser())
        except (_Odd, ValueError, TypeError, RuntimeError, KeyError):
            return orjson.loads(whole)
    return orjson.loads(text)


def numbers(text: bytes, kind: str, shape: tuple[int, ...], size: int) -> Array | None:
    """Return the numbers in a JSON array as the widest type of their kind, in a shape with `size` elements.

    None where there is anything else in it, or another number of them. `text` begins with its only opening bracket.
    """
    letter, wide = _WIDE[kind]
    try:
        array: Any = _parsers.parser.parse(text)
        return np.ndarray(shape, wide, array.as_buffer(of_type=letter)) if len(array) == size else None
    except (ValueError, TypeError, RuntimeError):
        return None


def _message(text: bytes, parser: simdjson.Parser) -> dict[str, Any]:
    document: Any = parser.parse(text)
    if not isinstance(document, simdjson.Object):
        raise _Odd
    message: dict[str, Any] = {}
    brackets = 0
    for key in _keys(document):
        value: Any = document[key]
        if key == "inputs" and isinstance(value, simdjson.Array):
            if len(value) > _MOST_KEYS:
                raise _Odd
            brackets += 1
            message[key] = items = []
            for each in value:
                item, found = _input(each)
                items.append(item)
                brackets += found
        else:
            message[key] = value = _plain(value)
            brackets += _brackets(value)
    if not _has_brackets(text, brackets):
        raise _Odd
    return message


def _has_brackets(text: bytes, number: int) -> bool:
    """Whether `text` has exactly so many; few are found faster than counted."""
    if number > _FEW_BRACKETS:
        return text.count(b"[") == number
    at = -1
    for _ in range(number):
        at = text.find(b"[", at + 1)
        if at < 0:
            return False
    return text.find(b"[", at + 1) < 0


def _input(item: Any) -> tuple[dict[str, Any], int]:
    if not isinstance(item, simdjson.Object):
        raise _Odd
    keys = _keys(item)
    read: dict[str, Any] = {}
    brackets = 0
    for key in keys:
        value: Any = item[key]
        if key == "data" and isinstance(value, simdjson.Array):
            dtype = NUMPY_TYPES.get(str(item["datatype"]))
            if dtype is None or dtype.kind not in _WIDE:
                raise _Odd
            read[key], found = _array(value, dtype.kind)
            brackets += found
        else:
            read[key] = value = _plain(value)
            brackets += _brackets(value)
    return read, brackets


def _array(data: Any, kind: str) -> tuple[Array, int]:
    """Return the numbers in the shape of their nesting, and the number of brackets around them."""
    shape: list[int] = []
    first = data
    while isinstance(first, simdjson.Array):
        shape.append(len(first))
        first = first[0] if shape[-1] else None
    rows = prod(shape[:-1])
    if rows * _LEAST_ROW > prod(shape) and rows > 1:
        raise _Odd  # each row costs as much as some of its numbers
    level = [data]
    brackets = 0
    for depth, size in enumerate(shape):
        if any(not isinstance(one, simdjson.Array) or len(one) != size for one in level):
            raise _Odd  # ragged
        brackets += len(level)
        # By iteration: to reach the element at an index, simdjson passes all those before it.
        level = [each for one in level for each in one] if depth + 1 < len(shape) else []
    letter, wide = _WIDE[kind]
    return np.frombuffer(data.as_buffer(of_type=letter), wide).reshape(shape), brackets


def _keys(value: Any) -> list[str]:
    keys = list(value.keys())
    if len(keys) > _MOST_KEYS:
        raise _Odd  # each one is searched for from the start
    if len(set(keys)) != len(keys):
        raise _Odd  # parsers disagree on which one counts
    return keys


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def _brackets(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(_brackets, value))
    return sum(map(_brackets, value.values())) if isinstance(value, dict) else 0
