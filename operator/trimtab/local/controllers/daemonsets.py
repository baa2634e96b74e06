"""Runs a DaemonSet's pods, one per node."""

from __future__ import annotations

from trimtab.local.controllers import setrevisions
from trimtab.local.controllers.daemonplan import DaemonPlan, daemon_pod, plan_daemons
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.owners import claimed, controller_of
from trimtab.local.controllers.queue import Key
from trimtab.local.controllers.revisioned import RevisionedController
from trimtab.local.objects import Object, key_of
from trimtab.local.statuses import ApiError

RESOURCE = "daemonsets.apps"


class DaemonSets(RevisionedController):
    """The DaemonSet controller."""

    name = "daemonset-controller"

    def subscribe(self) -> None:
        """Wake a set for itself and for its pods, and every set for nodes that come or change what they admit."""
        self.feed.subscribe(RESOURCE, lambda c: self.queue.add(Key(*key_of(c.object))))
        self.feed.subscribe("pods", self._pod_changed)
        self.feed.subscribe("nodes", self._node_changed)

    def _pod_changed(self, change: Change) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner["kind"] == "DaemonSet":
            self.queue.add(Key(change.object["metadata"]["namespace"], owner["name"]))

    def _node_changed(self, change: Change) -> None:
        if change.old is not None and change.type == "MODIFIED" and _admits(change.old) == _admits(change.object):
            return
        for daemon_set in self.registry.list(RESOURCE)[0]:
            self.queue.add(Key(*key_of(daemon_set)))

    def reconcile(self, key: Key) -> float | None:
        """Make and delete pods, then report."""
        owner = self.find(RESOURCE, key)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return None
        known = self.revisions(owner)
        present = self.present_revision(owner, known)
        revision = present["metadata"]["labels"][setrevisions.HASH]
        mine = claimed(self.registry, "pods", owner, self.registry.list("pods", key.namespace)[0])
        plan = plan_daemons(owner, self.registry.list("nodes")[0], mine, revision, self.clock())
        failure = self._act(owner, plan, revision)
        self.write_status(RESOURCE, owner, plan.status)
        hashes = {(p["metadata"].get("labels") or {}).get(setrevisions.HASH) for p in mine}
        used = {r["metadata"]["name"] for r in known if r["metadata"]["labels"].get(setrevisions.HASH) in hashes}
        self.forget_revisions(owner, self.revisions(owner), {*used, present["metadata"]["name"]})
        if failure is not None:
            raise failure  # the queue tries again with back-off
        return plan.requeue_after

    def _act(self, owner: Object, plan: DaemonPlan, revision: str) -> ApiError | None:
        for pod in plan.delete:
            self.drop("pods", pod)
            self.events.record(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
        for node in plan.create:
            try:
                made = self.registry.create("pods", daemon_pod(owner, node, revision), owner["metadata"]["namespace"])
            except ApiError as error:
                self.events.record(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
                return error
            self.events.record(owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return None


def _admits(node: Object) -> tuple[object, object, object]:
    """What of a node decides which pods run there."""
    return node["metadata"].get("labels"), node["spec"].get("taints"), node["spec"].get("unschedulable")
