"""Rolls a Deployment's template out over ReplicaSets."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from trimtab.local import pods
from trimtab.local.controllers import deploymentstatus, rollout
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.owners import claimed, controller_of, controller_reference, is_controlled_by
from trimtab.local.controllers.queue import Key
from trimtab.local.controllers.templates import HASH_LABEL, same_template, template_hash
from trimtab.local.objects import Object, key_of
from trimtab.local.statuses import ApiError

RESOURCE = "replicasets.apps"
_NOT_COPIED = {
    rollout.REVISION,
    rollout.DESIRED,
    rollout.MAX,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision-history",
}


class Deployments(Controller):
    """The Deployment controller."""

    name = "deployment-controller"

    def subscribe(self) -> None:
        """Wake a Deployment for itself, its ReplicaSets, and the end of a pod (Recreate waits for it)."""
        self.feed.subscribe("deployments.apps", lambda c: self.queue.add(Key(*key_of(c.object))))
        self.feed.subscribe(RESOURCE, self._set_changed)
        self.feed.subscribe("pods", self._pod_changed)

    def _set_changed(self, change: Change) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner["kind"] == "Deployment":
            self.queue.add(Key(change.object["metadata"]["namespace"], owner["name"]))

    def _pod_changed(self, change: Change) -> None:
        owner = controller_of(change.object)
        if change.type != "DELETED" or owner is None or owner["kind"] != "ReplicaSet":
            return
        replica_set = self.find(RESOURCE, Key(change.object["metadata"]["namespace"], owner["name"]))
        if replica_set and (above := controller_of(replica_set)):
            self.queue.add(Key(change.object["metadata"]["namespace"], above["name"]))

    def reconcile(self, key: Key) -> float | None:
        """One step of the rollout, then the status."""
        deployment = self.find("deployments.apps", key)
        if deployment is None:
            return None
        sets = claimed(self.registry, RESOURCE, deployment, self.registry.list(RESOURCE, key.namespace)[0])
        new = next(
            (s for s in rollout.oldest_first(sets) if same_template(s["spec"]["template"], _template(deployment))),
            None,
        )
        created = False
        if "deletionTimestamp" not in deployment["metadata"]:
            new, created = self._advance(deployment, new, [s for s in sets if s is not new])
        return self._report(key, new["metadata"]["name"] if new else None, created=created)

    def _advance(self, deployment: Object, new: Object | None, olds: Sequence[Object]) -> tuple[Object | None, bool]:
        limits = rollout.limits_of(deployment)
        if deployment["spec"].get("paused"):
            self._resize(deployment, [new, *olds], rollout.scaled_sizes(deployment, new, olds, limits))
            return new, False
        if new is not None:
            new = self._annotated(deployment, new, olds)
        if rollout.is_scaling(deployment, [*([new] if new else []), *olds]):
            self._resize(deployment, [new, *olds], rollout.scaled_sizes(deployment, new, olds, limits))
            return new, False
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            return self._recreate(deployment, new, olds, limits)
        if new is None:
            return self._create(deployment, olds, limits, recreate=False), True
        self._resize(deployment, [new, *olds], rollout.rolling_step(new, olds, limits))
        return new, False

    def _recreate(
        self, deployment: Object, new: Object | None, olds: Sequence[Object], limits: rollout.Limits
    ) -> tuple[Object | None, bool]:
        running = {s["metadata"]["name"]: 0 for s in olds if rollout.replicas_of(s) > 0}
        if running:
            self._resize(deployment, olds, running)
            return new, False
        everything = self.registry.list("pods", deployment["metadata"]["namespace"])[0]
        if any(is_controlled_by(p, s) and not pods.is_finished(p) for s in olds for p in everything):
            return new, False
        if new is None:
            return self._create(deployment, olds, limits, recreate=True), True
        if rollout.replicas_of(new) != limits.replicas:
            self._resize(deployment, [new], {new["metadata"]["name"]: limits.replicas})
        return new, False

    def _create(
        self, deployment: Object, olds: Sequence[Object], limits: rollout.Limits, *, recreate: bool
    ) -> Object | None:
        size = rollout.first_size(limits, olds, recreate=recreate)
        collisions = int(deployment.get("status", {}).get("collisionCount", 0))
        wanted = new_replica_set(deployment, olds, limits, size, collisions)
        try:
            made = self.registry.create(RESOURCE, wanted, deployment["metadata"]["namespace"])
        except ApiError as error:
            if error.status != 409:
                raise
            # Another template has this hash: the next look names it differently.
            status = {**(deployment.get("status") or {}), "collisionCount": collisions + 1}
            self.write_status("deployments.apps", deployment, status)
            raise
        self._say_scaled(deployment, made, 0, size)
        self._note_revision(deployment, rollout.revision_of(made))
        return made

    def _annotated(self, deployment: Object, new: Object, olds: Sequence[Object]) -> Object:
        """A ReplicaSet that is (again) the newest carries the highest revision, and so does the Deployment."""
        revision = max(max((rollout.revision_of(s) for s in olds), default=0) + 1, rollout.revision_of(new))
        if rollout.revision_of(new) != revision:
            changed = copy.deepcopy(new)
            changed["metadata"].setdefault("annotations", {})[rollout.REVISION] = str(revision)
            new = self.registry.update(RESOURCE, changed)
        self._note_revision(deployment, revision)
        return new

    def _note_revision(self, deployment: Object, revision: int) -> None:
        if rollout.revision_of(deployment) != revision:
            self.registry.patch(
                "deployments.apps",
                deployment["metadata"]["name"],
                deployment["metadata"]["namespace"],
                {"metadata": {"annotations": {rollout.REVISION: str(revision)}}},
                "application/merge-patch+json",
                manager=self.name,
            )

    def _resize(self, deployment: Object, sets: Sequence[Object | None], sizes: dict[str, int]) -> None:
        limits = rollout.limits_of(deployment)
        notes = {rollout.DESIRED: str(limits.replicas), rollout.MAX: str(limits.most)}
        for old in sets:
            if old is None:
                continue
            size = sizes.get(old["metadata"]["name"], rollout.replicas_of(old))
            annotations = old["metadata"].get("annotations") or {}
            stale = size > 0 and any(annotations.get(k) != v for k, v in notes.items())
            if size == rollout.replicas_of(old) and not stale:
                continue
            changed = copy.deepcopy(old)
            changed["metadata"]["annotations"] = {**annotations, **notes}
            changed["spec"]["replicas"] = size
            self.registry.update(RESOURCE, changed)
            if size != rollout.replicas_of(old):
                self._say_scaled(deployment, old, rollout.replicas_of(old), size)

    def _say_scaled(self, deployment: Object, replica_set: Object, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        message = f"Scaled {way} replica set {replica_set['metadata']['name']} from {before} to {after}"
        self.events.record(deployment, "Normal", "ScalingReplicaSet", message)

    def _report(self, key: Key, new_name: str | None, *, created: bool) -> float | None:
        deployment = self.registry.get("deployments.apps", key.name, key.namespace)
        everything = self.registry.list(RESOURCE, key.namespace)[0]
        sets = [s for s in everything if is_controlled_by(s, deployment)]
        new = next((s for s in sets if s["metadata"]["name"] == new_name), None)
        now = self.clock()
        status = deploymentstatus.counts(deployment, new, sets)
        old_status = deployment.get("status") or {}
        if "collisionCount" in old_status:
            status["collisionCount"] = old_status["collisionCount"]
        conditions = deploymentstatus.put(
            old_status.get("conditions") or [],
            "Available",
            deploymentstatus.availability(rollout.limits_of(deployment), sets),
            now,
        )
        moved = deploymentstatus.progress(deployment, status, new, now, created=created)
        if moved is not None:
            conditions = deploymentstatus.refreshed(conditions, moved, now)
        conditions = [*(c for c in conditions if c["type"] != "ReplicaFailure"), *_failures(sets)]
        if conditions:
            status["conditions"] = conditions
        written = self.write_status("deployments.apps", deployment, status)
        if new is not None and deploymentstatus.is_complete(written, status):
            self._forget_old(written, [s for s in sets if s is not new])
        current = pods.condition(written, "Progressing")
        overdue = deploymentstatus.progress_overdue(written, current, now) if current else None
        return overdue or None

    def _forget_old(self, deployment: Object, olds: Sequence[Object]) -> None:
        limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
        idle = [s for s in olds if rollout.replicas_of(s) == 0 and not s.get("status", {}).get("replicas")]
        for old in rollout.newest_first(idle)[limit:]:
            self.drop(RESOURCE, old)


def _template(deployment: Object) -> Object:
    template: Object = deployment["spec"]["template"]
    return template


def _failures(sets: Sequence[Object]) -> list[Object]:
    failing = [c for s in sets if (c := pods.condition(s, "ReplicaFailure"))]
    return [{**c, "lastUpdateTime": c["lastTransitionTime"]} for c in failing[:1]]


def new_replica_set(
    deployment: Object, olds: Sequence[Object], limits: rollout.Limits, size: int, collisions: int
) -> Object:
    """The ReplicaSet for the Deployment's present template."""
    metadata, template = deployment["metadata"], copy.deepcopy(_template(deployment))
    name = template_hash(template, collisions)
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = name
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = name
    revision = max((rollout.revision_of(s) for s in olds), default=0) + 1
    copied = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in _NOT_COPIED}
    spec = {"replicas": size, "selector": selector, "template": template}
    if min_ready := deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = min_ready
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{name}",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {
                **copied,
                rollout.DESIRED: str(limits.replicas),
                rollout.MAX: str(limits.most),
                rollout.REVISION: str(revision),
            },
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": spec,
    }
