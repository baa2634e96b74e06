"""What a Job does next: a pure decision from its pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.controllers.jobfailures import Action, failure_action, finished_at
from trimtab.local.controllers.jobindexes import index_of, parse_indexes, written_indexes
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp, seconds_until, stamp

TRACKING = "batch.kubernetes.io/job-tracking"
UNSUPPORTED = ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy")
FIRST_BACK_OFF_S = 10.0
LONGEST_BACK_OFF_S = 600.0


@dataclass(frozen=True, slots=True)
class BackOffRecord:
    """Failures in a row since the last success, and when the last one was."""

    failures: int = 0
    last: datetime | None = None

    def wait(self, now: datetime, scale: float) -> float:
        """Seconds until the next pod may be made."""
        if self.failures == 0 or self.last is None:
            return 0.0
        delay = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** (self.failures - 1)) * scale
        return seconds_until(self.last + timedelta(seconds=delay), now)


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What to do, in this order.

    Attributes:
        release: pods whose tracking finalizer goes, as they are counted.
        delete: pods to delete; `discard` are those that are deleted without being counted.
        create: completion indexes of pods to make, None for a Job without indexes.
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
    requeue_after: float | None = None
    said: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """The pods of a Job, counted."""

    succeeded: int
    failed: int
    indexes: frozenset[int]
    active: tuple[Object, ...]
    terminating: int
    counted: tuple[Object, ...]
    verdict: Action | None
    back_off: BackOffRecord


def is_finished(job: Object) -> bool:
    """Whether the Job is complete or has failed."""
    return pods.condition_is_true(job, "Complete") or pods.condition_is_true(job, "Failed")


def plan_job(job: Object, mine: Sequence[Object], back_off: BackOffRecord, now: datetime, scale: float) -> JobPlan:
    """What follows from the Job and its pods; `scale` multiplies the waits between failures."""
    spec = job["spec"]
    tally = _counted(job, mine, back_off, now)
    status: Object = dict(job.get("status") or {})
    conditions: list[Object] = list(status.get("conditions") or ())
    suspended = bool(spec.get("suspend"))
    conditions, said = _suspension(conditions, suspended, now)
    if not suspended and not status.get("startTime"):
        status["startTime"] = stamp(now)
    elif suspended:
        status.pop("startTime", None)
    plan = JobPlan(status=status, back_off=tally.back_off, release=tally.counted, said=said)
    ending = _ending(job, {**status, "conditions": conditions}, tally, mine, now)
    if ending is not None:
        plan = _ended(plan, conditions, ending, tally, now)
    elif suspended:
        plan = replace(plan, discard=tally.active, status={**status, "conditions": conditions})
        tally = replace(tally, active=(), terminating=tally.terminating + len(plan.discard))
    else:
        plan = _going_on(replace(plan, status={**status, "conditions": conditions}), spec, tally, now, scale)
        tally = replace(tally, active=tuple(p for p in tally.active if p not in plan.discard))
    return replace(plan, status=_numbers(plan, tally, spec), requeue_after=_next_look(job, plan, now))


def _counted(job: Object, mine: Sequence[Object], back_off: BackOffRecord, now: datetime) -> Tally:
    """Count what has ended since the last look; a pod is counted once, then its finalizer goes."""
    status = job.get("status") or {}
    over = any(pods.condition_is_true(job, kind) for kind in ("FailureTarget", "Failed"))
    completions = job["spec"].get("completions")
    indexed = job["spec"].get("completionMode") == "Indexed"
    indexes = set(parse_indexes(status.get("completedIndexes", "")))
    succeeded, failed = int(status.get("succeeded", 0)), int(status.get("failed", 0))
    counted: list[Object] = []
    verdict: Action | None = None
    ended: list[tuple[datetime, bool]] = []
    for pod in mine:
        if TRACKING not in (pod["metadata"].get("finalizers") or ()):
            continue
        if pods.phase(pod) == "Succeeded":
            counted.append(pod)
            if not indexed:
                succeeded += 1
            elif (index := index_of(pod)) is not None and index < int(completions or 0):
                indexes.add(index)
            ended.append((finished_at(pod, now), True))
        elif _has_failed(job, pod) or over:
            counted.append(pod)
            action = failure_action(job, pod)
            ended.append((finished_at(pod, now), False))
            if action.kind == "FailJob" and verdict is None:
                verdict = action
            if action.kind != "Ignore":
                failed += 1
    for moment, good in sorted(ended):
        back_off = BackOffRecord() if good else BackOffRecord(back_off.failures + 1, moment)
    return Tally(
        succeeded=len(indexes) if indexed else succeeded,
        failed=failed,
        indexes=frozenset(indexes),
        active=tuple(p for p in mine if pods.is_active(p)),
        terminating=sum(pods.is_terminating(p) and not pods.is_finished(p) for p in mine),
        counted=tuple(counted),
        verdict=verdict,
        back_off=back_off,
    )


def _has_failed(job: Object, pod: Object) -> bool:
    """A pod that was told to go counts as failed at once, unless its replacement waits for its end."""
    if pods.phase(pod) == "Failed":
        return True
    waits = job["spec"].get("podReplacementPolicy") == "Failed" or "podFailurePolicy" in job["spec"]
    return pods.is_terminating(pod) and not waits


def _suspension(
    conditions: list[Object], suspended: bool, now: datetime
) -> tuple[list[Object], tuple[str, str] | None]:
    old = next((c for c in conditions if c["type"] == "Suspended"), None)
    if suspended and (old is None or old["status"] != "True"):
        return _with(conditions, "Suspended", "True", "JobSuspended", "Job suspended", now), (
            "Suspended",
            "Job suspended",
        )
    if not suspended and old is not None and old["status"] == "True":
        return _with(conditions, "Suspended", "False", "JobResumed", "Job resumed", now), ("Resumed", "Job resumed")
    return conditions, None


def _with(conditions: list[Object], kind: str, value: str, reason: str, message: str, now: datetime) -> list[Object]:
    at = stamp(now)
    new = {"type": kind, "status": value, "lastProbeTime": at, "reason": reason, "message": message}
    return pods.with_condition(conditions, new, at)


def _ending(
    job: Object, status: Object, tally: Tally, mine: Sequence[Object], now: datetime
) -> tuple[str, str, str] | None:
    """Target condition, reason and message when the Job is to end, the first cause kept."""
    for target in ("FailureTarget", "SuccessCriteriaMet"):
        for c in status["conditions"]:
            if c["type"] == target and c["status"] == "True":
                return target, c["reason"], c["message"]
    spec = job["spec"]
    if unsupported := [f for f in UNSUPPORTED if f in spec]:
        message = f"spec.{unsupported[0]} is not supported by the embedded cluster; remove it"
        return "FailureTarget", "Unsupported", message
    if tally.verdict is not None:
        return "FailureTarget", "PodFailurePolicy", tally.verdict.message
    limit = int(spec.get("backoffLimit", 6))
    if tally.failed > limit or _restarted_too_often(spec, limit, mine):
        return "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    if not spec.get("suspend") and _overdue(spec, status, now) == 0:
        return "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"
    completions = spec.get("completions")
    done = tally.succeeded >= int(completions) if completions is not None else tally.succeeded > 0 and not tally.active
    if done:
        return "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"
    return None


def _restarted_too_often(spec: Object, limit: int, mine: Sequence[Object]) -> bool:
    """With restartPolicy OnFailure the failures are restarts inside the pods."""
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(pods.restarts(p) for p in mine if pods.phase(p) in ("Running", "Pending"))
    return restarts > 0 if limit == 0 else restarts >= limit


def _overdue(spec: Object, status: Object, now: datetime) -> float | None:
    """Seconds until activeDeadlineSeconds are over, 0 once they are; None without a deadline."""
    if spec.get("activeDeadlineSeconds") is None or not status.get("startTime"):
        return None
    end = parse_stamp(status["startTime"]) + timedelta(seconds=int(spec["activeDeadlineSeconds"]))
    return seconds_until(end, now)


def _ended(
    plan: JobPlan, conditions: list[Object], ending: tuple[str, str, str], tally: Tally, now: datetime
) -> JobPlan:
    """Stop what still runs; the Job is finished only once everything has gone."""
    target, reason, message = ending
    said = plan.said
    if not any(c["type"] == target for c in conditions):
        conditions = _with(conditions, target, "True", reason, message, now)
    status = dict(plan.status)
    if not tally.active and not tally.terminating:
        final = "Complete" if target == "SuccessCriteriaMet" else "Failed"
        conditions = _with(conditions, final, "True", reason, message, now)
        if final == "Complete":
            status["completionTime"] = stamp(now)
            said = ("Completed", "Job completed")
        else:
            said = (reason, message)
    return replace(plan, status={**status, "conditions": conditions}, delete=tally.active, said=said)


def _going_on(plan: JobPlan, spec: Object, tally: Tally, now: datetime, scale: float) -> JobPlan:
    parallelism = int(spec.get("parallelism", 1))
    completions = spec.get("completions")
    if completions is None:
        wanted = len(tally.active) if tally.succeeded else parallelism
    else:
        wanted = min(parallelism, int(completions) - tally.succeeded)
    surplus = len(tally.active) - wanted
    if surplus > 0:
        return replace(plan, discard=_first_to_go(tally.active)[:surplus])
    missing = wanted - len(tally.active)
    if spec.get("podReplacementPolicy") == "Failed" or "podFailurePolicy" in spec:
        missing -= tally.terminating
    if missing <= 0:
        return plan
    wait = tally.back_off.wait(now, scale)
    if wait > 0:
        return replace(plan, requeue_after=wait)
    if spec.get("completionMode") != "Indexed":
        return replace(plan, create=(None,) * missing)
    taken = tally.indexes | {i for p in tally.active if (i := index_of(p)) is not None}
    free = [i for i in range(int(completions or 0)) if i not in taken]
    return replace(plan, create=tuple(free[:missing]))


def _first_to_go(active: Sequence[Object]) -> tuple[Object, ...]:
    return tuple(
        sorted(active, key=lambda p: (pods.node_name(p) is not None, pods.phase(p) == "Running", pods.is_ready(p)))
    )


def _numbers(plan: JobPlan, tally: Tally, spec: Object) -> Object:
    """The status with its counts, as Kubernetes writes them: active, succeeded and failed without zeros."""
    leaving = len(plan.delete) + (0 if spec.get("suspend") else len(plan.discard))
    active = len(tally.active) - len(plan.delete) + len(plan.create)
    staying = [p for p in tally.active if p not in plan.delete]
    counts = {"active": active, "succeeded": tally.succeeded, "failed": tally.failed}
    status = {k: v for k, v in plan.status.items() if k not in (*counts, "completedIndexes")}
    status |= {name: count for name, count in counts.items() if count}
    if spec.get("completionMode") == "Indexed" and tally.indexes:
        status["completedIndexes"] = written_indexes(tally.indexes)
    status |= {
        "terminating": tally.terminating + leaving,
        "uncountedTerminatedPods": {},
        "ready": sum(pods.is_ready(p) for p in staying),
    }
    if not status.get("conditions"):
        status.pop("conditions", None)
    return status


def _next_look(job: Object, plan: JobPlan, now: datetime) -> float | None:
    waits: Mapping[str, float | None] = {
        "back-off": plan.requeue_after,
        "deadline": None if plan.delete else _overdue(job["spec"], plan.status, now),
    }
    return min((w for w in waits.values() if w), default=None)


def expires_in(job: Object, now: datetime) -> float | None:
    """Seconds until a finished Job is to be removed, 0 for at once; None without a time to live."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or not is_finished(job):
        return None
    finished = next(c for c in job["status"]["conditions"] if c["type"] in ("Complete", "Failed"))
    return seconds_until(parse_stamp(finished["lastTransitionTime"]) + timedelta(seconds=int(ttl)), now)
