"""Empties a namespace that is being deleted, then lets it go."""

from __future__ import annotations

from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object

_AGAIN_S = 1.0  # content that waits for finalizers or grace periods; its removal says nothing to a namespace


class Namespaces(Controller):
    """The namespace controller."""

    name = "namespace-controller"

    def subscribe(self) -> None:
        """Wake a namespace for itself."""
        self.feed.subscribe("namespaces", self._changed)

    def _changed(self, change: Change) -> None:
        if change.type != "DELETED":
            self.queue.add(Key("", change.object["metadata"]["name"]))

    def reconcile(self, key: Key) -> float | None:
        """Delete what is in it; finalize it once nothing is left."""
        namespace = self.find("namespaces", key)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return None
        left = self._emptied(key.name)
        if left:
            return _AGAIN_S
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
