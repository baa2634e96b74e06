"""Deployments, ReplicaSets and Jobs: their defaults and their rules."""

from trimtab.local.kinds.checks.jobs import job_errors
from trimtab.local.kinds.checks.workloads import (
    deployment_errors,
    deployment_status_errors,
    replica_set_errors,
    replica_set_status_errors,
)
from trimtab.local.kinds.containers import default_pod_spec
from trimtab.local.kinds.rules import CHANGES_ONLY, Rules, no_status
from trimtab.local.objects import Object

_JOB_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
_JOB_NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")


def _template_of(spec: Object) -> Object:
    template: Object = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))
    return template


def _default_labels(obj: Object, template: Object) -> None:
    if not obj["metadata"].get("labels") and (labels := template["metadata"].get("labels")):
        obj["metadata"]["labels"] = dict(labels)


def _default_deployment(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template_of(spec)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    obj.setdefault("status", {})


def _default_replica_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template_of(spec)
    obj.setdefault("status", {"replicas": 0})


def _default_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1)
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or []:
        for pattern in rule.get("onPodConditions") or []:
            pattern.setdefault("status", "True")
    _template_of(spec)
    obj.setdefault("status", {})


def _create_job(obj: Object) -> None:
    """Select the job's own pods by its uid, and label them so, unless the user selects by hand."""
    no_status(obj)
    spec, template = obj["spec"], obj["spec"]["template"]
    if not spec["manualSelector"]:
        uid, name = obj["metadata"]["uid"], obj["metadata"].get("name", "")
        labels = {**dict.fromkeys(_JOB_LABELS, uid), **dict.fromkeys(_JOB_NAME_LABELS, name)}
        # What the user set by hand stays, and validation refuses it.
        template["metadata"]["labels"] = {**labels, **(template["metadata"].get("labels") or {})}
        spec.setdefault("selector", {}).setdefault("matchLabels", {}).setdefault(_JOB_LABELS[0], uid)
    _default_labels(obj, template)


DEPLOYMENT = Rules(
    default=_default_deployment,
    create=no_status,
    validate=deployment_errors,
    validate_status=deployment_status_errors,
    metadata=CHANGES_ONLY,
    counts_annotations=True,
)
REPLICA_SET = Rules(
    default=_default_replica_set,
    create=lambda obj: obj.update(status={"replicas": 0}),
    validate=replica_set_errors,
    validate_status=replica_set_status_errors,
    metadata=CHANGES_ONLY,
)
JOB = Rules(default=_default_job, create=_create_job, validate=job_errors, orphans_by_default=True)
