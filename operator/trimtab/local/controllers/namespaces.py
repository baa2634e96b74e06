"""Empties a namespace that is being deleted, then lets it go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.everything import EveryResource
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object
from trimtab.local.times import seconds_until, stamp

# A namespace stays for a moment, Terminating, as clients expect to see it. Kubernetes waits 5 s, so that
# every one of several API servers has heard of it.
GRACE = timedelta(seconds=0.5)


class Namespaces(Controller):
    """The namespace controller."""

    name = "namespace-controller"

    def subscribe(self) -> None:
        """Wake a namespace for itself, and a terminating one for everything that changes in it."""
        self._began: dict[str, datetime] = {}
        EveryResource(self.registry, self.feed, self._changed).follow()

    def _changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if change.resource != "namespaces":
            if metadata.get("namespace") in self._began:
                self.queue.add(Key("", metadata["namespace"]))
        elif change.type == "DELETED":
            self._began.pop(metadata["name"], None)
        else:
            self.queue.add(Key("", metadata["name"]))

    def reconcile(self, key: Key) -> float | None:
        """Delete what is in it; finalize it once nothing is left."""
        namespace = self.find("namespaces", key)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return None
        now = self.clock()
        began = self._began.setdefault(key.name, now)
        if (left := seconds_until(began + GRACE, now)) > 0:
            return left
        remaining = self._emptied(key.name)
        conditions = terminating_conditions(namespace["status"].get("conditions") or [], remaining, now)
        namespace = self.write_status("namespaces", namespace, {**namespace["status"], "conditions": conditions})
        if remaining:
            return None
        finalizers = [f for f in namespace["spec"].get("finalizers") or () if f != "kubernetes"]
        namespace = {**namespace, "spec": {**namespace["spec"], "finalizers": finalizers}}
        self.registry.finalize_namespace(namespace)
        return None

    def _emptied(self, namespace: str) -> dict[str, list[Object]]:
        """Ask everything in the namespace to go; returns what is still there by "plural.group"."""
        for resource, _ in self._resources():
            for obj in self.registry.list(resource, namespace)[0]:
                if "deletionTimestamp" not in obj["metadata"]:
                    self.drop(resource, obj, propagation="Background")
        left = ((name, self.registry.list(resource, namespace)[0]) for resource, name in self._resources())
        return {name: objects for name, objects in left if objects}

    def _resources(self) -> list[tuple[str, str]]:
        """What lives in namespaces: the key, and the name with its group as conditions show it."""
        return [
            (r.key, f"{r.plural}.{r.group}")
            for r in self.registry.catalog.resources()
            if r.namespaced and "delete" in r.verbs
        ]


_FINE = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
)


def terminating_conditions(
    old: Sequence[Object], remaining: Mapping[str, Sequence[Object]], now: datetime
) -> list[Object]:
    """What keeps a namespace from going; `remaining` are the objects in it by "plural.group"."""
    counts = [f"{name} has {len(objects)} resource instances" for name, objects in sorted(remaining.items())]
    holders = Counter(
        f for objects in remaining.values() for o in objects for f in o["metadata"].get("finalizers") or ()
    )
    held = [f"{finalizer} in {count} resource instances" for finalizer, count in sorted(holders.items())]
    trouble = {}
    if counts:
        text = f"Some resources are remaining: {', '.join(counts)}"
        trouble["NamespaceContentRemaining"] = ("SomeResourcesRemain", text)
    if held:
        text = f"Some content in the namespace has finalizers remaining: {', '.join(held)}"
        trouble["NamespaceFinalizersRemaining"] = ("SomeFinalizersRemain", text)
    conditions = list(old)
    for kind, fine, message in _FINE:
        reason, text = trouble.get(kind, (fine, message))
        new = {"type": kind, "status": str(kind in trouble), "reason": reason, "message": text}
        conditions = pods.with_condition(conditions, new, stamp(now))
    return conditions
