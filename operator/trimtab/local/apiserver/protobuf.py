"""Kubernetes' protobuf bodies, for the commands of kubectl that send nothing else, such as `kubectl create configmap`.

Only reading, and only the fields that those commands write; an unknown field is refused, never dropped.
"""

import base64
from collections.abc import Iterator
from typing import Any

from trimtab.local.apiserver.protobufmessages import ENVELOPE, MESSAGES, Fields
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"


def decode_protobuf(body: bytes) -> Object:
    """The object in a protobuf body.

    Raises:
        ApiError: 415 for kinds and fields that are not read from protobuf here, 400 for broken bodies.
    """
    if not body.startswith(_MAGIC):
        raise ApiError(400, "BadRequest", "the body is no Kubernetes protobuf message")
    try:
        envelope = _message(memoryview(body)[len(_MAGIC) :], ENVELOPE, "Unknown")
        kind = envelope["typeMeta"]["kind"]
        if kind not in MESSAGES:
            raise _unread(kind, "this kind")
        return {**envelope["typeMeta"], **_message(envelope["raw"], MESSAGES[kind], kind)}
    except (IndexError, KeyError, UnicodeDecodeError, ValueError):
        raise ApiError(400, "BadRequest", "the protobuf body cannot be read") from None


def _unread(kind: str, what: str) -> ApiError:
    text = f"{kind}: the embedded cluster does not read {what} from protobuf; send JSON (kubectl create -f, apply -f)"
    return ApiError(415, "UnsupportedMediaType", text)


def _message(data: memoryview, fields: Fields, kind: str) -> Object:
    out: Object = {}
    for number, value in _parts(data):
        if number not in fields:
            if value in (0, b""):
                continue
            raise _unread(kind, f"field {number}")
        field = fields[number]
        if field is None:
            continue
        name, type_name = field
        if type_name.startswith("["):
            out.setdefault(name, []).append(_value(value, type_name[1:-1]))
        elif type_name.startswith("{"):
            pair = dict(_parts(value))
            key = bytes(pair.get(1, b"")).decode()
            out.setdefault(name, {})[key] = _value(pair.get(2, memoryview(b"")), type_name[1:-1])
        elif type_name.startswith("<"):
            out |= _value(value, type_name[1:-1])
        elif (found := _value(value, type_name)) not in ("", None):
            out[name] = found
    return out


def _value(value: Any, type_name: str) -> Any:
    match type_name:
        case "string":
            return bytes(value).decode()
        case "bytes":
            return base64.b64encode(bytes(value)).decode()
        case "int":
            return value if value < 1 << 63 else value - (1 << 64)
        case "bool":
            return bool(value)
        case "count":
            return _value(value, "int") or None
        case "flag":
            return bool(value) or None
        case "Quantity":
            return _value(dict(_parts(value)).get(1, b""), "string")
        case "IntOrString":
            return _int_or_string(dict(_parts(value)))
        case "raw":
            return value
    return _message(value, MESSAGES[type_name], type_name)


def _int_or_string(parts: dict[int, Any]) -> int | str:
    found: int | str = _value(parts.get(3, b""), "string") if parts.get(1) else _value(parts.get(2, 0), "int")
    return found


def _parts(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers with their raw values: an integer, or the bytes of everything else."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("truncated")
            yield number, data[at : at + size]
            at += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("overlong")
