"""Reading request bodies into plain data, with the errors that clients know."""

from typing import Any

from trimtab.local.apiserver.jsontexts import Document, Unreadable, read_json
from trimtab.local.apiserver.protobuf import CONTENT_TYPE, decode_protobuf
from trimtab.local.apiserver.yamltexts import read_yaml
from trimtab.local.objects import Object
from trimtab.local.patching import JSON, STRATEGIC
from trimtab.local.schema.decoding import json_type
from trimtab.local.statuses import ApiError, bad_request

_JSON_TYPES = ("", "application/json", "application/octet-stream")
_YAML_TYPES = ("application/yaml", "application/apply-patch+yaml", "application/x-yaml")
_UNKNOWN_FORMAT = (
    "the body of the request was in an unknown format - accepted media types include: "
    "application/json, application/yaml, application/vnd.kubernetes.protobuf"
)
_TYPE_META = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
_MAP = "map[string]interface {}"
_SUMMARY = 30  # bytes of an unreadable body that its refusal shows


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decode_object(body: bytes, content_type: str, kind: str) -> Document:
    """The object in a body, and the fields that occur twice in it.

    Raises:
        ApiError: 415 for another format, 400 for what cannot be read.
    """
    format_ = media_type(content_type)
    if format_ == CONTENT_TYPE:
        return Document(decode_protobuf(body), [])
    if format_ not in _JSON_TYPES and format_ not in _YAML_TYPES:
        raise ApiError(415, "UnsupportedMediaType", _UNKNOWN_FORMAT)
    try:
        found = _strict_yaml(read_yaml(body)) if format_ in _YAML_TYPES else read_json(body)
        _check_type_meta(found.value)
    except Unreadable as error:
        complaint = (
            str(error) if str(error).startswith("yaml:") else f"couldn't get version/kind; json parse error: {error}"
        )
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): {complaint} ({_summary(body)})"
        ) from None
    return found


def _strict_yaml(document: Document) -> Document:
    """What a YAML body says twice is one complaint, as the converter makes it."""
    if not document.twice:
        return document
    return Document(document.value, ["yaml: unmarshal errors:\n" + "\n".join(f"  {line}" for line in document.twice)])


def _check_type_meta(value: Any) -> None:
    if not isinstance(value, dict):
        raise Unreadable(f"json: cannot unmarshal {json_type(value)} into Go value of type {_TYPE_META}")
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str | None):
            shown = json_type(value[name])
            raise Unreadable(f"json: cannot unmarshal {shown} into Go struct field .{name} of type string")


def _summary(body: bytes) -> str:
    if not body:
        return "<empty>"
    shown = body[:_SUMMARY].decode("utf-8", "replace") if body.startswith(b"{") else body[:_SUMMARY].hex()
    return shown if len(body) <= _SUMMARY else f"{shown} ..."


def decode_options(body: bytes, content_type: str) -> Object:
    """DeleteOptions, which may be left out. Raises ApiError 400 for what cannot be read, 415 for another format."""
    if not body.strip():
        return {}
    found: Object = decode_object(body, content_type, "DeleteOptions").value
    version, kind = found.get("apiVersion") or "v1", found.get("kind") or "DeleteOptions"
    if kind != "DeleteOptions":
        raise bad_request(
            f'no kind "{kind}" is registered for version "{version}" in scheme '
            '"pkg/apis/meta/internalversion/scheme/register.go:28"'
        )
    return found


def decode_patch(body: bytes, content_type: str) -> Document:
    """A JSON document of a patch: a list of operations for a JSON patch, else an object. Raises ApiError 400."""
    prefix = "" if content_type == STRATEGIC else "error decoding patch: "
    try:
        found = read_json(body)
    except Unreadable as error:
        raise bad_request(f"{prefix}{error}") from None
    wanted, go_type = (list, "[]handlers.jsonPatchOp") if content_type == JSON else (dict, _MAP)
    if not isinstance(found.value, wanted):
        raise bad_request(f"{prefix}json: cannot unmarshal {json_type(found.value)} into Go value of type {go_type}")
    if content_type == JSON:
        for step in found.value:
            if not isinstance(step, dict):
                problem = f"json: cannot unmarshal {json_type(step)} into Go value of type handlers.jsonPatchOp"
                raise bad_request(prefix + problem)
            for name in ("op", "path", "from"):
                if not isinstance(step.get(name), str | None):
                    shown = json_type(step[name])
                    problem = f"json: cannot unmarshal {shown} into Go struct field jsonPatchOp.{name} of type string"
                    raise bad_request(prefix + problem)
    return found


def decode_yaml(body: bytes) -> Document:
    """A YAML (or JSON) document of an apply. Raises ApiError 400."""
    try:
        found = read_yaml(body)
    except Unreadable as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: {error}") from None
    if not isinstance(found.value, dict | None):
        problem = f"json: cannot unmarshal {json_type(found.value)} into Go value of type {_MAP}"
        raise bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {problem}")
    return Document(found.value or {}, found.twice)
