"""Dropping what a schema does not know, and nulls where it allows none."""

from typing import Any

from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node

_EMBEDDED = ("apiVersion", "kind", "metadata")


def pruned(value: Any, node: Node, path: str, unknown: list[str]) -> Any:
    """`value` without fields that the schema does not have; their paths are added to `unknown`."""
    if isinstance(value, dict):
        return _pruned_object(value, node, path, unknown)
    if isinstance(value, list):
        items = node.get("items")
        if not isinstance(items, dict):
            return value
        return [pruned(item, items, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    return value


def _pruned_object(value: Object, node: Node, path: str, unknown: list[str]) -> Object:
    properties = node.get("properties") or {}
    additional = node.get("additionalProperties")
    preserve = node.get("x-kubernetes-preserve-unknown-fields")
    embedded = node.get("x-kubernetes-embedded-resource")
    out: Object = {}
    for name, inner in value.items():
        where = f"{path}.{name}" if path else name
        if name in properties:
            out[name] = pruned(inner, properties[name], where, unknown)
        elif embedded and name in _EMBEDDED:
            out[name] = inner
        elif isinstance(additional, dict):
            out[name] = pruned(inner, additional, where, unknown)
        elif preserve or additional is True:
            out[name] = inner
        else:
            unknown.append(where)
    return out
