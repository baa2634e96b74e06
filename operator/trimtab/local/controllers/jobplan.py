"""What a Job does next: a pure decision from its pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from trimtab.local import pods
from trimtab.local.controllers.jobbackoff import BackOffRecord
from trimtab.local.controllers.jobends import COMPLETE, SUCCESS, Ending, ending_of, overdue_in
from trimtab.local.controllers.jobfailures import replaces_only_failed
from trimtab.local.controllers.jobindexes import due_indexes, has_limit_per_index, index_of, is_indexed, written_indexes
from trimtab.local.controllers.jobtally import Tally, settled, tally
from trimtab.local.controllers.scaledown import scale_down_order
from trimtab.local.objects import Object
from trimtab.local.times import stamp

BURST = 500  # pods made or deleted per look, as kube-controller-manager


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What to do.

    Attributes:
        release: pods whose tracking finalizer goes, once the status that counts them is written.
        delete: pods to delete; `discard` are those that are deleted without being counted.
        create: completion indexes of pods to make, None for a Job without indexes.
        replaced: failed pods by the index of the pod to make in their place.
        status: the new status.
        back_off: the record to keep.
        requeue_after: seconds until time alone changes the plan.
        said: an event: reason and message, a Warning when the Job failed.
    """

    status: Object
    back_off: BackOffRecord
    release: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    discard: tuple[Object, ...] = ()
    create: tuple[int | None, ...] = ()
    replaced: Mapping[int, Object] = field(default_factory=dict)
    requeue_after: float | None = None
    said: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Change:
    """How the number of pods changes; `active` is what the status then says."""

    active: int
    discard: tuple[Object, ...] = ()
    create: tuple[int | None, ...] = ()
    wait: float | None = None


def plan_job(job: Object, mine: Sequence[Object], back_off: BackOffRecord, now: datetime, scale: float) -> JobPlan:
    """What follows from the Job and its pods; `scale` multiplies the waits between failures."""
    spec, status = job["spec"], dict(job.get("status") or {})
    found = tally(job, mine, back_off)
    if not status.get("startTime") and not spec.get("suspend"):
        status["startTime"] = stamp(now)
    ending = ending_of(job, status, found, mine, now)
    delete: tuple[Object, ...] = ()
    said = None
    if ending is not None:
        delete = found.active
        change = _Change(active=0)
    else:
        change = _change(job, found, now, scale)
        if _is_complete(spec, found, change.active):
            ending = COMPLETE
        else:
            status, said = _suspension(status, suspended=bool(spec.get("suspend")), now=now)
    release, failures = settled(job, found, ending=ending.target if ending else None)
    leaving = (*delete, *change.discard)
    terminating = found.terminating + len(leaving)
    if ending is not None:
        status, said = _ended(status, ending, terminating, now)
    plan = JobPlan(status, found.back_off, release, delete, change.discard, change.create, found.delayed, said=said)
    ready = sum(pods.is_ready(p) for p in found.active if p not in leaving)
    counts = _Counts(change.active, int(status.get("failed", 0)) + failures, terminating, ready)
    waits = (change.wait, None if ending else overdue_in(spec, status, now))
    return replace(
        plan, status=_numbers(status, found, counts, job), requeue_after=min((w for w in waits if w), default=None)
    )


def _is_complete(spec: Object, found: Tally, active: int) -> bool:
    """All asked for have succeeded; without a number, one has and the others are done too."""
    completions = spec.get("completions")
    enough = found.succeeded > 0 if completions is None else found.succeeded >= int(completions)
    return enough and active == 0


def _suspension(status: Object, *, suspended: bool, now: datetime) -> tuple[Object, tuple[str, str] | None]:
    conditions = status.get("conditions") or []
    old = next((c for c in conditions if c["type"] == "Suspended"), None)
    if suspended:
        status = {k: v for k, v in status.items() if k != "startTime"}
        if old is not None and old["status"] == "True":
            return status, None
        changed = _with(conditions, "Suspended", "True", "JobSuspended", "Job suspended", now)
        return {**status, "conditions": changed}, ("Suspended", "Job suspended")
    if old is None or old["status"] != "True":
        return status, None
    changed = _with(conditions, "Suspended", "False", "JobResumed", "Job resumed", now)
    # The deadline counts from the resumption.
    return {**status, "conditions": changed, "startTime": stamp(now)}, ("Resumed", "Job resumed")


def _with(
    conditions: Sequence[Object], kind: str, value: str, reason: str, message: str, now: datetime
) -> list[Object]:
    at = stamp(now)
    new = {"type": kind, "status": value, "lastProbeTime": at, "reason": reason, "message": message}
    return pods.with_condition(conditions, new, at)


def _ended(status: Object, ending: Ending, terminating: int, now: datetime) -> tuple[Object, tuple[str, str] | None]:
    """The Job is finished only once every pod has ended; until then it has the interim condition."""
    target, reason, message = ending
    conditions = status.get("conditions") or []
    if not any(c["type"] == target for c in conditions):
        conditions = _with(conditions, target, "True", reason, message, now)
    status = {**status, "conditions": conditions}
    if terminating:
        return status, None
    final = "Complete" if target == SUCCESS else "Failed"
    status["conditions"] = _with(conditions, final, "True", reason, message, now)
    if final == "Failed":
        return status, (reason, message)
    return {**status, "completionTime": stamp(now)}, ("Completed", "Job completed")


def _change(job: Object, found: Tally, now: datetime, scale: float) -> _Change:
    spec = job["spec"]
    active = len(found.active)
    wanted = 0 if spec.get("suspend") else _wanted(spec, found)
    discard = _to_discard(job, found.active, max(0, active - wanted), now)[:BURST]
    if discard:
        return _Change(active - len(discard), discard=discard)
    missing = min(BURST, wanted - active - (found.terminating if replaces_only_failed(job) else 0))
    if missing <= 0:
        return _Change(active)
    if has_limit_per_index(job):
        indexes, wait = due_indexes(_missing_indexes(job, found, missing), found.delayed, now, scale)
        return _Change(0 if wait else active + len(indexes), create=indexes, wait=wait)
    if wait := found.back_off.wait(now, scale):
        return _Change(0, wait=wait)  # Kubernetes reports nothing as active while it waits
    if not is_indexed(job):
        return _Change(active + missing, create=(None,) * missing)
    free = _missing_indexes(job, found, missing)
    return _Change(active + len(free), create=free)


def _wanted(spec: Object, found: Tally) -> int:
    parallelism = int(spec.get("parallelism", 1))
    completions = spec.get("completions")
    if completions is None:
        return len(found.active) if found.succeeded else parallelism
    return max(0, min(parallelism, int(completions) - found.succeeded))


def _missing_indexes(job: Object, found: Tally, count: int) -> tuple[int, ...]:
    held = found.active
    if replaces_only_failed(job):
        held = (*held, *(p for p in found.uncounted if pods.is_terminating(p) and not pods.is_finished(p)))
    taken = found.indexes | (found.failed_indexes or frozenset()) | {i for p in held if (i := index_of(p)) is not None}
    free = (i for i in range(int(job["spec"].get("completions") or 0)) if i not in taken)
    return tuple(i for i, _ in zip(free, range(count), strict=False))


def _to_discard(job: Object, active: Sequence[Object], surplus: int, now: datetime) -> tuple[Object, ...]:
    """Pods too many: of an Indexed Job those without a place of their own first."""
    left = list(active)
    gone: list[Object] = []
    if is_indexed(job):
        completions = int(job["spec"].get("completions") or 0)
        kept: dict[int, Object] = {}
        for pod in reversed(scale_down_order(active, active, now)):
            index = index_of(pod)
            if index is None or index >= completions or index in kept:
                gone.append(pod)
            else:
                kept[index] = pod
        left = list(kept.values())
    more = surplus - len(gone)
    return (*gone, *(scale_down_order(left, left, now)[:more] if more > 0 else ()))


@dataclass(frozen=True, slots=True)
class _Counts:
    active: int
    failed: int
    terminating: int
    ready: int


def _numbers(status: Object, found: Tally, counts: _Counts, job: Object) -> Object:
    """The status with its counts, as Kubernetes writes them: active, succeeded and failed without zeros."""
    numbers = {"active": counts.active, "succeeded": found.succeeded, "failed": counts.failed}
    out = {k: v for k, v in status.items() if k not in (*numbers, "completedIndexes", "failedIndexes")}
    out |= {name: count for name, count in numbers.items() if count}
    if is_indexed(job) and found.indexes:
        out["completedIndexes"] = written_indexes(found.indexes)
    if found.failed_indexes is not None:
        out["failedIndexes"] = written_indexes(found.failed_indexes)
    out |= {"terminating": counts.terminating, "uncountedTerminatedPods": {}, "ready": counts.ready}
    if not out.get("conditions"):
        out.pop("conditions", None)
    return out
