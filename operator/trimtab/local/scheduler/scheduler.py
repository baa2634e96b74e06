"""Binds pods to nodes."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.departures import disrupted
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.scheduler.choosing import Choice, choose_node, unfit
from trimtab.local.scheduler.fitting import NodeView, node_views, unschedulable_message
from trimtab.local.scheduler.preemption import REASON, ineligible, preempt, priority_of
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
        waiting = [(p, key) for key in self._waiting if (p := self.find("pods", key)) is not None]
        for _, key in sorted(
            waiting, key=lambda item: (-priority_of(item[0]), item[0]["metadata"]["creationTimestamp"])
        ):
            self.queue.add(key)

    def reconcile(self, key: Key) -> float | None:
        """Bind the pod or say why not."""
        pod = self.find("pods", key)
        self._waiting.discard(key)
        if pod is None or not _is_mine(pod):
            return None
        views = node_views(self.registry.list("nodes")[0], self.registry.list("pods")[0])
        for other in self._nominated(pod):
            for view in views:
                if view.name == other["status"]["nominatedNodeName"]:
                    view.add(other)
        choice = choose_node(pod, views)
        if choice.node is None:
            self._waiting.add(key)
            self._refuse(pod, choice, views)
            return None
        self.registry.bind(key.name, key.namespace, choice.node)
        message = f"Successfully assigned {key.namespace}/{key.name} to {choice.node}"
        self.events.record(pod, "Normal", "Scheduled", message)
        return None

    def _nominated(self, pod: Object) -> list[Object]:
        """Waiting pods, at least as important, for which others made room."""
        waiting = (p for key in self._waiting if (p := self.find("pods", key)) is not None)
        return [
            p
            for p in waiting
            if (p.get("status") or {}).get("nominatedNodeName")
            and priority_of(p) >= priority_of(pod)
            and p["metadata"]["uid"] != pod["metadata"]["uid"]
        ]

    def _refuse(self, pod: Object, choice: Choice, views: Sequence[NodeView]) -> None:
        """Make room where less important pods can give way, and say why the pod has to wait."""
        nominated, found = (pod.get("status") or {}).get("nominatedNodeName"), None
        why_none = ineligible(pod, views)
        if why_none is None:
            budgets = self.registry.list("poddisruptionbudgets.policy")[0]
            found, why_none = preempt(pod, choice.refused, views, budgets, unfit)
            nominated = found.node if found is not None else None
        for victim in found.victims if found is not None else ():
            self._evict(victim, pod, nominated)
        refused = [why for _, why in choice.refused]
        self._report(pod, unschedulable_message(refused, None if found is not None else why_none), nominated)

    def _evict(self, victim: Object, pod: Object, node: str | None) -> None:
        if pods.is_terminating(victim):
            return
        status = disrupted(
            victim.get("status", {}),
            REASON,
            f"{pod['spec'].get('schedulerName') or _NAME}: preempting to accommodate a higher priority pod",
            self.clock(),
            observedGeneration=victim["metadata"].get("generation", 1),
        )
        victim = self.write_status("pods", victim, status)
        self.drop("pods", victim)
        message = f"Preempted by pod {pod['metadata']['uid']} on node {node}"
        self.events.record(victim, "Normal", "Preempted", message)

    def _report(self, pod: Object, message: str, nominated: str | None) -> None:
        status = dict(pod.get("status") or {})
        old = pods.condition(pod, "PodScheduled")
        told = old is not None and old["status"] == "False" and old.get("message") == message
        if told and status.get("nominatedNodeName") == nominated:
            return
        condition = {
            "type": "PodScheduled",
            "observedGeneration": pod["metadata"].get("generation", 1),
            "status": "False",
            "lastProbeTime": None,
            "reason": "Unschedulable",
            "message": message,
        }
        status["conditions"] = pods.with_condition(status.get("conditions") or [], condition, stamp(self.clock()))
        status.pop("nominatedNodeName", None)
        if nominated:
            status["nominatedNodeName"] = nominated
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
