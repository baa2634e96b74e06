"""What a table shows of the kinds that run pods."""

from trimtab.local.kinds.columns import (
    AGE,
    NAME,
    NONE,
    UNSET,
    Column,
    Columns,
    age_of,
    at,
    container_columns,
    flag,
    human_duration,
    labels_text,
    number,
    selector_cell,
    value_of,
)
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp


def _ready(obj: Object, _now: str) -> str:
    return f"{value_of(obj, 'status.readyReplicas') or 0}/{value_of(obj, 'spec.replicas') or 0}"


def _replicas(*, selector: bool) -> Columns:
    chosen = selector_cell("spec.selector") if selector else _map_selector
    return (
        NAME,
        Column("Desired", number("spec.replicas"), "integer", description="Pods that are wanted."),
        Column("Current", number("status.replicas"), "integer", description="Pods that exist."),
        Column("Ready", number("status.readyReplicas"), "integer", description="Pods that are ready."),
        AGE,
        *container_columns("spec.template", chosen),
    )


def _map_selector(obj: Object, _now: str) -> str:
    return labels_text(value_of(obj, "spec.selector"))


_JOB_STATES = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def _job_status(job: Object, _now: str) -> str:
    conditions = {c.get("type") for c in value_of(job, "status.conditions") or [] if c.get("status") == "True"}
    for state in ("Complete", "Failed"):
        if state in conditions:
            return state
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((state for state in _JOB_STATES if state in conditions), "Running")


def _job_completions(job: Object, _now: str) -> str:
    done, wanted = value_of(job, "status.succeeded") or 0, value_of(job, "spec.completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallelism = value_of(job, "spec.parallelism") or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_duration(job: Object, now: str) -> str:
    start = value_of(job, "status.startTime")
    if not start:
        return ""
    end = value_of(job, "status.completionTime") or now
    return human_duration((parse_stamp(end) - parse_stamp(start)).total_seconds())


def _targets(autoscaler: Object, _now: str) -> str:
    """Every metric as CURRENT/TARGET; two are shown, then how many more there are."""
    wanted = value_of(autoscaler, "spec.metrics") or []
    if not wanted:
        return NONE
    current = value_of(autoscaler, "status.currentMetrics") or []
    shown = [_target(metric, current[index] if index < len(current) else {}) for index, metric in enumerate(wanted)]
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    return ", ".join(shown[:2]) + more


_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _target(metric: Object, current: Object) -> str:
    source = _SOURCES.get(metric.get("type", ""), "")
    if not source:
        return "<unknown type>"
    about = metric.get(source) or {}
    target, found = about.get("target") or {}, (current.get(source) or {}).get("current") or {}
    prefix = f"{about.get('name', '')}: " if source in ("resource", "containerResource") else ""
    if "averageUtilization" in target and "averageValue" not in target:
        now = found.get("averageUtilization")
        return f"{prefix}{'<unknown>' if now is None else f'{now}%'}/{target['averageUtilization']}%"
    if "averageValue" in target:
        average = " (avg)" if source in ("object", "external") else ""
        return f"{prefix}{found.get('averageValue', '<unknown>')}/{target['averageValue']}{average}"
    return f"{prefix}{found.get('value', '<unknown>')}/{target.get('value', '<auto>')}"


def _reference(path: str) -> Column:
    return Column("Reference", lambda o, _: "/".join(str(value_of(o, f"{path}.{f}") or "") for f in ("kind", "name")))


def _controller(obj: Object, _now: str) -> str:
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            return f"{owner.get('kind', '').lower()}{f'.{group}' if group else ''}/{owner.get('name', '')}"
    return NONE


DEPLOYMENTS: Columns = (
    NAME,
    Column("Ready", _ready, description="Pods that are ready, of those wanted."),
    Column("Up-to-date", number("status.updatedReplicas"), description="Pods of the present template."),
    Column("Available", number("status.availableReplicas"), description="Pods that are ready for long enough."),
    AGE,
    *container_columns("spec.template", selector_cell("spec.selector", "")),
)
REPLICA_SETS = _replicas(selector=True)
REPLICATION_CONTROLLERS = _replicas(selector=False)
STATEFUL_SETS: Columns = (NAME, Column("Ready", _ready), AGE, *container_columns("spec.template"))
DAEMON_SETS: Columns = (
    NAME,
    Column("Desired", number("status.desiredNumberScheduled"), "integer"),
    Column("Current", number("status.currentNumberScheduled"), "integer"),
    Column("Ready", number("status.numberReady"), "integer"),
    Column("Up-to-date", number("status.updatedNumberScheduled"), "integer"),
    Column("Available", number("status.numberAvailable"), "integer"),
    Column("Node Selector", lambda o, _: labels_text(value_of(o, "spec.template.spec.nodeSelector"))),
    AGE,
    *container_columns("spec.template", selector_cell("spec.selector")),
)
JOBS: Columns = (
    NAME,
    Column("Status", _job_status, description="How far the Job is."),
    Column("Completions", _job_completions, description="Pods that succeeded, of those wanted."),
    Column("Duration", _job_duration, description="How long it took, or takes."),
    AGE,
    *container_columns("spec.template", selector_cell("spec.selector")),
)
CRON_JOBS: Columns = (
    NAME,
    Column("Schedule", at("spec.schedule", "")),
    Column("Timezone", at("spec.timeZone")),
    Column("Suspend", flag("spec.suspend", UNSET), "boolean"),
    Column("Active", lambda o, _: len(value_of(o, "status.active") or []), "integer"),
    Column("Last Schedule", age_of("status.lastScheduleTime", NONE)),
    AGE,
    *container_columns("spec.jobTemplate.spec.template", selector_cell("spec.jobTemplate.spec.selector")),
)
AUTOSCALERS: Columns = (
    NAME,
    _reference("spec.scaleTargetRef"),
    Column("Targets", _targets),
    Column("MinPods", lambda o, _: str(at("spec.minReplicas", UNSET)(o, ""))),
    Column("MaxPods", number("spec.maxReplicas")),
    Column("Replicas", number("status.currentReplicas")),
    AGE,
)
CONTROLLER_REVISIONS: Columns = (
    NAME,
    Column("Controller", _controller),
    Column("Revision", number("revision")),
    AGE,
)
BUDGETS: Columns = (
    NAME,
    Column("Min Available", lambda o, _: str(at("spec.minAvailable", "N/A")(o, ""))),
    Column("Max Unavailable", lambda o, _: str(at("spec.maxUnavailable", "N/A")(o, ""))),
    Column("Allowed Disruptions", number("status.disruptionsAllowed"), "integer"),
    AGE,
)
SCALES: Columns = (
    NAME,
    Column("Desired", number("spec.replicas"), "integer"),
    Column("Available", number("status.replicas"), "integer"),
    AGE,
)
