"""What every controller has: the registry, the feed, a queue of keys and a reconcile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from trimtab.local.controllers.events import EventRecorder
from trimtab.local.controllers.feed import Feed
from trimtab.local.controllers.queue import Key, WorkQueue
from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError


def is_terminating_namespace(error: ApiError) -> bool:
    """Whether a creation was refused as its namespace goes away: then nothing more is to be said or tried."""
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


class Controller(ABC):
    """Level-triggered: changes only wake keys; `reconcile` reads the present state and acts."""

    name: ClassVar[str]

    def __init__(self, registry: Registry, feed: Feed, clock: Callable[[], datetime]) -> None:
        self.registry = registry
        self.feed = feed
        self.clock = clock
        self.queue: WorkQueue[Key] = WorkQueue(self.name)
        self.events = EventRecorder(registry, clock, self.name)

    @abstractmethod
    def subscribe(self) -> None:
        """Say which changes wake which keys."""

    @abstractmethod
    def reconcile(self, key: Key) -> float | None:
        """Bring the world closer to what the object asks for.

        Returns the seconds after which to look again, or None to wait for a change.
        """

    async def run(self) -> None:
        """Work until cancelled."""
        self.subscribe()
        await self.queue.run(self.reconcile)

    def find(self, resource: str, key: Key) -> Object | None:
        """The object, or None where it is gone."""
        try:
            return self.registry.get(resource, key.name, key.namespace or None)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def write_status(self, resource: str, obj: Object, status: Object) -> Object:
        """Replace the status where it differs."""
        if obj.get("status") == status:
            return obj
        return self.registry.update(resource, {**obj, "status": status}, subresource="status", manager=self.name)

    def drop(
        self, resource: str, obj: Object, *, propagation: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Delete this very object; one that is gone already is as good."""
        metadata = obj["metadata"]
        try:
            self.registry.delete(
                resource,
                metadata["name"],
                metadata.get("namespace"),
                propagation=propagation,
                grace_seconds=grace_seconds,
                preconditions={"uid": metadata["uid"]},
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise
