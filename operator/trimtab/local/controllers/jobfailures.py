"""What a failed pod means for its Job: the pod failure policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from trimtab.local import pods
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp


@dataclass(frozen=True, slots=True)
class Action:
    """What to do about a failed pod, and the words for it when the Job fails."""

    kind: Literal["FailJob", "Ignore", "Count"]
    message: str = ""


def failure_action(job: Object, pod: Object) -> Action:
    """The first rule of podFailurePolicy that matches the pod decides; without one it counts."""
    rules: Sequence[Object] = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    for index, rule in enumerate(rules):
        why = _why_matching(rule, pod)
        if why is not None:
            message = f"{why} matching {rule['action']} rule at index {index}"
            return Action("Ignore" if rule["action"] == "Ignore" else _kind(rule["action"]), message)
    return Action("Count")


def _kind(action: str) -> Literal["FailJob", "Count"]:
    return "FailJob" if action == "FailJob" else "Count"


def _why_matching(rule: Object, pod: Object) -> str | None:
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if on_exit := rule.get("onExitCodes"):
        return _exit_code(on_exit, pod, name)
    for pattern in rule.get("onPodConditions") or ():
        found = pods.condition(pod, pattern["type"])
        if found is not None and found["status"] == (pattern.get("status") or "True"):
            return f"Pod {name} has condition {pattern['type']}"
    return None


def _exit_code(on_exit: Object, pod: Object, name: str) -> str | None:
    status = pod.get("status", {})
    statuses = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    for container in statuses:
        if on_exit.get("containerName") and on_exit["containerName"] != container["name"]:
            continue
        code = (container.get("state", {}).get("terminated") or {}).get("exitCode")
        if not code:
            continue  # success never matches, as in Kubernetes
        listed = code in on_exit["values"]
        if listed == (on_exit["operator"] == "In"):
            return f"Container {container['name']} for pod {name} failed with exit code {code}"
    return None


def finished_at(pod: Object, now: datetime) -> datetime:
    """When the pod ended: its last container, its deletion, or now where nothing says."""
    status = pod.get("status", {})
    ends = [
        parse_stamp(at)
        for c in status.get("containerStatuses") or ()
        if (at := (c.get("state", {}).get("terminated") or {}).get("finishedAt"))
    ]
    if ends:
        return max(ends)
    if deleted := pod["metadata"].get("deletionTimestamp"):
        return min(parse_stamp(deleted), now)
    return now
