"""The revisions of a Deployment, kept in annotations of its ReplicaSets: `kubectl rollout history` reads them."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.local.controllers.rollout import DESIRED, MAX, REVISION, replicas_of, revision_of
from trimtab.local.objects import Object

HISTORY = "deployment.kubernetes.io/revision-history"
LONGEST_HISTORY = 2_000  # characters
_NOT_COPIED = {
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
}


def copied_annotations(deployment: Object) -> dict[str, str]:
    """The Deployment's annotations that its newest ReplicaSet carries too, the cause of the change among them."""
    return {k: v for k, v in (deployment["metadata"].get("annotations") or {}).items() if k not in _NOT_COPIED}


def next_revision(olds: Sequence[Object]) -> int:
    """The revision of a ReplicaSet that is newer than these."""
    return max((revision_of(s) for s in olds), default=0) + 1


def newest_annotations(deployment: Object, new: Object, olds: Sequence[Object]) -> dict[str, str]:
    """The annotations of the ReplicaSet that is, or is again, the newest: with the highest revision of all.

    One that is rolled back to keeps the revisions that it had before.
    """
    before: dict[str, str] = new["metadata"].get("annotations") or {}
    found = {**before, **copied_annotations(deployment)}
    revision = next_revision(olds)
    if revision_of(new) >= revision:
        return found
    found[REVISION] = str(revision)
    if REVISION in before:
        past = [r for r in before.get(HISTORY, "").split(",") if r] + [before[REVISION]]
        while len(",".join(past)) > LONGEST_HISTORY:
            past.pop(0)
        found[HISTORY] = ",".join(past)
    return found


def forgettable(deployment: Object, olds: Sequence[Object]) -> list[Object]:
    """The old ReplicaSets beyond the history limit, the oldest first; those with pods stay."""
    limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
    alive = sorted((s for s in olds if "deletionTimestamp" not in s["metadata"]), key=revision_of)
    surplus = alive[: max(0, len(alive) - limit)]
    return [s for s in surplus if replicas_of(s) == 0 and _has_settled(s)]


def _has_settled(replica_set: Object) -> bool:
    status = replica_set.get("status") or {}
    return not status.get("replicas") and status.get("observedGeneration", 0) >= replica_set["metadata"]["generation"]
