"""What may change in a pod once it is there."""

import copy
import difflib
from typing import Any

from trimtab.local.kinds.checks import gostructs
from trimtab.local.kinds.checks.placement import tolerations_errors
from trimtab.local.kinds.checks.values import IMMUTABLE
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required

_UPDATABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_GROUPS = ("containers", "initContainers")
_DEADLINE = "must be between 0 and 2147483647, inclusive"


def pod_change_errors(new: Object, old: Object) -> list[FieldError]:
    """Changes of a pod's spec that nobody may make."""
    after, before = new["spec"], old["spec"]
    errors: list[FieldError] = []
    for group in _GROUPS:
        now, then = after.get(group) or [], before.get(group) or []
        if len(now) != len(then):
            text = "pod updates may not add or remove containers"
            return [*errors, forbidden_field(f"spec.{group}", text)]
        errors += _image_errors(now, group)
    deadline, stop = _deadline_errors(after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    errors += deadline
    if stop:
        return errors
    errors += _toleration_errors(after.get("tolerations") or [], before.get("tolerations") or [])
    errors += _gate_errors(after.get("schedulingGates") or [], before.get("schedulingGates") or [])
    munged = _with_allowed_changes(after, before)
    if munged != before:
        text = f"{_UPDATABLE}\n{_shown_difference(before, munged)}"
        errors.append(forbidden_field("spec", text))
    return errors


def _image_errors(containers: list[Object], group: str) -> list[FieldError]:
    errors = []
    for index, container in enumerate(containers):
        image = container.get("image", "")
        where = f"spec.{group}[{index}].image"
        if not image:
            errors.append(required(where))
        if image != image.strip():
            errors.append(invalid_value(where, quote(image), "must not have leading or trailing whitespace"))
    return errors


def _deadline_errors(new: int | None, old: int | None) -> tuple[list[FieldError], bool]:
    """What is wrong, and whether nothing else is looked at."""
    at = "spec.activeDeadlineSeconds"
    if new is None:
        text = "must not update from a positive integer to nil value"
        return ([invalid_value(at, "null", text)] if old is not None else []), False
    if not 0 <= new <= 2**31 - 1:
        return [invalid_value(at, str(new), _DEADLINE)], True
    if old is not None and old < new:
        return [invalid_value(at, str(new), "must be less than or equal to previous value")], True
    return [], False


def _toleration_errors(new: list[Object], old: list[Object]) -> list[FieldError]:
    def bare(toleration: Object) -> Object:
        return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}

    kept = [bare(toleration) for toleration in new]
    if any(bare(toleration) not in kept for toleration in old):
        text = "existing toleration can not be modified except its tolerationSeconds"
        return [forbidden_field("spec.tolerations", text)]
    return tolerations_errors(new, "spec.tolerations")


def _gate_errors(new: list[Object], old: list[Object]) -> list[FieldError]:
    known = {gate.get("name") for gate in old}
    return [
        forbidden_field(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
        )
        for index, gate in enumerate(new)
        if gate.get("name") not in known
    ]


def _with_allowed_changes(new: Object, old: Object) -> Object:
    """The new spec with the old values of what may change."""
    out = copy.copy(new)
    for group in _GROUPS:
        if group in out:
            pairs = zip(out[group], old[group], strict=True)
            out[group] = [{**now, "image": then.get("image", "")} for now, then in pairs]
    for name in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        _take(out, old, name)
    grace = old.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and out.get("terminationGracePeriodSeconds") == 1:
        _take(out, old, "terminationGracePeriodSeconds")
    if old.get("schedulingGates"):
        # What is not scheduled yet may still be told where to go.
        selector, chosen = old.get("nodeSelector") or {}, out.get("nodeSelector") or {}
        if selector.items() <= chosen.items():
            _take(out, old, "nodeSelector")
    return out


def _take(out: Object, old: Object, name: str) -> None:
    if name in old:
        out[name] = old[name]
    else:
        out.pop(name, None)


def _shown_difference(before: Object, after: Object) -> str:
    old, new = gostructs.lines(before, "PodSpec"), gostructs.lines(after, "PodSpec")
    return "\n".join(list(difflib.unified_diff(old, new, lineterm="", n=3))[2:]) + "\n"


def pod_status_errors(new: Object, old: Object) -> list[FieldError]:
    """Changes of a pod's status that do not occur in its life."""
    after, before = new.get("status") or {}, old.get("status") or {}
    errors = []
    if after.get("qosClass") != before.get("qosClass") and before.get("qosClass"):
        errors.append(invalid_value("status.qosClass", quote(after.get("qosClass") or ""), IMMUTABLE))
    policy = old["spec"].get("restartPolicy")
    if policy != "Always":
        errors += _resurrection_errors(after, before, policy)
    return errors


def _resurrection_errors(after: Object, before: Object, policy: Any) -> list[FieldError]:
    now = {s.get("name"): s for s in after.get("containerStatuses") or []}
    errors = []
    for index, status in enumerate(before.get("containerStatuses") or []):
        ended = (status.get("state") or {}).get("terminated")
        if ended is None or (ended.get("exitCode") and policy == "OnFailure"):
            continue
        later = now.get(status.get("name"))
        if later is not None and (later.get("state") or {}).get("terminated") is None:
            text = "may not be transitioned to non-terminated state"
            errors.append(forbidden_field(f"status.containerStatuses[{index}].state", text))
    return errors
