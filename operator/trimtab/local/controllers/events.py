"""Kubernetes events: what `kubectl describe` shows below an object."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError
from trimtab.local.times import stamp

KEPT = timedelta(hours=1)  # as the API server's --event-ttl
MOST_KEPT = 2_000  # memory bound for a cluster in trouble


def forget_old(registry: Registry, now: datetime) -> None:
    """Delete what an earlier cluster's recorders would have deleted by now."""
    for event in registry.list("events")[0]:
        metadata = event["metadata"]
        newest = event.get("lastTimestamp") or event.get("eventTime") or metadata["creationTimestamp"]
        if now - datetime.fromisoformat(newest) > KEPT:
            registry.delete("events", metadata["name"], metadata["namespace"])


class EventRecorder:
    """Writes events; the same one again counts up instead of piling up."""

    def __init__(self, registry: Registry, clock: Callable[[], datetime], component: str) -> None:
        self._registry = registry
        self._clock = clock
        self._component = component
        self._written: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._ages: deque[tuple[datetime, tuple[str, str, str]]] = deque()
        self._last_name = 0

    def record(
        self,
        about: Object,
        kind: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        part: str = "",
        host: str = "",
    ) -> None:
        """Say something about an object; an event that cannot be written is nobody's failure.

        `part` is the path of what is meant inside the object, `host` the node that says it.
        """
        now = self._clock()
        self._forget(now)
        identity = (about["metadata"]["uid"] + part, reason, message)
        try:
            if (known := self._written.get(identity)) is not None and self._repeat(known, now):
                return
            said = {"type": kind, "reason": reason, "message": message}
            self._write(about, said, part, host, identity, now)
        except ApiError:
            self._written.pop(identity, None)

    def _write(
        self, about: Object, said: Object, part: str, host: str, identity: tuple[str, str, str], now: datetime
    ) -> None:
        metadata = about["metadata"]
        namespace = metadata.get("namespace") or "default"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{self._suffix(now)}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": about.get("apiVersion", "v1"),
                "kind": about.get("kind", ""),
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata["uid"],
                **({"fieldPath": part} if part else {}),
            },
            **said,
            "count": 1,
            "firstTimestamp": stamp(now),
            "lastTimestamp": stamp(now),
            "source": {"component": self._component, **({"host": host} if host else {})},
            "reportingComponent": self._component,
            **({"reportingInstance": host} if host else {}),
        }
        created = self._registry.create("events", event, namespace)
        self._written[identity] = (namespace, created["metadata"]["name"])
        self._ages.append((now, identity))

    def _suffix(self, now: datetime) -> str:
        """Nanoseconds in hexadecimal digits, as client-go's recorder names events; never the same twice."""
        self._last_name = max(self._last_name + 1, int(now.timestamp() * 1e9))
        return f"{self._last_name:x}"

    def _repeat(self, known: tuple[str, str], now: datetime) -> bool:
        namespace, name = known
        try:
            event = self._registry.get("events", name, namespace)
        except ApiError:
            return False
        changed = {**event, "count": int(event.get("count", 1)) + 1, "lastTimestamp": stamp(now)}
        self._registry.update("events", changed)
        return True

    def _forget(self, now: datetime) -> None:
        while self._ages and (now - self._ages[0][0] > KEPT or len(self._ages) > MOST_KEPT):
            _, identity = self._ages.popleft()
            if (known := self._written.pop(identity, None)) is None:
                continue
            try:
                self._registry.delete("events", known[1], known[0])
            except ApiError:
                continue  # somebody was quicker
