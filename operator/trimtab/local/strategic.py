"""Strategic merge patch: lists merge by the keys that a kind's type names; directives say what else is to be done."""

import copy
from collections.abc import Sequence
from typing import Any

from trimtab.local.fieldsets import child_node
from trimtab.local.gotext import go_text
from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node
from trimtab.local.statuses import ApiError, bad_request

_DIRECTIVES = ("$patch", "$retainKeys")
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def strategic_patched(document: Object, patch: Object, node: Node) -> Object:
    """`document` after the patch; neither argument is changed.

    Raises:
        ApiError: 400 for directives of the wrong form, 422 for keys that are not retained. 400 as well, where a real
            server calls it its own fault (500), for directives that there are not and items without their key.
    """
    match patch.get("$patch"):
        case None | "merge":
            pass
        case "replace":
            return {k: copy.deepcopy(v) for k, v in patch.items() if k not in _DIRECTIVES}
        case "delete":
            return {}
        case other:
            raise bad_request(f"unknown patch type: {go_text(other)} in map: {go_text(patch)}")
    out = _retained(document, patch)
    orders = {name.removeprefix(_ORDER): value for name, value in patch.items() if name.startswith(_ORDER)}
    for name, value in patch.items():
        if name in _DIRECTIVES or name.startswith(_ORDER):
            continue
        if name.startswith(_DELETE):
            field = name.removeprefix(_DELETE)
            doomed = _list(value, "invalid patch format of primitive list")
            out[field] = [item for item in out.get(field) or [] if item not in doomed]
        elif value is None:
            out.pop(name, None)
        else:
            out[name] = _patched_value(out.get(name), value, child_node(node, name))
    for field, order in orders.items():
        wanted = _list(order, "invalid patch format of setElementOrder list")
        if isinstance(out.get(field), list):
            key = child_node(node, field).get("x-kubernetes-patch-merge-key")
            out[field] = _ordered(out[field], wanted, document.get(field) or [], key)
    return out


def _list(value: Any, complaint: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad_request(complaint)
    return value


def _retained(document: Object, patch: Object) -> Object:
    if "$retainKeys" not in patch:
        return dict(document)
    keys = _list(patch["$retainKeys"], "invalid patch format of retainKeys")
    if any(name not in keys for name, value in patch.items() if value is not None and not name.startswith("$")):
        raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})
    return {name: value for name, value in document.items() if name in keys}


def _patched_value(current: Any, value: Any, node: Node) -> Any:
    if isinstance(value, dict):
        return strategic_patched(current if isinstance(current, dict) else {}, value, node)
    if isinstance(value, list) and "merge" in str(node.get("x-kubernetes-patch-strategy", "")):
        return _patched_list(current if isinstance(current, list) else [], value, node)
    return copy.deepcopy(value)


def _patched_list(current: list[Any], patch: list[Any], node: Node) -> list[Any]:
    key = node.get("x-kubernetes-patch-merge-key")
    if key is None:
        merged = list(dict.fromkeys(map(_hashable, [*current, *patch])))
        values = {_hashable(item): item for item in [*current, *patch]}
        return _ordered([values[item] for item in merged], patch, current, None)
    for item in patch:
        if not isinstance(item, dict):
            raise bad_request("invalid JSON document")
    if any(item.get("$patch") == "replace" for item in patch):
        rest = [item for item in patch if item.get("$patch") != "replace" or len(item) > 1]
        return [strategic_patched({}, {k: v for k, v in i.items() if k != "$patch"}, {}) for i in rest]
    out = list(current)
    kept = []
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {go_text(item)} does not contain declared merge key: {key}")
        if item.get("$patch") == "delete":
            out = [old for old in out if not isinstance(old, dict) or old.get(key) != item[key]]
        else:
            kept.append(item)
    items = node.get("items", {})
    for item in kept:
        at = next((i for i, old in enumerate(out) if isinstance(old, dict) and old.get(key) == item[key]), None)
        if at is None:
            out.append(strategic_patched({}, item, items))
        else:
            out[at] = strategic_patched(out[at], item, items)
    return _ordered(out, kept, current, key)


def _ordered(items: list[Any], order: Sequence[Any], before: Sequence[Any], key: str | None) -> list[Any]:
    """Items that `order` names in its order, the others where they stood `before` in relation to those."""
    rank = {_identity(item, key): index for index, item in enumerate(order)}
    place = {_identity(item, key): index for index, item in enumerate(before)}
    named = sorted((i for i in items if _identity(i, key) in rank), key=lambda item: rank[_identity(item, key)])
    others = [i for i in items if _identity(i, key) not in rank]
    others.sort(key=lambda item: place.get(_identity(item, key), len(place)))
    out: list[Any] = []
    while named and others:
        mine, theirs = place.get(_identity(named[0], key)), place.get(_identity(others[0], key))
        stood_before = mine is not None and theirs is not None and theirs < mine
        out.append(others.pop(0) if stood_before else named.pop(0))
    return out + named + others


def _identity(item: Any, key: str | None) -> Any:
    return _hashable(item.get(key) if key is not None and isinstance(item, dict) else item)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
