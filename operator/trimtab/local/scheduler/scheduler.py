"""Binds pods to nodes."""

from __future__ import annotations

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.scheduler.choosing import choose_node
from trimtab.local.scheduler.fitting import node_views
from trimtab.local.times import stamp

_NAME = "default-scheduler"


class Scheduler(Controller):
    """Level-triggered: a pod waits until something changes that may help it."""

    name = _NAME

    def subscribe(self) -> None:
        """Wake a pod for itself, and every waiting pod when nodes change or room becomes free."""
        self._waiting: set[Key] = set()
        self.feed.subscribe("pods", self._pod_changed)
        self.feed.subscribe("nodes", self._node_changed)

    def _pod_changed(self, change: Change) -> None:
        pod = change.object
        if change.type == "DELETED" or (change.old and pods.is_finished(pod) and not pods.is_finished(change.old)):
            self._waiting.discard(Key(*key_of(pod)))
            if pods.node_name(pod) is not None:
                self._wake_waiting()
        elif pods.node_name(pod) is None and (change.old is None or change.old["spec"] != pod["spec"]):
            self.queue.add(Key(*key_of(pod)))

    def _node_changed(self, change: Change) -> None:
        if change.type != "DELETED":
            self._wake_waiting()

    def _wake_waiting(self) -> None:
        for key in sorted(self._waiting):
            self.queue.add(key)

    def reconcile(self, key: Key) -> float | None:
        """Bind the pod or say why not."""
        pod = self.find("pods", key)
        self._waiting.discard(key)
        if pod is None or not _is_mine(pod):
            return None
        views = node_views(self.registry.list("nodes")[0], self.registry.list("pods")[0])
        choice = choose_node(pod, views)
        if choice.node is None:
            self._waiting.add(key)
            self._refuse(pod, choice.message)
            return None
        self.registry.bind(key.name, key.namespace, choice.node)
        message = f"Successfully assigned {key.namespace}/{key.name} to {choice.node}"
        self.events.record(pod, "Normal", "Scheduled", message)
        return None

    def _refuse(self, pod: Object, message: str) -> None:
        old = pods.condition(pod, "PodScheduled")
        if old is not None and old["status"] == "False" and old.get("message") == message:
            return
        condition = {
            "type": "PodScheduled",
            "observedGeneration": pod["metadata"].get("generation", 1),
            "status": "False",
            "lastProbeTime": None,
            "reason": "Unschedulable",
            "message": message,
        }
        status = dict(pod.get("status") or {})
        status["conditions"] = pods.with_condition(status.get("conditions") or [], condition, stamp(self.clock()))
        self.write_status("pods", pod, status)
        self.events.record(pod, "Warning", "FailedScheduling", message)


def _is_mine(pod: Object) -> bool:
    spec = pod["spec"]
    return (
        pods.node_name(pod) is None
        and pods.is_active(pod)
        and (spec.get("schedulerName") or _NAME) == _NAME
        and not spec.get("schedulingGates")
    )
