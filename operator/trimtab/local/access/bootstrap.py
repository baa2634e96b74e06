"""The roles and bindings that every cluster has from its start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trimtab.local.access.policy import GROUP
from trimtab.local.access.users import AUTHENTICATED, MASTERS, SERVICE_ACCOUNTS, UNAUTHENTICATED
from trimtab.local.objects import Object
from trimtab.local.registry import Registry

_READ = ("get", "list", "watch")
_CHANGE = ("create", "delete", "deletecollection", "patch", "update")
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
_MARK = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_MANAGER = "kube-apiserver"
_HEALTH = ("/healthz", "/livez", "/readyz", "/version", "/version/")

_WAYS_IN = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy")
_APPS_SCALED = ("deployments", "deployments/scale", "replicasets", "replicasets/scale")
_STATEFUL = ("statefulsets", "statefulsets/scale")


def _rule(groups: str, resources: Iterable[str], verbs: Sequence[str]) -> Object:
    """`groups` are separated by blanks; the core group is `core`."""
    named = ["" if group == "core" else group for group in groups.split()]
    return {"verbs": sorted(verbs), "apiGroups": named, "resources": sorted(resources)}


def _urls(*urls: str) -> Object:
    return {"verbs": ["get"], "nonResourceURLs": sorted(urls)}


_EDIT = [
    _rule("core", (*_WAYS_IN, "secrets", "services/proxy"), _READ),
    _rule("core", ("serviceaccounts",), ("impersonate",)),
    _rule("core", ("pods", *_WAYS_IN), _CHANGE),
    _rule("core", ("pods/eviction",), ("create",)),
    _rule(
        "core",
        (
            *("configmaps", "events", "persistentvolumeclaims", "replicationcontrollers"),
            *("replicationcontrollers/scale", "secrets", "serviceaccounts", "services", "services/proxy"),
        ),
        _CHANGE,
    ),
    _rule("core", ("serviceaccounts/token",), ("create",)),
    _rule("apps", ("daemonsets", "deployments/rollback", *_APPS_SCALED, *_STATEFUL), _CHANGE),
    _rule("autoscaling", ("horizontalpodautoscalers",), _CHANGE),
    _rule("batch", ("cronjobs", "jobs"), _CHANGE),
    _rule(
        "extensions",
        (
            *("daemonsets", "deployments/rollback", "ingresses", "networkpolicies"),
            *(*_APPS_SCALED, "replicationcontrollers/scale"),
        ),
        _CHANGE,
    ),
    _rule("policy", ("poddisruptionbudgets",), _CHANGE),
    _rule("networking.k8s.io", ("ingresses", "networkpolicies"), _CHANGE),
    _rule("coordination.k8s.io", ("leases",), (*_READ, *_CHANGE)),
    _rule("resource.k8s.io", ("resourceclaims", "resourceclaimtemplates"), _CHANGE),
]
_VIEW = [
    _rule(
        "core",
        (
            *("configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods"),
            *("replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts"),
            *("services", "services/status"),
        ),
        _READ,
    ),
    _rule(
        "core",
        (
            *("bindings", "events", "limitranges", "namespaces/status", "pods/log", "pods/status"),
            *("replicationcontrollers/status", "resourcequotas", "resourcequotas/status"),
        ),
        _READ,
    ),
    _rule("core", ("namespaces",), _READ),
    _rule("discovery.k8s.io", ("endpointslices",), _READ),
    _rule(
        "apps",
        (
            *("controllerrevisions", "daemonsets", "daemonsets/status", "deployments/status"),
            *("replicasets/status", "statefulsets/status", *_APPS_SCALED, *_STATEFUL),
        ),
        _READ,
    ),
    _rule("autoscaling", ("horizontalpodautoscalers", "horizontalpodautoscalers/status"), _READ),
    _rule("batch", ("cronjobs", "cronjobs/status", "jobs", "jobs/status"), _READ),
    _rule(
        "extensions",
        (
            *("daemonsets", "daemonsets/status", "deployments/status", "ingresses", "ingresses/status"),
            *("networkpolicies", "replicasets/status", "replicationcontrollers/scale", *_APPS_SCALED),
        ),
        _READ,
    ),
    _rule("policy", ("poddisruptionbudgets", "poddisruptionbudgets/status"), _READ),
    _rule("networking.k8s.io", ("ingresses", "ingresses/status", "networkpolicies"), _READ),
    _rule("resource.k8s.io", ("resourceclaims", "resourceclaims/status", "resourceclaimtemplates"), _READ),
]
_ADMIN = [
    _rule("authorization.k8s.io", ("localsubjectaccessreviews",), ("create",)),
    _rule(GROUP, ("rolebindings", "roles"), (*_READ, *_CHANGE)),
]

_ROLES: Mapping[str, Sequence[Object]] = {
    "cluster-admin": [
        _rule("*", ("*",), ("*",)),
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    ],
    "system:aggregate-to-admin": _ADMIN,
    "system:aggregate-to-edit": _EDIT,
    "system:aggregate-to-view": _VIEW,
    "system:auth-delegator": [
        _rule("authentication.k8s.io", ("tokenreviews",), ("create",)),
        _rule("authorization.k8s.io", ("subjectaccessreviews",), ("create",)),
    ],
    "system:basic-user": [
        _rule("authorization.k8s.io", ("selfsubjectaccessreviews", "selfsubjectrulesreviews"), ("create",)),
        _rule("authentication.k8s.io", ("selfsubjectreviews",), ("create",)),
    ],
    "system:discovery": [_urls("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH)],
    "system:monitoring": [
        _urls(*(f"{path}{more}" for path in _HEALTH[:3] for more in ("", "/*")), "/metrics", "/metrics/slis")
    ],
    "system:public-info-viewer": [_urls(*_HEALTH)],
    "system:service-account-issuer-discovery": [
        _urls(
            *("/.well-known/openid-configuration", "/.well-known/openid-configuration/"),
            *("/openid/v1/jwks", "/openid/v1/jwks/"),
        )
    ],
}
# Which roles gather the rules of others, and which of the gatherers each role is gathered by.
_GATHERERS = {"admin": "", "edit": "admin", "view": "edit"}
_GATHERED_BY = {
    "system:aggregate-to-admin": "admin",
    "system:aggregate-to-edit": "edit",
    "system:aggregate-to-view": "view",
}
_BINDINGS: Mapping[str, Sequence[str]] = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": (AUTHENTICATED,),
    "system:discovery": (AUTHENTICATED,),
    "system:monitoring": ("system:monitoring",),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
    "system:service-account-issuer-discovery": (SERVICE_ACCOUNTS,),
}


def seed(registry: Registry) -> None:
    """Create those of the roles and bindings that are not there, and give back what others have lost.

    Whoever wants one to stay as it is takes its annotation autoupdate away, as on a real server.
    """
    for name, rules in _ROLES.items():
        _ensure(registry, "clusterroles", _metadata(name, _GATHERED_BY.get(name, "")), {"rules": rules})
    for name, gathered_by in _GATHERERS.items():
        selector = {"matchLabels": {f"{_AGGREGATE}{name}": "true"}}
        gathers = {"aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": None}
        _ensure(registry, "clusterroles", _metadata(name, gathered_by), gathers)
    for name, groups in _BINDINGS.items():
        subjects = [{"kind": "Group", "apiGroup": GROUP, "name": group} for group in groups]
        role = {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}
        _ensure(registry, "clusterrolebindings", _metadata(name, ""), {"roleRef": role, "subjects": subjects})


def _metadata(name: str, gathered_by: str) -> Object:
    labels = {**_MARK, **({f"{_AGGREGATE}{gathered_by}": "true"} if gathered_by else {})}
    return {"name": name, "labels": labels, "annotations": {_AUTOUPDATE: "true"}}


def _ensure(registry: Registry, plural: str, metadata: Object, content: Object) -> None:
    resource = f"{plural}.{GROUP}"
    found = registry.find(resource, "", metadata["name"])
    if found is None:
        registry.create(resource, {"metadata": metadata, **content}, manager=_MANAGER)
    elif (found["metadata"].get("annotations") or {}).get(_AUTOUPDATE) == "true":
        lacking = _lacking(found, content)
        if lacking:
            registry.update(resource, {**found, **lacking}, manager=_MANAGER)


def _lacking(found: Object, content: Object) -> Object:
    """Lists of the content that have lost something, made whole again."""
    whole: Object = {}
    for field in ("rules", "subjects"):
        kept = found.get(field) or []
        lost = [item for item in content.get(field) or () if item not in kept]
        if lost:
            whole[field] = [*kept, *lost]
    return whole
