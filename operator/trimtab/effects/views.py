"""Raw objects → the small views that planning looks at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from trimtab.api.base import CapacityType
from trimtab.api.conditions import Reason, moment
from trimtab.api.names import (
    CAPACITY_TYPE_LABEL,
    COMPLETION_INDEX_LABEL,
    POOL_LABEL,
    REVISION_LABEL,
    RUN_LABEL,
    ZONE_LABEL,
)
from trimtab.api.runs import EXIT_GROUP_ENDED, EXIT_INPUT, Progress, RunResult
from trimtab.effects.reserving import reserved, share
from trimtab.planning.placement import DELETION_COST
from trimtab.planning.snapshot import DeploymentView, JobPhase, PodView, RunView

Object = dict[str, Any]
_BY_LABEL = {kind.label: kind for kind in CapacityType}


def deployment_view(body: Object) -> DeploymentView:
    labels = body["metadata"]["labels"]
    status = body.get("status") or {}
    return DeploymentView(
        name=body["metadata"]["name"],
        revision=labels[REVISION_LABEL],
        capacity_type=_BY_LABEL[labels[CAPACITY_TYPE_LABEL]],
        replicas=int(body["spec"].get("replicas", 1)),
        ready=int(status.get("readyReplicas") or 0),
    )


def pod_view(body: Object, node_of: Callable[[str], Object | None], now: datetime) -> PodView:
    meta = body["metadata"]
    labels = meta["labels"]
    node = body["spec"].get("nodeName")
    there = node_of(node) if node else None
    node_labels = (there or {}).get("metadata", {}).get("labels") or {}
    trouble, fatal = _trouble(body)
    return PodView(
        name=meta["name"],
        revision=labels[REVISION_LABEL],
        capacity_type=_BY_LABEL[labels[CAPACITY_TYPE_LABEL]],
        node=node,
        zone=node_labels.get(ZONE_LABEL),
        pool=node_labels.get(POOL_LABEL),
        share=share(reserved(body["spec"]), there),
        ready=_condition(body, "Ready") == "True",
        terminating=bool(meta.get("deletionTimestamp")),
        age_s=(now - moment(meta["creationTimestamp"])).total_seconds(),
        condemned=DELETION_COST in (meta.get("annotations") or {}),
        trouble=trouble,
        fatal=fatal,
    )


def is_in_service(pod: Object) -> bool:
    """Return whether Services that select the pod send new connections to it."""
    return _condition(pod, "Ready") == "True" and not pod["metadata"].get("deletionTimestamp")


def run_view(job: Object, pods: Iterable[Object], log_tail: str) -> RunView:
    """Return how far a Job is, from its conditions, its pods' termination messages and the tail of its log.

    Of several workers the first one speaks for the run, and any of them for what went wrong.
    """
    status = job.get("status") or {}
    ended = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    newest_first = sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)
    results = _results(newest_first)
    phase = JobPhase.PENDING
    if "Complete" in ended or "SuccessCriteriaMet" in ended:
        phase = JobPhase.COMPLETE
        results = [result for result in results if result.reason is None]
    elif "Failed" in ended or "FailureTarget" in ended:
        phase = JobPhase.FAILED
    elif any(_is_stuck(pod) for pod in newest_first):
        phase = JobPhase.PENDING
    elif any((pod.get("status") or {}).get("phase") == "Running" for pod in newest_first):
        phase = JobPhase.RUNNING
    elif results:
        phase = JobPhase.RUNNING  # between two attempts
    failed = ended.get("Failed") or ended.get("FailureTarget") or {}
    complete = ended.get("Complete") or {}
    return RunView(
        name=job["metadata"]["name"],
        key=job["metadata"]["labels"][RUN_LABEL],
        phase=phase,
        started_at=status.get("startTime"),
        finished_at=status.get("completionTime") or (failed or complete).get("lastTransitionTime"),
        result=results[0] if results else None,
        progress=progress_of(log_tail),
        waiting=_waiting(newest_first),
        failure=failed.get("reason"),
        deleting=bool(job["metadata"].get("deletionTimestamp")),
    )


def leads(pod: Object) -> bool:
    """Whether a Job's pod is the one that judges and publishes: the only one, or the first of several workers."""
    labels: dict[str, str] = pod["metadata"].get("labels") or {}
    return labels.get(COMPLETION_INDEX_LABEL, "0") == "0"


def _results(newest_first: list[Object]) -> list[RunResult]:
    """Return what pods said, the newest first; who ended because of another worker knows the cause least."""
    found = [(pod, result) for pod in newest_first if (result := _result(pod)) is not None]
    told = [(pod, result) for pod, result in found if leads(pod) or result.reason is not None]
    return [result for _, result in sorted(told, key=lambda entry: _exit_code(entry[0]) == EXIT_GROUP_ENDED)]


def _exit_code(pod: Object) -> int | None:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        code = ((status.get("state") or {}).get("terminated") or {}).get("exitCode")
        if code is not None:
            return int(code)
    return None


def _is_stuck(pod: Object) -> bool:
    """Whether a pod cannot start now, and says why: then the others wait for it."""
    return (pod.get("status") or {}).get("phase") == "Pending" and _trouble(pod)[0] is not None


def _waiting(newest_first: list[Object]) -> str | None:
    stuck = next((pod for pod in newest_first if _is_stuck(pod)), None)
    shown = stuck or next(iter(newest_first), None)
    return _trouble(shown)[0] if shown is not None else None


def progress_of(log_tail: str) -> Progress | None:
    """Return the last progress line of a log."""
    for line in reversed(log_tail.splitlines()):
        if '"progress"' not in line:
            continue
        try:
            return Progress.model_validate_json(line)
        except ValidationError:
            continue
    return None


def _result(pod: Object) -> RunResult | None:
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        terminated = (status.get("state") or {}).get("terminated") or {}
        message = terminated.get("message")
        if not message and terminated.get("reason") == "OOMKilled":
            return RunResult(reason=Reason.RUN_OUT_OF_MEMORY, message=_out_of_memory(pod))
        if not message:
            continue
        try:
            return RunResult.model_validate(json.loads(message))
        except (ValidationError, ValueError):
            return None
    return None


def _out_of_memory(pod: Object) -> str:
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    limit = ((containers[0].get("resources") or {}).get("limits") or {}).get("memory")
    had = f"its limit is {limit}" if limit else "it has no limit of its own, so the node had no more"
    return (
        f"spec.compression.job.resources: pod {pod['metadata']['name']} was killed for its memory ({had}); raise "
        "requests and limits of memory, or lower the steps' batchSize"
    )


def _trouble(pod: Object) -> tuple[str | None, bool]:
    """Return why a pod does not start, and whether trying again cannot help."""
    status = pod.get("status") or {}
    if _condition(pod, "Ready") == "True":  # whatever happened before it is over
        return None, False
    for container in status.get("containerStatuses") or ():
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            terminated = state.get("terminated")
            if terminated and terminated.get("exitCode") and not pod["metadata"].get("deletionTimestamp"):
                said = terminated.get("message") or terminated.get("reason") or "no message"
                return (
                    f"pod {pod['metadata']['name']} exited with {terminated['exitCode']}: {said.strip()}",
                    terminated["exitCode"] == EXIT_INPUT,
                )
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
            text = f"pod {pod['metadata']['name']}: {waiting['reason']} {waiting.get('message', '')}".strip()
            return text, waiting["reason"] == "InvalidImageName"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {pod['metadata']['name']}: {condition.get('message', 'not scheduled')}", False
    return None, False


def _condition(body: Object, kind: str) -> str:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((str(c["status"]) for c in conditions if c["type"] == kind), "Unknown")
