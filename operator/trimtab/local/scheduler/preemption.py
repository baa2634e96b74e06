"""Which pods give way to a more important one: as kube-scheduler's default preemption chooses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trimtab.local import pods
from trimtab.local.objects import Object
from trimtab.local.scheduler.fitting import NodeView, Refusal, counted
from trimtab.local.selectors import matches_label_selector

REASON = "PreemptionByScheduler"
Check = Callable[[Object, NodeView, Sequence[NodeView]], list[Refusal]]
"""Why a pod does not fit a node, among the views of all nodes."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """A node, and the pods that leave it; `violations` of them against a disruption budget."""

    node: str
    victims: tuple[Object, ...]
    violations: int = 0


def priority_of(pod: Object) -> int:
    """How important a pod is; 0 where nothing says so."""
    return int(pod["spec"].get("priority") or 0)


def ineligible(pod: Object, views: Sequence[NodeView]) -> str | None:
    """Why a pod may not preempt others now."""
    if pod["spec"].get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    nominated = (pod.get("status") or {}).get("nominatedNodeName")
    leaving = (p for v in views if v.name == nominated for p in v.pods if priority_of(p) < priority_of(pod))
    if any(_was_preempted(p) for p in leaving):
        return "not eligible due to terminating pod on the nominated node."
    return None


def _was_preempted(pod: Object) -> bool:
    target = pods.condition(pod, "DisruptionTarget")
    return pods.is_terminating(pod) and target is not None and target.get("reason") == REASON


def preempt(
    pod: Object,
    refused: Sequence[tuple[NodeView, Sequence[Refusal]]],
    views: Sequence[NodeView],
    budgets: Sequence[Object],
    check: Check,
) -> tuple[Preemption | None, str]:
    """The best node where pods of lower priority can make room, or why there is none.

    Best is: fewest broken budgets, the least important victims, few of them, the youngest.
    """
    found: list[Preemption] = []
    reasons: list[str] = []
    for view, why in refused:
        if not all(refusal.resolvable for refusal in why):
            reasons.append("Preemption is not helpful for scheduling")
            continue
        chosen = _victims(pod, view, views, budgets, check)
        if isinstance(chosen, Preemption):
            found.append(chosen)
        else:
            reasons += [refusal.reason for refusal in chosen]
    if not found:
        return None, f"0/{len(refused)} nodes are available: {counted(reasons)}."
    return min(found, key=_cost), ""


def _victims(
    pod: Object, view: NodeView, views: Sequence[NodeView], budgets: Sequence[Object], check: Check
) -> Preemption | Sequence[Refusal]:
    lower = [p for p in view.pods if priority_of(p) < priority_of(pod)]
    if not lower:
        return [Refusal("No preemption victims found for incoming pod")]
    ids = {p["metadata"]["uid"] for p in lower}
    emptied = NodeView(view.node)
    for present in view.pods:
        if present["metadata"]["uid"] not in ids:
            emptied.add(present)
    around = [emptied if v is view else v for v in views]
    if why := check(pod, emptied, around):
        return why
    victims: list[Object] = []
    violations = 0
    breaking, harmless = _by_budget(sorted(lower, key=_importance), budgets)
    for candidate in (*breaking, *harmless):  # keep as many as possible, the most important first
        emptied.add(candidate)
        if check(pod, emptied, around):
            emptied.drop(candidate)
            victims.append(candidate)
            violations += candidate in breaking
    victims.sort(key=_importance)
    return Preemption(view.name, tuple(victims), violations)


def _importance(pod: Object) -> tuple[int, str]:
    """Smaller is more important: the higher priority, then the longer run."""
    return -priority_of(pod), _started(pod)


def _started(pod: Object) -> str:
    return str((pod.get("status") or {}).get("startTime") or "9999")


def _by_budget(candidates: Sequence[Object], budgets: Sequence[Object]) -> tuple[list[Object], list[Object]]:
    """Those whose loss would break a disruption budget, and the others."""
    left = {id(b): int((b.get("status") or {}).get("disruptionsAllowed", 0)) for b in budgets}
    breaking: list[Object] = []
    harmless: list[Object] = []
    for pod in candidates:
        broken = False
        for budget in budgets:
            if not _guards(budget, pod):
                continue
            left[id(budget)] -= 1
            broken = broken or left[id(budget)] < 0
        (breaking if broken else harmless).append(pod)
    return breaking, harmless


def _guards(budget: Object, pod: Object) -> bool:
    metadata, selector = pod["metadata"], budget["spec"].get("selector")
    if budget["metadata"]["namespace"] != metadata["namespace"] or not selector:
        return False
    if metadata["name"] in ((budget.get("status") or {}).get("disruptedPods") or {}):
        return False
    return matches_label_selector(selector, metadata.get("labels") or {})


def _cost(found: Preemption) -> tuple[object, ...]:
    priorities = [priority_of(p) for p in found.victims]
    highest = max(priorities)
    oldest = min(_started(p) for p in found.victims if priority_of(p) == highest)
    # Every victim weighs, whatever its sign; among equals the node where the most important ones started last.
    weight = sum(priority + 2**31 for priority in priorities)
    return found.violations, highest, weight, _descending(oldest), found.node


def _descending(text: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in text)
