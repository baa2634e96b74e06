"""What is wrong with PodDisruptionBudgets, NetworkPolicies, roles and their bindings, and Events."""

import ipaddress

from trimtab.local.kinds.checks.gostructs import shown
from trimtab.local.kinds.checks.values import (
    at_most_everything_errors,
    count_errors,
    percent_or_count_errors,
    port_errors,
    qualified_name_errors,
    selector_errors,
)
from trimtab.local.names import path_segment_problems, subdomain_problems
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required, unsupported

_EVICTION = ("AlwaysAllow", "IfHealthyBudget")
_DIRECTIONS = ("Ingress", "Egress")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_RBAC = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")
_BUDGET_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
_EVENT_LIMIT = 128


def budget_errors(new: Object, _old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    errors = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        errors.append(invalid_value("spec", shown(spec, "PodDisruptionBudgetSpec"), text))
    for name in ("minAvailable", "maxUnavailable"):
        if spec.get(name) is not None:
            errors += percent_or_count_errors(spec[name], f"spec.{name}")
            errors += at_most_everything_errors(spec[name], f"spec.{name}")
    errors += selector_errors(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _EVICTION:
        errors.append(unsupported("spec.unhealthyPodEvictionPolicy", quote(policy), [quote(p) for p in _EVICTION]))
    return errors


def budget_status_errors(new: Object, _old: Object) -> list[FieldError]:
    return count_errors(new.get("status") or {}, "status", *_BUDGET_COUNTS)


def network_policy_errors(new: Object, _old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    errors = selector_errors(spec.get("podSelector") or {}, "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or []):
            at = f"spec.{direction}[{index}]"
            for place, port in enumerate(rule.get("ports") or []):
                errors += _policy_port_errors(port, f"{at}.ports[{place}]")
            for place, peer in enumerate(rule.get(peers) or []):
                errors += _peer_errors(peer, f"{at}.{peers}[{place}]")
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        text = "may not specify more than two policyTypes"
        return [*errors, invalid_value("spec.policyTypes", quote(types), text)]
    for index, kind in enumerate(types):
        if kind not in _DIRECTIONS:
            errors.append(unsupported(f"spec.policyTypes[{index}]", quote(kind), [quote(d) for d in _DIRECTIONS]))
    return errors


def _policy_port_errors(port: Object, at: str) -> list[FieldError]:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    errors = []
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.append(unsupported(f"{at}.protocol", quote(protocol), [quote(p) for p in _PROTOCOLS]))
    if number is not None:
        errors += port_errors(number, f"{at}.port")
    if end is None:
        return errors
    if number is None:
        errors.append(required(f"{at}.port", "may not be specified when `port` is not specified"))
    elif isinstance(number, str):
        text = "may not be specified when `port` is non-numeric"
        errors.append(invalid_value(f"{at}.endPort", str(end), text))
    elif end < number:
        text = "must be greater than or equal to `port`"
        errors.append(invalid_value(f"{at}.endPort", str(end), text))
    return errors


def _peer_errors(peer: Object, at: str) -> list[FieldError]:
    given = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(name) is not None]
    errors = [e for name in given if name != "ipBlock" for e in selector_errors(peer[name], f"{at}.{name}")]
    if "ipBlock" in given:
        errors += _block_errors(peer["ipBlock"], f"{at}.ipBlock")
    if not given:
        errors.append(required(at, "must specify a peer"))
    elif len(given) > 1 and "ipBlock" in given:
        errors.append(forbidden_field(at, "may not specify both ipBlock and another peer"))
    return errors


def _block_errors(block: Object, at: str) -> list[FieldError]:
    text = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    cidr = block.get("cidr") or ""
    if not cidr:
        return [required(f"{at}.cidr")]
    network = _network(cidr)
    if network is None:
        return [invalid_value(f"{at}.cidr", quote(cidr), text)]
    errors: list[FieldError] = []
    for index, value in enumerate(block.get("except") or []):
        where = f"{at}.except[{index}]"
        inner = _network(value)
        if inner is None:
            return [*errors, invalid_value(where, quote(value), text)]
        inside = inner.version == network.version and inner.network_address in network
        if not inside or inner.prefixlen <= network.prefixlen:
            text_inside = f"must be a strict subset of `cidr`: {quote(cidr)}"
            errors.append(invalid_value(where, quote(value), text_inside))
    return errors


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def role_errors(new: Object, _old: Object | None) -> list[FieldError]:
    namespaced = new.get("kind") == "Role"
    errors = []
    for index, rule in enumerate(new.get("rules") or []):
        errors += _rule_errors(rule, f"rules[{index}]", namespaced=namespaced)
    for index, selector in enumerate((new.get("aggregationRule") or {}).get("clusterRoleSelectors") or []):
        errors += selector_errors(selector, f"aggregationRule.clusterRoleSelectors[{index}]")
    return errors


def _rule_errors(rule: Object, at: str, *, namespaced: bool) -> list[FieldError]:
    errors = [] if rule.get("verbs") else [required(f"{at}.verbs", "verbs must contain at least one value")]
    if urls := rule.get("nonResourceURLs"):
        where = f"{at}.nonResourceURLs"
        if namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            errors.append(invalid_value(where, quote(urls), text))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(invalid_value(where, quote(urls), text))
        return errors
    if not rule.get("apiGroups"):
        errors.append(required(f"{at}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(required(f"{at}.resources", "resource rules must supply at least one resource"))
    return errors


def binding_errors(new: Object, old: Object | None) -> list[FieldError]:
    reference = new.get("roleRef") or {}
    namespaced = new.get("kind") == "RoleBinding"
    errors = []
    if reference.get("apiGroup") != _RBAC:
        errors.append(unsupported("roleRef.apiGroup", quote(reference.get("apiGroup") or ""), [quote(_RBAC)]))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if reference.get("kind") not in kinds:
        shown_kinds = [quote(kind) for kind in kinds]
        errors.append(unsupported("roleRef.kind", quote(reference.get("kind") or ""), shown_kinds))
    name = reference.get("name") or ""
    if not name:
        errors.append(required("roleRef.name"))
    else:
        errors += [invalid_value("roleRef.name", quote(name), text) for text in path_segment_problems(name)]
    for index, subject in enumerate(new.get("subjects") or []):
        errors += _subject_errors(subject, f"subjects[{index}]", namespaced=namespaced)
    if old is not None and reference != old.get("roleRef"):
        errors.append(invalid_value("roleRef", shown(reference, "RoleRef"), "cannot change roleRef"))
    return errors


def _subject_errors(subject: Object, at: str, *, namespaced: bool) -> list[FieldError]:
    name, kind, group = subject.get("name") or "", subject.get("kind") or "", subject.get("apiGroup") or ""
    errors = [] if name else [required(f"{at}.name")]
    if kind == "ServiceAccount":
        if name:
            errors += [invalid_value(f"{at}.name", quote(name), text) for text in subdomain_problems(name)]
        if group:
            errors.append(unsupported(f"{at}.apiGroup", quote(group), ['""']))
        if not namespaced and not subject.get("namespace"):
            errors.append(required(f"{at}.namespace"))
    elif kind in ("User", "Group"):
        if group != _RBAC:
            errors.append(unsupported(f"{at}.apiGroup", quote(group), [quote(_RBAC)]))
    else:
        errors.append(unsupported(f"{at}.kind", quote(kind), [quote(s) for s in _SUBJECTS]))
    return errors


def event_errors(new: Object, _old: Object | None) -> list[FieldError]:
    involved = (new.get("involvedObject") or {}).get("namespace") or ""
    namespace = new["metadata"].get("namespace") or ""
    mismatch = [invalid_value("involvedObject.namespace", quote(involved), "does not match event.namespace")]
    if not new.get("eventTime"):
        fits = namespace == involved or (not involved and namespace == "default")
        return [] if fits else mismatch
    errors = mismatch if not involved and namespace not in ("default", "kube-system") else []
    controller = new.get("reportingComponent") or ""
    if not controller:
        errors.append(required("reportingController"))
    errors += qualified_name_errors(controller, "reportingController")
    for name in ("reportingInstance", "action", "reason"):
        value = new.get(name) or ""
        if not value:
            errors.append(required(name))
        if len(value.encode()) > _EVENT_LIMIT:
            errors.append(invalid_value(name, '""', f"can have at most {_EVENT_LIMIT} characters"))
    if len((new.get("message") or "").encode()) > 1024:
        errors.append(invalid_value("message", '""', "can have at most 1024 characters"))
    return errors
