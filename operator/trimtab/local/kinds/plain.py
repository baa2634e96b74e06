"""The small kinds: configuration, secrets, namespaces, nodes, events, budgets, leases, classes."""

import base64
import binascii
import re

from trimtab.local import statuses
from trimtab.local.kinds.rules import Neighbours, Rules, no_status
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_NOT_READY = "node.kubernetes.io/not-ready"
_NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


def _key_errors(obj: Object, *fields: str) -> list[FieldError]:
    return [
        invalid_value(f"{field}[{key}]", quote(key), _KEY_TEXT)
        for field in fields
        for key in obj.get(field) or {}
        if not _KEY.fullmatch(key) or len(key) > 253
    ]


def _frozen_errors(new: Object, old: Object | None, *fields: str) -> list[FieldError]:
    """Once `immutable` is set, neither it nor the data may change."""
    if old is None or not old.get("immutable"):
        return []
    text = "field is immutable when `immutable` is set"
    errors = [] if new.get("immutable") else [forbidden_field("immutable", text)]
    return errors + [forbidden_field(f, text) for f in fields if new.get(f) != old.get(f)]


def _config_map_errors(new: Object, old: Object | None) -> list[FieldError]:
    return _key_errors(new, "data", "binaryData") + _frozen_errors(new, old, "data", "binaryData")


def _default_secret(secret: Object) -> None:
    """`stringData` is for writing only: it becomes data."""
    secret.setdefault("type", "Opaque")
    for key, value in (secret.pop("stringData", None) or {}).items():
        secret.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _secret_errors(new: Object, old: Object | None) -> list[FieldError]:
    errors = _key_errors(new, "data") + _frozen_errors(new, old, "data")
    for key, value in (new.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            errors.append(invalid_value(f"data[{key}]", '"<redacted>"', "must be base64; use stringData for text"))
    if old is not None and old["type"] != new["type"]:
        errors.append(invalid_value("type", quote(new["type"]), "field is immutable"))
    return errors


def _create_namespace(namespace: Object) -> None:
    namespace["spec"] = {"finalizers": ["kubernetes"]}
    namespace["status"] = {"phase": "Active"}
    name = namespace["metadata"].get("name", "")
    namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def _update_namespace(new: Object, old: Object) -> None:
    new["spec"] = old["spec"]


def _on_delete_namespace(namespace: Object, gone: bool, now: str) -> tuple[Object, bool]:
    """A namespace stays, Terminating, until its content is gone and its finalizers are taken away."""
    if not (namespace.get("spec") or {}).get("finalizers"):
        return namespace, gone
    metadata = {**namespace["metadata"]}
    metadata.setdefault("deletionTimestamp", now)
    metadata.pop("deletionGracePeriodSeconds", None)
    status = {**namespace["status"], "phase": "Terminating"}
    return {**namespace, "metadata": metadata, "status": status}, False


def _may_delete_namespace(namespace: Object) -> None:
    name = namespace["metadata"]["name"]
    if name in ("default", "kube-system", "kube-public"):
        details = {"name": name, "kind": "namespaces"}
        text = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        raise statuses.ApiError(403, "Forbidden", text, details)


def _default_node(node: Object) -> None:
    node.setdefault("spec", {})
    status = node.setdefault("status", {})
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {}).setdefault("Port", 0)
    info = status.setdefault("nodeInfo", {})
    for name in _NODE_INFO:
        info.setdefault(name, "")


def _admit_node(node: Object, _neighbours: Neighbours) -> None:
    """A new node takes no pods until a controller has seen it ready."""
    taints = node["spec"].setdefault("taints", [])
    if not any(t.get("key") == _NOT_READY for t in taints):
        taints.append({"key": _NOT_READY, "effect": "NoSchedule"})


def _node_errors(new: Object, _old: Object | None) -> list[FieldError]:
    effects = ("NoSchedule", "PreferNoSchedule", "NoExecute")
    return [
        statuses.unsupported(f"metadata.taints[{i}].effect", quote(t.get("effect", "")), [quote(e) for e in effects])
        for i, t in enumerate(new["spec"].get("taints") or [])
        if t.get("effect") not in effects
    ]


def _default_event(event: Object) -> None:
    event.setdefault("source", {})
    event.setdefault("firstTimestamp", None)
    event.setdefault("lastTimestamp", None)
    event.setdefault("eventTime", None)
    event.setdefault("reportingComponent", "")
    event.setdefault("reportingInstance", "")


def _event_errors(event: Object, _old: Object | None) -> list[FieldError]:
    involved = (event.get("involvedObject") or {}).get("namespace", "")
    namespace = event["metadata"].get("namespace")
    if involved and involved != namespace:
        text = "does not match event.namespace"
        return [invalid_value("involvedObject.namespace", quote(involved), text)]
    return []


def _create_budget(budget: Object) -> None:
    counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    budget["status"] = dict.fromkeys(counts, 0)


def _budget_errors(budget: Object, _old: Object | None) -> list[FieldError]:
    spec = budget.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        return [invalid_value("spec", quote(spec), text)]
    return []


def _lease_errors(lease: Object, _old: Object | None) -> list[FieldError]:
    spec = lease.get("spec") or {}
    errors = []
    for name in ("leaseDurationSeconds", "leaseTransitions"):
        limit = 1 if name == "leaseDurationSeconds" else 0
        if spec.get(name) is not None and spec[name] < limit:
            text = "must be greater than 0" if limit else "must be greater than or equal to 0"
            errors.append(invalid_value(f"spec.{name}", str(spec[name]), text))
    return errors


def _slice_errors(endpoint_slice: Object, _old: Object | None) -> list[FieldError]:
    kinds = ("IPv4", "IPv6", "FQDN")
    kind = endpoint_slice.get("addressType")
    if not kind:
        return [required("addressType")]
    return [] if kind in kinds else [statuses.unsupported("addressType", quote(kind), [quote(k) for k in kinds])]


def _default_slice(endpoint_slice: Object) -> None:
    endpoint_slice.setdefault("endpoints", [])
    endpoint_slice.setdefault("ports", [])
    for port in endpoint_slice["ports"]:
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _default_priority_class(priority: Object) -> None:
    priority.setdefault("value", 0)
    priority.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _default_policy(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _default_binding(binding: Object) -> None:
    group = "rbac.authorization.k8s.io"
    binding.setdefault("roleRef", {}).setdefault("apiGroup", group)
    for subject in binding.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", group)


def _binding_errors(new: Object, old: Object | None) -> list[FieldError]:
    if old is not None and new["roleRef"] != old["roleRef"]:
        return [invalid_value("roleRef", quote(new["roleRef"]), "cannot change roleRef")]
    return []


CONFIG_MAP = Rules(validate=_config_map_errors)
SECRET = Rules(default=_default_secret, validate=_secret_errors)
SERVICE_ACCOUNT = Rules(returns_deleted=True)
NAMESPACE = Rules(
    create=_create_namespace,
    update=_update_namespace,
    may_delete=_may_delete_namespace,
    on_delete=_on_delete_namespace,
)
NODE = Rules(default=_default_node, admit=_admit_node, validate=_node_errors)
EVENT = Rules(default=_default_event, validate=_event_errors)
BUDGET = Rules(create=_create_budget, validate=_budget_errors, unconditional=False)
LEASE = Rules(validate=_lease_errors, unconditional=False)
ENDPOINT_SLICE = Rules(default=_default_slice, validate=_slice_errors)
PRIORITY_CLASS = Rules(default=_default_priority_class)
NETWORK_POLICY = Rules(default=_default_policy, create=lambda obj: obj.pop("status", None))
ROLE_BINDING = Rules(default=_default_binding, validate=_binding_errors)
STATUS_ONLY = Rules(create=no_status)
