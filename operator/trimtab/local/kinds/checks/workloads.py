"""What is wrong with Deployments and ReplicaSets, and what may not change in them."""

from typing import Any

from trimtab.local.kinds.checks.gostructs import shown
from trimtab.local.kinds.checks.podspecs import template_errors
from trimtab.local.kinds.checks.values import (
    IMMUTABLE,
    amount,
    at_most_everything_errors,
    count_errors,
    percent_or_count_errors,
    selector_errors,
    shown_selector,
)
from trimtab.local.objects import Object, quote
from trimtab.local.selectors import matches_label_selector
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required, unsupported

_MORE_THAN_ALL = "cannot be greater than status.replicas"


def deployment_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    if old is not None and spec == old["spec"]:
        return []
    errors = count_errors(spec, "spec", "replicas")
    errors += selected_template_errors(spec, "deployment", "ReplicaSet")
    errors += _strategy_errors(spec.get("strategy") or {}, "spec.strategy")
    errors += count_errors(spec, "spec", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        text = "must be greater than minReadySeconds"
        errors.append(invalid_value("spec.progressDeadlineSeconds", str(deadline), text))
    return errors + selector_change_errors(new, old)


def replica_set_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    if old is not None and spec == old["spec"]:
        return []
    errors = count_errors(spec, "spec", "replicas", "minReadySeconds")
    errors += selected_template_errors(spec, "deployment", "ReplicaSet")
    return errors + selector_change_errors(new, old)


def selected_template_errors(spec: Object, owner: str, kind: str) -> list[FieldError]:
    """A selector that selects, and a template that it selects; `owner` and `kind` are what messages call it."""
    selector, template = spec.get("selector"), spec["template"]
    errors = []
    if selector is None:
        errors.append(required("spec.selector"))
    else:
        errors += selector_errors(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            text = f"empty selector is invalid for {owner}"
            errors.append(invalid_value("spec.selector", shown_selector(selector), text))
        if any(error.field.endswith((".operator", ".values")) for error in errors):
            return [*errors, invalid_value("spec.selector", shown_selector(selector), "invalid label selector")]
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector and not matches_label_selector(selector, labels):
        text = "`selector` does not match template `labels`"
        quoted = quote(dict(sorted(labels.items()))) if labels else "null"
        errors.append(invalid_value("spec.template.metadata.labels", quoted, text))
    errors += template_errors(template, "spec.template")
    policy = template["spec"].get("restartPolicy")
    if policy != "Always":
        errors.append(unsupported("spec.template.spec.restartPolicy", quote(policy), ['"Always"']))
    if template["spec"].get("activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(forbidden_field("spec.template.spec.activeDeadlineSeconds", text))
    return errors


def selector_change_errors(new: Object, old: Object | None) -> list[FieldError]:
    selector = new["spec"].get("selector")
    if old is None or old["spec"].get("selector") == selector:
        return []
    return [invalid_value("spec.selector", shown_selector(selector), IMMUTABLE)]


def _strategy_errors(strategy: Object, at: str) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        text = "may not be specified when strategy `type` is 'Recreate'"
        return [] if rolling is None else [forbidden_field(f"{at}.rollingUpdate", text)]
    if kind != "RollingUpdate":
        return [unsupported(at, shown(strategy, "DeploymentStrategy"), ['"Recreate"', '"RollingUpdate"'])]
    return _rolling_errors(rolling or {}, f"{at}.rollingUpdate")


def _rolling_errors(rolling: Object, at: str) -> list[FieldError]:
    down, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = percent_or_count_errors(down, f"{at}.maxUnavailable")
    errors += percent_or_count_errors(surge, f"{at}.maxSurge")
    if amount(down) == 0 and amount(surge) == 0:
        text = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid_value(f"{at}.maxUnavailable", quote(down), text))
    return errors + at_most_everything_errors(down, f"{at}.maxUnavailable")


def deployment_status_errors(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    counts = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    errors = count_errors(status, "status", *counts, "unavailableReplicas", "terminatingReplicas")
    if (collisions := status.get("collisionCount")) is not None and collisions < 0:
        errors += count_errors(status, "status", "collisionCount")
    errors += _more_than_errors(status, "updatedReplicas", "readyReplicas", "availableReplicas")
    before = (old.get("status") or {}).get("collisionCount")
    if before is not None and (collisions is None or collisions < before):
        text = "cannot be decremented"
        errors.append(invalid_value("status.collisionCount", quote(collisions), text))
    return errors


def replica_set_status_errors(new: Object, _old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    counts = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
    errors = count_errors(status, "status", *counts, "terminatingReplicas")
    return errors + _more_than_errors(status, "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def _more_than_errors(status: Object, *names: str) -> list[FieldError]:
    def count(name: str) -> Any:
        return status.get(name) or 0

    errors = [
        invalid_value(f"status.{name}", str(count(name)), _MORE_THAN_ALL)
        for name in names
        if count(name) > count("replicas")
    ]
    if count("availableReplicas") > count("readyReplicas"):
        text = "cannot be greater than readyReplicas"
        errors.append(invalid_value("status.availableReplicas", str(count("availableReplicas")), text))
    return errors
