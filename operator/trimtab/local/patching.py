"""Patches: JSON patch, merge patch and strategic merge patch, as functions from document to document."""

import copy
from typing import Any

import jsonpatch

from trimtab.local.encodings import to_json
from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node
from trimtab.local.statuses import ApiError, bad_request
from trimtab.local.strategic import strategic_patched

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
CONTENT_TYPES = (JSON, MERGE, STRATEGIC, APPLY)

_MOST_OPERATIONS = 10_000
_MOST_COPIED = 3 * 1024 * 1024  # bytes of JSON that the copies of one patch may add, as on a real server
_DEEPEST = 200  # levels, as in what a body may say at once
_FAILURES = (
    jsonpatch.JsonPatchException,
    jsonpatch.JsonPointerException,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
)


def patched(document: Object, patch: Any, content_type: str, node: Node) -> Object:
    """`document` after the patch; neither argument is changed.

    Raises:
        ApiError: 422 when a JSON patch does not apply, 400 when a patch has the wrong form or nests too deep, 413 when
            it has too many operations or copies too much.
    """
    if content_type == JSON:
        return _json_patched(document, patch)
    if not isinstance(patch, dict):
        raise ApiError(400, "BadRequest", "a merge patch is a JSON object")
    if content_type == MERGE:
        result: Object = _merged(document, patch)
        return result
    return strategic_patched(document, patch, node)


def _json_patched(document: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise ApiError(400, "BadRequest", "a JSON patch is a list of operations")
    if len(patch) > _MOST_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(patch)}"
        raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: {text}")
    try:
        jsonpatch.JsonPatch(patch)  # says what is wrong with any of its steps before the first one is taken
        result: Object = copy.deepcopy(document)
        copied = 0
        for step in patch:
            if step.get("op") == "copy":
                copied = _copied(copied, jsonpatch.JsonPointer(step["from"]).resolve(result))
            result = jsonpatch.JsonPatch([step]).apply(result, in_place=True)
    except _FAILURES:
        raise _does_not_apply() from None
    if not isinstance(result, dict):
        raise _does_not_apply()
    if _is_too_deep(result):
        raise bad_request("exceeded max depth")
    return result


def _copied(before: int, value: Any) -> int:
    """Bytes that were copied, this value's included: copies of copies double. Raises ApiError 413."""
    if _is_too_deep(value):
        raise bad_request("exceeded max depth")
    size = before + len(to_json(value))
    if size > _MOST_COPIED:
        text = (
            f"Unable to complete the copy, the accumulated size increase of copy is {size}, "
            f"exceeding the limit {_MOST_COPIED}"
        )
        raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: {text}")
    return size


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _does_not_apply() -> ApiError:
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def _merged(document: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    out = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = _merged(out.get(name), value)
    return out
