"""Kubernetes' protobuf bodies: built-in kinds in an envelope that says which."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from trimtab.local.apiserver.negotiation import METADATA, METADATA_LIST
from trimtab.local.objects import Object
from trimtab.local.resources import BUILT_IN, group_version
from trimtab.local.schema import builtin, protobuf, wire
from trimtab.local.schema.protobuf import UnknownFieldError
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
        envelope = dict(wire.fields_of(memoryview(body)[len(_MAGIC) :]))
        meta = {number: bytes(value).decode() for number, value in wire.fields_of(envelope[1])}
        api_version, kind = meta.get(1, ""), meta.get(2, "")
        name = _type_name(api_version, kind)
        if name is None:
            raise _unread(kind, "this kind")
        return {"apiVersion": api_version, "kind": kind, **protobuf.decode(name, envelope.get(2, memoryview(b"")))}
    except UnknownFieldError as error:
        raise _unread(kind, str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise ApiError(400, "BadRequest", "the protobuf body cannot be read") from None


def encode_protobuf(obj: Mapping[str, Any]) -> bytes | None:
    """An object, a list or a Status as a body; None for kinds that have no message."""
    kind, api_version = obj.get("kind", ""), obj.get("apiVersion", "")
    if kind == METADATA:
        return _enveloped(api_version, kind, _metadata(obj))
    if kind == METADATA_LIST:
        return _enveloped(api_version, kind, _list(obj, _metadata))
    if (name := _type_name(api_version, kind)) is not None:
        return _enveloped(api_version, kind, protobuf.encode(name, obj))
    item = _type_name(api_version, kind.removesuffix("List")) if "items" in obj else None
    if item is None:
        return None
    return _enveloped(api_version, kind, _list(obj, partial(protobuf.encode, item)))


def encode_event(kind: str, obj: Mapping[str, Any]) -> bytes:
    """An event of a watch: its length in four bytes, then the event in an envelope, the object in one of its own."""
    inner = wire.chunk(1, encode_protobuf(obj) or b"")
    event = _enveloped("v1", "WatchEvent", wire.chunk(1, kind.encode()) + wire.chunk(2, inner))
    return len(event).to_bytes(4, "big") + event


def _metadata(obj: Mapping[str, Any]) -> bytes:
    return wire.chunk(1, protobuf.encode("ObjectMeta", obj["metadata"]))


def _list(obj: Mapping[str, Any], encode: Callable[[Mapping[str, Any]], bytes]) -> bytes:
    metadata = wire.chunk(1, protobuf.encode("ListMeta", obj.get("metadata") or {}))
    return metadata + b"".join(wire.chunk(2, encode(item)) for item in obj["items"])


def _enveloped(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = wire.chunk(1, api_version.encode()) + wire.chunk(2, kind.encode())
    return _MAGIC + wire.chunk(1, meta) + wire.chunk(2, raw) + wire.chunk(3, b"") + wire.chunk(4, b"")


@cache
def _kinds() -> dict[tuple[str, str], str]:
    return {(group_version(r.group, v), r.kind): r.schema for r in BUILT_IN for v in r.versions if r.schema}


def _type_name(api_version: str, kind: str) -> str | None:
    """The type behind a kind: of what is served, and of what travels beside it, such as Scale or DeleteOptions."""
    name = _kinds().get((api_version, kind), kind)
    if name not in builtin.definitions() or not protobuf.has_message(name.rpartition(".")[2]):
        return None
    return name


def _unread(kind: str, what: str) -> ApiError:
    text = f"{kind}: the embedded cluster does not read {what} from protobuf; send JSON (kubectl create -f, apply -f)"
    return ApiError(415, "UnsupportedMediaType", text)
