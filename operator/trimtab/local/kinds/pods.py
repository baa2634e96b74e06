"""Pods: defaults at creation, status, what may change afterwards."""

import copy
import difflib
import json

from trimtab.local import statuses
from trimtab.local.kinds.containers import default_pod_spec, pod_spec_errors, quality_class
from trimtab.local.kinds.rules import Neighbours, Rules
from trimtab.local.objects import Object
from trimtab.local.statuses import FieldError, forbidden_field

_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_DEFAULT_TOLERATION_S = 300  # how long a pod stays on a node that went silent


def _default(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)


def _create(pod: Object) -> None:
    pod["status"] = {"phase": "Pending", "qosClass": quality_class(pod["spec"])}


def _admit(pod: Object, neighbours: Neighbours) -> None:
    """What admission adds: tolerations for failing nodes, and the priority behind the class."""
    spec = pod["spec"]
    tolerations = spec.get("tolerations") or []
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if not any(_tolerates(t, key) for t in tolerations):
            toleration = {"key": key, "operator": "Exists", "effect": "NoExecute"}
            tolerations = [*tolerations, {**toleration, "tolerationSeconds": _DEFAULT_TOLERATION_S}]
    spec["tolerations"] = tolerations
    name = spec.get("priorityClassName")
    if not name:
        spec["priority"] = 0
        spec["preemptionPolicy"] = "PreemptLowerPriority"
        return
    chosen = neighbours.find("priorityclasses.scheduling.k8s.io", "", name)
    if chosen is None:
        raise statuses.ApiError(
            403,
            "Forbidden",
            f'pods "{pod["metadata"].get("name", "")}" is forbidden: no PriorityClass with name {name} was found',
            {"name": pod["metadata"].get("name", ""), "kind": "pods"},
        )
    spec["priority"] = chosen["value"]
    spec["preemptionPolicy"] = chosen.get("preemptionPolicy", "PreemptLowerPriority")


def _tolerates(toleration: Object, key: str) -> bool:
    covers_effect = toleration.get("effect") in (None, "", "NoExecute")
    return covers_effect and toleration.get("key") in (None, "", key)


def _update_status(pod: Object, old: Object) -> None:
    status = pod.setdefault("status", {})
    status.setdefault("qosClass", old.get("status", {}).get("qosClass", "BestEffort"))
    if address := status.get("podIP"):
        others = [ip for ip in status.get("podIPs") or [] if ip.get("ip") != address]
        status["podIPs"] = [{"ip": address}, *others]
    for condition in status.get("conditions") or []:
        condition.setdefault("lastProbeTime", None)
        condition.setdefault("lastTransitionTime", None)


def _validate(pod: Object, old: Object | None) -> list[FieldError]:
    errors = pod_spec_errors(pod["spec"], "spec")
    if old is None or pod["spec"] == old["spec"]:
        return errors
    before, after = _immutable_part(old["spec"], pod["spec"]), _immutable_part(pod["spec"], pod["spec"])
    if before != after:
        errors.append(forbidden_field("spec", f"{_MUTABLE}\n{_shown_difference(before, after)}"))
    return errors


def _immutable_part(spec: Object, new: Object) -> Object:
    part = copy.copy(spec)
    for group in ("containers", "initContainers"):
        if group in part:
            part[group] = [{**container, "image": ""} for container in part[group]]
    part.pop("activeDeadlineSeconds", None)
    wanted = new.get("tolerations") or []
    if all(t in wanted for t in part.get("tolerations") or []):
        part.pop("tolerations", None)
    return part


def _shown_difference(before: Object, after: Object) -> str:
    def lines(spec: Object) -> list[str]:
        return json.dumps(spec, indent=1, sort_keys=True).splitlines()

    return "\n".join(list(difflib.unified_diff(lines(before), lines(after), lineterm="", n=3))[2:]) + "\n"


POD = Rules(
    default=_default,
    create=_create,
    admit=_admit,
    update_status=_update_status,
    validate=_validate,
    returns_deleted=True,
)


def bound(pod: Object, node: str, now: str) -> Object:
    """A copy of the pod, assigned to a node.

    Raises:
        ApiError: 409 when it is assigned or going away.
    """
    name = pod["metadata"]["name"]
    problem = None
    if pod["metadata"].get("deletionTimestamp"):
        problem = f"pod {name} is being deleted, cannot be assigned to a host"
    elif current := pod["spec"].get("nodeName"):
        problem = f'pod {name} is already assigned to node "{current}"'
    if problem:
        text = f'Operation cannot be fulfilled on pods/binding "{name}": {problem}'
        raise statuses.ApiError(409, "Conflict", text, {"name": name, "kind": "pods/binding"})
    out = copy.deepcopy(pod)
    out["spec"]["nodeName"] = node
    conditions = [c for c in out["status"].get("conditions") or [] if c["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    out["status"]["conditions"] = [*conditions, scheduled]
    return out
