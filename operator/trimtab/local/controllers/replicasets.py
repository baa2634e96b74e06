"""Keeps as many pods as a ReplicaSet asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.local import pods
from trimtab.local.controllers.controller import Controller, is_terminating_namespace
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.owners import claimed, controller_of, is_controlled_by
from trimtab.local.controllers.queue import Key
from trimtab.local.controllers.scaledown import scale_down_order
from trimtab.local.controllers.templates import pod_from_template
from trimtab.local.objects import Object, key_of
from trimtab.local.selectors import matches_label_selector
from trimtab.local.statuses import ApiError
from trimtab.local.times import stamp

BURST = 500  # pods made or deleted per look, as kube-controller-manager


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """How many pods to make, which to delete, and what the status says."""

    create: int
    delete: tuple[Object, ...]
    status: Object
    requeue_after: float | None


def plan_replicas(replica_set: Object, mine: Sequence[Object], related: Sequence[Object], now: datetime) -> ReplicaPlan:
    """What makes the pods as many as asked for; the status is what was seen before that.

    `related` are the active pods of all ReplicaSets of the same owner.
    """
    active = [p for p in mine if pods.is_active(p)]
    surplus = len(active) - int(replica_set["spec"].get("replicas", 1))
    delete: tuple[Object, ...] = ()
    if surplus > 0:
        delete = tuple(scale_down_order(active, related, now)[: min(surplus, BURST)])
    min_ready = int(replica_set["spec"].get("minReadySeconds") or 0)
    waits = [w for p in active if (w := pods.available_in(p, min_ready, now))]
    return ReplicaPlan(
        create=min(max(-surplus, 0), BURST),
        delete=delete,
        status=replica_status(replica_set, mine, min_ready, now),
        requeue_after=min(waits, default=None),
    )


def replica_status(replica_set: Object, mine: Sequence[Object], min_ready: int, now: datetime) -> Object:
    """The counts of a ReplicaSet's status; zeros are left out where Kubernetes leaves them out."""
    active = [p for p in mine if pods.is_active(p)]
    template_labels = (replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}
    labelled = [p for p in active if template_labels.items() <= (p["metadata"].get("labels") or {}).items()]
    counts = {
        "fullyLabeledReplicas": len(labelled),
        "readyReplicas": sum(pods.is_ready(p) for p in active),
        "availableReplicas": sum(pods.available_in(p, min_ready, now) == 0 for p in active),
    }
    return {
        "replicas": len(active),
        **{name: count for name, count in counts.items() if count},
        "terminatingReplicas": sum(pods.is_terminating(p) and not pods.is_finished(p) for p in mine),
        "observedGeneration": replica_set["metadata"]["generation"],
    }


def failure_condition(failure: tuple[str, str] | None, now: datetime) -> list[Object]:
    """The ReplicaFailure condition where creating or deleting pods was refused."""
    if failure is None:
        return []
    reason, message = failure
    return [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": stamp(now),
            "reason": reason,
            "message": message,
        }
    ]


class ReplicaSets(Controller):
    """The ReplicaSet controller."""

    name = "replicaset-controller"

    def subscribe(self) -> None:
        """Wake a ReplicaSet for itself and for its pods."""
        self.feed.subscribe("replicasets.apps", lambda c: self.queue.add(Key(*key_of(c.object))))
        self.feed.subscribe("pods", self._pod_changed)

    def _pod_changed(self, change: Change) -> None:
        namespace = change.object["metadata"]["namespace"]
        for pod in (change.object, change.old):
            owner = controller_of(pod) if pod else None
            if owner is not None and owner["kind"] == "ReplicaSet":
                self.queue.add(Key(namespace, owner["name"]))
        if controller_of(change.object) is None and change.type != "DELETED":
            labels = change.object["metadata"].get("labels") or {}
            for replica_set in self.registry.list("replicasets.apps", namespace)[0]:
                if matches_label_selector(replica_set["spec"]["selector"], labels):
                    self.queue.add(Key(*key_of(replica_set)))

    def reconcile(self, key: Key) -> float | None:
        """Make or delete pods and report."""
        replica_set = self.find("replicasets.apps", key)
        if replica_set is None:
            return None
        siblings = self.registry.list("pods", key.namespace)[0]
        mine = claimed(self.registry, "pods", replica_set, siblings)
        now = self.clock()
        plan = plan_replicas(replica_set, mine, self._related(replica_set, siblings), now)
        failure = None
        if "deletionTimestamp" not in replica_set["metadata"]:
            failure = self._change_pods(replica_set, plan)
        status = {**plan.status}
        if conditions := failure_condition(failure, now):
            # The first failure stays until none is left: each names another pod, and writing it would wake us again.
            old = pods.condition(replica_set, "ReplicaFailure")
            status["conditions"] = [old] if old is not None else conditions
        self.write_status("replicasets.apps", replica_set, status)
        if failure is not None:
            raise ApiError(500, "InternalError", failure[1])  # the queue tries again with back-off
        return plan.requeue_after

    def _change_pods(self, replica_set: Object, plan: ReplicaPlan) -> tuple[str, str] | None:
        name, template = replica_set["metadata"]["name"], replica_set["spec"]["template"]
        try:
            for _ in range(plan.create):
                pod = pod_from_template(replica_set, template, f"{name}-")
                made = self.registry.create("pods", pod, replica_set["metadata"]["namespace"])
                self.events.record(
                    replica_set, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}"
                )
        except ApiError as error:
            if is_terminating_namespace(error):
                return None
            self.events.record(replica_set, "Warning", "FailedCreate", f"Error creating: {error.message}")
            return "FailedCreate", error.message
        for pod in plan.delete:
            try:
                self.registry.delete("pods", pod["metadata"]["name"], pod["metadata"]["namespace"])
            except ApiError as error:
                if error.status != 404:
                    return "FailedDelete", error.message
            self.events.record(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
        return None

    def _related(self, replica_set: Object, siblings: Sequence[Object]) -> list[Object]:
        owner = controller_of(replica_set)
        if owner is None:
            return [p for p in siblings if is_controlled_by(p, replica_set) and pods.is_active(p)]
        sets = self.registry.list("replicasets.apps", replica_set["metadata"]["namespace"])[0]
        uids = {s["metadata"]["uid"] for s in sets if (o := controller_of(s)) and o["uid"] == owner["uid"]}
        return [p for p in siblings if (o := controller_of(p)) and o["uid"] in uids and pods.is_active(p)]
