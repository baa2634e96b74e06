"""Paths into the values of a schema, as rules and selectable fields name them: .spec.size, .spec['a.b']."""

import re

from trimtab.local.schema.builtin import Node

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]]+")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}
_NOWHERE = "does not refer to a valid field"


class BadPath(ValueError):  # noqa: N818 - says what the path is
    """A path that leads nowhere."""


def resolved(path: str, node: Node, *, brackets: bool = True) -> tuple[str, Node]:
    """The path as errors show it, without the dot before it, and the schema it leads to.

    Raises:
        BadPath: it is no path, or the schema has no such field.
    """
    tokens = iter(_TOKEN.findall(path))
    shown = ""
    for part in tokens:
        if part == "[" and not brackets:
            raise BadPath("array notation is not allowed")
        if part not in (".", "["):
            raise BadPath(f"expected [ or . but got: {part}")
        name = next(tokens, None)
        if name is None:
            raise BadPath("unexpected end of JSON path")
        if part == "[":
            name = _unquoted(name)
        named = node.get("properties") is not None
        node = _below(node, name)
        shown += (f".{name}" if shown else name) if named else f"[{name}]"
        if part == "[":
            closing = next(tokens, None)
            if closing != "]":
                raise BadPath("unexpected end of JSON path" if closing is None else f"expected ] but got {closing}")
    return shown, node


def _unquoted(token: str) -> str:
    if len(token) < 2 or not (token[0] == token[-1] == "'"):
        raise BadPath(f"expected single quoted string but got {token}")

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise BadPath(f"invalid string literal: invalid escape char {match[0]}")
        return _ESCAPES[match[1]]

    return _ESCAPE.sub(replaced, token[1:-1])


def _below(node: Node, name: str) -> Node:
    properties = node.get("properties")
    if properties is not None:
        if name not in properties:
            raise BadPath(_NOWHERE)
        found: Node = properties[name]
        return found
    additional = node.get("additionalProperties")
    if not isinstance(additional, dict):
        raise BadPath(_NOWHERE)
    return additional
