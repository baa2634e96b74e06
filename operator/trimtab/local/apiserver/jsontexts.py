"""Reading JSON documents, with the complaints of the Go parser that clients know."""

import json
import math
from typing import Any, NamedTuple

from trimtab.local.objects import Object

DEEPEST = 200  # levels; every walk over an object fits into Python's stack with that
_TWICE = "\x00twice"
_LITERALS = {"t": "true", "f": "false", "n": "null"}


class Unreadable(Exception):  # noqa: N818 - says what the text is
    """A text that is no document, with the parser's complaint."""


class Document(NamedTuple):
    """A parsed document, and the fields that occur twice in it: each as the complaint that names it."""

    value: Any
    twice: list[str]


def read_json(body: bytes) -> Document:
    """Raises Unreadable."""
    text = body.decode("utf-8", "replace")
    doubled = False

    def pairs(items: list[tuple[str, Any]]) -> Object:
        nonlocal doubled
        found = dict(items)
        doubled = doubled or len(found) != len(items)
        return found

    _check_depth(body)
    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=_constant, parse_float=_float)
    except json.JSONDecodeError as error:
        raise Unreadable(_go_complaint(error, text)) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    if b"\\u" in body:
        value = _without_half_characters(value)
    return Document(value, _duplicates(text) if doubled else [])


def _check_depth(body: bytes) -> None:
    if body.count(b"{") + body.count(b"[") <= DEEPEST:
        return
    depth = 0
    in_string = escaped = False
    for byte in body:
        if in_string:
            in_string = escaped or byte != 0x22
            escaped = byte == 0x5C and not escaped
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            if depth > DEEPEST:
                raise Unreadable("exceeded max depth")
        elif byte in b"}]":
            depth -= 1


def _constant(name: str) -> Any:
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


def _without_half_characters(value: Any) -> Any:
    """Lone surrogates, which no UTF-8 text can carry, become the replacement character."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_half_characters(k): _without_half_characters(v) for k, v in value.items()}
    return [_without_half_characters(item) for item in value] if isinstance(value, list) else value


def _go_complaint(error: json.JSONDecodeError, text: str) -> str:
    """The parser's complaint in the words of the Go decoder, where it has the same one."""
    at = error.pos
    if at >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    if error.msg == "Expecting value" and (literal := _LITERALS.get(text[at])):
        at, wanted = _broken_literal(text, at, literal)
        if at >= len(text):
            return "unexpected end of JSON input"
        if wanted:
            return f"invalid character {_quoted(text[at])} in literal {literal} (expecting {_quoted(wanted)})"
    character = _quoted(text[at])
    if error.msg.startswith("Expecting property name"):
        return f"invalid character {character} looking for beginning of object key string"
    if error.msg.startswith("Expecting ',' delimiter"):
        place = "array element" if _in_array(text[:at]) else "object key:value pair"
        return f"invalid character {character} after {place}"
    if error.msg.startswith("Expecting ':'"):
        return f"invalid character {character} after object key"
    if error.msg.startswith("Extra data"):
        return f"invalid character {character} after top-level value"
    if error.msg.startswith("Invalid control character"):
        return f"invalid character {character} in string literal"
    if error.msg.startswith("Invalid \\"):
        return f"invalid character {_quoted(text[at + 1 : at + 2])} in string escape code"
    return f"invalid character {character} looking for beginning of value"


def _broken_literal(text: str, at: int, literal: str) -> tuple[int, str]:
    """Where a word stops to be the literal it began as, and what should stand there."""
    for offset, wanted in enumerate(literal):
        if text[at + offset : at + offset + 1] != wanted:
            return at + offset, wanted
    return at, ""


def _quoted(character: str) -> str:
    shown = {"'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}.get(character, character)
    return f"'{shown}'"


def _in_array(text: str) -> bool:
    """Whether the end of a beginning of a JSON text stands directly in an array."""
    closed = 0
    in_string = False
    for index in range(len(text) - 1, -1, -1):
        character = text[index]
        if character == '"':
            behind = len(text[:index]) - len(text[:index].rstrip("\\"))
            in_string = in_string if behind % 2 else not in_string
        elif in_string:
            continue
        elif character in "}]":
            closed += 1
        elif character in "{[":
            if not closed:
                return character == "["
            closed -= 1
    return False


def _duplicates(text: str) -> list[str]:
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

    walk(json.loads(text, object_pairs_hook=pairs), "")
    return found
