"""Keeps a node's taints in step with its conditions, and clears away the pods of nodes that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.statuses import ApiError
from trimtab.local.times import stamp

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OURS = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)


def wanted_taints(node: Object, now: datetime) -> list[Object]:
    """The node's taints with those that its conditions call for; other taints stay as they are."""
    present: Sequence[Object] = node["spec"].get("taints") or ()
    ready = pods.condition(node, "Ready")
    status = ready["status"] if ready else "Unknown"
    calls: list[tuple[str, str]] = []
    if status != "True":
        key = NOT_READY if status == "False" else UNREACHABLE
        calls += [(key, "NoSchedule"), (key, "NoExecute")]
    if node["spec"].get("unschedulable"):
        calls.append((UNSCHEDULABLE, "NoSchedule"))
    kept = [t for t in present if t["key"] not in _OURS or (t["key"], t["effect"]) in calls]
    have = {(t["key"], t["effect"]) for t in kept}
    added = [
        {"key": key, "effect": effect, "timeAdded": stamp(now)} for key, effect in calls if (key, effect) not in have
    ]
    return [*kept, *added]


def disrupted(status: Object, reason: str, message: str, now: datetime, **more: object) -> Object:
    """A pod's status with the condition that says who ends it from outside."""
    condition = {
        "type": "DisruptionTarget",
        **more,
        "status": "True",
        "lastProbeTime": None,
        "reason": reason,
        "message": message,
    }
    conditions = pods.with_condition(status.get("conditions") or [], condition, stamp(now))
    return {**status, "conditions": conditions}


def was_bound(change: Change) -> bool:
    """Whether a pod's change is its being bound to a node, or the first that is heard of a bound one."""
    if change.type == "DELETED" or pods.node_name(change.object) is None:
        return False
    return change.old is None or pods.node_name(change.old) is None


class Nodes(Controller):
    """The node life-cycle controller."""

    name = "node-controller"

    def subscribe(self) -> None:
        """Wake a node for itself."""
        self.feed.subscribe("nodes", lambda c: self.queue.add(Key(*key_of(c.object))))

    def reconcile(self, key: Key) -> float | None:
        """Write the taints."""
        node = self.find("nodes", key)
        if node is None:
            return None
        wanted = wanted_taints(node, self.clock())
        if wanted == list(node["spec"].get("taints") or ()):
            return None
        spec = {k: v for k, v in node["spec"].items() if k != "taints"}
        if wanted:
            spec["taints"] = wanted
        self.registry.update("nodes", {**node, "spec": spec}, manager=self.name)
        return None


class OrphanedPods(Controller):
    """The pod garbage collector: a pod whose node is gone has failed, and goes too."""

    name = "pod-garbage-collector"

    def subscribe(self) -> None:
        """Wake the pods of a node that goes, and every pod that appears bound."""
        self.feed.subscribe("nodes", self._node_changed)
        self.feed.subscribe("pods", self._pod_changed)

    def _node_changed(self, change: Change) -> None:
        if change.type == "DELETED":
            gone = change.object["metadata"]["name"]
            for pod in self.registry.list("pods")[0]:
                if pods.node_name(pod) == gone:
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
        if not pods.is_finished(pod):
            status = disrupted(
                {**pod.get("status", {}), "phase": "Failed"},
                "DeletionByPodGC",
                "PodGC: node no longer exists",
                self.clock(),
            )
            pod = self.write_status("pods", pod, status)
        try:
            self.registry.delete("pods", key.name, key.namespace, grace_seconds=0)
        except ApiError as error:
            if error.status != 404:
                raise
        return None
