"""When a Job is to end, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from trimtab.local import pods
from trimtab.local.controllers.jobindexes import is_indexed, success_policy_met
from trimtab.local.controllers.jobtally import Tally
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp, seconds_until

FAILURE = "FailureTarget"
SUCCESS = "SuccessCriteriaMet"


class Ending(NamedTuple):
    """The interim condition that ends a Job; the final one says the same once its pods are gone."""

    target: str
    reason: str
    message: str


COMPLETE = Ending(SUCCESS, "CompletionsReached", "Reached expected number of succeeded pods")


def is_finished(job: Object) -> bool:
    """Whether the Job is complete or has failed."""
    return pods.condition_is_true(job, "Complete") or pods.condition_is_true(job, "Failed")


def expires_in(job: Object, now: datetime) -> float | None:
    """Seconds until a finished Job is to be removed, 0 for at once; None without a time to live."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or not is_finished(job):
        return None
    finished = next(c for c in job["status"]["conditions"] if c["type"] in ("Complete", "Failed"))
    return seconds_until(parse_stamp(finished["lastTransitionTime"]) + timedelta(seconds=int(ttl)), now)


def overdue_in(spec: Object, status: Object, now: datetime) -> float | None:
    """Seconds until activeDeadlineSeconds are over, 0 once they are; None where none run."""
    if spec.get("activeDeadlineSeconds") is None or not status.get("startTime") or spec.get("suspend"):
        return None
    end = parse_stamp(status["startTime"]) + timedelta(seconds=int(spec["activeDeadlineSeconds"]))
    return seconds_until(end, now)


def ending_of(job: Object, status: Object, found: Tally, mine: Sequence[Object], now: datetime) -> Ending | None:
    """Why the Job is to end before all its pods have succeeded; the first cause stays."""
    for target in (SUCCESS, FAILURE):
        known = next((c for c in status.get("conditions") or () if c["type"] == target), None)
        if known is not None and known["status"] == "True":
            return Ending(target, known.get("reason", ""), known.get("message", ""))
    if found.failure is not None:
        return Ending(FAILURE, "PodFailurePolicy", found.failure)
    spec = job["spec"]
    limit = int(spec.get("backoffLimit", 6))
    if found.failed > limit or _restarted_too_often(spec, limit, mine):
        return Ending(FAILURE, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if overdue_in(spec, status, now) == 0:
        return Ending(FAILURE, "DeadlineExceeded", "Job was active longer than specified deadline")
    return _indexes_ending(job, found) if is_indexed(job) else None


def _indexes_ending(job: Object, found: Tally) -> Ending | None:
    spec = job["spec"]
    if found.failed_indexes is not None:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(found.failed_indexes) > int(most):
            text = "Job has exceeded the specified maximal number of failed indexes"
            return Ending(FAILURE, "MaxFailedIndexesExceeded", text)
        if found.failed_indexes and len(found.failed_indexes) + len(found.indexes) >= int(spec["completions"]):
            return Ending(FAILURE, "FailedIndexes", "Job has failed indexes")
    if message := success_policy_met(job, found.indexes):
        return Ending(SUCCESS, "SuccessPolicy", message)
    return None


def _restarted_too_often(spec: Object, limit: int, mine: Sequence[Object]) -> bool:
    """With restartPolicy OnFailure the failures are restarts inside the pods."""
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    running = [p.get("status", {}) for p in mine if pods.phase(p) in ("Running", "Pending")]
    restarts = sum(
        int(container.get("restartCount", 0))
        for status in running
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    )
    return restarts > 0 if limit == 0 else restarts >= limit
