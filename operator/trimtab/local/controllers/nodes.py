"""The life of nodes: who went silent, the taints that follow, and the pods of nodes that are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.departures import orphaned, was_bound
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.controllers.nodehealth import (
    Heard,
    NodeTiming,
    heard_of,
    is_silent,
    nobody_is_ready,
    silent_status,
    wanted_metadata,
    wanted_taints,
)
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError
from trimtab.local.times import seconds_until, stamp

LEASES = "kube-node-lease"


class Nodes(Controller):
    """The node life-cycle controller."""

    name = "node-controller"

    def __init__(
        self, registry: Registry, feed: Feed, clock: Callable[[], datetime], timing: NodeTiming | None = None
    ) -> None:
        super().__init__(registry, feed, clock)
        self._timing = timing or NodeTiming()
        self._heard: dict[str, Heard] = {}

    def subscribe(self) -> None:
        """Wake a node for itself, and for pods on it that claim to be ready while it is not."""
        self.feed.subscribe("nodes", self._node_changed)
        self.feed.subscribe("pods", self._pod_changed)

    def _node_changed(self, change: Change) -> None:
        node, name = change.object, change.object["metadata"]["name"]
        if change.type == "DELETED":
            self._heard.pop(name, None)
            text = f"Node {name} event: Removing Node {name} from Controller"
            self.events.record(node, "Normal", "RemovingNode", text)
        else:
            self.queue.add(Key(*key_of(node)))

    def _pod_changed(self, change: Change) -> None:
        name = pods.node_name(change.object)
        if change.type == "DELETED" or name is None or not pods.is_ready(change.object):
            return
        node = self.find("nodes", Key("", name))
        if node is not None and (ready := pods.condition(node, "Ready")) and ready["status"] != "True":
            self._mark_not_ready([change.object])

    def reconcile(self, key: Key) -> float | None:
        """Note signs of life, report silence, and write taints and labels."""
        node = self.find("nodes", key)
        if node is None:
            return None
        now, before = self.clock(), self._heard.get(key.name)
        if before is None:
            text = f"Node {key.name} event: Registered Node {key.name} in Controller"
            self.events.record(node, "Normal", "RegisteredNode", text)
        lease = self.registry.find("leases.coordination.k8s.io", LEASES, key.name)
        heard = heard_of(node, lease, before, now)
        self._heard[key.name] = heard
        if is_silent(node, heard, self._timing, now):
            node = self._give_up(node, now)
        self._mark(node, now)
        return self._timing.monitor_s

    def _give_up(self, node: Object, now: datetime) -> Object:
        name, was_ready = node["metadata"]["name"], pods.condition_is_true(node, "Ready")
        node = self.write_status("nodes", node, silent_status(node, now))
        if was_ready:
            self.events.record(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
            self._mark_not_ready(p for p in self.registry.list("pods")[0] if pods.node_name(p) == name)
        return node

    def _mark_not_ready(self, found: Iterable[Object]) -> None:
        """Nobody vouches for these pods any more; traffic must go elsewhere."""
        for pod in found:
            ready = pods.condition(pod, "Ready")
            if ready is None or ready["status"] != "True":
                continue
            status = pod["status"]
            conditions = pods.with_condition(status["conditions"], {**ready, "status": "False"}, stamp(self.clock()))
            try:
                self.write_status("pods", pod, {**status, "conditions": conditions})
            except ApiError as error:
                if error.status not in (404, 409):  # gone, or changed: then it is heard of again
                    raise
                continue
            self.events.record(pod, "Warning", "NodeNotReady", "Node is not ready")

    def _mark(self, node: Object, now: datetime) -> None:
        evict = not nobody_is_ready(self.registry.list("nodes")[0])
        taints, metadata = wanted_taints(node, now, evict=evict), wanted_metadata(node)
        if taints == list(node["spec"].get("taints") or ()) and metadata == node["metadata"]:
            return
        spec = {k: v for k, v in node["spec"].items() if k != "taints"}
        if taints:
            spec["taints"] = taints
        self.registry.update("nodes", {**node, "metadata": metadata, "spec": spec}, manager=self.name)


class OrphanedPods(Controller):
    """The pod garbage collector: a pod whose node is gone for a while has failed, and goes too."""

    name = "pod-garbage-collector"

    def __init__(
        self, registry: Registry, feed: Feed, clock: Callable[[], datetime], timing: NodeTiming | None = None
    ) -> None:
        super().__init__(registry, feed, clock)
        self._quarantine = timedelta(seconds=(timing or NodeTiming()).quarantine_s)
        self._missed: dict[str, datetime] = {}

    def subscribe(self) -> None:
        """Wake the pods of a node that goes, and every pod that appears bound."""
        self.feed.subscribe("nodes", self._node_changed)
        self.feed.subscribe("pods", self._pod_changed)

    def _node_changed(self, change: Change) -> None:
        name = change.object["metadata"]["name"]
        if change.type != "DELETED":
            self._missed.pop(name, None)
            return
        for pod in self.registry.list("pods")[0]:
            if pods.node_name(pod) == name:
                self.queue.add(Key(*key_of(pod)))

    def _pod_changed(self, change: Change) -> None:
        if was_bound(change):
            self.queue.add(Key(*key_of(change.object)))

    def reconcile(self, key: Key) -> float | None:
        """Mark the pod as failed, then remove it without waiting for a node that cannot answer."""
        pod = self.find("pods", key)
        node = pods.node_name(pod) if pod is not None else None
        if pod is None or node is None or self.find("nodes", Key("", node)) is not None:
            return None
        now = self.clock()
        if (left := seconds_until(self._missed.setdefault(node, now) + self._quarantine, now)) > 0:
            return left
        if not pods.is_finished(pod):
            pod = self.write_status("pods", pod, orphaned(pod, now))
        try:
            self.registry.delete("pods", key.name, key.namespace, grace_seconds=0)
        except ApiError as error:
            if error.status != 404:
                raise
        return None
