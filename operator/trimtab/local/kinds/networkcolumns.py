"""What a table shows of the kinds that lead traffic to pods."""

from trimtab.local.kinds.columns import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    Column,
    Columns,
    at,
    joined,
    labels_text,
    selector_cell,
    shortened,
    value_of,
)
from trimtab.local.objects import Object

_CLASS = "kubernetes.io/ingress.class"


def _cluster_ip(service: Object, _now: str) -> str:
    spec = service.get("spec") or {}
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return addresses[0] or NONE


def _external(service: Object, _now: str) -> str:
    spec = service.get("spec") or {}
    given: list[str] = spec.get("externalIPs") or []
    match spec.get("type", "ClusterIP"):
        case "ClusterIP" | "NodePort":
            return joined(given)
        case "LoadBalancer":
            found = _balancers(service)
            return joined([*found, *given]) if found or given else "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
    return UNKNOWN


def _balancers(obj: Object) -> list[str]:
    """Addresses or names of load balancers, each once."""
    points = value_of(obj, "status.loadBalancer.ingress") or []
    return sorted({point.get("ip") or point.get("hostname") for point in points} - {None, ""})


def _ports(service: Object, _now: str) -> str:
    found = []
    for port in value_of(service, "spec.ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        found.append(f"{port.get('port', 0)}{node}/{port.get('protocol', 'TCP')}")
    return joined(found)


def _endpoints(endpoints: Object, _now: str) -> str:
    subsets = endpoints.get("subsets") or []
    found: list[str] = []
    for subset in subsets:
        addresses = [a.get("ip", "") for a in subset.get("addresses") or []]
        ports = subset.get("ports") or []
        found += [_host(a, p.get("port", 0)) for p in ports for a in addresses] if ports else addresses
    return shortened(found, "" if subsets else NONE)


def _host(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _slice_ports(endpoint_slice: Object, _now: str) -> str:
    ports = endpoint_slice.get("ports") or []
    return shortened([str(p["port"] if p.get("port") is not None else p.get("name", "*")) for p in ports], UNSET)


def _slice_endpoints(endpoint_slice: Object, _now: str) -> str:
    found = [a for e in endpoint_slice.get("endpoints") or [] for a in e.get("addresses") or []]
    return shortened(found, UNSET)


def _ingress_class(ingress: Object, _now: str) -> str:
    annotated = (ingress["metadata"].get("annotations") or {}).get(_CLASS)
    return value_of(ingress, "spec.ingressClassName") or annotated or NONE


def _hosts(ingress: Object, _now: str) -> str:
    rules = value_of(ingress, "spec.rules") or []
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    more = f" + {len(rules) - 3} more..." if len(hosts) > 3 else ""
    return joined(hosts[:3], "*") + more


def _class_parameters(ingress_class: Object, _now: str) -> str:
    parameters = value_of(ingress_class, "spec.parameters")
    if not parameters:
        return NONE
    group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
    return f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"


SERVICES: Columns = (
    NAME,
    Column("Type", at("spec.type", ""), description="How the service is reached."),
    Column("Cluster-IP", _cluster_ip, description="Its address inside the cluster."),
    Column("External-IP", _external, description="Its addresses outside."),
    Column("Port(s)", _ports, description="The ports it listens on."),
    AGE,
    Column("Selector", lambda o, _: labels_text(value_of(o, "spec.selector")), priority=1),
)
ENDPOINTS: Columns = (NAME, Column("Endpoints", _endpoints), AGE)
ENDPOINT_SLICES: Columns = (
    NAME,
    Column("AddressType", at("addressType", "")),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    AGE,
)
NETWORK_POLICIES: Columns = (NAME, Column("Pod-Selector", selector_cell("spec.podSelector")), AGE)
INGRESSES: Columns = (
    NAME,
    Column("Class", _ingress_class),
    Column("Hosts", _hosts),
    Column("Address", lambda o, _: ",".join(_balancers(o))),
    Column("Ports", lambda o, _: "80, 443" if value_of(o, "spec.tls") else "80"),
    AGE,
)
INGRESS_CLASSES: Columns = (
    NAME,
    Column("Controller", at("spec.controller", "")),
    Column("Parameters", _class_parameters),
    AGE,
)
