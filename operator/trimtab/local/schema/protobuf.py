"""The built-in types as protobuf messages, as Kubernetes' clients in Go write and read them.

`protobuf_numbers.txt` lists the fields of every message in the order of their numbers, as `Message: a b? @7 c <Other`,
where `@7` says which number comes next and `<Other` stands for a message whose fields JSON has one level higher. `?`
marks a field whose zero somebody set; the zero of any other, which Go always writes, means nothing. The types of fields
are those of the table of types. Only fields that both tables have are written.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.schema import builtin, wire
from trimtab.local.schema.builtin import Node
from trimtab.local.times import parse_stamp, precise_stamp, stamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RAW = 1  # the number of the field that holds JSON as it is


class UnknownFieldError(Exception):
    """A field that no table has; `str` says which."""


def has_message(name: str) -> bool:
    return name in _numbers()


def decode(name: str, data: memoryview) -> Object:
    """A message as JSON has it.

    Raises:
        UnknownFieldError: it has a field that is not known here.
        ValueError: it is no message.
    """
    return _decode(name, builtin.node_of(name), data)


def encode(name: str, obj: Mapping[str, Any]) -> bytes:
    """An object as a message. Raises ValueError for values that its type does not have."""
    return b"".join(_encode(name, builtin.node_of(name), obj))


@cache
def _numbers() -> dict[str, dict[int, str]]:
    """The fields of every message, by number."""
    text = resources.files("trimtab.local.schema").joinpath("protobuf_numbers.txt").read_text("utf-8")
    found: dict[str, dict[int, str]] = {}
    for entry in text.replace("\n  ", " ").splitlines():
        name, _, fields = entry.partition(":")
        found[name] = {}
        number = 1
        for word in fields.split():
            if word.startswith("@"):
                number = int(word[1:])
            else:
                found[name][number] = word
                number += 1
    return found


def _decode(name: str, node: Node, data: memoryview) -> Object:
    fields, properties = _numbers()[_message_name(name)], node["properties"]
    required = node.get("required") or ()
    out: Object = {}
    for number, value in wire.fields_of(data):
        optional = fields.get(number, "").endswith("?")
        field = fields.get(number, "").rstrip("?")
        if not field or (not field.startswith("<") and field not in properties):
            if value in (0, b""):
                continue
            raise UnknownFieldError(f"{name}.{field}" if field else f"field {number} of {name}")
        if field.startswith("<"):
            out |= _decode(field[1:], node, value)
            continue
        inner = properties[field]
        if inner.get("type") == "array":
            out.setdefault(field, []).append(_value(inner["items"], value))
        elif inner.get("additionalProperties"):
            pair = dict(wire.fields_of(value))
            key = bytes(pair.get(1, b"")).decode()
            out.setdefault(field, {})[key] = _entry(inner["additionalProperties"], pair.get(2, memoryview(b"")))
        else:
            found = _value(inner, value)
            if found is not None and (found not in ("", 0) or optional or field in required):
                out[field] = found
    return out


def _message_name(name: str) -> str:
    """Types of one name in several groups are told apart by a prefix that messages do not have."""
    numbers = _numbers()
    return name if name in numbers else name.rpartition(".")[2]


def _entry(node: Node, value: Any) -> Any:
    """A value of a map; lists travel in a message of their own there."""
    if node.get("type") != "array":
        return _value(node, value)
    return [_value(node["items"], item) for _, item in wire.fields_of(value)]


def _value(node: Node, value: Any) -> Any:
    match node.get("x-go-type"), node.get("type"), node.get("format"):
        case "quantity", _, _:
            return bytes(dict(wire.fields_of(value)).get(1, b"")).decode()
        case go_type, "string", "date-time":
            return _time(value, precise=go_type == "microTime")
        case _, "string", "byte":
            return base64.b64encode(bytes(value)).decode()
        case _, "string", _:
            return bytes(value).decode()
        case _, "integer", _:
            return wire.signed(value)
        case _, "boolean", _:
            return bool(value)
        case str(name), "object", _:
            return _decode(name, node, value)
    if node.get("x-kubernetes-int-or-string"):
        parts = dict(wire.fields_of(value))
        return bytes(parts.get(3, b"")).decode() if parts.get(1) else wire.signed(parts.get(2, 0))
    raw = bytes(dict(wire.fields_of(value)).get(_RAW, b""))
    return json.loads(raw) if raw else None


def _time(value: memoryview, *, precise: bool) -> str | None:
    parts = dict(wire.fields_of(value))
    if not parts:
        return None
    instant = _EPOCH + timedelta(seconds=wire.signed(parts.get(1, 0)), microseconds=parts.get(2, 0) // 1_000)
    return precise_stamp(instant) if precise else stamp(instant)


def _encode(name: str, node: Node, obj: Mapping[str, Any]) -> Iterator[bytes]:
    properties = node["properties"]
    for number, marked in sorted(_numbers()[_message_name(name)].items()):
        field = marked.rstrip("?")
        if field.startswith("<"):
            yield wire.chunk(number, b"".join(_encode(field[1:], node, obj)))
        elif (value := obj.get(field)) is not None and field in properties:
            inner = properties[field]
            if inner.get("type") == "array":
                yield from (_written(number, inner["items"], item) for item in value)
            elif inner.get("additionalProperties"):
                yield from (_pair(number, inner["additionalProperties"], *item) for item in sorted(value.items()))
            else:
                yield _written(number, inner, value)


def _pair(number: int, node: Node, key: str, value: Any) -> bytes:
    if node.get("type") == "array":
        written = wire.chunk(2, b"".join(_written(1, node["items"], item) for item in value))
    else:
        written = _written(2, node, value)
    return wire.chunk(number, wire.chunk(1, key.encode()) + written)


def _written(number: int, node: Node, value: Any) -> bytes:
    match node.get("x-go-type"), node.get("type"), node.get("format"):
        case "quantity", _, _:
            return wire.chunk(number, wire.chunk(1, str(value).encode()))
        case _, "string", "date-time":
            since = parse_stamp(value) - _EPOCH
            seconds, micros = since.days * 86_400 + since.seconds, since.microseconds
            return wire.chunk(number, wire.integer(1, seconds) + wire.integer(2, micros * 1_000))
        case _, "string", "byte":
            return wire.chunk(number, base64.b64decode(value))
        case _, "string", _:
            return wire.chunk(number, value.encode())
        case _, ("integer" | "boolean"), _:
            return wire.integer(number, int(value))
        case str(name), "object", _:
            return wire.chunk(number, b"".join(_encode(name, node, value)))
    if node.get("x-kubernetes-int-or-string"):
        text = isinstance(value, str)
        inner = wire.integer(1, int(text)) + (wire.chunk(3, value.encode()) if text else wire.integer(2, value))
        return wire.chunk(number, inner)
    return wire.chunk(number, wire.chunk(_RAW, json.dumps(value, separators=(",", ":")).encode()))
