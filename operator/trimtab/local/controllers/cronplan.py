"""What a CronJob does next: which run is due, and which finished Jobs are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from trimtab.local import pods
from trimtab.local.controllers.jobends import is_finished
from trimtab.local.controllers.owners import controller_reference
from trimtab.local.objects import Object
from trimtab.local.schedules import Schedule
from trimtab.local.times import parse_stamp, seconds_until, stamp

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY_MISSED = 100


@dataclass(frozen=True, slots=True)
class CronPlan:
    """What to do now.

    Attributes:
        start: when the run that is due should have started, None for none.
        replace: running Jobs that make way for it.
        forget: finished Jobs beyond the history limits.
        status: the new status, before the start.
        requeue_after: seconds until the next run.
        said: a warning: reason and message.
    """

    status: Object
    start: datetime | None = None
    replace: tuple[Object, ...] = ()
    forget: tuple[Object, ...] = ()
    requeue_after: float | None = None
    said: tuple[str, str] | None = None


def plan_cron(cron_job: Object, mine: Sequence[Object], now: datetime) -> CronPlan:
    """What follows from the schedule and the Jobs that were made."""
    spec = cron_job["spec"]
    running = [job for job in mine if not is_finished(job)]
    plan = CronPlan(status=_status(cron_job, mine, running), forget=_beyond_history(spec, mine))
    if spec.get("suspend"):
        return plan
    schedule, zone = Schedule.parse(spec["schedule"]), ZoneInfo(spec.get("timeZone") or "UTC")
    upcoming = schedule.next_after(now, zone)
    wait = seconds_until(upcoming, now) + 0.1 if upcoming is not None else None
    due, missed = _due(cron_job, schedule, zone, now)
    if due is None:
        return CronPlan(plan.status, forget=plan.forget, requeue_after=wait)
    said = None
    if missed > _MANY_MISSED:
        said = ("TooManyMissedTimes", _TOO_MANY)
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None and due + timedelta(seconds=int(deadline)) < now:
        text = f"Missed scheduled time to start a job: {due.astimezone(UTC).strftime('%a, %d %b %Y %H:%M:%S +0000')}"
        return CronPlan(plan.status, forget=plan.forget, requeue_after=wait, said=("MissSchedule", text))
    if running and spec.get("concurrencyPolicy") == "Forbid":
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        return CronPlan(plan.status, forget=plan.forget, requeue_after=wait, said=("JobAlreadyActive", text))
    replace = tuple(running) if spec.get("concurrencyPolicy") == "Replace" else ()
    return CronPlan(plan.status, due, replace, plan.forget, wait, said)


_TOO_MANY = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"


def _due(cron_job: Object, schedule: Schedule, zone: ZoneInfo, now: datetime) -> tuple[datetime | None, int]:
    """The last time since the run before that has come, and how many have."""
    status, deadline = cron_job.get("status") or {}, cron_job["spec"].get("startingDeadlineSeconds")
    since = parse_stamp(status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"])
    if deadline is not None:
        since = max(since, now - timedelta(seconds=int(deadline)))
    found, missed = None, 0
    at = schedule.next_after(since, zone)
    while at is not None and at <= now:
        found, missed = at, missed + 1
        if missed == _MANY_MISSED + 1:
            # Far behind: what counts is the last one before now.
            at = max(at, schedule.next_after(now - timedelta(days=1), zone) or at)
        at = schedule.next_after(at, zone)
    return found, missed


def _status(cron_job: Object, mine: Sequence[Object], running: Sequence[Object]) -> Object:
    status = {k: v for k, v in (cron_job.get("status") or {}).items() if k != "active"}
    if running:
        status["active"] = [reference(job) for job in running]
    ends = [job["status"]["completionTime"] for job in mine if (job.get("status") or {}).get("completionTime")]
    if ends:
        status["lastSuccessfulTime"] = max([*ends, status.get("lastSuccessfulTime", "")])
    return status


def reference(job: Object) -> Object:
    """How the status names a running Job."""
    metadata = job["metadata"]
    return {
        "kind": "Job",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": "batch/v1",
        "resourceVersion": metadata["resourceVersion"],
    }


def _beyond_history(spec: Object, mine: Sequence[Object]) -> tuple[Object, ...]:
    found: list[Object] = []
    for kind, limit in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
        done = [job for job in mine if pods.condition_is_true(job, kind)]
        done.sort(key=lambda job: (job["status"].get("startTime", ""), job["metadata"]["name"]))
        found += done[: max(0, len(done) - int(spec.get(limit, 3)))]
    return tuple(found)


def cron_run(cron_job: Object, at: datetime) -> Object:
    """The Job for one time; its name says which, so that it is made once."""
    template, metadata = cron_job["spec"]["jobTemplate"], cron_job["metadata"]
    described = template.get("metadata") or {}
    zone = ZoneInfo(cron_job["spec"].get("timeZone") or "UTC")
    noted = {SCHEDULED_AT: at.astimezone(zone).isoformat().replace("+00:00", "Z")}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-{int(at.timestamp()) // 60}",
            "namespace": metadata["namespace"],
            "labels": dict(described.get("labels") or {}),
            "annotations": {**(described.get("annotations") or {}), **noted},
            "ownerReferences": [controller_reference(cron_job)],
        },
        "spec": template["spec"],
    }


def started(status: Object, job: Object, at: datetime) -> Object:
    """The status once a run has started."""
    return {**status, "active": [*status.get("active", ()), reference(job)], "lastScheduleTime": stamp(at)}
