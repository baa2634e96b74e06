"""Schemas as functions: whether a value is valid, asked on every write and nearly always answered with yes."""

from collections.abc import Callable
from typing import Any

from trimtab.local.schema.builtin import Node
from trimtab.local.schema.formats import format_check
from trimtab.local.schema.numbers import is_whole
from trimtab.local.schema.patterns import searcher
from trimtab.local.schema.validation import (
    checked_format,
    equals_choice,
    number_format,
    schema_errors,
    wanted_types,
)

Check = Callable[[Any], bool]


def compiled(node: Node) -> Check | None:
    """A function that tells whether a value is valid; None where every value is.

    What it holds for valid has no `schema_errors`; it may refuse a value that has none, never the reverse.
    """
    if any(node.get(keyword) for keyword in ("allOf", "anyOf", "oneOf", "uniqueItems")) or node.get("not") is not None:
        # Rare enough to be asked the long way.
        return lambda value: not schema_errors(value, node, "")
    wanted = wanted_types(node)
    check = _typed(node, wanted)
    choices = node.get("enum")
    if choices:
        check = _enumerated(check, choices)
    if node.get("nullable") and check is not None and not choices:
        inner = check
        return lambda value: value is None or inner(value)
    return check


def _enumerated(check: Check | None, choices: list[Any]) -> Check:
    if all(isinstance(choice, str) for choice in choices):
        texts = frozenset(choices)
        return lambda value: type(value) is str and value in texts and (check is None or check(value))
    return lambda value: (
        value is not None
        and any(equals_choice(value, choice) for choice in choices)
        and (check is None or check(value))
    )


def _typed(node: Node, wanted: tuple[str, ...]) -> Check | None:
    match wanted:
        case ("object",):
            return _object(node)
        case ("array",):
            return _array(node)
        case ("string",):
            return _string(node)
        case ("boolean",):
            return lambda value: value is True or value is False
        case ("integer",) | ("number",):
            return _number(node, integer=wanted == ("integer",))
        case ():
            return _untyped(node)
    return lambda value: not schema_errors(value, node, "")


_VALUE_KEYWORDS = (
    "maximum",
    "minimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "maxItems",
    "minItems",
    "items",
    "maxProperties",
    "minProperties",
    "required",
    "properties",
    "additionalProperties",
)


def _untyped(node: Node) -> Check | None:
    if not any(node.get(keyword) is not None for keyword in _VALUE_KEYWORDS):
        return None
    return lambda value: not schema_errors(value, node, "")


def _string(node: Node) -> Check:
    least, most = node.get("minLength"), node.get("maxLength")
    matches = searcher(node["pattern"]) if node.get("pattern") else None
    form = format_check(checked_format(node)) if checked_format(node) else None
    if least is None and most is None and matches is None and form is None:
        return lambda value: type(value) is str
    low = least if least is not None else 0
    high = most if most is not None else float("inf")

    def check(value: Any) -> bool:
        return (
            type(value) is str
            and low <= len(value) <= high
            and (matches is None or matches(value))
            and (form is None or form(value))
        )

    return check


def _number(node: Node, *, integer: bool) -> Check:
    if any(node.get(keyword) is not None for keyword in ("multipleOf", "exclusiveMaximum", "exclusiveMinimum")):
        return lambda value: not schema_errors(value, node, "")
    low = node.get("minimum")
    high = node.get("maximum")
    limited = number_format(node) in ("int32", "float")
    if limited or (integer and not all(bound is None or is_whole(bound) for bound in (low, high))):
        return lambda value: not schema_errors(value, node, "")
    least = low if low is not None else float("-inf")
    most = high if high is not None else float("inf")

    def check(value: Any) -> bool:
        if type(value) is int or (type(value) is float and not integer):
            return bool(least <= value <= most) and (not integer or is_whole(value))
        return type(value) is float and is_whole(value) and bool(least <= value <= most)

    return check


def _array(node: Node) -> Check:
    least = node.get("minItems") or 0
    most = node["maxItems"] if node.get("maxItems") is not None else float("inf")
    items = compiled(node["items"]) if isinstance(node.get("items"), dict) else None

    def check(value: Any) -> bool:
        return type(value) is list and least <= len(value) <= most and (items is None or all(map(items, value)))

    return check


def _object(node: Node) -> Check:
    least = node.get("minProperties") or 0
    most = node["maxProperties"] if node.get("maxProperties") is not None else float("inf")
    required = frozenset(node.get("required") or ())
    properties = {name: compiled(child) for name, child in (node.get("properties") or {}).items()}
    given = node.get("additionalProperties")
    additional = compiled(given) if isinstance(given, dict) else None
    closed = given is False
    find = properties.get

    def check(value: Any) -> bool:
        if type(value) is not dict or not least <= len(value) <= most or not required <= value.keys():
            return False
        for name, inner in value.items():
            test = find(name, additional)
            if test is not None and not test(inner):
                return False
            if closed and name not in properties:
                return False
        return True

    return check
