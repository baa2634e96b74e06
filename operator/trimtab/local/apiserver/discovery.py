"""Discovery: which groups, versions and kinds are served, in the legacy and the aggregated form."""

from collections.abc import Iterable

from trimtab.local.objects import Object
from trimtab.local.resources import Resource, Subresource, group_version, version_rank

# Groups as a real server orders them; custom ones follow by name.
_GROUPS = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def api_versions(address: str) -> Object:
    """GET /api."""
    served = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": served}


def group_list(resources: Iterable[Resource]) -> Object:
    """GET /apis."""
    groups = [_group(name, versions) for name, versions in _versions(resources).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(resources: Iterable[Resource], name: str) -> Object | None:
    """GET /apis/GROUP."""
    versions = _versions(resources).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resource_list(resources: Iterable[Resource], group_name: str, version: str) -> Object | None:
    """GET /api/v1 and /apis/GROUP/VERSION."""
    found = [r for r in resources if r.group == group_name and version in r.versions]
    if not found:
        return None
    listed = [entry for r in sorted(found, key=lambda r: r.plural) for entry in _entries(r, version)]
    head: Object = {"kind": "APIResourceList"}
    if group_name:
        head["apiVersion"] = "v1"
    return {**head, "groupVersion": group_version(group_name, version), "resources": listed}


def aggregated(resources: Iterable[Resource], *, core: bool) -> Object:
    """GET /api or /apis as one APIGroupDiscoveryList."""
    resources = list(resources)
    items = []
    for name, versions in _versions(resources).items():
        if (name == "") is not core:
            continue
        listed = []
        for version in versions:
            kinds = sorted((r for r in resources if r.group == name and version in r.versions), key=_plural)
            entries = [_aggregated_entry(r, version) for r in kinds]
            listed.append({"version": version, "resources": entries, "freshness": "Current"})
        items.append({"metadata": {"name": name} if name else {}, "versions": listed})
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
    return {**head, "items": items}


def _plural(resource: Resource) -> str:
    return resource.plural


def _versions(resources: Iterable[Resource]) -> dict[str, list[str]]:
    """Versions of every group, the preferred one first."""
    found: dict[str, list[str]] = {}
    custom = set()
    for resource in resources:
        versions = found.setdefault(resource.group, [])
        versions.extend(v for v in resource.versions if v not in versions)
        if resource.custom:
            custom.add(resource.group)
    for group_name in custom:
        found[group_name].sort(key=version_rank, reverse=True)
    ranks = {name: rank for rank, name in enumerate(_GROUPS)}
    return {name: found[name] for name in sorted(found, key=lambda name: (ranks.get(name, len(ranks)), name))}


def _group(name: str, versions: list[str]) -> Object:
    shown = [{"groupVersion": group_version(name, v), "version": v} for v in versions]
    return {"name": name, "versions": shown, "preferredVersion": shown[0]}


def _verbs(resource: Resource) -> list[str]:
    return list(_CUSTOM_VERBS if resource.custom else resource.verbs)


def _entries(resource: Resource, version: str) -> list[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    return [entry, *(_subentry(resource, sub) for sub in _ordered(resource, version))]


def _ordered(resource: Resource, version: str) -> list[Subresource]:
    """Subresources of built-in kinds by name, those of custom ones as they are declared."""
    found = list(resource.subresources_in(version))
    return found if resource.custom else sorted(found, key=lambda sub: sub.name)


def _subentry(resource: Resource, sub: Subresource) -> Object:
    entry: Object = {
        "name": f"{resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if sub.group:
        entry |= {"group": sub.group, "version": sub.version}
    return {**entry, "kind": sub.kind, "verbs": list(sub.verbs)}


def _aggregated_entry(resource: Resource, version: str) -> Object:
    own = (resource.group, version) if resource.custom else ("", "")
    entry: Object = {
        "resource": resource.plural,
        "responseKind": _kind(*own, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    below = [
        {
            "subresource": sub.name,
            "responseKind": _kind(*((sub.group, sub.version) if sub.group else own), sub.kind),
            "verbs": list(sub.verbs),
        }
        for sub in _ordered(resource, version)
    ]
    return {**entry, "subresources": below} if below else entry


def _kind(group_name: str, version: str, kind: str) -> Object:
    return {"group": group_name, "version": version, "kind": kind}
