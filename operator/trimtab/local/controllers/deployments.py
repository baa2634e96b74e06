"""Rolls a Deployment's template out over ReplicaSets."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers import deploymentstatus, revisions, rollout
from trimtab.local.controllers.controller import Controller, is_terminating_namespace
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.owners import claimed, controller_of, controller_reference, is_controlled_by
from trimtab.local.controllers.queue import Key
from trimtab.local.controllers.templates import HASH_LABEL, same_template, template_hash
from trimtab.local.objects import Object, key_of
from trimtab.local.statuses import ApiError
from trimtab.local.times import seconds_until

RESOURCE = "replicasets.apps"


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
        found = _Look(new)
        if "deletionTimestamp" not in deployment["metadata"]:
            deployment = self._note_pausing(deployment)
            found = self._advance(deployment, new, [s for s in sets if s is not new])
        return self._report(key, found)

    def _note_pausing(self, deployment: Object) -> Object:
        finding = deploymentstatus.pausing(deployment)
        if finding is None:
            return deployment
        status = deployment.get("status") or {}
        conditions = deploymentstatus.put(status.get("conditions") or [], "Progressing", finding, self.clock())
        return self.write_status("deployments.apps", deployment, {**status, "conditions": conditions})

    def _advance(self, deployment: Object, new: Object | None, olds: Sequence[Object]) -> _Look:
        limits = rollout.limits_of(deployment)
        if new is not None:
            new = self._annotated(deployment, new, olds)
        sets = [*([new] if new else []), *olds]
        if deployment["spec"].get("paused"):
            self._resize(deployment, sets, rollout.scaled_sizes(deployment, new, olds, limits))
            self._forget_old(deployment, olds)
            return _Look(new)
        if rollout.is_scaling(deployment, sets):
            self._resize(deployment, sets, rollout.scaled_sizes(deployment, new, olds, limits))
            return _Look(new)
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            found = self._recreate(deployment, new, olds, limits)
        elif new is None:
            found = _Look(self._create(deployment, olds, limits, recreate=False), rolling=True, created=True)
        else:
            self._resize(deployment, sets, rollout.rolling_step(new, olds, limits))
            found = _Look(new, rolling=True)
        if deploymentstatus.is_complete(deployment, deployment.get("status") or {}):
            self._forget_old(deployment, olds)
        return found

    def _recreate(
        self, deployment: Object, new: Object | None, olds: Sequence[Object], limits: rollout.Limits
    ) -> _Look:
        running = [(s["metadata"]["name"], 0) for s in olds if rollout.replicas_of(s) > 0]
        if running:
            self._resize(deployment, olds, running)
            return _Look(new, rolling=True)
        everything = self.registry.list("pods", deployment["metadata"]["namespace"])[0]
        if any(is_controlled_by(p, s) and not pods.is_finished(p) for s in olds for p in everything):
            return _Look(new, rolling=True)
        if new is None:
            return _Look(self._create(deployment, olds, limits, recreate=True), rolling=True, created=True)
        self._resize(deployment, [new], [(new["metadata"]["name"], limits.replicas)])
        return _Look(new, rolling=True)

    def _create(
        self, deployment: Object, olds: Sequence[Object], limits: rollout.Limits, *, recreate: bool
    ) -> Object | None:
        size = rollout.first_size(limits, olds, recreate=recreate)
        collisions = int(deployment.get("status", {}).get("collisionCount", 0))
        wanted = new_replica_set(deployment, olds, limits, size, collisions)
        try:
            made = self.registry.create(RESOURCE, wanted, deployment["metadata"]["namespace"])
        except ApiError as error:
            status = dict(deployment.get("status") or {})
            if error.status == 409:  # another template has this hash: the next look names it differently
                status["collisionCount"] = collisions + 1
            elif not is_terminating_namespace(error):
                finding = deploymentstatus.refused(wanted, error.message)
                self.events.record(deployment, "Warning", finding.reason, finding.message)
                if deploymentstatus.has_deadline(deployment):
                    old = status.get("conditions") or []
                    status["conditions"] = deploymentstatus.put(old, "Progressing", finding, self.clock())
            self.write_status("deployments.apps", deployment, status)
            raise
        if size:
            self._say_scaled(deployment, made, 0, size)
        self._note_revision(deployment, rollout.revision_of(made))
        return made

    def _annotated(self, deployment: Object, new: Object, olds: Sequence[Object]) -> Object:
        """A ReplicaSet that is (again) the newest carries the highest revision, and so does the Deployment."""
        annotations = revisions.newest_annotations(deployment, new, olds)
        min_ready = int(deployment["spec"].get("minReadySeconds") or 0)
        if annotations != new["metadata"].get("annotations") or min_ready != int(
            new["spec"].get("minReadySeconds") or 0
        ):
            changed = copy.deepcopy(new)
            changed["metadata"]["annotations"] = annotations
            changed["spec"].pop("minReadySeconds", None)
            if min_ready:
                changed["spec"]["minReadySeconds"] = min_ready
            new = self.registry.update(RESOURCE, changed)
        self._note_revision(deployment, rollout.revision_of(new))
        return new

    def _note_revision(self, deployment: Object, revision: int) -> None:
        if rollout.revision_of(deployment) != revision:
            self.registry.patch(
                "deployments.apps",
                deployment["metadata"]["name"],
                deployment["metadata"]["namespace"],
                {"metadata": {"annotations": {rollout.REVISION: str(revision)}}},
                "application/merge-patch+json",
                subresource="status",  # where a note is no new generation
                manager=self.name,
            )

    def _resize(self, deployment: Object, sets: Sequence[Object], steps: Sequence[tuple[str, int]]) -> None:
        """Write sizes, one after the other, with the limits that they were made for."""
        limits = rollout.limits_of(deployment)
        notes = {rollout.DESIRED: str(limits.replicas), rollout.MAX: str(limits.most)}
        present = {s["metadata"]["name"]: s for s in sets}
        for name, size in steps:
            old = present[name]
            annotations = old["metadata"].get("annotations") or {}
            stale = any(annotations.get(k) != v for k, v in notes.items())
            if size == rollout.replicas_of(old) and not stale:
                continue
            metadata = {**old["metadata"], "annotations": {**annotations, **notes}}
            changed = {**old, "metadata": metadata, "spec": {**old["spec"], "replicas": size}}
            present[name] = self.registry.update(RESOURCE, changed)
            if size != rollout.replicas_of(old):
                self._say_scaled(deployment, old, rollout.replicas_of(old), size)

    def _say_scaled(self, deployment: Object, replica_set: Object, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        message = f"Scaled {way} replica set {replica_set['metadata']['name']} from {before} to {after}"
        self.events.record(deployment, "Normal", "ScalingReplicaSet", message)

    def _report(self, key: Key, found: _Look) -> float | None:
        deployment = self.registry.get("deployments.apps", key.name, key.namespace)
        everything = self.registry.list(RESOURCE, key.namespace)[0]
        sets = [s for s in everything if is_controlled_by(s, deployment)]
        name = found.new["metadata"]["name"] if found.new else None
        new = next((s for s in sets if s["metadata"]["name"] == name), None)
        now = self.clock()
        status = deploymentstatus.counts(deployment, new, sets)
        old_status = deployment.get("status") or {}
        if "collisionCount" in old_status:
            status["collisionCount"] = old_status["collisionCount"]
        availability = deploymentstatus.availability(rollout.limits_of(deployment), sets)
        conditions = deploymentstatus.put(old_status.get("conditions") or [], "Available", availability, now)
        if found.rolling:
            conditions = self._progress(deployment, conditions, status, new, now, created=found.created)
            conditions = [c for c in conditions if c["type"] != "ReplicaFailure"]
            if failure := deploymentstatus.failure_of(new, sets):
                conditions.append(failure)
        if conditions:
            status["conditions"] = conditions
        written = self.write_status("deployments.apps", deployment, status)
        current = pods.condition(written, "Progressing")
        if not found.rolling or current is None or current["reason"] == deploymentstatus.TIMED_OUT:
            return None
        overdue = deploymentstatus.progress_overdue(written, current)
        return seconds_until(overdue + timedelta(seconds=1), now) if overdue is not None else None

    def _progress(
        self,
        deployment: Object,
        conditions: list[Object],
        status: Object,
        new: Object | None,
        now: datetime,
        *,
        created: bool,
    ) -> list[Object]:
        if not deploymentstatus.has_deadline(deployment):
            return [c for c in conditions if c["type"] != "Progressing"]
        moved = deploymentstatus.progress(deployment, status, new, now, created=created)
        if moved is None:
            return conditions
        write = deploymentstatus.refreshed if moved.reason == "ReplicaSetUpdated" else deploymentstatus.put
        return write(conditions, "Progressing", moved, now)

    def _forget_old(self, deployment: Object, olds: Sequence[Object]) -> None:
        for old in revisions.forgettable(deployment, olds):
            self.drop(RESOURCE, old)


@dataclass(frozen=True, slots=True)
class _Look:
    """The newest ReplicaSet after a step; whether the step was one of a rollout, and created it."""

    new: Object | None
    rolling: bool = False
    created: bool = False


def _template(deployment: Object) -> Object:
    template: Object = deployment["spec"]["template"]
    return template


def new_replica_set(
    deployment: Object, olds: Sequence[Object], limits: rollout.Limits, size: int, collisions: int
) -> Object:
    """The ReplicaSet for the Deployment's present template."""
    metadata, template = deployment["metadata"], copy.deepcopy(_template(deployment))
    name = template_hash(template, collisions)
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = name
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = name
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
                **revisions.copied_annotations(deployment),
                rollout.DESIRED: str(limits.replicas),
                rollout.MAX: str(limits.most),
                rollout.REVISION: str(revisions.next_revision(olds)),
            },
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": spec,
    }
