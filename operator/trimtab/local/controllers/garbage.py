"""Garbage collection: dependents follow their owners, in the background, first, or not at all."""

from __future__ import annotations

from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.everything import EveryResource
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.ownership import (
    FOREGROUND,
    ORPHAN,
    Graph,
    Ref,
    blocks,
    is_orphaning,
    is_waiting,
    verdict,
)
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.statuses import ApiError


class GarbageCollector(Controller):
    """Follows every resource there is, custom ones as they come and go; keys carry a uid as their name."""

    name = "generic-garbage-collector"

    def subscribe(self) -> None:
        """Follow everything."""
        self._graph = Graph()
        EveryResource(self.registry, self.feed, self._object_changed).follow()

    def _object_changed(self, change: Change) -> None:
        obj, metadata = change.object, change.object["metadata"]
        if change.type == "DELETED":
            self._graph.remove(obj, change.old)
            for uid in self._graph.dependents_of(metadata["uid"]):
                self.queue.add(Key("", uid))
            for reference in metadata.get("ownerReferences") or ():
                self.queue.add(Key("", reference["uid"]))
            return
        self._graph.put(Ref(change.resource, *key_of(obj)), obj, change.old)
        if metadata.get("ownerReferences") or "deletionTimestamp" in metadata:
            self.queue.add(Key("", metadata["uid"]))

    def reconcile(self, key: Key) -> float | None:
        """Judge one object: as a dependent, and as an owner that is being deleted."""
        uid = key.name
        obj, ref = self._graph.objects.get(uid), self._graph.refs.get(uid)
        if obj is None or ref is None:
            return None
        if is_orphaning(obj):
            for dependent in self._graph.dependents_of(uid):
                self._lose(dependent, frozenset({uid}))
            self._without_finalizer(ref, uid, ORPHAN)
        elif is_waiting(obj):
            self._wait(ref, uid)
        else:
            self._judge(obj, ref)
        return None

    def _wait(self, ref: Ref, uid: str) -> None:
        """Send the dependents ahead; the owner follows when none that blocks it is left."""
        dependents = [u for u in self._graph.dependents_of(uid) if u in self._graph.objects]
        for dependent in dependents:
            obj = self._graph.objects[dependent]
            if "deletionTimestamp" not in obj["metadata"]:
                self._judge(obj, self._graph.refs[dependent])
        if not any(blocks(self._graph.objects[u], uid) for u in dependents if u in self._graph.objects):
            self._without_finalizer(ref, uid, FOREGROUND)

    def _judge(self, obj: Object, ref: Ref) -> None:
        kinds = frozenset((r.group, r.kind) for r in self.registry.catalog.resources())
        owns = any(u in self._graph.objects for u in self._graph.dependents_of(obj["metadata"]["uid"]))
        found = verdict(obj, self._graph.objects, kinds, owns=owns)
        if found.delete is not None:
            self.drop(ref.resource, obj, propagation=found.delete)
        elif found.lose:
            self._lose(obj["metadata"]["uid"], found.lose)

    def _current(self, ref: Ref, uid: str) -> Object | None:
        try:
            obj = self.registry.get(ref.resource, ref.name, ref.namespace or None)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return obj if obj["metadata"]["uid"] == uid else None

    def _lose(self, dependent: str, owners: frozenset[str]) -> None:
        ref = self._graph.refs.get(dependent)
        obj = self._current(ref, dependent) if ref is not None else None
        if ref is None or obj is None:
            return
        kept = [r for r in obj["metadata"].get("ownerReferences") or () if r["uid"] not in owners]
        self._write_metadata(ref, obj, "ownerReferences", kept)

    def _without_finalizer(self, ref: Ref, uid: str, finalizer: str) -> None:
        obj = self._current(ref, uid)
        if obj is not None:
            kept = [f for f in obj["metadata"].get("finalizers") or () if f != finalizer]
            self._write_metadata(ref, obj, "finalizers", kept)

    def _write_metadata(self, ref: Ref, obj: Object, field: str, kept: list[Object]) -> None:
        metadata = {k: v for k, v in obj["metadata"].items() if k != field}
        if kept:
            metadata[field] = kept
        self.registry.update(ref.resource, {**obj, "metadata": metadata}, manager=self.name)
