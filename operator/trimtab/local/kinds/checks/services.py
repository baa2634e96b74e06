"""What is wrong with Services, Endpoints and EndpointSlices."""

from trimtab.local.kinds.checks.gostructs import shown
from trimtab.local.kinds.checks.values import (
    IMMUTABLE,
    cidr_errors,
    ip_errors,
    label_errors,
    port_errors,
    port_number_errors,
    protocol_errors,
    qualified_name_errors,
    special_ip_errors,
    subdomain_errors,
)
from trimtab.local.names import label_value_problems, labels_errors, subdomain_problems
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    required,
    too_many,
    unsupported,
)

HEADLESS = "None"
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_EXTERNAL = ("LoadBalancer", "NodePort")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_NODE_PORTS = "provided port is not in the valid range. The range of valid ports is 30000-32767"
_LONGEST_AFFINITY_S = 86_400


def service_errors(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    if old is not None and spec == old["spec"]:
        return []
    errors = _address_change_errors(spec, old["spec"]) if old is not None else []
    kind, headless = spec.get("type") or "", spec.get("clusterIP") == HEADLESS
    ports = spec.get("ports") or []
    if not ports and not headless and kind != "ExternalName":
        errors.append(required("spec.ports"))
    errors += _type_errors(spec, kind, headless=headless)
    errors += _ports_errors(ports)
    errors += labels_errors(spec.get("selector") or {}, "spec.selector")
    errors += _affinity_errors(spec)
    errors += _address_errors(spec, kind)
    for index, address in enumerate(spec.get("externalIPs") or []):
        at = f"spec.externalIPs[{index}]"
        errors += ip_errors(address, at) or special_ip_errors(address, at)
    if kind not in _TYPES:
        errors.append(
            unsupported("spec.type", quote(kind), [quote(t) for t in _TYPES]) if kind else required("spec.type")
        )
    errors += _node_port_errors(ports, kind)
    errors += _repeated_port_errors(ports)
    return errors + _traffic_errors(spec, kind)


def _type_errors(spec: Object, kind: str, *, headless: bool) -> list[FieldError]:
    if kind in _EXTERNAL and headless:
        return [invalid_value("spec.clusterIPs[0]", '"None"', f"may not be set to 'None' for {kind} services")]
    if kind != "ExternalName":
        return []
    text = "may not be set for ExternalName services"
    given = [name for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy") if spec.get(name)]
    errors = [forbidden_field(f"spec.{name}", text) for name in given]
    name = str(spec.get("externalName") or "").removesuffix(".")
    return errors + (subdomain_errors(name, "spec.externalName") if name else [required("spec.externalName")])


def _ports_errors(ports: list[Object]) -> list[FieldError]:
    errors = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"spec.ports[{index}]", port.get("name") or ""
        if not name and len(ports) > 1:
            errors.append(required(f"{at}.name"))
        elif name:
            errors += label_errors(name, f"{at}.name")
            errors += [duplicate(f"{at}.name", quote(name))] if name in names else []
        names.add(name)
        errors += port_number_errors(port.get("port", 0), f"{at}.port")
        errors += protocol_errors(port.get("protocol") or "", f"{at}.protocol")
        errors += port_errors(port.get("targetPort", 0), f"{at}.targetPort")
        if port.get("appProtocol") is not None:
            errors += qualified_name_errors(port["appProtocol"], f"{at}.appProtocol")
    return errors


def _affinity_errors(spec: Object) -> list[FieldError]:
    affinity, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    at = "spec.sessionAffinityConfig"
    if affinity not in ("ClientIP", "None"):
        return [unsupported("spec.sessionAffinity", quote(affinity), ['"ClientIP"', '"None"'])]
    if affinity == "None":
        text = "must not be set when session affinity is None"
        return [] if config is None else [forbidden_field(at, text)]
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if seconds is None:
        return [required(at, "when session affinity type is ClientIP")]
    if 0 < seconds <= _LONGEST_AFFINITY_S:
        return []
    text = f"must be greater than 0 and less than {_LONGEST_AFFINITY_S}"
    return [invalid_value(f"{at}.clientIP.timeoutSeconds", str(seconds), text)]


def _address_errors(spec: Object, kind: str) -> list[FieldError]:
    if kind == "ExternalName":
        return []
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    errors = []
    if spec.get("clusterIP") and spec.get("clusterIPs") and spec["clusterIPs"][0] != spec["clusterIP"]:
        text = "first value must match `clusterIP`"
        errors.append(invalid_value("spec.clusterIPs", quote(spec["clusterIPs"]), text))
    for index, address in enumerate(addresses):
        at = f"spec.clusterIPs[{index}]"
        if address == HEADLESS:
            if len(addresses) > 1:
                errors.append(
                    invalid_value("spec.clusterIPs", quote(addresses), "'None' must be the first and only value")
                )
        else:
            errors += ip_errors(address, at)
    for index, family in enumerate(spec.get("ipFamilies") or []):
        if family not in ("IPv4", "IPv6"):
            errors.append(unsupported(f"spec.ipFamilies[{index}]", quote(family), ['"IPv4"', '"IPv6"']))
    policy = spec.get("ipFamilyPolicy")
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    if policy is not None and policy not in policies:
        errors.append(unsupported("spec.ipFamilyPolicy", quote(policy), [quote(p) for p in policies]))
    return errors


def _node_port_errors(ports: list[Object], kind: str) -> list[FieldError]:
    errors = []
    taken: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        number = port.get("nodePort") or 0
        if not number:
            continue
        at = f"spec.ports[{index}].nodePort"
        if kind == "ClusterIP":
            errors.append(forbidden_field(at, "may not be used when `type` is 'ClusterIP'"))
        if kind in _EXTERNAL and not 30_000 <= number <= 32_767:
            errors.append(invalid_value(at, str(number), _NODE_PORTS))
        pair = (port.get("protocol") or "", number)
        errors += [duplicate(at, str(number))] if pair in taken else []
        taken.add(pair)
    return errors


def _repeated_port_errors(ports: list[Object]) -> list[FieldError]:
    errors = []
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        pair = (port.get("protocol") or "", port.get("port", 0))
        if pair in seen:
            key = {"protocol": pair[0], "port": pair[1]}
            errors.append(duplicate(f"spec.ports[{index}]", shown(key, "ServicePort")))
        seen.add(pair)
    return errors


def _traffic_errors(spec: Object, kind: str) -> list[FieldError]:
    errors = []
    if ranges := spec.get("loadBalancerSourceRanges"):
        at = "spec.LoadBalancerSourceRanges"
        if kind != "LoadBalancer":
            errors.append(forbidden_field(at, "may only be used when `type` is 'LoadBalancer'"))
        for index, value in enumerate(ranges):
            errors += cidr_errors(value.strip(), f"{at}[{index}]")
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        text = "may only be used when `type` is 'LoadBalancer'"
        errors.append(forbidden_field("spec.allocateLoadBalancerNodePorts", text))
    if spec.get("loadBalancerClass") is not None and kind != "LoadBalancer":
        text = "may only be used when `type` is 'LoadBalancer'"
        errors.append(forbidden_field("spec.loadBalancerClass", text))
    policy = spec.get("externalTrafficPolicy")
    at = "spec.externalTrafficPolicy"
    if policy and kind not in _EXTERNAL and not spec.get("externalIPs"):
        errors.append(invalid_value(at, quote(policy), "may only be set for externally-accessible services"))
    elif policy and policy not in ("Cluster", "Local"):
        errors.append(unsupported(at, quote(policy), ['"Cluster"', '"Local"']))
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in ("Cluster", "Local"):
        errors.append(unsupported("spec.internalTrafficPolicy", quote(internal), ['"Cluster"', '"Local"']))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        shown_ = [quote(d) for d in sorted(_DISTRIBUTIONS)]
        errors.append(unsupported("spec.trafficDistribution", quote(distribution), shown_))
    return errors


def _address_change_errors(new: Object, old: Object) -> list[FieldError]:
    if "ExternalName" in (new.get("type"), old.get("type")):
        return []
    before = old.get("clusterIPs") or ([old["clusterIP"]] if old.get("clusterIP") else [])
    after = new.get("clusterIPs") or ([new["clusterIP"]] if new.get("clusterIP") else [])
    if not before:
        return []
    if not after:
        return [invalid_value("spec.clusterIPs[0]", "null", "primary clusterIP can not be unset")]
    if after[0] == before[0]:
        return []
    return [invalid_value("spec.clusterIPs[0]", quote(after), "may not change once set")]


def endpoints_errors(new: Object, old: Object | None) -> list[FieldError]:
    if old is not None and new.get("subsets") == old.get("subsets"):
        return []
    errors = []
    for index, subset in enumerate(new.get("subsets") or []):
        at = f"subsets[{index}]"
        ready, others = subset.get("addresses") or [], subset.get("notReadyAddresses") or []
        if not ready and not others:
            errors.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for name, addresses in (("addresses", ready), ("notReadyAddresses", others)):
            for place, address in enumerate(addresses):
                errors += _endpoint_address_errors(address, f"{at}.{name}[{place}]")
        ports = subset.get("ports") or []
        for place, port in enumerate(ports):
            errors += _endpoint_port_errors(port, f"{at}.ports[{place}]", named=len(ports) > 1)
    return errors


def _endpoint_address_errors(address: Object, at: str) -> list[FieldError]:
    value = address.get("ip") or ""
    errors = ip_errors(value, f"{at}.ip")
    if address.get("hostname"):
        errors += label_errors(address["hostname"], f"{at}.hostname")
    if address.get("nodeName") is not None:
        errors += subdomain_errors(address["nodeName"], f"{at}.nodeName")
    # A real server refuses loopback addresses too, but pods have no others here.
    return errors + special_ip_errors(value, f"{at}.ip")


def _endpoint_port_errors(port: Object, at: str, *, named: bool) -> list[FieldError]:
    name = port.get("name") or ""
    errors = label_errors(name, f"{at}.name") if name else ([required(f"{at}.name")] if named else [])
    errors += port_number_errors(port.get("port", 0), f"{at}.port")
    errors += protocol_errors(port.get("protocol") or "", f"{at}.protocol")
    if port.get("appProtocol") is not None:
        errors += qualified_name_errors(port["appProtocol"], f"{at}.appProtocol")
    return errors


def slice_errors(new: Object, old: Object | None) -> list[FieldError]:
    kind = new.get("addressType") or ""
    kinds = ("FQDN", "IPv4", "IPv6")
    errors = []
    if not kind:
        errors.append(required("addressType"))
    elif kind not in kinds:
        errors.append(unsupported("addressType", quote(kind), [quote(k) for k in kinds]))
    endpoints = new.get("endpoints") or []
    if len(endpoints) > 1000:
        errors.append(too_many("endpoints", len(endpoints), 1000))
    elif old is None or endpoints != old.get("endpoints"):
        for index, endpoint in enumerate(endpoints):
            errors += _endpoint_errors(endpoint, kind, f"endpoints[{index}]")
    errors += _slice_port_errors(new.get("ports") or [])
    if old is not None and kind != old.get("addressType"):
        errors.append(invalid_value("addressType", quote(kind), IMMUTABLE))
    return errors


def _endpoint_errors(endpoint: Object, kind: str, at: str) -> list[FieldError]:
    addresses = endpoint.get("addresses") or []
    errors = []
    if not addresses:
        errors.append(required(f"{at}.addresses", "must contain at least 1 address"))
    elif len(addresses) > 100:
        errors.append(too_many(f"{at}.addresses", len(addresses), 100))
    for index, address in enumerate(addresses):
        where = f"{at}.addresses[{index}]"
        if kind in ("IPv4", "IPv6"):
            errors += ip_errors(address, where, int(kind[-1])) + special_ip_errors(address, where)
        elif kind == "FQDN":
            errors += _domain_errors(address, where)
    if endpoint.get("nodeName") is not None:
        name = endpoint["nodeName"]
        errors += [invalid_value(f"{at}.nodeName", quote(name), text) for text in subdomain_problems(name)]
    if endpoint.get("hostname") is not None:
        errors += label_errors(endpoint["hostname"], f"{at}.hostname")
    for index, zone in enumerate((endpoint.get("hints") or {}).get("forZones") or []):
        where, name = f"{at}.hints.forZones[{index}].name", zone.get("name") or ""
        errors += [invalid_value(where, quote(name), text) for text in label_value_problems(name)]
    return errors


def _domain_errors(name: str, at: str) -> list[FieldError]:
    if not name:
        return [required(at)]
    if errors := subdomain_errors(name.removesuffix("."), at):
        return errors
    enough = len(name.removesuffix(".").split(".")) > 1
    text = "should be a domain with at least two segments separated by dots"
    return [] if enough else [invalid_value(at, quote(name), text)]


def _slice_port_errors(ports: list[Object]) -> list[FieldError]:
    errors = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"ports[{index}]", port.get("name") or ""
        errors += label_errors(name, f"{at}.name") if name else []
        errors += [duplicate(f"{at}.name", quote(name))] if name in names else []
        names.add(name)
        errors += protocol_errors(port.get("protocol") or "", f"{at}.protocol")
        if port.get("appProtocol") is not None:
            errors += qualified_name_errors(port["appProtocol"], f"{at}.appProtocol")
    return errors
