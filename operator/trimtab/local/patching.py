"""Patches: JSON patch, merge patch and strategic merge patch, as functions from document to document."""

from typing import Any

import jsonpatch

from trimtab.local.fieldsets import child_node
from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.pruning import copied
from trimtab.local.statuses import ApiError

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
CONTENT_TYPES = (JSON, MERGE, STRATEGIC, APPLY)

_DIRECTIVES = ("$patch", "$retainKeys")


def patched(document: Object, patch: Any, content_type: str, node: Node) -> Object:
    """`document` after the patch; neither argument is changed.

    Raises:
        ApiError: 422 when a JSON patch does not apply, 400 when a patch has the wrong form.
    """
    if content_type == JSON:
        return _json_patched(document, patch)
    if not isinstance(patch, dict):
        raise ApiError(400, "BadRequest", "a merge patch is a JSON object")
    if content_type == MERGE:
        result: Object = _merged(document, patch)
        return result
    return _strategic_object(document, patch, node)


def _json_patched(document: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise ApiError(400, "BadRequest", "a JSON patch is a list of operations")
    try:
        result: Object = jsonpatch.JsonPatch(patch).apply(document)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, KeyError, TypeError):
        raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {}) from None
    return result


def _merged(document: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copied(patch)
    out = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = _merged(out.get(name), value)
    return out


def _strategic_object(document: Object, patch: Object, node: Node) -> Object:
    match patch.get("$patch"):
        case "replace":
            return {k: copied(v) for k, v in patch.items() if k not in _DIRECTIVES}
        case "delete":
            return {}
    retained = patch.get("$retainKeys")
    out = {k: v for k, v in document.items() if retained is None or k in retained}
    for name, value in patch.items():
        if name in _DIRECTIVES:
            continue
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            out[field] = [item for item in out.get(field) or [] if item not in value]
        elif name.startswith("$setElementOrder/"):
            continue
        elif value is None:
            out.pop(name, None)
        else:
            out[name] = _strategic_value(out.get(name), value, child_node(node, name))
    _reorder(out, patch, node)
    return out


def _strategic_value(current: Any, value: Any, node: Node) -> Any:
    if isinstance(value, dict):
        return _strategic_object(current if isinstance(current, dict) else {}, value, node)
    if isinstance(value, list) and "merge" in str(node.get("x-kubernetes-patch-strategy", "")):
        return _strategic_list(current or [], value, node)
    return copied(value)


def _strategic_list(current: list[Any], patch: list[Any], node: Node) -> list[Any]:
    key = node.get("x-kubernetes-patch-merge-key")
    if key is None:
        return current + [item for item in patch if item not in current]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [_strategic_object({}, i, {}) for i in patch if i.get("$patch") != "replace" or len(i) > 1]
    items = node.get("items", {})
    out = list(current)
    added = []
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise ApiError(400, "BadRequest", f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, old in enumerate(out) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            out = [old for old in out if old.get(key) != item[key]]
        elif at is None:
            added.append(_strategic_object({}, item, items))
        else:
            out[at] = _strategic_object(out[at], item, items)
    return _by_patch_order(out, added, patch, key)


def _by_patch_order(out: list[Any], added: list[Any], patch: list[Any], key: str) -> list[Any]:
    """Items that the patch names come in its order, before those that follow them on the server."""
    order = {_hashable(item[key]): rank for rank, item in enumerate(patch)}
    named = sorted(
        (i for i in [*out, *added] if _hashable(i.get(key)) in order), key=lambda i: order[_hashable(i[key])]
    )
    rest = [item for item in out if _hashable(item.get(key)) not in order]
    return named + rest


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _reorder(out: Object, patch: Object, node: Node) -> None:
    """Obey $setElementOrder: the listed items in that order, what the list does not name stays behind them."""
    for directive, order in patch.items():
        if not directive.startswith("$setElementOrder/"):
            continue
        field = directive.partition("/")[2]
        key = child_node(node, field).get("x-kubernetes-patch-merge-key")
        wanted = [entry.get(key) if isinstance(entry, dict) else entry for entry in order]
        items = out.get(field)
        if not isinstance(items, list):
            continue
        rank = {_hashable(value): index for index, value in enumerate(wanted)}
        out[field] = sorted(
            items,
            key=lambda item, rank=rank, key=key: rank.get(  # type: ignore[misc]
                _hashable(item.get(key) if isinstance(item, dict) else item), len(rank)
            ),
        )
