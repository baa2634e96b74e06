"""Eviction: a deletion that asks the pod's disruption budget first."""

from collections.abc import Iterable

from trimtab.local.objects import Object
from trimtab.local.selectors import matches_label_selector
from trimtab.local.statuses import ApiError

_RETRY_S = 10
_MANY = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_UNGUARDED = ("Succeeded", "Failed", "Pending")


def guard(budgets: Iterable[Object], pod: Object) -> Object | None:
    """The budget that has a say: it selects the pod, and the pod runs or is about to.

    Raises:
        ApiError: 400 when there are several; a real server calls that its own fault (500).
    """
    if (pod.get("status") or {}).get("phase") in _UNGUARDED or pod["metadata"].get("deletionTimestamp"):
        return None
    found = [budget for budget in budgets if _selects(budget, pod)]
    if len(found) > 1:
        raise ApiError(400, "", _MANY)
    return found[0] if found else None


def _selects(budget: Object, pod: Object) -> bool:
    if budget["metadata"].get("namespace") != pod["metadata"].get("namespace"):
        return False
    selector = (budget.get("spec") or {}).get("selector")
    return bool(selector) and matches_label_selector(selector, pod["metadata"].get("labels") or {})


def spent(budget: Object, pod: Object, now: str) -> Object | None:
    """The budget after this eviction; None where evicting a pod that is not ready costs nothing.

    Raises:
        ApiError: 429 when it allows none, or has not been counted yet.
    """
    status = budget.get("status") or {}
    name = budget["metadata"]["name"]
    healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not _ready(pod):
        policy = budget["spec"].get("unhealthyPodEvictionPolicy")
        if policy == "AlwaysAllow" or (healthy >= wanted > 0):
            return None
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _refusal(f"The disruption budget {name} is still being processed by the server.", _RETRY_S)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed <= 0:
        raise _refusal(_why_not(name, status, healthy, wanted))
    disrupted = {**(status.get("disruptedPods") or {}), pod["metadata"]["name"]: now}
    return {**budget, "status": {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": disrupted}}


def _why_not(name: str, status: Object, healthy: int, wanted: int) -> str:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionAllowed" and condition.get("reason") == "SyncFailed":
            failure = condition.get("message", "")
            return (
                f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {failure}"
            )
    return f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def condemned(pod: Object, now: str) -> Object:
    """A copy of the pod that says why it goes."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now,
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    status = pod.get("status") or {}
    others = [c for c in status.get("conditions") or [] if c.get("type") != "DisruptionTarget"]
    return {**pod, "status": {**status, "conditions": [*others, condition]}}


def _refusal(cause: str, retry_s: int = 0) -> ApiError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if retry_s:
        details["retryAfterSeconds"] = retry_s
    return ApiError(
        429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", details
    )
