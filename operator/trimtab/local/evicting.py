"""Eviction: a deletion that asks the pod's disruption budgets first."""

from trimtab.local.objects import Object
from trimtab.local.selectors import matches_label_selector
from trimtab.local.statuses import ApiError

_RETRY_S = 10


def guards(budget: Object, pod: Object) -> bool:
    """Whether a budget has a say: it selects the pod, and the pod runs or is about to."""
    if budget["metadata"].get("namespace") != pod["metadata"].get("namespace"):
        return False
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed", "Pending") or pod["metadata"].get("deletionTimestamp"):
        return False
    selector = (budget.get("spec") or {}).get("selector")
    return matches_label_selector(selector, pod["metadata"].get("labels") or {})


def spent(budget: Object, pod: Object, now: str) -> Object:
    """The budget after this eviction.

    Raises:
        ApiError: 429 when it allows none, or has not been counted yet.
    """
    status = budget.get("status") or {}
    name = budget["metadata"]["name"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _refusal(f"The disruption budget {name} is still being processed by the server.")
    allowed = status.get("disruptionsAllowed", 0)
    if allowed <= 0:
        needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _refusal(f"The disruption budget {name} needs {needs} healthy pods and has {has} currently")
    disrupted = {**(status.get("disruptedPods") or {}), pod["metadata"]["name"]: now}
    return {**budget, "status": {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": disrupted}}


def _refusal(cause: str) -> ApiError:
    details: Object = {
        "causes": [{"reason": "DisruptionBudget", "message": cause}],
        "retryAfterSeconds": _RETRY_S,
    }
    return ApiError(
        429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", details
    )
