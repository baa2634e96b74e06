"""Keeps the Endpoints of each Service, which older clients read instead of EndpointSlices."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.local import pods
from trimtab.local.controllers import endpoints
from trimtab.local.controllers.followers import ServiceFollower
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object

RESOURCE = "endpoints"
_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
_CONTROLLER = "endpoint-controller"


def subsets_for(service: Object, selected: Sequence[Object]) -> list[Object]:
    """The addresses by the ports that they serve, the ready ones apart from the others; terminating pods are out."""
    unready = bool(service["spec"].get("publishNotReadyAddresses"))
    found: dict[endpoints.Ports, Object] = {}
    for pod in sorted(selected, key=lambda p: str(p["status"].get("podIP", ""))):
        if not endpoints.is_listed(pod) or (pods.is_terminating(pod) and not unready):
            continue
        subset = found.setdefault(endpoints.ports_for(pod, service), {})
        field = "addresses" if unready or pods.is_ready(pod) else "notReadyAddresses"
        subset.setdefault(field, []).append(_address(pod, service))
    return [
        {**subset, **({"ports": written} if (written := endpoints.written_ports(ports)) else {})}
        for ports, subset in sorted(found.items(), key=lambda item: str(item[0]))
    ]


def _address(pod: Object, service: Object) -> Object:
    metadata = pod["metadata"]
    target = {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
    found: Object = {"ip": pod["status"]["podIP"], "targetRef": target}
    if node := pods.node_name(pod):
        found["nodeName"] = node
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        found["hostname"] = pod["spec"]["hostname"]
    return found


def endpoints_object(service: Object, subsets: Sequence[Object], changed: str | None) -> Object:
    """The Endpoints of a Service, with its name and labels; `changed` is when what they tell of happened."""
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), _MANAGED_BY: _CONTROLLER}
    if service["spec"].get("clusterIP") == "None":
        labels[endpoints.HEADLESS] = ""
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": labels,
            **({"annotations": {endpoints.CHANGED: changed}} if changed else {}),
        },
        **({"subsets": list(subsets)} if subsets else {}),
    }


class EndpointObjects(ServiceFollower):
    """The Endpoints controller."""

    name = "endpoint-controller"

    def reconcile(self, key: Key) -> float | None:
        """Write what the Service's pods are; without the Service, take it away."""
        service, present = self.find("services", key), self.find(RESOURCE, key)
        if service is None:
            ours = present is not None and (present["metadata"].get("labels") or {}).get(_MANAGED_BY) == _CONTROLLER
            if present is not None and ours:
                self.drop(RESOURCE, present)
            return None
        selected = self._selected(service)
        if selected is None:
            return None
        changed = self._times.latest(service, selected)
        wanted = endpoints_object(service, subsets_for(service, selected), changed)
        if present is None:
            self.registry.create(RESOURCE, wanted, key.namespace, manager=self.name)
            return None
        labels = wanted["metadata"]["labels"]
        if present.get("subsets") != wanted.get("subsets") or present["metadata"].get("labels") != labels:
            kept = {k: v for k, v in present["metadata"].items() if k != "annotations"}
            metadata = {**kept, **wanted["metadata"]}
            self.registry.update(RESOURCE, {**wanted, "metadata": metadata}, manager=self.name)
        return None
