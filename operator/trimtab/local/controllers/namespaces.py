"""Empties a namespace that is being deleted, then lets it go."""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.everything import EveryResource
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object
from trimtab.local.times import seconds_until

# A namespace stays for a moment, Terminating, as clients expect to see it. Kubernetes waits 5 s, so that
# every one of several API servers has heard of it.
GRACE = timedelta(seconds=0.5)


class Namespaces(Controller):
    """The namespace controller."""

    name = "namespace-controller"

    def subscribe(self) -> None:
        """Wake a namespace for itself, and a terminating one for everything that leaves it."""
        self._began: dict[str, datetime] = {}
        EveryResource(self.registry, self.feed, self._changed).follow()

    def _changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if change.resource != "namespaces":
            if change.type == "DELETED" and metadata.get("namespace") in self._began:
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
        if self._emptied(key.name):
            return None
        finalizers = [f for f in namespace["spec"].get("finalizers") or () if f != "kubernetes"]
        namespace = {**namespace, "spec": {**namespace["spec"], "finalizers": finalizers}}
        self.registry.finalize_namespace(namespace)
        return None

    def _emptied(self, namespace: str) -> int:
        """Ask everything in the namespace to go; returns how much is still there."""
        for resource in self._resources():
            for obj in self.registry.list(resource, namespace)[0]:
                if "deletionTimestamp" not in obj["metadata"]:
                    self.drop(resource, obj, propagation="Background")
        return sum(len(self._remaining(resource, namespace)) for resource in self._resources())

    def _remaining(self, resource: str, namespace: str) -> list[Object]:
        return self.registry.list(resource, namespace)[0]

    def _resources(self) -> list[str]:
        return [r.key for r in self.registry.catalog.resources() if r.namespaced and "delete" in r.verbs]
