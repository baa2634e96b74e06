"""Runs pods until a Job has completed or failed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.controllers.jobbackoff import BackOffRecord
from trimtab.local.controllers.jobends import expires_in, is_finished
from trimtab.local.controllers.jobindexes import INDEX, failure_notes, has_limit_per_index
from trimtab.local.controllers.jobplan import JobPlan, plan_job
from trimtab.local.controllers.jobtally import TRACKING
from trimtab.local.controllers.owners import controller_of, is_controlled_by
from trimtab.local.controllers.queue import Key
from trimtab.local.controllers.templates import pod_from_template
from trimtab.local.objects import Object, key_of
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError

_OURS = "kubernetes.io/job-controller"
_NAME_BASE = 58  # what a generated name may start with, so that it stays a label


class Jobs(Controller):
    """The Job controller, and the one that removes finished Jobs after their time to live."""

    name = "job-controller"

    def __init__(
        self, registry: Registry, feed: Feed, clock: Callable[[], datetime], back_off_scale: float = 1.0
    ) -> None:
        super().__init__(registry, feed, clock)
        self._back_off_scale = back_off_scale
        self._back_offs: dict[str, BackOffRecord] = {}

    def subscribe(self) -> None:
        """Wake a Job for itself and for its pods."""
        self.feed.subscribe("jobs.batch", self._job_changed)
        self.feed.subscribe("pods", self._pod_changed)

    def _job_changed(self, change: Change) -> None:
        if change.type == "DELETED":
            self._back_offs.pop(change.object["metadata"]["uid"], None)
        self.queue.add(Key(*key_of(change.object)))

    def _pod_changed(self, change: Change) -> None:
        owner = controller_of(change.object)
        if owner is None and change.type != "DELETED":
            self._release(change.object)  # its Job let go of it: nobody counts it any more
        if owner is not None and owner["kind"] == "Job":
            namespace = change.object["metadata"]["namespace"]
            self.queue.add(Key(namespace, owner["name"]))
            if self.find("jobs.batch", Key(namespace, owner["name"])) is None:
                self._release(change.object)

    def reconcile(self, key: Key) -> float | None:
        """Plan, then act."""
        job = self.find("jobs.batch", key)
        if job is None:
            self._release_orphans(key)
            return None
        if job["spec"].get("managedBy", _OURS) != _OURS:
            return None  # somebody else's controller runs it
        now = self.clock()
        mine = [p for p in self.registry.list("pods", key.namespace)[0] if is_controlled_by(p, job)]
        if is_finished(job) or "deletionTimestamp" in job["metadata"]:
            for pod in mine:
                self._release(pod)
            left = expires_in(job, now)
            if left == 0:
                self.drop("jobs.batch", job, propagation="Foreground")
                return None
            return left
        uid = job["metadata"]["uid"]
        plan = plan_job(job, mine, self._back_offs.get(uid, BackOffRecord()), now, self._back_off_scale)
        self._back_offs[uid] = plan.back_off
        self._act(job, plan)
        return plan.requeue_after

    def _act(self, job: Object, plan: JobPlan) -> None:
        """Pods first, then the status, then the finalizers: what is counted there may lose its own, never before."""
        for pod in plan.discard:
            self._release(pod)
            self._remove(job, pod)
        for pod in plan.delete:
            self._remove(job, pod)
        failure, made = self._create(job, plan)
        status = plan.status
        if failure is not None:
            active = int(status.get("active", 0)) - (len(plan.create) - made)
            status = {**{k: v for k, v in status.items() if k != "active"}, **({"active": active} if active else {})}
        self.write_status("jobs.batch", job, status)
        for pod in plan.release:
            self._release(pod)
        if plan.said is not None:
            self._say(job, *plan.said)
        if failure is not None:
            raise failure  # the queue tries again with back-off

    def _create(self, job: Object, plan: JobPlan) -> tuple[ApiError | None, int]:
        """Make pods until one is refused; returns the refusal and how many were made."""
        for number, index in enumerate(plan.create):
            try:
                pod = job_pod(job, index, plan.replaced.get(index) if index is not None else None)
                made = self.registry.create("pods", pod, job["metadata"]["namespace"])
            except ApiError as error:
                self.events.record(job, "Warning", "FailedCreate", f"Error creating: {error.message}")
                return error, number
            self._say(job, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return None, len(plan.create)

    def _remove(self, job: Object, pod: Object) -> None:
        self.drop("pods", pod)
        self._say(job, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")

    def _say(self, job: Object, reason: str, message: str) -> None:
        good = ("SuccessfulCreate", "SuccessfulDelete", "Completed", "Suspended", "Resumed")
        self.events.record(job, "Normal" if reason in good else "Warning", reason, message)

    def _release(self, pod: Object) -> None:
        finalizers = pod["metadata"].get("finalizers") or []
        if TRACKING not in finalizers:
            return
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        try:
            current = self.registry.get("pods", name, namespace)
            if current["metadata"]["uid"] != pod["metadata"]["uid"]:
                return
            kept = [f for f in current["metadata"].get("finalizers") or [] if f != TRACKING]
            metadata = {k: v for k, v in current["metadata"].items() if k != "finalizers"}
            if kept:
                metadata["finalizers"] = kept
            self.registry.update("pods", {**current, "metadata": metadata}, manager=self.name)
        except ApiError as error:
            if error.status != 404:
                raise

    def _release_orphans(self, key: Key) -> None:
        """The Job is gone: nothing counts its pods any more, so nothing may hold them."""
        for pod in self.registry.list("pods", key.namespace)[0]:
            owner = controller_of(pod)
            if owner is not None and owner["kind"] == "Job" and owner["name"] == key.name:
                self._release(pod)


def job_pod(job: Object, index: int | None, replaced: Object | None = None) -> Object:
    """A pod of a Job; one with a completion index knows it by label, annotation, hostname and environment.

    `replaced` is the failed pod of the same index, whose count of failures goes on.
    """
    name = job["metadata"]["name"]
    pod = pod_from_template(job, job["spec"]["template"], f"{name}-" if index is None else _indexed_prefix(name, index))
    pod["metadata"].setdefault("finalizers", [])
    if TRACKING not in pod["metadata"]["finalizers"]:
        pod["metadata"]["finalizers"].append(TRACKING)
    if index is None:
        return pod
    pod["metadata"]["labels"][INDEX] = str(index)
    pod["metadata"]["annotations"][INDEX] = str(index)
    if has_limit_per_index(job):
        pod["metadata"]["annotations"] |= failure_notes(job, replaced)
    pod["spec"]["hostname"] = f"{name}-{index}"
    variable = {
        "name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}},
    }
    for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
        if not any(e["name"] == variable["name"] for e in container.get("env") or ()):
            container["env"] = [*(container.get("env") or []), variable]
    return pod


def _indexed_prefix(name: str, index: int) -> str:
    """The start of the pod's name, short enough that the index is never cut off."""
    end = f"-{index}-"
    return name[: _NAME_BASE - len(end)] + end
