"""The pods of a Job, counted: each once, then its tracking finalizer goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trimtab.local import pods
from trimtab.local.controllers.jobbackoff import BackOffRecord
from trimtab.local.controllers.jobfailures import failure_action, has_failed
from trimtab.local.controllers.jobindexes import (
    awaiting_replacement,
    fails_index,
    has_limit_per_index,
    index_of,
    is_indexed,
    parse_indexes,
)
from trimtab.local.objects import Object

TRACKING = "batch.kubernetes.io/job-tracking"


@dataclass(frozen=True, slots=True)
class Tally:
    """What a look at a Job's pods finds.

    Attributes:
        succeeded, failed: the Job's totals with the pods that ended since the last look.
        indexes, failed_indexes: of an Indexed Job; the latter None without retries per index.
        active: pods that are neither finished nor told to go.
        uncounted: pods that still carry the tracking finalizer.
        delayed: failed pods by index that are counted only once they are replaced.
        failure: why the pod failure policy ends the Job.
    """

    succeeded: int
    failed: int
    indexes: frozenset[int]
    failed_indexes: frozenset[int] | None
    active: tuple[Object, ...]
    terminating: int
    uncounted: tuple[Object, ...]
    delayed: Mapping[int, Object]
    failure: str | None
    back_off: BackOffRecord


def tally(job: Object, mine: Sequence[Object], back_off: BackOffRecord) -> Tally:
    """Count the pods; what the status says of the past is added."""
    status = job.get("status") or {}
    uncounted = tuple(p for p in mine if TRACKING in (p["metadata"].get("finalizers") or ()))
    valid = [p for p in uncounted if _has_place(job, p)]
    good = [p for p in valid if pods.phase(p) == "Succeeded"]
    bad = [p for p in valid if has_failed(job, p)]
    active = tuple(p for p in mine if pods.is_active(p))
    indexes = _known(job, "completedIndexes") | {i for p in good if (i := index_of(p)) is not None}
    lost: frozenset[int] | None = None
    delayed: Mapping[int, Object] = {}
    if has_limit_per_index(job):
        over = {i for p in bad if fails_index(job, p) and (i := index_of(p)) is not None}
        lost = _known(job, "failedIndexes") | over
        running = {i for p in active if (i := index_of(p)) is not None}
        delayed = awaiting_replacement(job, valid, indexes | lost | running)
    return Tally(
        succeeded=len(indexes) if is_indexed(job) else int(status.get("succeeded", 0)) + len(good),
        failed=int(status.get("failed", 0)) + sum(_counts(job, p) for p in bad),
        indexes=indexes if is_indexed(job) else frozenset(),
        failed_indexes=lost,
        active=active,
        terminating=sum(pods.is_terminating(p) and not pods.is_finished(p) for p in mine),
        uncounted=uncounted,
        delayed=delayed,
        failure=_failure(job, mine),
        back_off=back_off.after(good, bad),
    )


def _has_place(job: Object, pod: Object) -> bool:
    """A pod of an Indexed Job without an index, or with one that is too high, counts for nothing."""
    if not is_indexed(job):
        return True
    index = index_of(pod)
    return index is not None and index < int(job["spec"].get("completions") or 0)


def _known(job: Object, field: str) -> frozenset[int]:
    completions = int(job["spec"].get("completions") or 0)
    return frozenset(i for i in parse_indexes((job.get("status") or {}).get(field) or "") if i < completions)


def _counts(job: Object, pod: Object) -> bool:
    return failure_action(job, pod).kind != "Ignore"


def _failure(job: Object, mine: Sequence[Object]) -> str | None:
    if not job["spec"].get("podFailurePolicy"):
        return None
    actions = (failure_action(job, p) for p in mine if has_failed(job, p))
    return next((a.message for a in actions if a.kind == "FailJob"), None)


def settled(job: Object, found: Tally, *, ending: str | None) -> tuple[tuple[Object, ...], int]:
    """The pods that may lose their finalizer now, and how many of them are failures.

    `ending` is the target condition that the Job has, or None while it goes on; when a Job fails, what
    still runs counts as failed.
    """
    released: list[Object] = []
    failures = 0
    kept = {p["metadata"]["uid"] for p in found.delayed.values()}
    for pod in found.uncounted:
        failed = has_failed(job, pod)
        if not (ending or failed or pods.phase(pod) == "Succeeded"):
            continue
        if not ending and pod["metadata"]["uid"] in kept:
            continue
        released.append(pod)
        if pods.phase(pod) != "Succeeded" and (failed or ending == "FailureTarget"):
            failures += _has_place(job, pod) and _counts(job, pod)
    return tuple(released), failures
