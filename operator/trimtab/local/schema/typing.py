"""Whether an applied document fits a kind's schema, with the words of the structured merge."""

import json
from typing import Any

from trimtab.local.fieldsets import child_node, item_element, shown
from trimtab.local.schema.builtin import Node


def type_problems(value: Any, node: Node) -> list[str]:
    """Fields that the schema does not have, and values of a wrong type, as `.spec.size: expected ...`."""
    found: list[str] = []
    _check(value, node, (), found)
    return found


def _check(value: Any, node: Node, path: tuple[str, ...], found: list[str]) -> None:
    if value is None or node.get("x-kubernetes-int-or-string"):
        return
    kind = node.get("type")
    if kind == "object" or (kind is None and isinstance(value, dict)):
        if isinstance(value, dict):
            _check_object(value, node, path, found)
        else:
            found.append(_at(path, f"expected map, got &{{{_go_value(value)}}}"))
    elif kind == "array":
        if isinstance(value, list):
            _check_list(value, node, path, found)
        else:
            found.append(_at(path, f"expected list, got &{{{_go_value(value)}}}"))
    elif problem := _scalar_problem(value, kind):
        found.append(_at(path, problem))


def _check_object(value: dict[str, Any], node: Node, path: tuple[str, ...], found: list[str]) -> None:
    properties: Node = node.get("properties") or {}
    closed = (
        properties
        and not node.get("additionalProperties")
        and not node.get("x-kubernetes-preserve-unknown-fields")
        and not node.get("x-kubernetes-embedded-resource")
    )
    for name, inner in value.items():
        where = (*path, f"f:{name}")
        if closed and name not in properties:
            found.append(_at(where, "field not declared in schema"))
        else:
            _check(inner, child_node(node, name), where, found)


def _check_list(value: list[Any], node: Node, path: tuple[str, ...], found: list[str]) -> None:
    items = node.get("items") or {}
    keys = node.get("x-kubernetes-list-map-keys") if node.get("x-kubernetes-list-type") == "map" else None
    associative = keys or node.get("x-kubernetes-list-type") == "set"
    seen: set[str] = set()
    for index, item in enumerate(value):
        if keys and not isinstance(item, dict):
            found.append(_at(path, f"element {index}: associative list with keys may not have non-map elements"))
            continue
        missing = next((k for k in keys or () if k not in item and "default" not in child_node(items, k)), None)
        if missing is not None:
            text = f"associative list with keys has an element that omits key field {json.dumps(missing)}"
            found.append(_at(path, f"element {index}: {text} (and doesn't have default value)"))
            continue
        element = item_element(item, node) if associative else f"i:{index}"
        if associative and element in seen:
            found.append(_at(path, f"duplicate entries for key {shown((element,))}"))
        seen.add(element)
        _check(item, items, (*path, element), found)


def _scalar_problem(value: Any, kind: str | None) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "string" if not isinstance(value, str):
            return f"expected string, got &value.valueUnstructured{{Value:{_go_value(value)}}}"
        case "integer" | "number" if not is_number:
            return f"expected numeric (int or float), got {_go_type(value)}"
        case "boolean" if not isinstance(value, bool):
            return f"expected boolean, got &value.valueUnstructured{{Value:{_go_value(value)}}}"
    return ""


def _go_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "[]interface {}"
    return "map[string]interface {}"


def _go_value(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _at(path: tuple[str, ...], problem: str) -> str:
    return f"{shown(path)}: {problem}"
