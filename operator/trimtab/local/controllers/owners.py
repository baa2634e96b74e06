"""Who owns an object, and taking ownership of pods that match."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.selectors import matches_label_selector


def controller_of(obj: Object) -> Object | None:
    """The owner reference that is marked as the controller."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """Whether `owner` is the controller of the object; the uid decides, not the name."""
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def controller_reference(owner: Object) -> Object:
    """The reference that makes `owner` the controller of an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claimed(registry: Registry, resource: str, owner: Object, candidates: Iterable[Object]) -> list[Object]:
    """The objects that `owner` controls; what matches its selector and has no controller is adopted.

    An object that no longer matches is released: it loses the reference and lives on.
    """
    mine = []
    selector = owner["spec"]["selector"]
    for obj in candidates:
        matches = matches_label_selector(selector, obj["metadata"].get("labels") or {})
        if is_controlled_by(obj, owner):
            if matches:
                mine.append(obj)
            else:
                _release(registry, resource, owner, obj)
        elif matches and _may_adopt(obj, owner):
            mine.append(_adopt(registry, resource, owner, obj))
    return mine


def _may_adopt(obj: Object, owner: Object) -> bool:
    going = "deletionTimestamp" in obj["metadata"] or "deletionTimestamp" in owner["metadata"]
    return controller_of(obj) is None and not going


def _adopt(registry: Registry, resource: str, owner: Object, obj: Object) -> Object:
    changed = copy.deepcopy(obj)
    changed["metadata"].setdefault("ownerReferences", []).append(controller_reference(owner))
    return registry.update(resource, changed)


def _release(registry: Registry, resource: str, owner: Object, obj: Object) -> None:
    changed = copy.deepcopy(obj)
    references = changed["metadata"]["ownerReferences"]
    changed["metadata"]["ownerReferences"] = [r for r in references if r["uid"] != owner["metadata"]["uid"]]
    registry.update(resource, changed)
