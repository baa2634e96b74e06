"""Services: an address from the cluster's range, ports, and what of it stays."""

import zlib

from trimtab.local import statuses
from trimtab.local.kinds.checks.services import HEADLESS, service_errors
from trimtab.local.kinds.rules import Neighbours, Rules
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import invalid_value

_FIRST_NODE_PORT = 30_000
_NODE_PORTS = 2_768


def _default(service: Object) -> None:
    spec = service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port", 0)
    if spec["sessionAffinity"] == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        client.setdefault("timeoutSeconds", 10_800)
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    service.setdefault("status", {}).setdefault("loadBalancer", {})


def _create(service: Object) -> None:
    service["status"] = {"loadBalancer": {}}


def _reserve(service: Object, neighbours: Neighbours) -> None:
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    wanted = spec.get("clusterIP") or None
    if wanted != HEADLESS:
        try:
            spec["clusterIP"] = neighbours.allocate_service_ip(wanted)
        except ValueError as error:
            cause = invalid_value("spec.clusterIPs", quote([wanted]), f"failed to allocate IP {wanted}: {error}")
            raise statuses.invalid("", "Service", service["metadata"]["name"], [cause]) from None
    spec["clusterIPs"] = [spec["clusterIP"]]
    _allocate_ports(service)


def _allocate_ports(service: Object) -> None:
    """Give every port of a service that is seen from outside a number on the nodes; nobody listens there."""
    spec = service["spec"]
    if spec["type"] not in ("NodePort", "LoadBalancer"):
        return
    for port in spec.get("ports") or []:
        unique = f"{service['metadata'].get('uid')}/{port.get('protocol')}/{port.get('port')}"
        port.setdefault("nodePort", _FIRST_NODE_PORT + zlib.crc32(unique.encode()) % _NODE_PORTS)


def _update(new: Object, old: Object) -> None:
    """An update that leaves the address out keeps it."""
    for name in ("clusterIP", "clusterIPs"):
        if not new["spec"].get(name) and old["spec"].get(name) and new["spec"]["type"] != "ExternalName":
            new["spec"][name] = old["spec"][name]
    if new["spec"]["type"] == "ClusterIP" != old["spec"]["type"]:
        known = {port.get("nodePort") for port in old["spec"].get("ports") or []}
        for port in new["spec"].get("ports") or []:
            if port.get("nodePort") in known:
                port.pop("nodePort", None)
        new["spec"].pop("externalTrafficPolicy", None)
        new["spec"].pop("allocateLoadBalancerNodePorts", None)
    _allocate_ports(new)


SERVICE = Rules(
    default=_default,
    create=_create,
    commit=_reserve,
    update=_update,
    validate=service_errors,
    returns_deleted=True,
    creates_on_update=True,
)
