"""Lists that are sets or have keys: no member twice."""

import json
from collections.abc import Callable
from typing import Any

from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.validation import join
from trimtab.local.statuses import FieldError, duplicate, invalid_value

Check = Callable[[Any], bool]
_SCALAR = (str, int, float, bool, type(None))


def compiled(node: Node) -> Check | None:
    """A function that tells whether no such list in a value has a member twice; None where there is none."""
    own = node.get("x-kubernetes-list-type") if node.get("type") == "array" else None
    items = compiled(node["items"]) if isinstance(node.get("items"), dict) else None
    if own in ("set", "map"):
        return lambda value: not duplicate_errors(value, node, "")
    if items is not None:
        return lambda value: type(value) is not list or all(map(items, value))
    given = node.get("additionalProperties")
    others = compiled(given) if isinstance(given, dict) else None
    inside = {name: compiled(child) for name, child in (node.get("properties") or {}).items()}
    checks = {name: check for name, check in inside.items() if check is not None}
    if others is not None:
        return lambda value: type(value) is not dict or all(map(others, value.values()))
    return _of_fields(checks) if checks else None


def _of_fields(checks: dict[str, Check]) -> Check:
    def check(value: Any) -> bool:
        if type(value) is not dict:
            return True
        return all(name not in value or test(value[name]) for name, test in checks.items())

    return check


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
