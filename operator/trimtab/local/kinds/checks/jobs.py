"""What is wrong with a Job, and what may not change in it."""

import copy
import re

from trimtab.local.kinds.checks.gostructs import shown, shown_template
from trimtab.local.kinds.checks.podspecs import template_errors
from trimtab.local.kinds.checks.values import (
    IMMUTABLE,
    NOT_NEGATIVE,
    count_errors,
    qualified_name_errors,
    selector_errors,
    shown_selector,
)
from trimtab.local.names import label_problems
from trimtab.local.objects import Object, quote
from trimtab.local.selectors import matches_label_selector
from trimtab.local.statuses import FieldError, duplicate, invalid_value, required, too_many, unsupported

_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_MOST = 100_000
_MOST_AT_ONCE = 10_000
_MODES = ("NonIndexed", "Indexed")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_REPLACEMENT = ("Failed", "TerminatingOrFailed")
_LABELS = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")


def job_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    if old is not None and spec == old["spec"]:
        return []
    errors = [] if spec.get("manualSelector") else _generated_errors(new)
    found = _spec_errors(spec)
    errors += found
    if spec.get("completionMode") == "Indexed" and (spec.get("completions") or 0) > 0:
        name = new["metadata"].get("name", "")
        last = f"{name}-{spec['completions'] - 1}"
        if label_problems(last):
            text = f"will not able to create pod with invalid DNS label: {last}"
            errors.append(invalid_value("metadata.name", quote(name), text))
    # A real server looks at the spec of an update twice, and says so.
    return errors if old is None else errors + found + _change_errors(spec, old["spec"])


def _generated_errors(job: Object) -> list[FieldError]:
    """The labels that tell a Job's pods from others, as they are generated."""
    labels = (job["spec"]["template"].get("metadata") or {}).get("labels") or {}
    uid, name = job["metadata"].get("uid", ""), job["metadata"].get("name", "")
    errors = []
    at = "spec.template.metadata.labels"
    for label in _LABELS:
        wanted = uid if label.endswith("uid") else name
        if label not in labels:
            errors.append(required(f"{at}[{label}]", f"must be '{wanted}'"))
        elif labels[label] != wanted:
            quoted = quote(dict(sorted(labels.items())))
            errors.append(invalid_value(f"{at}[{label}]", quoted, f"must be '{wanted}'"))
    expected = {label: uid if label.endswith("uid") else name for label in _LABELS}
    selector = job["spec"].get("selector")
    if selector is not None and not matches_label_selector(selector, expected):
        errors.append(invalid_value("spec.selector", shown_selector(selector), "`selector` not auto-generated"))
    return errors


def _spec_errors(spec: Object) -> list[FieldError]:
    errors = count_errors(spec, "spec", *_COUNTS)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    errors += _mode_errors(spec)
    if spec.get("podFailurePolicy") is not None:
        errors += _failure_policy_errors(spec, "spec.podFailurePolicy")
    if (success := spec.get("successPolicy")) is not None:
        if spec.get("completionMode") != "Indexed":
            text = "requires indexed completion mode"
            errors.append(invalid_value("spec.successPolicy", shown(success, "SuccessPolicy"), text))
        else:
            errors += _success_policy_errors(spec, success.get("rules") or [], "spec.successPolicy.rules")
    errors += _replacement_errors(spec)
    errors += template_errors(spec["template"], "spec.template")
    errors += _restart_errors(spec, "spec.template.spec.restartPolicy")
    selector = spec.get("selector")
    errors += [required("spec.selector")] if selector is None else selector_errors(selector, "spec.selector")
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if selector is not None and not matches_label_selector(selector, labels):
        quoted = quote(dict(sorted(labels.items()))) if labels else "null"
        text = "`selector` does not match template `labels`"
        errors.append(invalid_value("spec.template.metadata.labels", quoted, text))
    return errors


def _restart_errors(spec: Object, at: str) -> list[FieldError]:
    policy = spec["template"]["spec"].get("restartPolicy")
    if policy in ("Always", ""):
        return [required(at, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [unsupported(at, quote(policy), ['"OnFailure"', '"Never"'])]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        return [invalid_value(at, quote(policy), text)]
    return []


def _mode_errors(spec: Object) -> list[FieldError]:
    mode, completions, parallelism = (spec.get(n) for n in ("completionMode", "completions", "parallelism"))
    per_index, most_failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if mode == "NonIndexed":
        text = "requires indexed completion mode"
        given = {"backoffLimitPerIndex": per_index, "maxFailedIndexes": most_failed}
        return [invalid_value(f"spec.{n}", str(v), text) for n, v in given.items() if v is not None]
    if mode != "Indexed":
        return [unsupported("spec.completionMode", quote(mode), [quote(m) for m in _MODES])]
    errors = []
    if completions is None:
        errors.append(required("spec.completions", "when completion mode is Indexed"))
    if parallelism is not None and parallelism > _MOST:
        text = f"must be less than or equal to {_MOST} when completion mode is Indexed"
        errors.append(invalid_value("spec.parallelism", str(parallelism), text))
    if most_failed is not None:
        if completions is not None and most_failed > completions:
            text = "must be less than or equal to completions"
            errors.append(invalid_value("spec.maxFailedIndexes", str(most_failed), text))
        if most_failed > _MOST:
            text = f"must be less than or equal to {_MOST}"
            errors.append(invalid_value("spec.maxFailedIndexes", str(most_failed), text))
    if completions is not None and completions > _MOST and per_index is not None:
        errors += _many_errors(parallelism, most_failed)
    return errors


def _many_errors(parallelism: int | None, most_failed: int | None) -> list[FieldError]:
    """Limits of Jobs with very many indexes."""
    limits = f"must be less than or equal to {_MOST_AT_ONCE} when completions are above {_MOST}"
    text = f"{limits} and used with backoff limit per index"
    errors = []
    if most_failed is None:
        errors.append(required("spec.maxFailedIndexes", f"must be specified when completions is above {_MOST}"))
    if parallelism is not None and parallelism > _MOST_AT_ONCE:
        errors.append(invalid_value("spec.parallelism", str(parallelism), text))
    if most_failed is not None and most_failed > _MOST_AT_ONCE:
        errors.append(invalid_value("spec.maxFailedIndexes", str(most_failed), text))
    return errors


def _replacement_errors(spec: Object) -> list[FieldError]:
    policy, at = spec.get("podReplacementPolicy"), "spec.podReplacementPolicy"
    if policy is None:
        return []
    choices = _REPLACEMENT[:1] if spec.get("podFailurePolicy") is not None else _REPLACEMENT
    return [] if policy in choices else [unsupported(at, quote(policy), [quote(c) for c in choices])]


def _listed(values: tuple[str, ...]) -> str:
    return "valid values: [" + " ".join(quote(value) for value in values) + "]"


def _failure_policy_errors(spec: Object, at: str) -> list[FieldError]:
    rules = spec["podFailurePolicy"].get("rules") or []
    errors = [too_many(f"{at}.rules", len(rules), 20)] if len(rules) > 20 else []
    pod = spec["template"]["spec"]
    names = {c.get("name") for group in ("containers", "initContainers") for c in pod.get(group) or []}
    for index, rule in enumerate(rules):
        where = f"{at}.rules[{index}]"
        errors += _action_errors(rule.get("action") or "", spec, f"{where}.action")
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            errors += _exit_code_errors(codes, names, f"{where}.onExitCodes")
        errors += _condition_errors(conditions, f"{where}.onPodConditions")
        if (codes is not None) == bool(conditions):
            text = (
                "specifying both OnExitCodes and OnPodConditions is not supported"
                if conditions
                else "specifying one of OnExitCodes and OnPodConditions is required"
            )
            errors.append(FieldError(where, "FieldValueInvalid", f"Invalid value: {text}"))
    return errors


def _action_errors(action: str, spec: Object, at: str) -> list[FieldError]:
    if not action:
        return [required(at, _listed(_ACTIONS))]
    if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        return [invalid_value(at, quote(action), "requires the backoffLimitPerIndex to be set")]
    return [] if action in _ACTIONS else [unsupported(at, quote(action), [quote(a) for a in _ACTIONS])]


def _exit_code_errors(codes: Object, names: set[str | None], at: str) -> list[FieldError]:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    errors = []
    if not operator:
        errors.append(required(f"{at}.operator", _listed(_OPERATORS)))
    elif operator not in _OPERATORS:
        errors.append(unsupported(f"{at}.operator", quote(operator), [quote(o) for o in _OPERATORS]))
    container = codes.get("containerName")
    if container is not None and container not in names:
        text = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid_value(f"{at}.containerName", quote(container), text))
    if not values:
        errors.append(invalid_value(f"{at}.values", "null", "at least one value is required"))
    elif len(values) > 255:
        errors.append(too_many(f"{at}.values", len(values), 255))
    seen: set[int] = set()
    for index, value in enumerate(values):
        where = f"{at}.values[{index}]"
        if operator == "In" and value == 0:
            errors.append(invalid_value(where, "0", "must not be 0 for the In operator"))
        errors += [duplicate(where, str(value))] if value in seen else []
        seen.add(value)
    if values != sorted(values):
        errors.append(invalid_value(f"{at}.values", quote(values), "must be ordered"))
    return errors


def _condition_errors(conditions: list[Object], at: str) -> list[FieldError]:
    errors = [too_many(at, len(conditions), 20)] if len(conditions) > 20 else []
    for index, condition in enumerate(conditions):
        where, status = f"{at}[{index}]", condition.get("status") or ""
        errors += qualified_name_errors(condition.get("type") or "", f"{where}.type")
        if not status:
            errors.append(required(f"{where}.status", _listed(_STATUSES)))
        elif status not in _STATUSES:
            errors.append(unsupported(f"{where}.status", quote(status), [quote(s) for s in _STATUSES]))
    return errors


def _success_policy_errors(spec: Object, rules: list[Object], at: str) -> list[FieldError]:
    errors = []
    if not rules:
        errors.append(required(at, "at least one rules must be specified when the successPolicy is specified"))
    if len(rules) > 20:
        errors.append(too_many(at, len(rules), 20))
    most = spec.get("completions") or 0
    for index, rule in enumerate(rules):
        where, count, indexes = f"{at}[{index}]", rule.get("succeededCount"), rule.get("succeededIndexes")
        if count is None and indexes is None:
            text = "at least one of succeededCount or succeededIndexes must be specified"
            errors.append(required(where, text))
        total = _index_count(indexes) if indexes is not None else None
        if indexes is not None and total is None:
            text = f"error parsing succeededIndexes: cannot convert string to integer for index: {quote(indexes)}"
            errors.append(invalid_value(f"{where}.succeededIndexes", quote(indexes), text))
        if count is not None:
            errors += _success_count_errors(count, most, total, f"{where}.succeededCount")
    return errors


def _success_count_errors(count: int, most: int, total: int | None, at: str) -> list[FieldError]:
    errors = [invalid_value(at, str(count), NOT_NEGATIVE)] if count < 0 else []
    if count > most:
        text = f"must be less than or equal to {most} (the number of specified completions)"
        errors.append(invalid_value(at, str(count), text))
    if total is not None and count > total:
        text = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        errors.append(invalid_value(at, str(count), text))
    return errors


def _index_count(indexes: str) -> int | None:
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", indexes):
        return None if indexes else 0
    total = 0
    for part in indexes.split(","):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total


def _change_errors(new: Object, old: Object) -> list[FieldError]:
    errors = []
    if new.get("completions") != old.get("completions"):
        if new.get("completionMode") != "Indexed":
            errors.append(invalid_value("spec.completions", quote(new.get("completions")), IMMUTABLE))
        elif new.get("completions") is not None and new["completions"] != new.get("parallelism"):
            text = "can only be modified in tandem with spec.parallelism"
            errors.append(invalid_value("spec.completions", str(new["completions"]), text))
    if new.get("selector") != old.get("selector"):
        errors.append(invalid_value("spec.selector", shown_selector(new.get("selector")), IMMUTABLE))
    if not _same_template(new, old):
        errors.append(invalid_value("spec.template", shown_template(new["template"]), IMMUTABLE))
    structures = {"podFailurePolicy": "PodFailurePolicy", "successPolicy": "SuccessPolicy"}
    for name in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        if new.get(name) != old.get(name):
            value, type_ = new.get(name), structures.get(name)
            quoted = shown(value, type_) if type_ else quote(value)
            errors.append(invalid_value(f"spec.{name}", quoted, IMMUTABLE))
    return errors


def _same_template(new: Object, old: Object) -> bool:
    """Whether a template is as it was; that of a suspended Job may still be told where to run."""
    if new["template"] == old["template"]:
        return True
    if not old.get("suspend"):
        return False

    def rest(template: Object) -> Object:
        out = copy.deepcopy(template)
        for name in ("nodeSelector", "affinity", "tolerations", "schedulingGates"):
            out["spec"].pop(name, None)
        for name in ("labels", "annotations"):
            out.get("metadata", {}).pop(name, None)
        return out

    return rest(new["template"]) == rest(old["template"])
