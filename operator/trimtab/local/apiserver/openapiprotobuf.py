"""The OpenAPI v2 document in protobuf, the only form in which kubectl reads it.

Messages and field numbers are those of the OpenAPIv2.proto that Kubernetes publishes it with. Paths are left out: what
reads this form looks kinds up in it, nothing else.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ACCEPTED = (MEDIA_TYPE, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")

_TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_DOUBLES = {"multipleOf": 6, "maximum": 7, "minimum": 9}
_NUMBERS = {"maxLength": 11, "minLength": 12, "maxItems": 14, "minItems": 15, "maxProperties": 17, "minProperties": 18}
_FLAGS = {"exclusiveMaximum": 8, "exclusiveMinimum": 10, "uniqueItems": 16}


def encoded(document: Mapping[str, Any]) -> bytes:
    """An OpenAPI v2 document as a `Document` message."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    definitions = _named_schemas(document["definitions"])
    return _text(1, document["swagger"]) + _bytes(2, info) + _bytes(9, definitions)


def _named_schemas(schemas: Mapping[str, Any]) -> bytes:
    return b"".join(_bytes(1, _text(1, name) + _bytes(2, _schema(node))) for name, node in schemas.items())


def _schema(node: Mapping[str, Any]) -> bytes:
    out = bytearray()
    for keyword, value in node.items():
        if (number := _TEXTS.get(keyword)) is not None:
            out += _text(number, value)
        elif (number := _NUMBERS.get(keyword)) is not None:
            out += _varint(number << 3) + _varint(value)
        elif (number := _FLAGS.get(keyword)) is not None:
            out += _varint(number << 3) + _varint(int(value))
        elif (number := _DOUBLES.get(keyword)) is not None:
            out += _varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            out += _nested(keyword, value)
    return bytes(out)


def _nested(keyword: str, value: Any) -> bytes:
    """A keyword whose value is a message; one that has no field is an extension, or is left out."""
    match keyword:
        case "default":
            return _bytes(5, _any(value))
        case "required":
            return _texts(19, value)
        case "enum":
            return b"".join(_bytes(20, _any(entry)) for entry in value)
        case "additionalProperties":
            return _bytes(
                21, _varint(2 << 3) + _varint(int(value)) if isinstance(value, bool) else _bytes(1, _schema(value))
            )
        case "type":
            return _bytes(22, _texts(1, [value] if isinstance(value, str) else value))
        case "items":
            return _bytes(23, _bytes(1, _schema(value)))
        case "allOf":
            return b"".join(_bytes(24, _schema(part)) for part in value)
        case "properties":
            return _bytes(25, _named_schemas(value))
    return _bytes(31, _text(1, keyword) + _bytes(2, _any(value))) if keyword.startswith("x-") else b""


def _any(value: Any) -> bytes:
    """Any value, as YAML, of which JSON is a part."""
    return _text(2, json.dumps(value))


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
