"""The API server as a Service of the cluster: `kubernetes`, at the first address of the range."""

from __future__ import annotations

import ipaddress

from trimtab.local.objects import Object
from trimtab.local.registry import Registry

_NAME = "kubernetes"
_NAMESPACE = "default"
_PORT = {"name": "https", "protocol": "TCP"}
_NOT_COPIED = {"endpointslice.kubernetes.io/skip-mirror": "true"}


def first_address(network: str) -> str:
    """The address that the Service has in a range of ClusterIPs."""
    return str(ipaddress.IPv4Network(network)[1])


def seed(registry: Registry, network: str, host: str, port: int) -> None:
    """Create Service, Endpoints and EndpointSlice where they are not there."""
    labels = {"component": "apiserver", "provider": _NAME}
    spec = {"clusterIP": first_address(network), "ports": [{**_PORT, "port": 443, "targetPort": port}]}
    behind = {**_PORT, "port": port}
    subset = {"addresses": [{"ip": host}], "ports": [behind]}
    endpoint = {"addresses": [host], "conditions": {"ready": True}}
    objects: dict[str, Object] = {
        "services": {"metadata": {"name": _NAME, "labels": labels}, "spec": spec},
        "endpoints": {"metadata": {"name": _NAME, "labels": _NOT_COPIED}, "subsets": [subset]},
        "endpointslices.discovery.k8s.io": {
            "metadata": {"name": _NAME, "labels": {"kubernetes.io/service-name": _NAME}},
            "addressType": "IPv4",
            "endpoints": [endpoint],
            "ports": [behind],
        },
    }
    for resource, obj in objects.items():
        if registry.find(resource, _NAMESPACE, _NAME) is None:
            registry.create(resource, obj, _NAMESPACE, manager="kube-apiserver")
