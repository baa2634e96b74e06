"""What a Deployment's status says of its rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers.rollout import Limits, available_of
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp, stamp

AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
NO_DEADLINE = 2**31 - 1  # how Kubernetes writes "no progress deadline"


@dataclass(frozen=True, slots=True)
class Finding:
    """A status and reason with the words that go with it."""

    status: str
    reason: str
    message: str


def counts(deployment: Object, new: Object | None, sets: Sequence[Object]) -> Object:
    """The numbers of the status, zeros left out where Kubernetes leaves them out."""

    def total(of: Sequence[Object], field: str) -> int:
        return sum(int(s.get("status", {}).get(field, 0)) for s in of)

    everything = total(sets, "replicas")
    available = total(sets, "availableReplicas")
    # What is asked for counts too: a pod that could not be made is unavailable all the same.
    asked = sum(int(s["spec"].get("replicas", 0)) for s in sets)
    numbers = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": everything,
        "updatedReplicas": total([new] if new else [], "replicas"),
        "readyReplicas": total(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, asked - available),
    }
    kept = {name: value for name, value in numbers.items() if value}
    return {**kept, "terminatingReplicas": total(sets, "terminatingReplicas")}


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether every replica is new and available and nothing else runs."""
    wanted = int(deployment["spec"].get("replicas", 1))
    numbers = [int(status.get(n, 0)) for n in ("replicas", "updatedReplicas", "availableReplicas")]
    return numbers == [wanted] * 3 and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]


def availability(limits: Limits, sets: Sequence[Object]) -> Finding:
    """The Available condition."""
    if sum(available_of(s) for s in sets) >= limits.fewest:
        return Finding("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return Finding("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")


def progress(deployment: Object, status: Object, new: Object | None, now: datetime, *, created: bool) -> Finding | None:
    """The Progressing condition; None when it stays as it is."""
    if not has_deadline(deployment):
        return None
    current = pods.condition(deployment, "Progressing")
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{_name(deployment)}"'
    if created and new:
        return Finding("True", "NewReplicaSetCreated", f'Created new replica set "{_name(new)}"')
    if new and current is None:
        return Finding("True", "FoundNewReplicaSet", f'Found new replica set "{_name(new)}"')
    settled = current is not None and current["reason"] == AVAILABLE
    if settled and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        return None
    if is_complete(deployment, status):
        return Finding("True", AVAILABLE, f"{subject} has successfully progressed.")
    if _moved(deployment.get("status") or {}, status):
        return Finding("True", "ReplicaSetUpdated", f"{subject} is progressing.")
    overdue = progress_overdue(deployment, current) if current is not None else None
    if overdue is not None and (overdue < now or (current or {}).get("reason") == TIMED_OUT):
        return Finding("False", TIMED_OUT, f"{subject} has timed out progressing.")
    return None


def progress_overdue(deployment: Object, current: Object) -> datetime | None:
    """When the deadline passes if nothing moves; None where none runs."""
    if not has_deadline(deployment) or current["reason"] == AVAILABLE:
        return None
    seconds = int(deployment["spec"].get("progressDeadlineSeconds", 600))
    return parse_stamp(current["lastUpdateTime"]) + timedelta(seconds=seconds)


def has_deadline(deployment: Object) -> bool:
    """Whether the Deployment's progress is watched at all."""
    return int(deployment["spec"].get("progressDeadlineSeconds", 600)) != NO_DEADLINE


def _moved(old: Object, new: Object) -> bool:
    def outdated(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grew = any(
        int(new.get(n, 0)) > int(old.get(n, 0)) for n in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grew or outdated(new) < outdated(old)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def put(conditions: Sequence[Object], kind: str, finding: Finding, now: datetime) -> list[Object]:
    """The conditions with the finding at their end; one with the same status and reason stays as it is."""
    old = next((c for c in conditions if c["type"] == kind), None)
    if old is not None and (old["status"], old.get("reason")) == (finding.status, finding.reason):
        return list(conditions)
    return refreshed(conditions, kind, finding, now)


def refreshed(conditions: Sequence[Object], kind: str, finding: Finding, now: datetime) -> list[Object]:
    """As `put`, but the update time moves in any case: progress restarts the deadline."""
    old = next((c for c in conditions if c["type"] == kind), None)
    since = old["lastTransitionTime"] if old is not None and old["status"] == finding.status else stamp(now)
    written = {
        "type": kind,
        "status": finding.status,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": since,
        "reason": finding.reason,
        "message": finding.message,
    }
    return [*(c for c in conditions if c["type"] != kind), written]


def pausing(deployment: Object) -> Finding | None:
    """What a Deployment that was paused or resumed says of its progress, so that no deadline passes meanwhile."""
    if not has_deadline(deployment):
        return None
    current = pods.condition(deployment, "Progressing")
    reason = current.get("reason") if current else None
    paused = bool(deployment["spec"].get("paused"))
    if reason == TIMED_OUT or paused == (reason == PAUSED):
        return None
    if paused:
        return Finding("Unknown", PAUSED, "Deployment is paused")
    return Finding("Unknown", "DeploymentResumed", "Deployment is resumed")


def failure_of(new: Object | None, sets: Sequence[Object]) -> Object | None:
    """The ReplicaFailure condition of a ReplicaSet, of the new one first."""
    ordered = [*([new] if new else []), *sets]
    found = next((c for s in ordered if (c := pods.condition(s, "ReplicaFailure"))), None)
    return None if found is None else {**found, "lastUpdateTime": found["lastTransitionTime"]}


def refused(replica_set: Object, why: str) -> Finding:
    """What a Deployment says of a ReplicaSet that could not be made."""
    return Finding("False", "ReplicaSetCreateError", f'Failed to create new replica set "{_name(replica_set)}": {why}')
