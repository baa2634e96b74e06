"""Reading a built-in kind: types are checked, fields it does not have are dropped and reported."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.quantities import canonical
from trimtab.local.schema.builtin import Node, node_of

_QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
_QUANTITY_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_PADDING = 2  # characters at most
_INT32 = {"type": "integer", "format": "int32"}
_ZEROS: dict[str, Callable[[], Any]] = {"string": str, "boolean": bool, "integer": int, "number": int, "array": list}
_GO_TYPES = {"string": "string", "boolean": "bool", "number": "float64"}


class Undecodable(Exception):  # noqa: N818 - says what the value is
    """A value of the wrong type, with the text of the decoder."""


@dataclass(slots=True)
class Decoded:
    """The object as its type allows it, and the paths of the fields it does not have."""

    object: Object
    unknown: list[str] = field(default_factory=list)


def decode(obj: Object, node: Node) -> Decoded:
    """Check `obj` against a built-in type.

    Nulls are dropped, but for times, as clients send them for what they leave unset.

    Raises:
        Undecodable: a value has the wrong type.
    """
    if not isinstance(obj.get("metadata"), dict | None) and "metadata" in node.get("properties", ()):
        shown = json_type(obj["metadata"])
        struct = node["x-go-type"]
        raise Undecodable(
            f"json: cannot unmarshal {shown} into Go struct field {struct}.metadata of type v1.ObjectMeta"
        )
    decoded = Decoded({})
    decoded.object = _struct(obj, node, "", decoded.unknown)
    return decoded


def _struct(obj: Object, node: Node, path: str, unknown: list[str]) -> Object:
    properties = node["properties"]
    out: Object = {}
    for name, value in obj.items():
        where = f"{path}.{name}" if path else name
        child = properties.get(name)
        if child is None:
            unknown.append(where)
        elif value is None:
            continue
        else:
            found = _value(value, child, where, node["x-go-type"], unknown)
            if found or not _left_out_when_empty(child) or name in node.get("required", ()):
                out[name] = found
    return out


def _left_out_when_empty(node: Node) -> bool:
    """Empty lists and maps are as good as none; an empty struct, such as emptyDir, says something."""
    return node.get("type") == "array" or "additionalProperties" in node


def _value(value: Any, node: Node, path: str, struct: str, unknown: list[str]) -> Any:
    if node.get("x-kubernetes-preserve-unknown-fields"):
        schema = node.get("x-go-type", "").removesuffix("|bool")
        return _schema_or_bool(value, schema, path, unknown) if schema else value
    if node.get("x-kubernetes-int-or-string"):
        return _quantity(value) if node.get("x-go-type") == "quantity" else _int_or_string(value, path, struct)
    kind = node["type"]
    if kind == "object":
        _expect(isinstance(value, dict), value, path, struct, node)
        if "properties" in node:
            return _struct(value, node, path, unknown)
        child = node["additionalProperties"]
        return {k: _member(v, child, path, struct, unknown) for k, v in value.items()}
    if kind == "array":
        _expect(isinstance(value, list), value, path, struct, node)
        items = node["items"]
        return [_member(v, items, f"{path}[{i}]", struct, unknown) for i, v in enumerate(value)]
    return _scalar(value, node, path, struct)


def _member(value: Any, node: Node, path: str, struct: str, unknown: list[str]) -> Any:
    """A value of a list or a map, where null is the type's zero."""
    return _zero(node) if value is None else _value(value, node, path, struct, unknown)


def _zero(node: Node) -> Any:
    if node.get("x-kubernetes-int-or-string"):
        return "0" if node.get("x-go-type") == "quantity" else 0
    return _ZEROS.get(node.get("type", ""), dict)()


def _int_or_string(value: Any, path: str, struct: str) -> Any:
    return value if isinstance(value, str) else _scalar(value, _INT32, path, struct)


def _schema_or_bool(value: Any, name: str, path: str, unknown: list[str]) -> Any:
    if isinstance(value, dict):
        return _struct(value, node_of(name), path, unknown)
    if not isinstance(value, bool):
        raise Undecodable("boolean or JSON schema expected")
    return value


def _scalar(value: Any, node: Node, path: str, struct: str) -> Any:
    match node["type"]:
        case "string":
            _expect(isinstance(value, str), value, path, struct, node)
            if node.get("format") == "byte":
                _check_base64(value)
        case "boolean":
            _expect(isinstance(value, bool), value, path, struct, node)
        case "integer":
            whole = isinstance(value, float) and value.is_integer()
            number = isinstance(value, int) and not isinstance(value, bool)
            fits = (number or whole) and abs(2 * int(value) + 1) < 2 ** int(node.get("format", "int64")[3:])
            _expect(fits, value, path, struct, node)
            return int(value)
        case _:
            _expect(isinstance(value, int | float) and not isinstance(value, bool), value, path, struct, node)
    return value


def _check_base64(text: str) -> None:
    text = text.replace("\r", "").replace("\n", "")
    body = text.rstrip("=") if len(text) % 4 == 0 else text
    wrong = _NOT_BASE64.search(body)
    if wrong or len(text) % 4 or len(text) - len(body) > _PADDING:
        at = wrong.start() if wrong else len(text) - len(text) % 4
        raise Undecodable(f"illegal base64 data at input byte {at}")


def _quantity(value: Any) -> str:
    text = str(value).strip()
    if not _QUANTITY.fullmatch(text):
        raise Undecodable(_QUANTITY_TEXT)
    return canonical(text)


def _expect(holds: bool, value: Any, path: str, struct: str, node: Node) -> None:
    if holds:
        return
    plain = re.sub(r"\[\d+\]", "", path)
    named = isinstance(value, float) or (node.get("type") == "integer" and json_type(value) == "number")
    shown = f"number {value}" if named else json_type(value)
    raise Undecodable(f"json: cannot unmarshal {shown} into Go struct field {struct}.{plain} of type {_go_type(node)}")


def json_type(value: Any) -> str:
    """What the Go decoder calls the type of a value."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case None:
            return "null"
    return "object"


def _go_type(node: Node) -> str:
    if "$ref" in node:
        return f"v1.{node['$ref']}"
    match node.get("type", ""):
        case "integer":
            return str(node["format"])
        case "array":
            return f"[]{_go_type(node['items'])}"
        case "object" if "properties" in node:
            return f"v1.{node['x-go-type']}"
        case "object":
            return f"map[string]{_go_type(node['additionalProperties'])}"
        case kind:
            return _GO_TYPES.get(kind, "interface {}")
