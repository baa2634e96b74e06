"""Evicts pods from nodes with NoExecute taints that they do not tolerate (any longer)."""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.nodes import disrupted, was_bound
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.scheduler.fitting import tolerates
from trimtab.local.times import parse_stamp, seconds_until


def evicted_in(pod: Object, node: Object, now: datetime) -> float | None:
    """Seconds until the pod must go, 0 for at once; None while it may stay."""
    earliest: float | None = None
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] != "NoExecute":
            continue
        covering = [t for t in pod["spec"].get("tolerations") or () if tolerates([t], taint)]
        if not covering:
            return 0.0
        limits = [t["tolerationSeconds"] for t in covering if t.get("tolerationSeconds") is not None]
        if len(limits) < len(covering):
            continue  # one of them is for ever
        since = parse_stamp(taint["timeAdded"]) if taint.get("timeAdded") else now
        left = seconds_until(since + timedelta(seconds=max(0, min(limits))), now)
        earliest = left if earliest is None else min(earliest, left)
    return earliest


class TaintEvictions(Controller):
    """The taint eviction controller."""

    name = "taint-eviction-controller"

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
        if was_bound(change):
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
        left = evicted_in(pod, node, self.clock())
        if left is None or left > 0:
            return left
        status = disrupted(
            pod.get("status", {}),
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
            self.clock(),
            observedGeneration=pod["metadata"].get("generation", 1),
        )
        pod = self.write_status("pods", pod, status)
        self.events.record(
            pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key.namespace}/{key.name}"
        )
        self.drop("pods", pod)
        return None
