"""Lists that are sets or have keys: no member twice."""

import json
from typing import Any

from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.validation import join
from trimtab.local.statuses import FieldError, duplicate, invalid_value

_SCALAR = (str, int, float, bool, type(None))


def has_unique_lists(node: Node) -> bool:
    """Whether a schema has such a list anywhere."""
    if node.get("x-kubernetes-list-type") in ("set", "map"):
        return True
    inside = [*(node.get("properties") or {}).values(), node.get("items"), node.get("additionalProperties")]
    return any(isinstance(child, dict) and has_unique_lists(child) for child in inside)


def duplicate_errors(value: Any, node: Node, path: str) -> list[FieldError]:
    """Every member that is there a second time, in the value and below it."""
    errors: list[FieldError] = []
    if isinstance(value, dict):
        properties, additional = node.get("properties") or {}, node.get("additionalProperties")
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                if name in properties:
                    errors += duplicate_errors(inner, properties[name], join(path, name))
                elif isinstance(additional, dict):
                    errors += duplicate_errors(inner, additional, f"{path}[{name}]")
    elif isinstance(value, list):
        match node.get("x-kubernetes-list-type"):
            case "set":
                errors += [duplicate(f"{path}[{i}]", quote(value[i])) for i in _repeated(value)]
            case "map":
                errors += _map_errors(value, node, path)
        items = node.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                if isinstance(item, dict | list):
                    errors += duplicate_errors(item, items, f"{path}[{index}]")
    return errors


def _map_errors(value: list[Any], node: Node, path: str) -> list[FieldError]:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            text = "must be an object for an array of list-type map"
            return [invalid_value(f"{path}[{index}]", quote(item), text)]
    names = sorted(node.get("x-kubernetes-list-map-keys") or ())
    keys = [{name: item[name] for name in names if name in item} if item else {} for item in value]
    return [duplicate(f"{path}[{i}]", quote(keys[i])) for i in _repeated(keys)]


def _repeated(values: list[Any]) -> list[int]:
    """Where a value is for the second time; a third is not counted."""
    seen: dict[Any, int] = {}
    found = []
    for index, value in enumerate(values):
        key = (type(value), value) if isinstance(value, _SCALAR) else json.dumps(value, sort_keys=True)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 2:
            found.append(index)
    return found
