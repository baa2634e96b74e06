"""Structural defaults of custom resources, and the nulls that a schema does not allow."""

from collections.abc import Callable
from functools import partial
from typing import Any

from trimtab.local.schema.builtin import Node
from trimtab.local.schema.pruning import copied

Fill = Callable[[Any], None]


def fill_defaults(value: Any, node: Node) -> None:
    """Fill in defaults, in place; a null goes where the schema allows none."""
    compiled(node)(value)


def compiled(node: Node) -> Fill:
    """The same for one schema, many times."""
    return _compiled(node) or _nothing


def _nothing(_value: Any) -> None:
    return


def _compiled(node: Node) -> Fill | None:
    """None where no value of the schema ever changes."""
    if node.get("properties") or isinstance(node.get("additionalProperties"), dict):
        return _object(node)
    items = node.get("items")
    if isinstance(items, dict):
        return _array(items)
    return None


def _array(node: Node) -> Fill | None:
    inside = _compiled(node)
    default = None if node.get("nullable") else node.get("default")
    if inside is None and default is None:
        return None

    def fill(value: Any) -> None:
        if type(value) is not list:
            return
        for index, item in enumerate(value):
            if item is None and default is not None:
                value[index] = copied(default)
            if inside is not None:
                inside(value[index])

    return fill


def _object(node: Node) -> Fill:
    properties: dict[str, Node] = node.get("properties") or {}
    defaults = [
        (name, partial(copied, child["default"]), bool(child.get("nullable")))
        for name, child in properties.items()
        if child.get("default") is not None
    ]
    insides = {name: _compiled(child) for name, child in properties.items()}
    given = node.get("additionalProperties")
    other: Node | None = given if isinstance(given, dict) else None
    others = _compiled(other) if other is not None else None
    deep = others is not None or any(insides.values())
    find = insides.get

    def fill(value: Any) -> None:
        if type(value) is not dict:
            return
        for name, default, nullable in defaults:
            if name not in value or (value[name] is None and not nullable):
                value[name] = default()
        if None in value.values():
            _drop_nulls(value, properties, other)
        if deep:
            for name, inner in value.items():
                inside = find(name, others)
                if inside is not None:
                    inside(inner)

    return fill


def _drop_nulls(value: dict[str, Any], properties: dict[str, Node], other: Node | None) -> None:
    for name in [name for name, inner in value.items() if inner is None]:
        child = properties.get(name, other)
        if child is None or child.get("nullable"):
            continue
        if child.get("default") is not None:
            value[name] = copied(child["default"])
        else:
            del value[name]
