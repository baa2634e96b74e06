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
CHANGED = "endpoints.kubernetes.io/last-change-trigger-time"
MOST_ENDPOINTS = 100  # per slice, as kube-controller-manager

Ports = tuple[tuple[str, str, int, str | None], ...]


def is_listed(pod: Object) -> bool:
    """Whether a pod is an endpoint at all: it has an address and has not finished."""
    return bool(pod.get("status", {}).get("podIP")) and not pods.is_finished(pod)


def endpoint(pod: Object, service: Object, zones: Mapping[str, str | None]) -> Object:
    """A pod as an endpoint; `zones` by node name, None for a node without one."""
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


def bodies_for(
    service: Object, selected: Sequence[Object], zones: Mapping[str, str | None]
) -> dict[Ports, dict[str, Object]]:
    """The endpoints that the Service's slices should list, by their ports and by pod uid.

    A pod whose node is not (or no longer) there is left out, unless the Service takes what is not ready too.
    """
    unready = bool(service["spec"].get("publishNotReadyAddresses"))
    found: dict[Ports, dict[str, Object]] = {}
    for pod in selected:
        node = pods.node_name(pod)
        if is_listed(pod) and (unready or node is None or node in zones):
            uid = pod["metadata"]["uid"]
            found.setdefault(ports_for(pod, service), {})[uid] = endpoint(pod, service, zones)
    return found


def slices_for(
    wanted: Mapping[Ports, Mapping[str, Object]], present: Sequence[Object]
) -> list[tuple[Object | None, Object]]:
    """The slices to have: the present one that each is written to, if any, and its endpoints and ports.

    What is in a slice stays there, in its order; new endpoints go where there is room. There is always at
    least one slice, without ports while nothing is in it.
    """
    plans: list[tuple[Object | None, Object]] = []
    spare = list(present)
    for ports, by_uid in sorted(wanted.items(), key=lambda item: str(item[0])):
        left = dict(by_uid)
        kept: list[tuple[Object | None, list[Object]]] = []
        for old in [s for s in present if (s.get("ports") or []) == written_ports(ports)]:
            uids = [(e.get("targetRef") or {}).get("uid") for e in old.get("endpoints") or ()]
            staying = [left.pop(uid) for uid in uids if uid in left]
            if staying:
                kept.append((old, staying))
                spare.remove(old)
        for _, endpoints in kept:
            room = MOST_ENDPOINTS - len(endpoints)
            endpoints.extend(left.pop(uid) for uid in list(left)[:room])
        while left:
            kept.append((None, [left.pop(uid) for uid in list(left)[:MOST_ENDPOINTS]]))
        plans += [(old, {"endpoints": endpoints, "ports": written_ports(ports)}) for old, endpoints in kept]
    plans = plans or [(None, {"endpoints": [], "ports": []})]
    return [(old if old is not None or not spare else spare.pop(0), body) for old, body in plans]


def written_ports(ports: Ports) -> list[Object]:
    """Ports as slices and Endpoints write them."""
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


def new_slice(service: Object, body: Object, changed: str | None) -> Object:
    """A slice to create; `changed` is when what it tells of happened."""
    metadata = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": slice_labels(service),
            **({"annotations": {CHANGED: changed}} if changed else {}),
            "ownerReferences": [controller_reference(service)],
        },
        "addressType": "IPv4",
        **body,
    }


class TriggerTimes:
    """When the changes happened that a Service's slices will tell of, for those who measure how long that takes."""

    def __init__(self) -> None:
        self._pods: dict[str, dict[str, str]] = {}

    def latest(self, service: Object, selected: Sequence[Object]) -> str | None:
        """The earliest change since the last call for this Service; its creation at the first one."""
        uid = service["metadata"]["uid"]
        before = self._pods.get(uid)
        now = {pod["metadata"]["name"]: at for pod in selected if (at := _ready_changed(pod))}
        self._pods[uid] = now
        if before is None:
            return str(service["metadata"]["creationTimestamp"])
        return min((at for name, at in now.items() if at > before.get(name, "")), default=None)

    def forget(self, service: Object) -> None:
        """The Service is gone."""
        self._pods.pop(service["metadata"]["uid"], None)


def _ready_changed(pod: Object) -> str | None:
    ready = pods.condition(pod, "Ready")
    return ready.get("lastTransitionTime") if ready else None
