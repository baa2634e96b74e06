"""What a pod's status says, from what its containers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from trimtab.local import pods
from trimtab.local.objects import Object
from trimtab.local.times import stamp


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of a container ended."""

    exit_code: int
    reason: str
    started_at: datetime
    finished_at: datetime
    message: str = ""
    container_id: str = ""


@dataclass(slots=True)
class ContainerRecord:
    """What is known of one container; the container writes it, the status is made from it.

    Attributes:
        waiting: reason and message while nothing runs and it has not ended for good.
        running_since: set while it runs.
        ended: how the present run ended; `last` is the run before.
    """

    name: str
    image: str
    waiting: tuple[str, str] | None = ("PodInitializing", "")
    running_since: datetime | None = None
    ended: Ended | None = None
    last: Ended | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""
    initial: bool = False  # an init container that has to end; once it has, it counts as ready
    sidecar: bool = field(default=False)  # an init container that goes on running
    resources: Object = field(default_factory=dict)


def container_status(record: ContainerRecord) -> Object:
    """One entry of containerStatuses."""
    state: Object
    if record.running_since is not None:
        state = {"running": {"startedAt": stamp(record.running_since)}}
    elif record.waiting is not None:
        reason, message = record.waiting
        state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    elif record.ended is not None:
        state = {"terminated": _terminated(record.ended)}
    else:
        state = {"waiting": {"reason": "ContainerCreating"}}
    status: Object = {
        "name": record.name,
        "state": state,
        "lastState": {"terminated": _terminated(record.last)} if record.last else {},
        "ready": record.ready or (record.initial and record.ended is not None and record.ended.exit_code == 0),
        "restartCount": record.restarts,
        "image": record.image,
        "imageID": f"local://{record.image}" if record.container_id else "",
        "started": record.started,
    }
    if record.container_id:
        status["containerID"] = record.container_id
    if record.running_since is not None:
        status["resources"] = record.resources
        if requests := record.resources.get("requests"):
            status["allocatedResources"] = requests
    return status


def _terminated(ended: Ended) -> Object:
    out: Object = {"exitCode": ended.exit_code, "reason": ended.reason}
    if ended.message:
        out["message"] = ended.message
    out["startedAt"] = stamp(ended.started_at)
    out["finishedAt"] = stamp(ended.finished_at)
    if ended.container_id:
        out["containerID"] = ended.container_id
    return out


def pod_phase(restart_policy: str, inits: Sequence[ContainerRecord], mains: Sequence[ContainerRecord]) -> str:
    """The phase that follows from the containers, by kubelet's rules."""
    for record in inits:
        if record.sidecar:
            if not record.started and not record.restarts and record.ended is None:
                return "Pending"
            continue
        if record.ended is None:
            return "Pending"
        if record.ended.exit_code != 0:
            return "Failed" if restart_policy == "Never" else "Pending"
    never_ran = [r for r in mains if r.running_since is None and r.ended is None and r.last is None]
    if never_ran:
        return "Pending"
    if any(r.running_since is not None for r in mains) or restart_policy == "Always":
        return "Running"
    if any(r.sidecar and r.running_since is not None for r in inits):
        return "Running"  # a pod is not over while anything of it runs
    codes = [_last_code(r) for r in mains]
    if all(code == 0 for code in codes):
        return "Succeeded"
    return "Failed" if restart_policy == "Never" else "Running"


def final_phase(mains: Sequence[ContainerRecord]) -> str:
    """The phase of a pod that will not run again, whatever its restart policy."""
    codes = [_last_code(r) for r in mains]
    return "Succeeded" if codes and all(code == 0 for code in codes) else "Failed"


def _last_code(record: ContainerRecord) -> int | None:
    ended = record.ended or record.last
    return ended.exit_code if ended else None


def pod_status(
    pod: Object,
    *,
    phase: str,
    address: str | None,
    host: str,
    inits: Sequence[ContainerRecord],
    mains: Sequence[ContainerRecord],
    now: datetime,
    reason: tuple[str, str] | None = None,
) -> Object:
    """The whole status; conditions that others wrote stay, and times move only with what they belong to."""
    old: Object = pod.get("status") or {}
    status: Object = {k: old[k] for k in ("qosClass", "nominatedNodeName") if k in old}
    if (generation := pod["metadata"].get("generation")) is not None:
        status["observedGeneration"] = generation
    status |= {"phase": phase, "hostIP": host, "hostIPs": [{"ip": host}]}
    status["startTime"] = old.get("startTime") or stamp(now)
    if address is not None:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    if reason is not None:
        status |= {"reason": reason[0], "message": reason[1]}
    if inits:
        status["initContainerStatuses"] = [container_status(r) for r in inits]
    status["containerStatuses"] = [container_status(r) for r in mains]
    conditions: list[Object] = list(old.get("conditions") or ())
    seen = pod["metadata"].get("generation")
    for new in _conditions(pod, phase, address is not None, inits, mains):
        if seen is not None:
            new["observedGeneration"] = seen
        conditions = pods.with_condition(conditions, {"lastProbeTime": None, **new}, stamp(now))
    status["conditions"] = conditions
    return status


def _conditions(
    pod: Object,
    phase: str,
    sandboxed: bool,
    inits: Sequence[ContainerRecord],
    mains: Sequence[ContainerRecord],
) -> list[Object]:
    """The conditions that are the node's to write, as kubelet makes them."""
    finished = phase in pods.FINISHED_PHASES
    incomplete = [r.name for r in inits if not (r.started if r.sidecar else r.ended and r.ended.exit_code == 0)]
    unready = [r.name for r in (*(r for r in inits if r.sidecar), *mains) if not r.ready]
    if phase == "Succeeded":
        initialized: Object = {"type": "Initialized", "status": "True", "reason": "PodCompleted"}
    else:
        words = f"containers with incomplete status: {_names(incomplete)}"
        initialized = _condition("Initialized", not incomplete, "ContainersNotInitialized", words)
    if finished:
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        both = [_condition(kind, False, reason, "") for kind in ("Ready", "ContainersReady")]
    else:
        words = f"containers with unready status: {_names(unready)}"
        containers = _condition("ContainersReady", not unready, "ContainersNotReady", words)
        missing = [] if unready else _missing_gates(pod)
        ready = {**containers, "type": "Ready"}
        if missing:
            ready = _condition("Ready", False, "ReadinessGatesNotReady", "; ".join(missing))
        both = [ready, containers]
    return [_condition("PodReadyToStartContainers", sandboxed and not finished, "", ""), initialized, *both]


def _missing_gates(pod: Object) -> list[str]:
    """Why the conditions that others have to write keep the pod from being ready."""
    words = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        found = pods.condition(pod, kind)
        if found is None:
            words.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found["status"] != "True":
            words.append(f'the status of pod readiness gate "{kind}" is not "True", but {found["status"]}')
    return words


def _condition(kind: str, holds: bool, reason: str, message: str) -> Object:
    if holds:
        return {"type": kind, "status": "True"}
    words = {k: v for k, v in (("reason", reason), ("message", message)) if v}
    return {"type": kind, "status": "False", **words}


def _names(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"
