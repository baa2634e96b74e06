"""StatefulSets, DaemonSets, their revisions, and CronJobs: defaults and rules."""

from trimtab.local.kinds.checks.sets import cron_job_errors, daemon_set_errors, revision_errors, stateful_set_errors
from trimtab.local.kinds.containers import default_pod_spec
from trimtab.local.kinds.rules import CHANGES_ONLY, Rules, no_status
from trimtab.local.objects import Object

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _default_template(spec: Object) -> None:
    template: Object = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def _default_stateful_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _default_template(spec)
    spec.setdefault("serviceName", "")
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for moment in ("whenDeleted", "whenScaled"):
        retention.setdefault(moment, "Retain")
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _create_stateful_set(obj: Object) -> None:
    obj["status"] = {"replicas": 0, "availableReplicas": 0}


_DAEMON_COUNTS = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")


def _default_daemon_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _default_template(spec)
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    status = obj.setdefault("status", {})
    for count in _DAEMON_COUNTS:
        status.setdefault(count, 0)


def _create_daemon_set(obj: Object) -> None:
    obj["status"] = dict.fromkeys(_DAEMON_COUNTS, 0)
    obj["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = "1"


def _update_daemon_set(new: Object, old: Object) -> None:
    """Count the templates; the count cannot be written by hand."""
    before = int((old["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, 0))
    changed = new["spec"].get("template") != old["spec"].get("template")
    new["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = str(before + changed)


def _default_cron_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    template = spec.setdefault("jobTemplate", {})
    template.setdefault("metadata", {})
    _default_template(template.setdefault("spec", {}))
    obj.setdefault("status", {})


STATEFUL_SET = Rules(
    default=_default_stateful_set, create=_create_stateful_set, validate=stateful_set_errors, metadata=CHANGES_ONLY
)
DAEMON_SET = Rules(
    default=_default_daemon_set,
    create=_create_daemon_set,
    update=_update_daemon_set,
    validate=daemon_set_errors,
    metadata=CHANGES_ONLY,
)
REVISION = Rules(validate=revision_errors)
CRON_JOB = Rules(default=_default_cron_job, create=no_status, validate=cron_job_errors, metadata=CHANGES_ONLY)
