"""The way from client-side to server-side apply: what kubectl applied before is its own, whoever the entry names.

Client-side apply keeps what it applied in an annotation. When kubectl applies by the server, the fields in there that
still are as they were do not conflict, and the annotation follows, so that there is a way back.
"""

import json

from trimtab.local.fieldsets import FieldSet, compare, fields_of
from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node

MANAGER = "kubectl"  # applying under any other name opts out
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
_LONGEST = 256 * 1024  # bytes that the annotations of an object may have


def unchanged_since(live: Object, node: Node) -> FieldSet:
    """The fields of the last client-side apply that are as it left them; none where there was no such apply."""
    try:
        last = json.loads(_annotations(live).get(ANNOTATION) or "null")
    except ValueError:
        return set()
    if not isinstance(last, dict) or last.get("apiVersion") != live.get("apiVersion"):
        return set()
    difference = compare(last, live, node)
    return set(fields_of(last, node)) - difference.modified - difference.removed - difference.added


def followed(target: Object, config: Object) -> Object:
    """`target` with the annotation of what was applied now, if it has one; neither is changed."""
    if not _annotations(target).get(ANNOTATION):
        return target
    annotations = {k: v for k, v in _annotations(config).items() if k != ANNOTATION}
    metadata = {k: v for k, v in config["metadata"].items() if k not in ("managedFields", "annotations")}
    applied = {**config, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}
    text = json.dumps(applied, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    kept = {k: v for k, v in _annotations(target).items() if k != ANNOTATION}
    if len(text.encode()) + sum(len(k) + len(v) for k, v in kept.items()) <= _LONGEST:
        kept[ANNOTATION] = text
    return {**target, "metadata": {**target["metadata"], "annotations": kept}}


def _annotations(obj: Object) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found
