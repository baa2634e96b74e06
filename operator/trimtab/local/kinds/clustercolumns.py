"""What a table shows of nodes, events, storage, rights, and the other kinds that say what a cluster is."""

from trimtab.local.kinds.columns import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    Cell,
    Column,
    Columns,
    at,
    count,
    human_duration,
    joined,
    number,
    since,
    value_of,
)
from trimtab.local.objects import Object

_ROLE, _OLD_ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _node_status(node: Object, _now: str) -> str:
    ready = next((c for c in value_of(node, "status.conditions") or [] if c.get("type") == "Ready"), None)
    shown = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return f"{shown},SchedulingDisabled" if value_of(node, "spec.unschedulable") else shown


def _node_roles(node: Object, _now: str) -> str:
    roles = set()
    for label, value in (node["metadata"].get("labels") or {}).items():
        if label.startswith(_ROLE):
            roles.add(label.removeprefix(_ROLE))
        elif label == _OLD_ROLE:
            roles.add(value)
    return joined(sorted(roles - {""}))


def _node_address(kind: str) -> Cell:
    def cell(node: Object, _now: str) -> str:
        addresses = value_of(node, "status.addresses") or []
        return next((str(a.get("address", "")) for a in addresses if a.get("type") == kind), NONE)

    return cell


NODES: Columns = (
    NAME,
    Column("Status", _node_status, description="Whether the node is ready and takes pods."),
    Column("Roles", _node_roles, description="What the node is for."),
    AGE,
    Column("Version", at("status.nodeInfo.kubeletVersion", ""), description="The version of its agent."),
    Column("Internal-IP", _node_address("InternalIP"), priority=1),
    Column("External-IP", _node_address("ExternalIP"), priority=1),
    Column("OS-Image", at("status.nodeInfo.osImage", UNKNOWN), priority=1),
    Column("Kernel-Version", at("status.nodeInfo.kernelVersion", UNKNOWN), priority=1),
    Column("Container-Runtime", at("status.nodeInfo.containerRuntimeVersion", UNKNOWN), priority=1),
)


def _event_first(event: Object, now: str) -> str:
    return since(event.get("firstTimestamp") or event.get("eventTime"), now)


def _event_last(event: Object, now: str) -> str:
    if (series := event.get("series")) is not None:
        return since(series.get("lastObservedTime"), now)
    last = event.get("lastTimestamp")
    return since(last, now) if last else _event_first(event, now)


def _event_count(event: Object, _now: str) -> int:
    found: int = event["series"].get("count", 0) if event.get("series") is not None else event.get("count") or 1
    return found


def _event_object(event: Object, _now: str) -> str:
    involved = event.get("involvedObject") or {}
    kind = involved.get("kind", "").lower()
    return f"{kind}/{involved['name']}" if involved.get("name") else kind


def _event_source(event: Object, _now: str) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    instance = source.get("host") or event.get("reportingInstance")
    return f"{component}, {instance}" if instance else component


EVENTS: Columns = (
    Column("Last Seen", _event_last, description="When it happened last."),
    Column("Type", at("type", ""), description="Normal or Warning."),
    Column("Reason", at("reason", ""), description="What happened, in a word."),
    Column("Object", _event_object, description="What it happened to."),
    Column("Subobject", at("involvedObject.fieldPath", ""), priority=1),
    Column("Source", _event_source, priority=1),
    Column("Message", lambda o, _: str(o.get("message", "")).strip(), description="What happened, for people."),
    Column("First Seen", _event_first, priority=1),
    Column("Count", _event_count, priority=1),
    Column("Name", at("metadata.name", ""), priority=1),
)
NAMESPACES: Columns = (NAME, Column("Status", at("status.phase", "")), AGE)
CONFIG_MAPS: Columns = (NAME, Column("Data", count("data", "binaryData")), AGE)
SECRETS: Columns = (NAME, Column("Type", at("type", "")), Column("Data", count("data")), AGE)
SERVICE_ACCOUNTS: Columns = (NAME, Column("Secrets", count("secrets")), AGE)
LEASES: Columns = (NAME, Column("Holder", at("spec.holderIdentity", "")), AGE)
PRIORITY_CLASSES: Columns = (
    NAME,
    Column("Value", number("value"), "integer"),
    Column("Global-Default", at("globalDefault", False), "boolean"),
    AGE,
    Column("PreemptionPolicy", at("preemptionPolicy", "")),
)
RUNTIME_CLASSES: Columns = (NAME, Column("Handler", at("handler", "")), AGE)
WEBHOOKS: Columns = (NAME, Column("Webhooks", count("webhooks"), "integer"), AGE)


def _subjects(kind: str) -> Cell:
    def cell(binding: Object, _now: str) -> str:
        found = [s for s in binding.get("subjects") or [] if s.get("kind") == kind]
        return ", ".join(
            f"{s.get('namespace', '')}/{s['name']}" if kind == "ServiceAccount" else s["name"] for s in found
        )

    return cell


ROLE_BINDINGS: Columns = (
    NAME,
    Column("Role", lambda o, _: f"{value_of(o, 'roleRef.kind') or ''}/{value_of(o, 'roleRef.name') or ''}"),
    AGE,
    Column("Users", _subjects("User"), priority=1),
    Column("Groups", _subjects("Group"), priority=1),
    Column("ServiceAccounts", _subjects("ServiceAccount"), priority=1),
)


def _modes(path: str) -> Cell:
    def cell(obj: Object, _now: str) -> str:
        given = value_of(obj, path) or []
        return ",".join(short for mode, short in _MODES.items() if mode in given)

    return cell


def _phase(obj: Object, _now: str) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(value_of(obj, "status.phase") or "")


def _claim(volume: Object, _now: str) -> str:
    claim = value_of(volume, "spec.claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _when_bound(cell: Cell) -> Cell:
    """What a claim has from its volume."""
    return lambda claim, now: cell(claim, now) if value_of(claim, "spec.volumeName") else ""


def _class_name(storage_class: Object, _now: str) -> str:
    annotations = storage_class["metadata"].get("annotations") or {}
    default = any(annotations.get(key) == "true" for key in _DEFAULT_CLASS)
    return f"{storage_class['metadata']['name']}{' (default)' if default else ''}"


VOLUMES: Columns = (
    NAME,
    Column("Capacity", at("spec.capacity.storage", "0")),
    Column("Access Modes", _modes("spec.accessModes")),
    Column("Reclaim Policy", at("spec.persistentVolumeReclaimPolicy", "")),
    Column("Status", _phase),
    Column("Claim", _claim),
    Column("StorageClass", at("spec.storageClassName", "")),
    Column("VolumeAttributesClass", at("spec.volumeAttributesClassName", UNSET)),
    Column("Reason", at("status.reason", "")),
    AGE,
    Column("VolumeMode", at("spec.volumeMode", UNSET), priority=1),
)
VOLUME_CLAIMS: Columns = (
    NAME,
    Column("Status", _phase),
    Column("Volume", at("spec.volumeName", "")),
    Column("Capacity", _when_bound(at("status.capacity.storage", "0"))),
    Column("Access Modes", _when_bound(_modes("status.accessModes"))),
    Column("StorageClass", at("spec.storageClassName", "")),
    Column("VolumeAttributesClass", at("spec.volumeAttributesClassName", UNSET)),
    AGE,
    Column("VolumeMode", at("spec.volumeMode", UNSET), priority=1),
)
STORAGE_CLASSES: Columns = (
    Column(NAME.name, _class_name, format="name", description=NAME.description),
    Column("Provisioner", at("provisioner", "")),
    Column("ReclaimPolicy", at("reclaimPolicy", "Delete")),
    Column("VolumeBindingMode", at("volumeBindingMode", "Immediate")),
    Column("AllowVolumeExpansion", at("allowVolumeExpansion", False)),
    AGE,
)


def _quota(limits: bool) -> Cell:
    def cell(quota: Object, _now: str) -> str:
        hard, used = value_of(quota, "status.hard") or {}, value_of(quota, "status.used") or {}
        shown = [name for name in sorted(hard) if name.startswith("limits") is limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in shown)

    return cell


RESOURCE_QUOTAS: Columns = (NAME, Column("Request", _quota(limits=False)), Column("Limit", _quota(limits=True)), AGE)


def _request_state(request: Object, _now: str) -> str:
    """Pending until it is approved or denied, then what came of it."""
    conditions = [c.get("type") for c in value_of(request, "status.conditions") or []]
    found = "Denied" if "Denied" in conditions else "Approved" if "Approved" in conditions else "Pending"
    if "Failed" in conditions:
        found += ",Failed"
    return found + (",Issued" if value_of(request, "status.certificate") else "")


def _requested_duration(request: Object, _now: str) -> str:
    seconds = value_of(request, "spec.expirationSeconds")
    return NONE if seconds is None else human_duration(seconds)


SIGNING_REQUESTS: Columns = (
    NAME,
    AGE,
    Column("SignerName", at("spec.signerName")),
    Column("Requestor", at("spec.username", "")),
    Column("RequestedDuration", _requested_duration),
    Column("Condition", _request_state),
)
COMPONENT_STATUSES: Columns = (
    NAME,
    Column("Status", lambda o, _: _health(o)[0]),
    Column("Message", lambda o, _: _health(o)[1]),
    Column("Error", lambda o, _: _health(o)[2]),
)


def _health(component: Object) -> tuple[str, str, str]:
    for condition in component.get("conditions") or []:
        if condition.get("type") == "Healthy":
            healthy = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return healthy, condition.get("message", ""), condition.get("error", "")
    return "Unknown", "", ""
