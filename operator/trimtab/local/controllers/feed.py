"""One watch per resource, shared by everything in the process that wants to hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """An object came, changed or went; `old` is what it was before, None when it is new."""

    resource: str
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object
    old: Object | None


Listener = Callable[[Change], None]


class Feed:
    """Tells listeners of changes, in order, after what exists already.

    A listener is called on the event loop and only takes note; what follows is decided from the
    registry's present state, so a change that is told twice or late does no harm.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._listeners: dict[str, list[Listener]] = {}
        self._known: dict[str, dict[str, Object]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def subscribe(self, resource: str, listener: Listener) -> None:
        """Call `listener` for every object there is, then for every change."""
        self._listeners.setdefault(resource, []).append(listener)
        if resource in self._tasks:
            for obj in list(self._known[resource].values()):
                self._call(listener, Change(resource, "ADDED", obj, None))
            return
        self._known[resource] = {}
        self._tasks[resource] = asyncio.create_task(self._follow(resource), name=f"feed {resource}")

    def unsubscribe(self, resource: str) -> None:
        """Stop following a resource that is no longer served: everything of it has gone."""
        if task := self._tasks.pop(resource, None):
            task.cancel()
        listeners = self._listeners.pop(resource, [])
        for obj in self._known.pop(resource, {}).values():
            for listener in listeners:
                self._call(listener, Change(resource, "DELETED", obj, obj))

    async def stop(self) -> None:
        """End every watch."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _follow(self, resource: str) -> None:
        while True:
            try:
                version = self._relist(resource)
                async for event in self._registry.watch(resource, resource_version=version):
                    if event.type != "BOOKMARK":
                        self._note(resource, event.type, event.object)
            except ApiError as error:
                if error.status == 404:  # its CustomResourceDefinition is gone
                    return
                log.info("feed.relisted", resource=resource, reason=error.reason)

    def _relist(self, resource: str) -> str:
        objects, version = self._registry.list(resource)
        present = {obj["metadata"]["uid"]: obj for obj in objects}
        for uid, gone in list(self._known[resource].items()):
            if uid not in present:
                self._note(resource, "DELETED", gone)
        for obj in objects:
            self._note(resource, "ADDED", obj)
        return version

    def _note(self, resource: str, kind: str, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        known = self._known[resource]
        old = known.get(uid)
        if kind == "DELETED":
            known.pop(uid, None)
            change = Change(resource, "DELETED", obj, old)
        else:
            known[uid] = obj
            change = Change(resource, "ADDED" if old is None else "MODIFIED", obj, old)
        for listener in list(self._listeners[resource]):
            self._call(listener, change)

    def _call(self, listener: Listener, change: Change) -> None:
        try:
            listener(change)
        except Exception:
            log.exception("feed.listener_failed", resource=change.resource)
