"""Deployments, ReplicaSets and Jobs: defaults, what is immutable, what is invalid."""

import copy

from trimtab.local.kinds.containers import default_pod_spec, template_errors
from trimtab.local.kinds.rules import Rules, no_status
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, invalid_value, required

_IMMUTABLE = "field is immutable"
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
    _default_labels(obj, _template_of(spec))
    obj.setdefault("status", {"replicas": 0})


def _selector_errors(new: Object, old: Object | None) -> list[FieldError]:
    selector = new["spec"].get("selector")
    if selector is None:
        return [required("spec.selector")]
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        text = "empty selector is invalid for deployment"
        return [invalid_value("spec.selector", quote(selector), text)]
    if old is not None and old["spec"].get("selector") != selector:
        return [invalid_value("spec.selector", quote(selector), _IMMUTABLE)]
    return []


def _count_errors(spec: Object, *names: str) -> list[FieldError]:
    return [
        invalid_value(f"spec.{name}", str(spec[name]), "must be greater than or equal to 0")
        for name in names
        if spec.get(name) is not None and spec[name] < 0
    ]


def _replicated_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    errors = _count_errors(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    errors += template_errors(spec["template"], spec.get("selector"), "spec.template")
    errors += _selector_errors(new, old)
    if spec["template"]["spec"]["restartPolicy"] != "Always":
        policy = quote(spec["template"]["spec"]["restartPolicy"])
        error = FieldError(
            "spec.template.spec.restartPolicy",
            "FieldValueNotSupported",
            f'Unsupported value: {policy}: supported values: "Always"',
        )
        errors.append(error)
    return errors


def _deployment_errors(new: Object, old: Object | None) -> list[FieldError]:
    errors = _replicated_errors(new, old)
    rolling = new["spec"]["strategy"].get("rollingUpdate") or {}
    if new["spec"]["strategy"]["type"] == "RollingUpdate" and _is_zero(rolling) == (True, True):
        text = "may not be 0 when `maxSurge` is 0"
        shown = quote(rolling["maxUnavailable"])
        errors.append(invalid_value("spec.strategy.rollingUpdate.maxUnavailable", shown, text))
    return errors


def _is_zero(rolling: Object) -> tuple[bool, bool]:
    zero = (0, "0", "0%")
    return rolling.get("maxUnavailable") in zero, rolling.get("maxSurge") in zero


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
        template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), **labels}
        spec.setdefault("selector", {}).setdefault("matchLabels", {})[_JOB_LABELS[0]] = uid
    _default_labels(obj, template)


def _job_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    errors = _count_errors(
        spec, "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"
    )
    if spec["completionMode"] == "Indexed" and spec.get("completions") is None:
        errors.append(required("spec.completions", "when completion mode is Indexed"))
    errors += template_errors(spec["template"], spec.get("selector"), "spec.template")
    if spec["template"]["spec"]["restartPolicy"] not in ("OnFailure", "Never"):
        errors.append(required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    if spec.get("podFailurePolicy") and spec["template"]["spec"]["restartPolicy"] != "Never":
        policy = quote({"restartPolicy": spec["template"]["spec"]["restartPolicy"]})
        text = 'only "Never" is supported when podFailurePolicy is specified'
        errors.append(invalid_value("spec.template.spec.restartPolicy", policy, text))
    return errors + (_job_changes(spec, old["spec"]) if old is not None else [])


def _job_changes(new: Object, old: Object) -> list[FieldError]:
    errors = []
    for name in ("completions", "selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"):
        if new.get(name) == old.get(name):
            continue
        if name == "completions" and _scales_together(new, old):
            continue
        if name == "template" and old.get("suspend") and _scheduling_only(new["template"], old["template"]):
            continue
        errors.append(invalid_value(f"spec.{name}", quote(new.get(name)), _IMMUTABLE))
    return errors


def _scales_together(new: Object, old: Object) -> bool:
    """An Indexed job may change completions and parallelism in step."""
    return bool(
        new["completionMode"] == "Indexed" == old["completionMode"] and new.get("completions") == new["parallelism"]
    )


def _scheduling_only(new: Object, old: Object) -> bool:
    """A suspended job may still be told where to run."""

    def rest(template: Object) -> Object:
        out = copy.deepcopy(template)
        for name in ("nodeSelector", "affinity", "tolerations", "schedulingGates"):
            out["spec"].pop(name, None)
        for name in ("labels", "annotations"):
            out["metadata"].pop(name, None)
        return out

    return rest(new) == rest(old)


DEPLOYMENT = Rules(default=_default_deployment, create=no_status, validate=_deployment_errors)
REPLICA_SET = Rules(
    default=_default_replica_set, create=lambda obj: obj.update(status={"replicas": 0}), validate=_replicated_errors
)
JOB = Rules(default=_default_job, create=_create_job, validate=_job_errors)
