"""The revisions of a StatefulSet's or DaemonSet's template, kept as ControllerRevisions: rollbacks read them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

from trimtab.local.controllers.owners import controller_reference
from trimtab.local.controllers.templates import template_hash
from trimtab.local.objects import Object

RESOURCE = "controllerrevisions.apps"
HASH = "controller-revision-hash"
_OWN_HASH = {"StatefulSet": "controller.kubernetes.io/hash"}


def revision_data(owner: Object) -> Object:
    """What a revision keeps: the template, as a patch that replaces the present one."""
    return {"spec": {"template": {"$patch": "replace", **copy.deepcopy(owner["spec"]["template"])}}}


def number_of(revision: Object) -> int:
    """The revision's number; the highest is the newest."""
    return int(revision.get("revision", 0))


def matching(owner: Object, revisions: Sequence[Object]) -> Object | None:
    """The newest revision that keeps the owner's present template."""
    data = revision_data(owner)
    return next((r for r in sorted(revisions, key=number_of, reverse=True) if r.get("data") == data), None)


def new_revision(owner: Object, revisions: Sequence[Object], collisions: int) -> Object:
    """The next revision of the owner's template."""
    metadata, name = owner["metadata"], template_hash(owner["spec"]["template"], collisions)
    labels = {
        **((owner["spec"]["template"].get("metadata") or {}).get("labels") or {}),
        _OWN_HASH.get(owner["kind"], HASH): name,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{metadata['name']}-{name}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": dict(metadata.get("annotations") or {}),
            "ownerReferences": [controller_reference(owner)],
        },
        "data": revision_data(owner),
        "revision": max(map(number_of, revisions), default=0) + 1,
    }


def template_of(revision: Object) -> Object:
    """The template that a revision keeps."""
    template: Object = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template


def surplus(owner: Object, revisions: Sequence[Object], used: Collection[str]) -> list[Object]:
    """Revisions beyond the history limit, the oldest first; `used` are the names of those that still count."""
    limit = int(owner["spec"].get("revisionHistoryLimit", 10))
    idle = sorted((r for r in revisions if r["metadata"]["name"] not in used), key=number_of)
    return idle[: max(0, len(idle) - limit)]
