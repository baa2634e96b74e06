"""Protobuf's wire format: numbers, lengths, bytes."""

from collections.abc import Iterator
from typing import Any

_SIGN, _WRAP = 1 << 63, 1 << 64


def fields_of(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers with their raw values: an integer, or the bytes of everything else.

    Raises:
        ValueError: the data is cut off, or no message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("overlong")
    raise ValueError("cut off")


def signed(value: int) -> int:
    """A 64-bit integer in two's complement."""
    return value if value < _SIGN else value - _WRAP


def varint(value: int) -> bytes:
    out = bytearray()
    value %= _WRAP
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def integer(number: int, value: int) -> bytes:
    """An integer field."""
    return varint(number << 3) + varint(value)


def chunk(number: int, value: bytes) -> bytes:
    """A field of bytes: text, or a message."""
    return varint(number << 3 | 2) + varint(len(value)) + value
