"""What a Deployment's status says of its rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers.rollout import Limits, available_of
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp, seconds_until, stamp

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
    return numbers == [wanted] * 3


def availability(limits: Limits, sets: Sequence[Object]) -> Finding:
    """The Available condition."""
    if sum(available_of(s) for s in sets) >= limits.fewest:
        return Finding("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return Finding("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")


def progress(deployment: Object, status: Object, new: Object | None, now: datetime, *, created: bool) -> Finding | None:
    """The Progressing condition; None when it stays as it is."""
    deadline = int(deployment["spec"].get("progressDeadlineSeconds", 600))
    if deadline == NO_DEADLINE:
        return None
    current = pods.condition(deployment, "Progressing")
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{_name(deployment)}"'
    if created and new:
        return Finding("True", "NewReplicaSetCreated", f'Created new replica set "{_name(new)}"')
    if new and current is None:
        return Finding("True", "FoundNewReplicaSet", f'Found new replica set "{_name(new)}"')
    settled = current is not None and current["reason"] == "NewReplicaSetAvailable"
    if settled and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        return None
    if is_complete(deployment, status):
        return Finding("True", "NewReplicaSetAvailable", f"{subject} has successfully progressed.")
    if _moved(deployment.get("status") or {}, status):
        return Finding("True", "ReplicaSetUpdated", f"{subject} is progressing.")
    if current is not None and progress_overdue(deployment, current, now) == 0:
        return Finding("False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing.")
    return None


def progress_overdue(deployment: Object, current: Object, now: datetime) -> float | None:
    """Seconds until the deadline passes, 0 once it has; None where no deadline runs."""
    deadline = int(deployment["spec"].get("progressDeadlineSeconds", 600))
    if deadline == NO_DEADLINE or current["reason"] == "NewReplicaSetAvailable":
        return None
    return seconds_until(parse_stamp(current["lastUpdateTime"]) + timedelta(seconds=deadline), now)


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
    """The conditions with the finding; it is refreshed even when only its time would change."""
    old = next((c for c in conditions if c["type"] == kind), None)
    same = old is not None and (old["status"], old["reason"]) == (finding.status, finding.reason)
    if same and (kind != "Progressing" or old is None or old["message"] == finding.message):
        return list(conditions)
    written = {
        "type": kind,
        "status": finding.status,
        "lastUpdateTime": stamp(now),
        "reason": finding.reason,
        "message": finding.message,
    }
    return pods.with_condition(conditions, written, stamp(now))


def refreshed(conditions: Sequence[Object], finding: Finding, now: datetime) -> list[Object]:
    """As `put` for Progressing, but progress restarts the deadline: its update time moves."""
    written = put([c for c in conditions if c["type"] != "Progressing"], "Progressing", finding, now)
    old = next((c for c in conditions if c["type"] == "Progressing"), None)
    if old is not None and old["status"] == finding.status:
        written[-1]["lastTransitionTime"] = old["lastTransitionTime"]
    return written
