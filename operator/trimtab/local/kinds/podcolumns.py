"""What a table shows of pods: readiness, the most telling word about their state, restarts."""

from collections.abc import Iterable
from dataclasses import dataclass

from trimtab.local.kinds.columns import AGE, NAME, NONE, Column, Columns, at, container_columns, labels_text, since
from trimtab.local.objects import Object

_LOST = "NodeLost"
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Summary:
    """A pod in a few words."""

    ready: int
    total: int
    reason: str
    restarts: int
    last_restart: str


def summary_of(pod: Object) -> Summary:
    """What the columns Ready, Status and Restarts say."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = {c.get("name") for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    statuses: list[Object] = status.get("initContainerStatuses") or []
    stopped, begun = _initializing(statuses, len(spec.get("initContainers") or []), sidecars)
    reason = stopped or _phase(status)
    counted = statuses[: begun + 1] if stopped else statuses
    ready = sum(1 for s in counted if _is_started(s, sidecars) and s.get("ready"))
    if not stopped or _is_true(status, "Initialized"):
        own: list[Object] = status.get("containerStatuses") or []
        # An init container's restarts are over with its work; a sidecar's go on counting.
        counted = [*(s for s in counted if s.get("name") in sidecars), *own]
        ready += sum(1 for s in own if _is_running(s))
        reason = _containers_reason(own, reason, status)
    restarts = sum(s.get("restartCount", 0) for s in counted)
    total = len(spec.get("containers") or []) + len(sidecars)
    return Summary(ready, total, _ending(pod, reason), restarts, _last_end(counted))


def _phase(status: Object) -> str:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            return "SchedulingGated"
    return str(status.get("reason") or status.get("phase") or "")


def _initializing(statuses: list[Object], total: int, sidecars: set[str | None]) -> tuple[str, int]:
    """What the first init container that is not done says, and which it is; nothing when all are done."""
    for index, status in enumerate(statuses):
        state = status.get("state") or {}
        ended = state.get("terminated")
        if (ended and not ended.get("exitCode")) or _is_started(status, sidecars):
            continue
        waiting = (state.get("waiting") or {}).get("reason")
        if ended:
            return f"Init:{_end(ended)}", index
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}", index
        return f"Init:{index}/{total}", index
    return "", len(statuses)


def _is_started(status: Object, sidecars: set[str | None]) -> bool:
    ended = (status.get("state") or {}).get("terminated")
    return status.get("name") in sidecars and bool(status.get("started")) and not (ended and not ended.get("exitCode"))


def _is_running(status: Object) -> bool:
    state = status.get("state") or {}
    waits = (state.get("waiting") or {}).get("reason")
    return not waits and state.get("terminated") is None and bool(status.get("ready")) and "running" in state


def _containers_reason(statuses: list[Object], reason: str, status: Object) -> str:
    for container in reversed(statuses):
        state = container.get("state") or {}
        if waiting := (state.get("waiting") or {}).get("reason"):
            reason = waiting
        elif (ended := state.get("terminated")) is not None:
            reason = _end(ended)
    if reason == "Completed" and any(_is_running(s) for s in statuses):
        return "Running" if _is_true(status, "Ready") else "NotReady"
    return reason


def _end(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _ending(pod: Object, reason: str) -> str:
    status = pod.get("status") or {}
    if not pod["metadata"].get("deletionTimestamp"):
        return reason
    if status.get("reason") == _LOST:
        return "Unknown"
    return reason if status.get("phase") in _ENDED else "Terminating"


def _is_true(status: Object, condition: str) -> bool:
    return any(c.get("type") == condition and c.get("status") == "True" for c in status.get("conditions") or [])


def _last_end(statuses: Iterable[Object]) -> str:
    ends = (((s.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for s in statuses)
    return max((end for end in ends if end), default="")


def _ready(pod: Object, _now: str) -> str:
    summary = summary_of(pod)
    return f"{summary.ready}/{summary.total}"


def _restarts(pod: Object, now: str) -> str:
    summary = summary_of(pod)
    if summary.restarts and summary.last_restart:
        return f"{summary.restarts} ({since(summary.last_restart, now)} ago)"
    return str(summary.restarts)


def _address(pod: Object, _now: str) -> str:
    status = pod.get("status") or {}
    addresses = status.get("podIPs") or [{"ip": status.get("podIP")}]
    return addresses[0].get("ip") or NONE


def _gates(pod: Object, _now: str) -> str:
    gates = (pod.get("spec") or {}).get("readinessGates") or []
    if not gates:
        return NONE
    conditions: dict[str, str] = {}
    for condition in (pod.get("status") or {}).get("conditions") or []:
        conditions.setdefault(condition.get("type", ""), condition.get("status", ""))
    return f"{sum(conditions.get(gate.get('conditionType', '')) == 'True' for gate in gates)}/{len(gates)}"


PODS: Columns = (
    NAME,
    Column("Ready", _ready, description="Containers that are ready, of all."),
    Column("Status", lambda pod, _: summary_of(pod).reason, description="The most telling word about the pod."),
    Column("Restarts", _restarts, description="How often containers were started again, and when last."),
    AGE,
    Column("IP", _address, priority=1, description="The pod's address."),
    Column("Node", at("spec.nodeName"), priority=1, description="The node the pod is bound to."),
    Column("Nominated Node", at("status.nominatedNodeName"), priority=1, description="Where room is made for it."),
    Column("Readiness Gates", _gates, priority=1, description="Gates that are open, of all."),
)
POD_TEMPLATES: Columns = (
    NAME,
    *(Column(c.name, c.cell) for c in container_columns("template")),
    Column("Pod Labels", lambda obj, _: labels_text(((obj.get("template") or {}).get("metadata") or {}).get("labels"))),
)
