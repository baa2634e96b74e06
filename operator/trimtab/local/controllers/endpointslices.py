"""Keeps a Service's EndpointSlices in step with its pods."""

from __future__ import annotations

from trimtab.local import pods
from trimtab.local.controllers import endpoints
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.followers import ServiceFollower
from trimtab.local.controllers.owners import is_controlled_by
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object

RESOURCE = "endpointslices.discovery.k8s.io"


class EndpointSlices(ServiceFollower):
    """The EndpointSlice controller."""

    name = "endpointslice-controller"

    def subscribe(self) -> None:
        """Wake a Service for its slices and for the nodes of its pods as well."""
        super().subscribe()
        self.feed.subscribe(RESOURCE, self._slice_changed)
        self.feed.subscribe("nodes", self._node_changed)

    def _node_changed(self, change: Change) -> None:
        """A node that comes, or says where it is, lets its pods in."""
        if change.type == "MODIFIED" and change.old and _zone(change.old) == _zone(change.object):
            return
        name = change.object["metadata"]["name"]
        for pod in self.registry.list("pods")[0]:
            if pods.node_name(pod) == name:
                self._wake_for(pod)

    def _slice_changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if service := (metadata.get("labels") or {}).get(endpoints.SERVICE_NAME):
            self.queue.add(Key(metadata["namespace"], service))

    def reconcile(self, key: Key) -> float | None:
        """Make the slices say what they should; the first ones are kept, so that watchers see changes."""
        service = self.find("services", key)
        if service is None or "deletionTimestamp" in service["metadata"]:
            return None  # its slices follow it by garbage collection
        selected = self._selected(service)
        if selected is None:
            return None
        chosen = f"{endpoints.SERVICE_NAME}={key.name},{endpoints.MANAGED_BY}={endpoints.CONTROLLER}"
        present = [
            s
            for s in self.registry.list(RESOURCE, key.namespace, label_selector=chosen)[0]
            if is_controlled_by(s, service)
        ]
        present.sort(key=lambda s: s["metadata"]["creationTimestamp"])
        changed = self._times.latest(service, selected)
        wanted = endpoints.slices_for(endpoints.bodies_for(service, selected, self._zones()), present)
        for old, body in wanted:
            if old is None:
                self.registry.create(RESOURCE, endpoints.new_slice(service, body, changed), key.namespace)
            else:
                self._rewrite(service, old, body, changed)
        kept = {old["metadata"]["name"] for old, _ in wanted if old is not None}
        for surplus in present:
            if surplus["metadata"]["name"] not in kept:
                self.drop(RESOURCE, surplus)
        return None

    def _rewrite(self, service: Object, old: Object, body: Object, changed: str | None) -> None:
        labels = endpoints.slice_labels(service)
        same = (old.get("endpoints") or []) == body["endpoints"] and (old.get("ports") or []) == body["ports"]
        if same and old["metadata"].get("labels") == labels:
            return
        annotations = {k: v for k, v in (old["metadata"].get("annotations") or {}).items() if k != endpoints.CHANGED}
        if changed:
            annotations[endpoints.CHANGED] = changed
        metadata = {**{k: v for k, v in old["metadata"].items() if k != "annotations"}, "labels": labels}
        if annotations:
            metadata["annotations"] = annotations
        self.registry.update(RESOURCE, {**old, **body, "metadata": metadata})

    def _zones(self) -> dict[str, str | None]:
        return {n["metadata"]["name"]: _zone(n) for n in self.registry.list("nodes")[0]}


def _zone(node: Object) -> str | None:
    found: str | None = (node["metadata"].get("labels") or {}).get("topology.kubernetes.io/zone")
    return found
