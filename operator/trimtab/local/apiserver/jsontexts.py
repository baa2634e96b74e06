"""Reading JSON and YAML documents, with the complaints of the Go parsers that clients know."""

import contextlib
import json
import math
from typing import Any, NamedTuple

import yaml

from trimtab.local.objects import Object

_DEEPEST = 200  # levels; every walk over an object fits into Python's stack with that
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
    if body.count(b"{") + body.count(b"[") <= _DEEPEST:
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
            if depth > _DEEPEST:
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


def read_yaml(body: bytes) -> Document:
    """Raises Unreadable."""
    if body[:1] == b"{":  # JSON is YAML, and read much faster as what it is
        with contextlib.suppress(Unreadable):
            if not (found := read_json(body)).twice:
                return found
    loader = _Loader(body)
    try:
        value = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        raise Unreadable(f"yaml: {_go_place(error)}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unreadable(f"yaml: {str(error).splitlines()[0]}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"yaml: {error}") from None
    finally:
        loader.dispose()
    return Document(_as_json(value, 0), loader.twice)


def _go_place(error: yaml.MarkedYAMLError) -> str:
    for mark in (error.context_mark, error.problem_mark):
        if mark is not None and mark.line:
            return f"line {mark.line + isinstance(error, yaml.scanner.ScannerError)}: "
    return ""


def _as_json(value: Any, depth: int) -> Any:
    """What YAML has and JSON has not, as the conversion writes it: keys are strings."""
    if depth > _DEEPEST:
        raise Unreadable("exceeded max depth")
    if isinstance(value, dict):
        return {_key(name): _as_json(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(item, depth + 1) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"json: unsupported value: {value}")
    return value


def _key(name: Any) -> str:
    if isinstance(name, bool):
        return "true" if name else "false"
    return str(name)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, but timestamps stay text, as JSON has no other type, and keys that occur twice are noted."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.twice: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, value_node in node.value:
            key = getattr(key_node, "value", None)
            if isinstance(key, str):
                if key in seen:
                    line = value_node.start_mark.line + 1
                    self.twice.append(f"line {line}: key {json.dumps(key)} already set in map")
                seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
