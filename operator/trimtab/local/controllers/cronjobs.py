"""Starts Jobs by the clock."""

from __future__ import annotations

from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.cronplan import CronPlan, cron_run, plan_cron, started
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.jobends import is_finished
from trimtab.local.controllers.owners import controller_of, is_controlled_by
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object, key_of
from trimtab.local.statuses import ApiError

RESOURCE = "cronjobs.batch"


class CronJobs(Controller):
    """The CronJob controller."""

    name = "cronjob-controller"

    def subscribe(self) -> None:
        """Wake a CronJob for itself and for its Jobs."""
        self.feed.subscribe(RESOURCE, lambda c: self.queue.add(Key(*key_of(c.object))))
        self.feed.subscribe("jobs.batch", self._job_changed)

    def _job_changed(self, change: Change) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner["kind"] == "CronJob":
            self.queue.add(Key(change.object["metadata"]["namespace"], owner["name"]))

    def reconcile(self, key: Key) -> float | None:
        """Start what is due, forget what is over, and report."""
        cron_job = self.find(RESOURCE, key)
        if cron_job is None or "deletionTimestamp" in cron_job["metadata"]:
            return None
        mine = [j for j in self.registry.list("jobs.batch", key.namespace)[0] if is_controlled_by(j, cron_job)]
        plan = plan_cron(cron_job, mine, self.clock())
        self._say_finished(cron_job, mine)
        for job in plan.forget:
            self._remove(cron_job, job)
        if plan.said is not None:
            kind = "Normal" if plan.said[0] == "JobAlreadyActive" else "Warning"
            self.events.record(cron_job, kind, *plan.said)  # type: ignore[arg-type]
        self.write_status(RESOURCE, cron_job, self._start(cron_job, plan))
        return plan.requeue_after

    def _start(self, cron_job: Object, plan: CronPlan) -> Object:
        if plan.start is None:
            return plan.status
        status = plan.status
        for job in plan.replace:
            self._remove(cron_job, job)
            left = [r for r in status["active"] if r["uid"] != job["metadata"]["uid"]]
            status = {**status, "active": left}
        wanted = cron_run(cron_job, plan.start)
        try:
            made = self.registry.create("jobs.batch", wanted, cron_job["metadata"]["namespace"])
        except ApiError as error:
            if error.status != 409:  # else it was started already
                self.events.record(cron_job, "Warning", "FailedCreate", f"Error creating job: {error.message}")
                raise
            return status
        self.events.record(cron_job, "Normal", "SuccessfulCreate", f"Created job {made['metadata']['name']}")
        return started(status, made, plan.start)

    def _remove(self, cron_job: Object, job: Object) -> None:
        self.drop("jobs.batch", job, propagation="Background")
        self.events.record(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {job['metadata']['name']}")

    def _say_finished(self, cron_job: Object, mine: list[Object]) -> None:
        """Once for every Job that the status still lists as running."""
        listed = {r["uid"] for r in (cron_job.get("status") or {}).get("active") or ()}
        for job in mine:
            if job["metadata"]["uid"] in listed and is_finished(job):
                done = next(c["type"] for c in job["status"]["conditions"] if c["type"] in ("Complete", "Failed"))
                text = f"Saw completed job: {job['metadata']['name']}, condition: {done}"
                self.events.record(cron_job, "Normal", "SawCompletedJob", text)
