"""Keeps a Service's EndpointSlices in step with its pods."""

from __future__ import annotations

from trimtab.local.controllers import endpoints
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of

RESOURCE = "endpointslices.discovery.k8s.io"


class EndpointSlices(Controller):
    """The EndpointSlice controller."""

    name = "endpointslice-controller"

    def subscribe(self) -> None:
        """Wake a Service for itself, its slices and the pods it selects (or selected)."""
        self.feed.subscribe("services", lambda c: self.queue.add(Key(*key_of(c.object))))
        self.feed.subscribe("pods", self._pod_changed)
        self.feed.subscribe(RESOURCE, self._slice_changed)

    def _slice_changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        if service := (metadata.get("labels") or {}).get(endpoints.SERVICE_NAME):
            self.queue.add(Key(metadata["namespace"], service))

    def _pod_changed(self, change: Change) -> None:
        namespace = change.object["metadata"]["namespace"]
        labels = [p["metadata"].get("labels") or {} for p in (change.object, change.old) if p is not None]
        for service in self.registry.list("services", namespace)[0]:
            selector = service["spec"].get("selector")
            if selector and any(selector.items() <= have.items() for have in labels):
                self.queue.add(Key(*key_of(service)))

    def reconcile(self, key: Key) -> float | None:
        """Make the slices say what they should; the first ones are kept, so that watchers see changes."""
        service = self.find("services", key)
        if service is None or "deletionTimestamp" in service["metadata"]:
            return None  # its slices follow it by garbage collection
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return None
        selected = [
            p
            for p in self.registry.list("pods", key.namespace)[0]
            if selector.items() <= (p["metadata"].get("labels") or {}).items()
        ]
        wanted = endpoints.slices_for(service, selected, self._zones())
        chosen = f"{endpoints.SERVICE_NAME}={key.name},{endpoints.MANAGED_BY}={endpoints.CONTROLLER}"
        present = self.registry.list(RESOURCE, key.namespace, label_selector=chosen)[0]
        present.sort(key=lambda s: s["metadata"]["creationTimestamp"])
        for old, body in zip(present, wanted, strict=False):
            self._rewrite(service, old, body)
        for body in wanted[len(present) :]:
            self.registry.create(RESOURCE, endpoints.new_slice(service, body), key.namespace)
        for surplus in present[len(wanted) :]:
            self.drop(RESOURCE, surplus)
        return None

    def _rewrite(self, service: Object, old: Object, body: Object) -> None:
        labels = endpoints.slice_labels(service)
        same = (old.get("endpoints") or []) == body["endpoints"] and (old.get("ports") or []) == body["ports"]
        if same and old["metadata"].get("labels") == labels:
            return
        metadata = {**old["metadata"], "labels": labels}
        metadata.pop("annotations", None)  # the trigger time belongs to the first version only
        self.registry.update(RESOURCE, {**old, **body, "metadata": metadata})

    def _zones(self) -> dict[str, str]:
        label = "topology.kubernetes.io/zone"
        return {
            n["metadata"]["name"]: n["metadata"]["labels"][label]
            for n in self.registry.list("nodes")[0]
            if label in (n["metadata"].get("labels") or {})
        }
