"""Pods from pod templates."""

from __future__ import annotations

import copy
import json

from trimtab.local.controllers.owners import controller_reference
from trimtab.local.objects import Object

HASH_LABEL = "pod-template-hash"
_SAFE = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: names that say nothing, as Kubernetes does it


def pod_from_template(owner: Object, template: Object, name_prefix: str) -> Object:
    """A pod to create, controlled by `owner`; its name is generated from the prefix."""
    described = copy.deepcopy(template.get("metadata") or {})
    metadata: Object = {
        "generateName": name_prefix,
        "namespace": owner["metadata"]["namespace"],
        "labels": described.get("labels") or {},
        "annotations": described.get("annotations") or {},
        "ownerReferences": [controller_reference(owner)],
    }
    if finalizers := described.get("finalizers"):
        metadata["finalizers"] = finalizers
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": copy.deepcopy(template["spec"]),
    }


def template_hash(template: Object, collisions: int = 0) -> str:
    """A short stable name for a template: FNV-1a over its canonical JSON, in letters safe for names."""
    value = 0x811C9DC5
    for byte in json.dumps([template, collisions], sort_keys=True, separators=(",", ":")).encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(value))


def without_hash(template: Object) -> Object:
    """The template as the user wrote it: without the label that the controller put there."""
    metadata = template.get("metadata") or {}
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def same_template(one: Object, other: Object) -> bool:
    """Whether two templates make the same pods; when they were written does not matter."""
    return _comparable(one) == _comparable(other)


def _comparable(template: Object) -> Object:
    stripped = without_hash(template)
    metadata = {k: v for k, v in stripped["metadata"].items() if v and k != "creationTimestamp"}
    return {**stripped, "metadata": metadata}
