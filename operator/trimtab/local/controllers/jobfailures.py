"""What a failed pod means for its Job: the pod failure policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trimtab.local import pods
from trimtab.local.objects import Object

Kind = Literal["FailJob", "FailIndex", "Ignore", "Count"]


@dataclass(frozen=True, slots=True)
class Action:
    """What to do about a failed pod, and the words for it when the Job fails."""

    kind: Kind
    message: str = ""


def failure_action(job: Object, pod: Object) -> Action:
    """The first rule of podFailurePolicy that matches the pod decides; without one it counts."""
    rules: Sequence[Object] = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    for index, rule in enumerate(rules):
        why = _why_matching(rule, pod)
        if why is not None:
            return Action(rule["action"], f"{why} matching {rule['action']} rule at index {index}")
    return Action("Count")


def replaces_only_failed(job: Object) -> bool:
    """Whether a pod that was told to go is replaced once it has ended, not at once."""
    spec = job["spec"]
    return spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None


def has_failed(job: Object, pod: Object) -> bool:
    """A pod that was told to go counts as failed at once, unless its replacement waits for its end."""
    if pods.phase(pod) == "Failed":
        return True
    return not replaces_only_failed(job) and pods.is_terminating(pod) and pods.phase(pod) != "Succeeded"


def _why_matching(rule: Object, pod: Object) -> str | None:
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if on_exit := rule.get("onExitCodes"):
        return _exit_code(on_exit, pod, name)
    for found in pod.get("status", {}).get("conditions") or ():
        for pattern in rule.get("onPodConditions") or ():
            if found["type"] == pattern["type"] and found["status"] == (pattern.get("status") or "True"):
                return f"Pod {name} has condition {pattern['type']}"
    return None


def _exit_code(on_exit: Object, pod: Object, name: str) -> str | None:
    status = pod.get("status", {})
    statuses = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
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
