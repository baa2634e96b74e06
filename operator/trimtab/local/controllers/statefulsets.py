"""Runs a StatefulSet's pods under names that stay."""

from __future__ import annotations

from trimtab.local.controllers import setrevisions
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.owners import claimed, controller_of
from trimtab.local.controllers.queue import Key
from trimtab.local.controllers.revisioned import RevisionedController
from trimtab.local.controllers.statefulplan import (
    Revisions,
    ordinal_of,
    plan_stateful,
    revision_of,
    stateful_status,
)
from trimtab.local.controllers.templates import pod_from_template
from trimtab.local.objects import Object, key_of
from trimtab.local.statuses import ApiError

RESOURCE = "statefulsets.apps"


class StatefulSets(RevisionedController):
    """The StatefulSet controller."""

    name = "statefulset-controller"

    def subscribe(self) -> None:
        """Wake a set for itself and for its pods."""
        self.feed.subscribe(RESOURCE, lambda c: self.queue.add(Key(*key_of(c.object))))
        self.feed.subscribe("pods", self._pod_changed)

    def _pod_changed(self, change: Change) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner["kind"] == "StatefulSet":
            self.queue.add(Key(change.object["metadata"]["namespace"], owner["name"]))

    def reconcile(self, key: Key) -> float | None:
        """Make or delete what comes next, then report."""
        owner = self.find(RESOURCE, key)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return None
        known = self.revisions(owner)
        update = self.present_revision(owner, known)["metadata"]["name"]
        known = self.revisions(owner)
        names = {r["metadata"]["name"]: r for r in known}
        before = (owner.get("status") or {}).get("currentRevision", "")
        revisions = Revisions(before if before in names else update, update)
        mine = self._pods(owner)
        now = self.clock()
        plan = plan_stateful(owner, mine, revisions, now)
        for pod in plan.delete:
            self.drop("pods", pod)
            self._say(
                owner, "SuccessfulDelete", f"delete Pod {pod['metadata']['name']} in StatefulSet {key.name} successful"
            )
        failure = self._create(owner, plan.create, names)
        mine = self._pods(owner)
        self.write_status(RESOURCE, owner, stateful_status(owner, mine, revisions, now))
        self.forget_revisions(owner, known, {revisions.current, update, *map(revision_of, mine)})
        if failure is not None:
            raise failure  # the queue tries again with back-off
        return plan.requeue_after

    def _pods(self, owner: Object) -> list[Object]:
        everything = self.registry.list("pods", owner["metadata"]["namespace"])[0]
        named = [p for p in everything if ordinal_of(owner, p) is not None]
        return claimed(self.registry, "pods", owner, named)

    def _create(self, owner: Object, wanted: tuple[tuple[int, str], ...], names: dict[str, Object]) -> ApiError | None:
        for number, revision in wanted:
            pod = stateful_pod(owner, setrevisions.template_of(names[revision]), number, revision)
            name, of = pod["metadata"]["name"], owner["metadata"]["name"]
            try:
                self.registry.create("pods", pod, owner["metadata"]["namespace"])
            except ApiError as error:
                text = f"create Pod {name} in StatefulSet {of} failed error: {error.message}"
                self.events.record(owner, "Warning", "FailedCreate", text)
                return error
            self._say(owner, "SuccessfulCreate", f"create Pod {name} in StatefulSet {of} successful")
        return None

    def _say(self, owner: Object, reason: str, message: str) -> None:
        self.events.record(owner, "Normal", reason, message)


def stateful_pod(owner: Object, template: Object, number: int, revision: str) -> Object:
    """The pod with that number: name, hostname and labels say which one it is."""
    name = f"{owner['metadata']['name']}-{number}"
    pod = pod_from_template(owner, template, "")
    del pod["metadata"]["generateName"]
    pod["metadata"]["name"] = name
    pod["metadata"]["labels"] |= {
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(number),
        setrevisions.HASH: revision,
    }
    pod["spec"]["hostname"] = name
    if service := owner["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = service
    return pod
