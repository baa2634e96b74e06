"""The small kinds: configuration, secrets, namespaces, nodes, events, budgets, leases, classes."""

import base64

from trimtab.local import statuses
from trimtab.local.kinds.checks.configuration import (
    config_map_errors,
    lease_errors,
    namespace_status_errors,
    node_errors,
    node_status_errors,
    priority_class_errors,
    secret_errors,
    storage_class_errors,
)
from trimtab.local.kinds.checks.policies import (
    binding_errors,
    budget_errors,
    budget_status_errors,
    event_errors,
    network_policy_errors,
    role_errors,
)
from trimtab.local.kinds.checks.services import endpoints_errors, slice_errors
from trimtab.local.kinds.priorities import admit_class
from trimtab.local.kinds.rules import CHANGES_ONLY, UNCHECKED, MetadataChecks, Neighbours, Rules, no_status
from trimtab.local.objects import Object

_NOT_READY = "node.kubernetes.io/not-ready"
NODE_INFO = (
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


def _default_secret(secret: Object) -> None:
    """`stringData` is for writing only: it becomes data."""
    secret.setdefault("type", "Opaque")
    for key, value in (secret.pop("stringData", None) or {}).items():
        secret.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


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
    for name in NODE_INFO:
        info.setdefault(name, "")


def _admit_node(node: Object, _neighbours: Neighbours) -> None:
    """A new node takes no pods until a controller has seen it ready."""
    taints = node["spec"].setdefault("taints", [])
    if not any(t.get("key") == _NOT_READY for t in taints):
        taints.append({"key": _NOT_READY, "effect": "NoSchedule"})


def _default_event(event: Object) -> None:
    event.setdefault("source", {})
    event.setdefault("firstTimestamp", None)
    event.setdefault("lastTimestamp", None)
    event.setdefault("eventTime", None)
    event.setdefault("reportingComponent", "")
    event.setdefault("reportingInstance", "")


def _create_budget(budget: Object) -> None:
    counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    budget["status"] = dict.fromkeys(counts, 0)


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
    for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
        for port in rule.get("ports") or []:
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _default_binding(binding: Object) -> None:
    group = "rbac.authorization.k8s.io"
    binding.setdefault("roleRef", {}).setdefault("apiGroup", group)
    for subject in binding.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", group)


def _default_endpoints(endpoints: Object) -> None:
    for subset in endpoints.get("subsets") or []:
        for port in subset.get("ports") or []:
            port.setdefault("protocol", "TCP")


def _default_storage_class(storage: Object) -> None:
    storage.setdefault("reclaimPolicy", "Delete")
    storage.setdefault("volumeBindingMode", "Immediate")


_LEASES = MetadataChecks(whole_on_update=0, legacy_finalizers=False)
_SLICES = MetadataChecks(changes_on_update=0)

CONFIG_MAP = Rules(validate=config_map_errors)
SECRET = Rules(default=_default_secret, validate=secret_errors)
SERVICE_ACCOUNT = Rules(returns_deleted=True)
NAMESPACE = Rules(
    create=_create_namespace,
    update=_update_namespace,
    may_delete=_may_delete_namespace,
    on_delete=_on_delete_namespace,
    validate_status=namespace_status_errors,
)
NODE = Rules(default=_default_node, admit=_admit_node, validate=node_errors, validate_status=node_status_errors)
EVENT = Rules(
    default=_default_event,
    validate=event_errors,
    metadata=UNCHECKED,
    creates_on_update=True,
    keeps_dependents=True,
)
BUDGET = Rules(
    create=_create_budget,
    validate=budget_errors,
    validate_status=budget_status_errors,
    unconditional=False,
    metadata=UNCHECKED,
)
LEASE = Rules(validate=lease_errors, unconditional=False, metadata=_LEASES, creates_on_update=True)
ENDPOINTS = Rules(default=_default_endpoints, validate=endpoints_errors, creates_on_update=True)
ENDPOINT_SLICE = Rules(default=_default_slice, validate=slice_errors, metadata=_SLICES, counts_labels=True)
PRIORITY_CLASS = Rules(
    default=_default_priority_class, admit=admit_class, validate=priority_class_errors, metadata=CHANGES_ONLY
)
STORAGE_CLASS = Rules(default=_default_storage_class, validate=storage_class_errors, returns_deleted=True)
NETWORK_POLICY = Rules(
    default=_default_policy,
    create=lambda obj: obj.pop("status", None),
    validate=network_policy_errors,
    metadata=CHANGES_ONLY,
)
ROLE = Rules(validate=role_errors, creates_on_update=True)
ROLE_BINDING = Rules(default=_default_binding, validate=binding_errors, creates_on_update=True)
STATUS_ONLY = Rules(create=no_status)
