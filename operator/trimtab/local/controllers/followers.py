"""What the controllers that list a Service's pods have in common: when to look, and which pods are meant."""

from __future__ import annotations

from trimtab.local.controllers import endpoints
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of


class ServiceFollower(Controller):
    """A controller whose keys are Services."""

    def subscribe(self) -> None:
        """Wake a Service for itself and for the pods it selects (or selected)."""
        self._times = endpoints.TriggerTimes()
        self.feed.subscribe("services", self._service_changed)
        self.feed.subscribe("pods", self._pod_changed)

    def _service_changed(self, change: Change) -> None:
        if change.type == "DELETED":
            self._times.forget(change.object)
        self.queue.add(Key(*key_of(change.object)))

    def _pod_changed(self, change: Change) -> None:
        self._wake_for(*(p for p in (change.object, change.old) if p is not None))

    def _wake_for(self, *states: Object) -> None:
        labels = [p["metadata"].get("labels") or {} for p in states]
        for service in self.registry.list("services", states[0]["metadata"]["namespace"])[0]:
            selector = service["spec"].get("selector")
            if selector and any(selector.items() <= have.items() for have in labels):
                self.queue.add(Key(*key_of(service)))

    def _selected(self, service: Object) -> list[Object] | None:
        """The pods of a Service; None for one that selects none."""
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return None
        return [
            p
            for p in self.registry.list("pods", service["metadata"]["namespace"])[0]
            if selector.items() <= (p["metadata"].get("labels") or {}).items()
        ]
