"""Reading request bodies: JSON or YAML into plain data, with the errors that clients know."""

import json
from typing import Any

import yaml

from trimtab.local.apiserver.protobuf import CONTENT_TYPE, decode_protobuf
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError, bad_request

_JSON_TYPES = ("", "application/json", "application/octet-stream")
_YAML_TYPES = ("application/yaml", "application/apply-patch+yaml", "application/x-yaml")
_UNKNOWN_FORMAT = (
    "the body of the request was in an unknown format - accepted media types include: "
    "application/json, application/yaml, application/vnd.kubernetes.protobuf"
)


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decode_object(body: bytes, content_type: str, kind: str) -> Object:
    """The object in a body.

    Raises:
        ApiError: 415 for another format, 400 for what cannot be read.
    """
    format_ = media_type(content_type)
    if format_ in _YAML_TYPES:
        return decode_yaml(body)
    if format_ == CONTENT_TYPE:
        return decode_protobuf(body)
    if format_ not in _JSON_TYPES:
        raise ApiError(415, "UnsupportedMediaType", _UNKNOWN_FORMAT)
    text = body.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
            f"json parse error: {_go_error(error, text)} ({text or '<empty>'})"
        ) from None
    if not isinstance(found, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): it is not an object")
    return found


def decode_options(body: bytes) -> Object:
    """DeleteOptions, which may be left out."""
    if not body.strip():
        return {}
    try:
        found = json.loads(body)
    except json.JSONDecodeError as error:
        raise bad_request(f"unable to decode DeleteOptions: {error}") from None
    return found if isinstance(found, dict) else {}


def decode_patch(body: bytes) -> Any:
    """A JSON document of a patch."""
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        text = body.decode("utf-8", "replace")
        raise bad_request(f"error decoding patch: {_go_error(error, text)}") from None


def decode_yaml(body: bytes) -> Object:
    """A YAML (or JSON) document of an apply."""
    try:
        found = yaml.load(body, Loader=_Loader)  # noqa: S506 - a safe loader, see below
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from None
    if not isinstance(found, dict):
        raise bad_request("error decoding YAML: the document is not an object")
    return found


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, but timestamps stay text, as JSON has no other type for them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def _go_error(error: json.JSONDecodeError, text: str) -> str:
    """The parser's complaint in the words of the Go decoder, where it has the same one."""
    at = error.pos
    if at >= len(text.rstrip()):
        return "unexpected end of JSON input"
    character = "'" + text[at].replace("'", "\\'") + "'"
    if error.msg.startswith("Expecting property name"):
        return f"invalid character {character} looking for beginning of object key string"
    if error.msg.startswith("Expecting ',' delimiter"):
        return f"invalid character {character} after object key:value pair"
    if error.msg.startswith("Expecting ':'"):
        return f"invalid character {character} after object key"
    return f"invalid character {character} looking for beginning of value"


def duplicate_fields(body: bytes) -> list[str]:
    """Fields that occur twice in a JSON object, as Strict and Warn report them."""
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> Object:
        seen: Object = {}
        for name, value in items:
            if name in seen:
                seen.setdefault(_TWICE, []).append(name)
            seen[name] = value
        return seen

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            found.extend(f'duplicate field "{path}{name}"' for name in value.pop(_TWICE, []))
            for name, inner in value.items():
                walk(inner, f"{path}{name}.")
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(inner, f"{path.rstrip('.')}[{index}].")

    try:
        walk(json.loads(body, object_pairs_hook=pairs), "")
    except json.JSONDecodeError:
        return []
    return found


_TWICE = "\x00twice"
