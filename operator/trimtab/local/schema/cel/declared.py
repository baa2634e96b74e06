"""What a schema means in CEL: the type of its values, and how large they can get.

Fields without a type (x-kubernetes-preserve-unknown-fields) are not to be seen by rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from trimtab.local.schema.builtin import Node
from trimtab.local.schema.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
)

MAX_REQUEST_BYTES = 3 * 1024 * 1024
_TEXT_BYTES = 2  # the smallest serialized forms of values, in bytes
_BOOL_BYTES = 4
_NUMBER_BYTES = 1
_KEY_BYTES = 4  # quotes, colon and comma around a field's name

_RESERVED = {
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
    "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
}  # fmt: skip
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.\-/]*")
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_numbers = count(1)


@dataclass(slots=True)
class Declared:
    """A schema node as CEL sees it.

    Attributes:
        node: the schema itself.
        largest: most elements a value can have: characters, items or entries.
        smallest: bytes of the shortest serialized value.
        element: what lists and maps contain.
        fields: what an object has, by the names that expressions use.
        names: the names of those fields in the object itself.
    """

    type: Type
    node: Node
    largest: int = 0
    smallest: int = 0
    element: "Declared | None" = None
    fields: Mapping[str, "Declared"] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


def escaped(name: str) -> str | None:
    """A property's name as expressions write it; None where they cannot."""
    if name in _RESERVED:
        return f"__{name}__"
    if not _IDENTIFIER.fullmatch(name):
        return None
    out, at = "", 0
    while at < len(name):
        for plain, shown in _ESCAPES:
            if name.startswith(plain, at):
                out += shown
                at += len(plain)
                break
        else:
            out += name[at]
            at += 1
    return out


def declared(node: Node, *, root: bool = False) -> Declared | None:
    """The declaration of a schema; None where values of it are not to be seen.

    `root` says that values are whole resources, whose kind and name can always be read.
    """
    if node.get("x-kubernetes-int-or-string"):
        largest = _most_characters(node) if node.get("maxLength") is not None else MAX_REQUEST_BYTES - 2
        return Declared(DYN, node, largest, 1)
    if root:
        node = _with_metadata(node)
    match node.get("type"):
        case "array":
            return _array(node)
        case "object":
            return _map(node) if isinstance(node.get("additionalProperties"), dict) else _object(node)
        case "string":
            return _string(node)
        case "boolean":
            return Declared(BOOL, node, 0, _BOOL_BYTES)
        case "number":
            return Declared(DOUBLE, node, 0, _NUMBER_BYTES)
        case "integer":
            return Declared(INT, node, 0, _NUMBER_BYTES)
    return None


def _inner(node: Any) -> Declared | None:
    if not isinstance(node, dict):
        return None
    return declared(node, root=bool(node.get("x-kubernetes-embedded-resource")))


def _with_metadata(node: Node) -> Node:
    text = {"type": "string"}
    names = {"type": "object", "properties": {"name": text, "generateName": text}}
    properties = {**(node.get("properties") or {}), "apiVersion": text, "kind": text, "metadata": names}
    return {**node, "type": "object", "properties": properties}


def _array(node: Node) -> Declared | None:
    element = _inner(node.get("items"))
    if element is None:
        return None
    most = node.get("maxItems")
    largest = max(most, 0) if most is not None else (MAX_REQUEST_BYTES - 2) // (element.smallest + 1)
    return Declared(list_of(element.type), node, largest, 2, element)


def _map(node: Node) -> Declared | None:
    element = _inner(node["additionalProperties"])
    if element is None:
        return None
    most = node.get("maxProperties")
    largest = max(most, 0) if most is not None else (MAX_REQUEST_BYTES - 2) // (element.smallest + 6)
    return Declared(map_of(STRING, element.type), node, largest, 2, element)


def _object(node: Node) -> Declared:
    fields: dict[str, Declared] = {}
    names: dict[str, str] = {}
    smallest = 2
    required = set(node.get("required") or ())
    for name, child in (node.get("properties") or {}).items():
        inner = _inner(child)
        if inner is None:
            continue
        shown = escaped(name)
        if shown is not None:
            fields[shown] = inner
            names[shown] = name
        if name in required and child.get("default") is None:
            smallest += len(name) + inner.smallest + _KEY_BYTES
    kind = Type("object", (), f"selfType{next(_numbers)}")
    return Declared(kind, node, 0, smallest, None, fields, names)


def _most_characters(node: Node) -> int:
    """MaxLength counts characters, sizes here count bytes."""
    return max(int(node["maxLength"]), 0) * 4


def _string(node: Node) -> Declared:
    match node.get("format"):
        case "byte":
            most = node.get("maxLength")
            return Declared(BYTES, node, max(most, 0) if most is not None else MAX_REQUEST_BYTES - 2, _TEXT_BYTES)
        case "duration":
            return Declared(DURATION, node, 32, 3)
        case "date":
            return Declared(TIMESTAMP, node, 12, 12)
        case "date-time":
            return Declared(TIMESTAMP, node, 32, 21)
    if node.get("maxLength") is not None:
        largest = _most_characters(node)
    elif choices := node.get("enum"):
        largest = max((len(c.encode()) for c in choices if isinstance(c, str)), default=0)
    else:
        largest = MAX_REQUEST_BYTES - 2
    return Declared(STRING, node, largest, _TEXT_BYTES)


def field_types(root: Declared) -> Mapping[str, Declared]:
    """Every object type below a declaration, by the name of the type."""
    found: dict[str, Declared] = {}
    pending = [root]
    while pending:
        at = pending.pop()
        if at.type.kind == "object":
            found[at.type.name] = at
        pending += at.fields.values()
        if at.element is not None:
            pending.append(at.element)
    return found
