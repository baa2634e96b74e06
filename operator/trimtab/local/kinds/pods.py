"""Pods: defaults at creation, status, what may change afterwards."""

import copy

from trimtab.local import statuses
from trimtab.local.kinds.checks.podchanges import pod_change_errors, pod_status_errors
from trimtab.local.kinds.checks.podspecs import new_pod_errors, pod_errors
from trimtab.local.kinds.containers import default_pod_spec, default_requests, quality_class
from trimtab.local.kinds.priorities import admit_priority
from trimtab.local.kinds.rules import Neighbours, Rules
from trimtab.local.objects import Object
from trimtab.local.statuses import FieldError

_DEFAULT_TOLERATION_S = 300  # how long a pod stays on a node that went silent


def _default(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    default_requests(spec)
    spec.setdefault("enableServiceLinks", True)


def _create(pod: Object) -> None:
    pod["status"] = {"phase": "Pending", "qosClass": quality_class(pod["spec"])}
    if pod["spec"].get("schedulingGates"):
        gated = {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": None,
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }
        pod["status"]["conditions"] = [gated]


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
    admit_priority(pod, neighbours)


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
    if old is None:
        return new_pod_errors(pod)
    if pod["spec"] == old["spec"]:
        return []
    return pod_errors(pod) + pod_change_errors(pod, old)


POD = Rules(
    default=_default,
    create=_create,
    admit=_admit,
    update_status=_update_status,
    validate=_validate,
    validate_status=pod_status_errors,
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
    elif pod["spec"].get("schedulingGates"):
        problem = f"pod {name} has non-empty .spec.schedulingGates"
    if problem:
        text = f'Operation cannot be fulfilled on pods/binding "{name}": {problem}'
        raise statuses.ApiError(409, "Conflict", text, {"name": name, "kind": "pods/binding"})
    out = copy.deepcopy(pod)
    out["spec"]["nodeName"] = node
    out["status"].pop("nominatedNodeName", None)
    conditions = [c for c in out["status"].get("conditions") or [] if c["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    out["status"]["conditions"] = [*conditions, scheduled]
    return out
