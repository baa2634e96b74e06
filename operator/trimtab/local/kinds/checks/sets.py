"""What is wrong with StatefulSets, DaemonSets, their revisions and CronJobs, and what may not change in them."""

from zoneinfo import available_timezones

from trimtab.local.kinds.checks.podspecs import template_errors
from trimtab.local.kinds.checks.values import (
    amount,
    at_most_everything_errors,
    choice_errors,
    count_errors,
    percent_or_count_errors,
)
from trimtab.local.kinds.checks.workloads import selected_template_errors, selector_change_errors
from trimtab.local.objects import Object, quote
from trimtab.local.schedules import Schedule
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required

_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_MOST_NAME = 52  # a CronJob's name, as its Jobs add eleven characters


def stateful_set_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    if old is not None and spec == old["spec"]:
        return []
    errors = []
    if spec["podManagementPolicy"] not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        errors.append(invalid_value("spec.podManagementPolicy", quote(spec["podManagementPolicy"]), text))
    errors += _stateful_strategy_errors(spec["updateStrategy"], "spec.updateStrategy")
    errors += count_errors(spec, "spec", "replicas", "minReadySeconds", "revisionHistoryLimit")
    errors += count_errors(spec.get("ordinals") or {}, "spec.ordinals", "start")
    errors += selected_template_errors(spec, "statefulset", "StatefulSet")
    if spec.get("volumeClaimTemplates"):
        text = "the embedded cluster has no persistent volumes; use an emptyDir volume in the template"
        errors.append(forbidden_field("spec.volumeClaimTemplates", text))
    if old is not None and _rest(spec) != _rest(old["spec"]):
        *first, last = (repr(name) for name in _CHANGEABLE)
        text = f"updates to statefulset spec for fields other than {', '.join(first)} and {last} are forbidden"
        errors.append(forbidden_field("spec", text))
    return errors


def _rest(spec: Object) -> Object:
    return {name: value for name, value in spec.items() if name not in _CHANGEABLE}


def _stateful_strategy_errors(strategy: Object, at: str) -> list[FieldError]:
    rolling = strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "RollingUpdate":
            return count_errors(rolling or {}, f"{at}.rollingUpdate", "partition")
        case "OnDelete" if rolling is not None:
            text = "only allowed for updateStrategy 'RollingUpdate'"
            return [invalid_value(f"{at}.rollingUpdate", quote(rolling), text)]
        case "OnDelete":
            return []
        case _:
            text = "must be 'RollingUpdate' or 'OnDelete'"
            return [invalid_value(at, quote(strategy), text)]


def daemon_set_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    if old is not None and spec == old["spec"]:
        return []
    errors = selected_template_errors(spec, "daemonset", "DaemonSet")
    errors += count_errors(spec, "spec", "minReadySeconds", "revisionHistoryLimit")
    strategy, at = spec["updateStrategy"], "spec.updateStrategy"
    errors += choice_errors(strategy["type"], f"{at}.type", ("OnDelete", "RollingUpdate"))
    if strategy["type"] == "RollingUpdate":
        errors += _daemon_rolling_errors(strategy.get("rollingUpdate") or {}, f"{at}.rollingUpdate")
    return errors + selector_change_errors(new, old)


def _daemon_rolling_errors(rolling: Object, at: str) -> list[FieldError]:
    errors = []
    for name in ("maxUnavailable", "maxSurge"):
        errors += percent_or_count_errors(rolling.get(name, 0), f"{at}.{name}")
        errors += at_most_everything_errors(rolling.get(name, 0), f"{at}.{name}")
    down, surge = amount(rolling.get("maxUnavailable", 0)), amount(rolling.get("maxSurge", 0))
    if down and surge:
        text = "may not be set when maxUnavailable is non-zero"
        errors.append(invalid_value(f"{at}.maxSurge", quote(rolling["maxSurge"]), text))
    elif not down and not surge:
        errors.append(required(f"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return errors


def revision_errors(new: Object, old: Object | None) -> list[FieldError]:
    errors = count_errors(new, "", "revision")
    if old is not None and new.get("data") != old.get("data"):
        errors.append(invalid_value("data", quote(new.get("data")), "field is immutable"))
    return errors


def cron_job_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec, errors = new["spec"], []
    name = new["metadata"].get("name", "")
    if len(name) > _MOST_NAME:
        errors.append(invalid_value("metadata.name", quote(name), f"must be no more than {_MOST_NAME} characters"))
    if old is not None and spec == old["spec"]:
        return errors
    errors += _schedule_errors(spec)
    counts = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    errors += count_errors(spec, "spec", *counts)
    errors += choice_errors(spec["concurrencyPolicy"], "spec.concurrencyPolicy", ("Allow", "Forbid", "Replace"))
    template, at = spec["jobTemplate"]["spec"]["template"], "spec.jobTemplate.spec.template"
    errors += template_errors(template, at)
    if template["spec"]["restartPolicy"] not in ("OnFailure", "Never"):
        errors.append(required(f"{at}.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    return errors


def _schedule_errors(spec: Object) -> list[FieldError]:
    schedule, zone = spec.get("schedule"), spec.get("timeZone")
    errors = []
    if not schedule:
        errors.append(required("spec.schedule"))
    else:
        try:
            Schedule.parse(schedule)
        except ValueError as error:
            errors.append(invalid_value("spec.schedule", quote(schedule), str(error)))
    if zone is not None and zone not in available_timezones():
        errors.append(invalid_value("spec.timeZone", quote(zone), f"unknown time zone {zone}"))
    return errors
