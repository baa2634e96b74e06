"""Dropping what a schema does not know.

Pruning copies: what it returns shares nothing with what it was given. `compiled` does it for every write;
`pruned` takes the long way and names the fields that went.
"""

from collections.abc import Callable
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node

_EMBEDDED = ("apiVersion", "kind", "metadata")
_NOTHING: Node = {}
_EXPONENT = 1e21  # from here on JSON shows one

Prune = Callable[[Any, list[bool]], Any]
"""Copies a value; the list is not empty afterwards where something was dropped."""


def copied(value: Any) -> Any:
    """A deep copy of a JSON value."""
    if type(value) is dict:
        return {name: copied(inner) for name, inner in value.items()}
    if type(value) is list:
        return [copied(item) for item in value]
    return value


def whole(value: Any) -> Any:
    """A scalar as a real server gives it back: 3.0 is 3."""
    return int(value) if type(value) is float and value.is_integer() and abs(value) < _EXPONENT else value


def pruned(value: Any, node: Node, path: str, unknown: list[str]) -> Any:
    """`value` without fields that the schema does not have; their paths are added to `unknown`."""
    if isinstance(value, dict):
        return _pruned_object(value, node, path, unknown)
    if isinstance(value, list):
        items = _items(node)
        if items is None:
            return copied(value)
        return [pruned(item, items, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    return value


def _items(node: Node) -> Node | None:
    """The schema of a list's items; None where anything may be in it."""
    items = node.get("items")
    if isinstance(items, dict):
        return items
    return None if node.get("x-kubernetes-preserve-unknown-fields") else _NOTHING


def _pruned_object(value: Object, node: Node, path: str, unknown: list[str]) -> Object:
    properties = node.get("properties") or {}
    additional = node.get("additionalProperties")
    embedded = node.get("x-kubernetes-embedded-resource")
    out: Object = {}
    for name, inner in value.items():
        where = f"{path}.{name}" if path else name
        if embedded and name in _EMBEDDED:
            out[name] = copied(inner)
        elif name in properties:
            out[name] = pruned(inner, properties[name], where, unknown)
        elif additional is not None:
            # Where any value is allowed, a server knows nothing of what is inside, and drops that.
            out[name] = pruned(inner, additional if isinstance(additional, dict) else _NOTHING, where, unknown)
        elif node.get("x-kubernetes-preserve-unknown-fields"):
            out[name] = copied(inner)
        else:
            unknown.append(where)
    return out


def compiled(node: Node) -> Prune:
    """The same for one schema, many times; which fields went is not said."""
    properties = {name: compiled(child) for name, child in (node.get("properties") or {}).items()}
    if node.get("x-kubernetes-embedded-resource"):
        properties |= dict.fromkeys(_EMBEDDED, _keep)
    additional = node.get("additionalProperties")
    others: Prune | None = _keep if node.get("x-kubernetes-preserve-unknown-fields") else None
    if additional is not None:
        others = compiled(additional) if isinstance(additional, dict) else _empty
    given = _items(node)
    items = _keep if given is None else compiled(given) if given else _empty
    find = properties.get

    def prune(value: Any, dropped: list[bool]) -> Any:
        if type(value) is dict:
            out = {}
            for name, inner in value.items():
                inside = find(name, others)
                if inside is None:
                    dropped.append(True)
                elif type(inner) is dict or type(inner) is list:
                    out[name] = inside(inner, dropped)
                else:
                    out[name] = whole(inner) if type(inner) is float else inner
            return out
        if type(value) is list:
            return [items(item, dropped) for item in value]
        return whole(value)

    return prune


def _keep(value: Any, _dropped: list[bool]) -> Any:
    return copied(value)


def _empty(value: Any, dropped: list[bool]) -> Any:
    """What is left of a value whose schema says nothing."""
    if type(value) is dict:
        dropped.extend([True] * bool(value))
        return {}
    if type(value) is list:
        return [_empty(item, dropped) for item in value]
    return value
