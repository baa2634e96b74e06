"""Structural defaults of custom resources."""

import copy
from typing import Any

from trimtab.local.schema.builtin import Node


def fill_defaults(value: Any, node: Node) -> None:
    """Fill in defaults, in place; a null goes where the schema allows none."""
    if isinstance(value, dict):
        properties: dict[str, Node] = node.get("properties") or {}
        for name, inner in properties.items():
            _settle(value, name, inner)
        additional = node.get("additionalProperties")
        for name in value:
            if name in properties:
                fill_defaults(value[name], properties[name])
            elif isinstance(additional, dict):
                fill_defaults(value[name], additional)
    elif isinstance(value, list):
        items = node.get("items")
        if isinstance(items, dict):
            for item in value:
                fill_defaults(item, items)


def _settle(value: dict[str, Any], name: str, node: Node) -> None:
    if name in value and (value[name] is not None or node.get("nullable")):
        return
    if "default" in node:
        value[name] = copy.deepcopy(node["default"])
    elif value.get(name, node) is None and not node.get("x-kubernetes-preserve-unknown-fields"):
        del value[name]
