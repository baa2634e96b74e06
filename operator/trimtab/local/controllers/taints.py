"""Evicts pods from nodes with NoExecute taints that they do not tolerate (any longer)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.departures import disrupted, was_bound
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.registry import Registry
from trimtab.local.scheduler.fitting import tolerates
from trimtab.local.times import seconds_until


def tolerated_s(pod: Object, node: Object) -> float | None:
    """For how long the pod may stay, counted from when it met the taints; None for ever.

    Of several tolerations for a taint the first one counts; of several taints the shortest time.
    """
    shortest: float | None = None
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] != "NoExecute":
            continue
        covering = next((t for t in tolerations if tolerates([t], taint)), None)
        if covering is None:
            return 0.0
        limit = covering.get("tolerationSeconds")
        if limit is not None:
            shortest = min(max(0.0, float(limit)), shortest if shortest is not None else float("inf"))
    return shortest


class TaintEvictions(Controller):
    """The taint eviction controller."""

    name = "taint-eviction-controller"

    def __init__(self, registry: Registry, feed: Feed, clock: Callable[[], datetime]) -> None:
        super().__init__(registry, feed, clock)
        self._met: dict[Key, tuple[str, datetime]] = {}  # uid and since when its time runs

    def subscribe(self) -> None:
        """Wake pods when they are bound and when their node changes."""
        self.feed.subscribe("nodes", self._node_changed)
        self.feed.subscribe("pods", self._pod_changed)

    def _node_changed(self, change: Change) -> None:
        before = change.old["spec"].get("taints") if change.old else None
        if change.type == "DELETED" or before == change.object["spec"].get("taints"):
            return
        name = change.object["metadata"]["name"]
        for pod in self.registry.list("pods")[0]:
            if pods.node_name(pod) == name:
                self.queue.add(Key(*key_of(pod)))

    def _pod_changed(self, change: Change) -> None:
        if change.type == "DELETED":
            self._met.pop(Key(*key_of(change.object)), None)
        elif was_bound(change) or _tolerates_otherwise(change):
            self.queue.add(Key(*key_of(change.object)))

    def reconcile(self, key: Key) -> float | None:
        """Evict the pod when its time has come."""
        pod = self.find("pods", key)
        name = pods.node_name(pod) if pod is not None else None
        if pod is None or name is None or not pods.is_active(pod):
            return None
        node = self.find("nodes", Key("", name))
        if node is None:
            return None
        limit, now = tolerated_s(pod, node), self.clock()
        if limit is None:
            self._forget(pod, key)
            return None
        uid, since = self._met.get(key, ("", now))
        if uid != pod["metadata"]["uid"]:
            since = now
            self._met[key] = (pod["metadata"]["uid"], now)
        if (left := seconds_until(since + timedelta(seconds=limit), now)) > 0:
            return left
        status = disrupted(
            pod.get("status", {}),
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
            now,
            observedGeneration=pod["metadata"].get("generation", 1),
        )
        pod = self.write_status("pods", pod, status)
        self.events.record(
            pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key.namespace}/{key.name}"
        )
        self.drop("pods", pod)
        return None

    def _forget(self, pod: Object, key: Key) -> None:
        if self._met.pop(key, None) is not None:
            message = f"Cancelling deletion of Pod {key.namespace}/{key.name}"
            self.events.record(pod, "Normal", "TaintManagerEviction", message)


def _tolerates_otherwise(change: Change) -> bool:
    return change.old is not None and change.old["spec"].get("tolerations") != change.object["spec"].get("tolerations")
