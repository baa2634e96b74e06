"""The columns of tables: what each kind shows about itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.selectors import selector_text
from trimtab.local.times import parse_stamp

NONE = "<none>"
Cell = Callable[[Object, str], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; priority 1 shows with -o wide only. `cell` gets the object and the present moment."""

    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0
    description: str = ""
    format: str = ""

    def definition(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": self.priority,
        }


def human_duration(seconds: float) -> str:
    """How long, in the two units that matter: 45s, 3m20s, 5h, 2d4h."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if years < 8 and rest else f"{years}y"


def since(stamp: Any, now: str) -> str:
    """The age of a timestamp, or <unknown>."""
    if not isinstance(stamp, str) or not stamp:
        return "<unknown>"
    try:
        return human_duration((parse_stamp(now) - parse_stamp(stamp)).total_seconds())
    except ValueError:
        return "<invalid>"


def age(obj: Object, now: str) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def at(path: str, default: Any = NONE) -> Cell:
    """The value behind a dotted path."""

    def cell(obj: Object, _now: str) -> Any:
        value: Any = obj
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return default if value in (None, "") else value

    return cell


def _joined(values: Sequence[Any]) -> str:
    return ",".join(str(v) for v in values) or NONE


AGE = Column("Age", age)


def _template_containers(obj: Object) -> list[Object]:
    template = (obj.get("spec") or {}).get("template") or {}
    found: list[Object] = (template.get("spec") or {}).get("containers") or []
    return found


def _template_columns(*, wide: int = 1) -> tuple[Column, ...]:
    return (
        Column("Containers", lambda o, _: _joined([c["name"] for c in _template_containers(o)]), priority=wide),
        Column("Images", lambda o, _: _joined([c.get("image", "") for c in _template_containers(o)]), priority=wide),
        Column("Selector", lambda o, _: selector_text(o["spec"].get("selector")) or NONE, priority=wide),
    )


def _pod_ready(pod: Object, _now: str) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return f"{sum(1 for s in statuses if s.get('ready'))}/{len(pod['spec'].get('containers') or [])}"


def _pod_status(pod: Object, _now: str) -> str:
    """The most telling word about a pod: a container's trouble before the phase."""
    status = pod.get("status") or {}
    shown: str = status.get("reason") or status.get("phase") or "Unknown"
    total = len(pod["spec"].get("initContainers") or [])
    for index, container in enumerate(status.get("initContainerStatuses") or []):
        state = container.get("state") or {}
        if (ended := state.get("terminated")) and ended.get("exitCode") == 0:
            continue
        problem = _trouble(state)
        shown = f"Init:{problem}" if problem not in ("", "PodInitializing") else f"Init:{index}/{total}"
        break
    else:
        shown = _containers_status(status, shown)
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return shown


def _containers_status(status: Object, shown: str) -> str:
    running = False
    for container in reversed(status.get("containerStatuses") or []):
        state = container.get("state") or {}
        if problem := _trouble(state):
            shown = problem
        elif container.get("ready") and state.get("running") is not None:
            running = True
    if shown == "Completed" and running:
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
        return "Running" if ready else "NotReady"
    return shown


def _trouble(state: Object) -> str:
    if waiting := state.get("waiting"):
        return str(waiting.get("reason") or "")
    if ended := state.get("terminated"):
        if reason := ended.get("reason"):
            return str(reason)
        signal = ended.get("signal")
        return f"Signal:{signal}" if signal else f"ExitCode:{ended.get('exitCode', 0)}"
    return ""


def _pod_restarts(pod: Object, now: str) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    count = sum(s.get("restartCount", 0) for s in statuses)
    ends = [((s.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for s in statuses]
    last = max((e for e in ends if e), default=None)
    return f"{count} ({since(last, now)} ago)" if count and last else str(count)


def _gates(pod: Object, _now: str) -> str:
    gates = pod["spec"].get("readinessGates") or []
    if not gates:
        return NONE
    conditions = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions") or []}
    return f"{sum(conditions.get(g['conditionType']) == 'True' for g in gates)}/{len(gates)}"


def _node_status(node: Object, _now: str) -> str:
    ready = next((c for c in (node["status"].get("conditions") or []) if c["type"] == "Ready"), None)
    shown = "Unknown" if ready is None else "Ready" if ready["status"] == "True" else "NotReady"
    return f"{shown},SchedulingDisabled" if node["spec"].get("unschedulable") else shown


def _node_roles(node: Object, _now: str) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return _joined(sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix)))


def _node_address(kind: str) -> Cell:
    def cell(node: Object, _now: str) -> str:
        addresses = node["status"].get("addresses") or []
        return next((str(a["address"]) for a in addresses if a["type"] == kind), NONE)

    return cell


def _service_ports(service: Object, _now: str) -> str:
    ports = service["spec"].get("ports") or []
    return _joined([f"{p['port']}/{p.get('protocol', 'TCP')}" for p in ports])


def _service_selector(service: Object, _now: str) -> str:
    return _joined([f"{k}={v}" for k, v in sorted((service["spec"].get("selector") or {}).items())])


def _job_status(job: Object, _now: str) -> str:
    conditions = {c["type"] for c in (job.get("status") or {}).get("conditions") or [] if c["status"] == "True"}
    for kind, shown in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if kind in conditions:
            return shown
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if "FailureTarget" in conditions:
        return "FailureTarget"
    return "SuccessCriteriaMet" if "SuccessCriteriaMet" in conditions else "Running"


def _job_completions(job: Object, _now: str) -> str:
    done, wanted = (job.get("status") or {}).get("succeeded", 0), job["spec"].get("completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallelism = job["spec"].get("parallelism", 1)
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_duration(job: Object, now: str) -> str:
    status = job.get("status") or {}
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    return since(start, end or now)


def _event_object(event: Object, _now: str) -> str:
    involved = event.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _event_last(event: Object, now: str) -> str:
    series = (event.get("series") or {}).get("lastObservedTime")
    return since(series or event.get("lastTimestamp") or event.get("eventTime"), now)


def _endpoint_ports(endpoint_slice: Object, _now: str) -> str:
    ports = endpoint_slice.get("ports") or []
    return _joined([p.get("port", "*") for p in ports]) if ports else "<unset>"


def _endpoints(endpoint_slice: Object, _now: str) -> str:
    found = [a for e in endpoint_slice.get("endpoints") or [] for a in e.get("addresses") or []]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return (_joined(found[:3]) + more) if found else "<unset>"


def _count(*fields: str) -> Cell:
    def cell(obj: Object, _now: str) -> int:
        return sum(len(obj.get(field) or {}) for field in fields)

    return cell


def _number(path: str) -> Cell:
    return at(path, 0)


_EVENT_COLUMNS = (
    Column("Last Seen", _event_last),
    Column("Type", at("type", "")),
    Column("Reason", at("reason", "")),
    Column("Object", _event_object),
    Column("Subobject", at("involvedObject.fieldPath", ""), priority=1),
    Column(
        "Source",
        lambda o, _: (o.get("source") or {}).get("component") or o.get("reportingComponent", ""),
        priority=1,
    ),
    Column("Message", lambda o, _: str(o.get("message", "")).strip()),
    Column("First Seen", lambda o, now: since(o.get("firstTimestamp") or o.get("eventTime"), now), priority=1),
    Column("Count", lambda o, _: (o.get("series") or {}).get("count") or o.get("count") or 1, priority=1),
    Column("Name", lambda o, _: o["metadata"]["name"], priority=1),
)
COLUMNS: Mapping[str, Sequence[Column]] = {
    "": (Column("Created At", at("metadata.creationTimestamp", "<unknown>"), "date"),),
    "pods": (
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _pod_restarts),
        AGE,
        Column("IP", at("status.podIP"), priority=1),
        Column("Node", at("spec.nodeName"), priority=1),
        Column("Nominated Node", at("status.nominatedNodeName"), priority=1),
        Column("Readiness Gates", _gates, priority=1),
    ),
    "nodes": (
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE,
        Column("Version", at("status.nodeInfo.kubeletVersion", "")),
        Column("Internal-IP", _node_address("InternalIP"), priority=1),
        Column("External-IP", _node_address("ExternalIP"), priority=1),
        Column("OS-Image", at("status.nodeInfo.osImage", "<unknown>"), priority=1),
        Column("Kernel-Version", at("status.nodeInfo.kernelVersion", "<unknown>"), priority=1),
        Column("Container-Runtime", at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), priority=1),
    ),
    "namespaces": (Column("Status", at("status.phase", "")), AGE),
    "services": (
        Column("Type", at("spec.type", "")),
        Column("Cluster-IP", at("spec.clusterIP")),
        Column("External-IP", at("spec.externalName")),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", _service_selector, priority=1),
    ),
    "configmaps": (Column("Data", _count("data", "binaryData")), AGE),
    "secrets": (Column("Type", at("type", "")), Column("Data", _count("data")), AGE),
    "serviceaccounts": (Column("Secrets", _count("secrets")), AGE),
    "events": _EVENT_COLUMNS,
    "events.events.k8s.io": _EVENT_COLUMNS,
    "deployments.apps": (
        Column(
            "Ready", lambda o, _: f"{(o.get('status') or {}).get('readyReplicas', 0)}/{o['spec'].get('replicas', 0)}"
        ),
        Column("Up-to-date", _number("status.updatedReplicas")),
        Column("Available", _number("status.availableReplicas")),
        AGE,
        *_template_columns(),
    ),
    "replicasets.apps": (
        Column("Desired", _number("spec.replicas"), "integer"),
        Column("Current", _number("status.replicas"), "integer"),
        Column("Ready", _number("status.readyReplicas"), "integer"),
        AGE,
        *_template_columns(),
    ),
    "jobs.batch": (
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        AGE,
        *_template_columns(),
    ),
    "leases.coordination.k8s.io": (Column("Holder", at("spec.holderIdentity", "")), AGE),
    "endpointslices.discovery.k8s.io": (
        Column("AddressType", at("addressType", "")),
        Column("Ports", _endpoint_ports),
        Column("Endpoints", _endpoints),
        AGE,
    ),
    "poddisruptionbudgets.policy": (
        Column("Min Available", at("spec.minAvailable", "N/A")),
        Column("Max Unavailable", at("spec.maxUnavailable", "N/A")),
        Column("Allowed Disruptions", _number("status.disruptionsAllowed"), "integer"),
        AGE,
    ),
    "networkpolicies.networking.k8s.io": (
        Column("Pod-Selector", lambda o, _: selector_text(o["spec"].get("podSelector")) or NONE),
        AGE,
    ),
    "priorityclasses.scheduling.k8s.io": (
        Column("Value", _number("value"), "integer"),
        Column("Global-Default", at("globalDefault", False), "boolean"),
        AGE,
        Column("PreemptionPolicy", at("preemptionPolicy", "")),
    ),
    "rolebindings.rbac.authorization.k8s.io": (
        Column("Role", lambda o, _: f"{o['roleRef'].get('kind', '')}/{o['roleRef'].get('name', '')}"),
        AGE,
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        Column("Role", lambda o, _: f"{o['roleRef'].get('kind', '')}/{o['roleRef'].get('name', '')}"),
        AGE,
    ),
}
