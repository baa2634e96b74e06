"""Which endpoints a Service's EndpointSlices list, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trimtab.local import pods
from trimtab.local.controllers.owners import controller_reference
from trimtab.local.objects import Object

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
MOST_ENDPOINTS = 100  # per slice, as kube-controller-manager

Ports = tuple[tuple[str, str, int, str | None], ...]


def is_listed(pod: Object) -> bool:
    """Whether a pod is an endpoint at all: it has an address and has not finished."""
    return bool(pod.get("status", {}).get("podIP")) and not pods.is_finished(pod)


def endpoint(pod: Object, service: Object, zones: Mapping[str, str]) -> Object:
    """A pod as an endpoint; `zones` by node name."""
    serving = pods.is_ready(pod)
    terminating = pods.is_terminating(pod)
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    metadata = pod["metadata"]
    node = pods.node_name(pod)
    found: Object = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    if node is not None:
        found["nodeName"] = node
        if zone := zones.get(node):
            found["zone"] = zone
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        found["hostname"] = pod["spec"]["hostname"]
    return found


def ports_for(pod: Object, service: Object) -> Ports:
    """The Service's ports as numbers of this pod; a name that the pod does not have is left out."""
    named = {
        (p["name"], p.get("protocol") or "TCP"): int(p["containerPort"])
        for c in pods.containers(pod)
        for p in c.get("ports") or ()
        if p.get("name")
    }
    found = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        target = port.get("targetPort", port["port"])
        number = target if isinstance(target, int) else named.get((target, protocol))
        if number is not None:
            found.append((port.get("name") or "", protocol, int(number), port.get("appProtocol")))
    return tuple(found)


def slices_for(service: Object, selected: Sequence[Object], zones: Mapping[str, str]) -> list[Object]:
    """The bodies (endpoints and ports) of the slices that the Service should have, at least one."""
    by_ports: dict[Ports, list[Object]] = {}
    for pod in sorted(selected, key=lambda p: str(p["metadata"]["name"])):
        if is_listed(pod):
            by_ports.setdefault(ports_for(pod, service), []).append(endpoint(pod, service, zones))
    bodies = [
        {"endpoints": endpoints[start : start + MOST_ENDPOINTS], "ports": _written(ports)}
        for ports, endpoints in sorted(by_ports.items(), key=lambda item: str(item[0]))
        for start in range(0, len(endpoints), MOST_ENDPOINTS)
    ]
    return bodies or [{"endpoints": [], "ports": []}]


def _written(ports: Ports) -> list[Object]:
    return [
        {"name": name, "protocol": protocol, "port": number, **({"appProtocol": app} if app else {})}
        for name, protocol, number, app in ports
    ]


def slice_labels(service: Object) -> dict[str, str]:
    """The Service's labels and those by which its slices are found."""
    labels = {k: v for k, v in (service["metadata"].get("labels") or {}).items() if k != HEADLESS}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    return {**labels, SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: CONTROLLER}


def new_slice(service: Object, body: Object) -> Object:
    """A slice to create."""
    metadata = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": slice_labels(service),
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": metadata["creationTimestamp"]},
            "ownerReferences": [controller_reference(service)],
        },
        "addressType": "IPv4",
        **body,
    }
