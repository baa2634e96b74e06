"""Following every resource that the cluster serves, custom ones as they come and go."""

from __future__ import annotations

from trimtab.local.controllers.feed import Change, Feed, Listener
from trimtab.local.registry import Registry

_CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_NOT_FOLLOWED = ("events", "events.events.k8s.io")  # nobody owns or is owned by an event, and nothing waits for one


class EveryResource:
    """Calls a listener for every change of everything but events."""

    def __init__(self, registry: Registry, feed: Feed, listener: Listener) -> None:
        self._registry = registry
        self._feed = feed
        self._listener = listener
        self._followed: set[str] = set()

    def follow(self) -> None:
        """Begin, and keep up with definitions."""
        self._feed.subscribe(_CRDS, self._definition_changed)
        self._follow_all()

    def _follow_all(self) -> None:
        for resource in self._registry.catalog.resources():
            if "watch" in resource.verbs and resource.key not in (*self._followed, *_NOT_FOLLOWED):
                self._followed.add(resource.key)
                self._feed.subscribe(resource.key, self._listener)

    def _definition_changed(self, change: Change) -> None:
        spec = change.object["spec"]
        resource = f"{spec['names']['plural']}.{spec['group']}"
        if change.type == "DELETED" and resource in self._followed:
            self._followed.discard(resource)
            self._feed.unsubscribe(resource)
        self._follow_all()
