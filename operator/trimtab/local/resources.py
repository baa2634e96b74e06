"""Which kinds the API serves by itself: their names, scope and subresources."""

import re
from dataclasses import dataclass, field

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A path below an object, such as pods/log; kind and group say what travels there."""

    name: str
    kind: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind that the API serves.

    Attributes:
        versions: served versions, the preferred one first.
        schema: name of its type in the table of types; empty for custom resources.
        generation: whether metadata.generation counts changes of the spec.
        by_version: the subresources of each version, where versions differ; `subresources` has them all.
    """

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _ALL
    subresources: tuple[Subresource, ...] = ()
    schema: str = ""
    generation: bool = False
    singular: str = ""
    list_kind: str = ""
    custom: bool = False
    storage_version: str = field(default="")
    by_version: tuple[tuple[str, tuple[Subresource, ...]], ...] = ()

    @property
    def key(self) -> str:
        """The plural name, with the group behind a dot where there is one."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def version(self) -> str:
        """The version objects are kept in."""
        return self.storage_version or self.versions[0]

    @property
    def api_version(self) -> str:
        return group_version(self.group, self.version)

    @property
    def list_name(self) -> str:
        return self.list_kind or f"{self.kind}List"

    def subresources_in(self, version: str) -> tuple[Subresource, ...]:
        return dict(self.by_version).get(version, self.subresources)

    def subresource(self, name: str, version: str = "") -> Subresource | None:
        return next((s for s in self.subresources_in(version) if s.name == name), None)


def version_rank(version: str) -> tuple[int, int, int]:
    """Order of versions: stable above beta above alpha, newer above older; other names below them all."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (-1, 0, 0)
    major, stage, minor = match.groups()
    return ({None: 2, "beta": 1, "alpha": 0}[stage], int(major), int(minor or 0))


def group_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def _status(kind: str) -> tuple[Subresource, ...]:
    return (Subresource("status", kind),)


def _scale() -> Subresource:
    return Subresource("scale", "Scale", group="autoscaling", version="v1")


def _core(plural: str, kind: str, *short: str, subresources: tuple[Subresource, ...] = (), **more: object) -> Resource:
    return _kind("", plural, kind, *short, subresources=subresources, **more)


def _kind(
    group: str, plural: str, kind: str, *short: str, subresources: tuple[Subresource, ...] = (), **more: object
) -> Resource:
    fields: dict[str, object] = {"schema": kind, "singular": kind.lower(), "versions": ("v1",), **more}
    return Resource(
        group=group,
        plural=plural,
        kind=kind,
        short_names=short,
        subresources=subresources,
        **fields,  # type: ignore[arg-type]
    )


def _review(group: str, kind: str, *, namespaced: bool = False) -> Resource:
    """A question that is answered and never stored."""
    return _kind(group, f"{kind.lower()}s", kind, namespaced=namespaced, verbs=("create",))


_CONNECT = ("create", "get")
_PROXY = ("create", "delete", "get", "patch", "update")
_EVERYTHING = ("all",)

BUILT_IN: tuple[Resource, ...] = (
    _core("bindings", "Binding", verbs=("create",)),
    _core("configmaps", "ConfigMap", "cm"),
    _core("endpoints", "Endpoints", "ep", singular="endpoints"),
    _core("events", "Event", "ev"),
    _core(
        "namespaces",
        "Namespace",
        "ns",
        namespaced=False,
        verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
        subresources=(Subresource("finalize", "Namespace", ("update",)), *_status("Namespace")),
    ),
    _core("nodes", "Node", "no", namespaced=False, subresources=_status("Node")),
    _core(
        "pods",
        "Pod",
        "po",
        categories=_EVERYTHING,
        generation=True,
        subresources=(
            Subresource("attach", "PodAttachOptions", _CONNECT),
            Subresource("binding", "Binding", ("create",)),
            Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
            Subresource("exec", "PodExecOptions", _CONNECT),
            Subresource("log", "Pod", ("get",)),
            Subresource("portforward", "PodPortForwardOptions", _CONNECT),
            Subresource("proxy", "PodProxyOptions", _PROXY),
            *_status("Pod"),
        ),
    ),
    _core("secrets", "Secret"),
    _core(
        "serviceaccounts",
        "ServiceAccount",
        "sa",
        subresources=(Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),),
    ),
    _core(
        "services",
        "Service",
        "svc",
        categories=_EVERYTHING,
        subresources=(Subresource("proxy", "ServiceProxyOptions", _PROXY), *_status("Service")),
    ),
    _kind("apps", "controllerrevisions", "ControllerRevision"),
    _kind(
        "apps",
        "daemonsets",
        "DaemonSet",
        "ds",
        categories=_EVERYTHING,
        generation=True,
        subresources=_status("DaemonSet"),
    ),
    _kind(
        "apps",
        "deployments",
        "Deployment",
        "deploy",
        categories=_EVERYTHING,
        generation=True,
        subresources=(_scale(), *_status("Deployment")),
    ),
    _kind(
        "apps",
        "replicasets",
        "ReplicaSet",
        "rs",
        categories=_EVERYTHING,
        generation=True,
        subresources=(_scale(), *_status("ReplicaSet")),
    ),
    _kind(
        "apps",
        "statefulsets",
        "StatefulSet",
        "sts",
        categories=_EVERYTHING,
        generation=True,
        subresources=(_scale(), *_status("StatefulSet")),
    ),
    _kind(
        "batch", "cronjobs", "CronJob", "cj", categories=_EVERYTHING, generation=True, subresources=_status("CronJob")
    ),
    _kind("batch", "jobs", "Job", categories=_EVERYTHING, generation=True, subresources=_status("Job")),
    _kind("coordination.k8s.io", "leases", "Lease"),
    _kind("discovery.k8s.io", "endpointslices", "EndpointSlice", generation=True),
    _kind("events.k8s.io", "events", "Event", "ev", schema="events.Event"),
    _kind(
        "policy",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "pdb",
        generation=True,
        subresources=_status("PodDisruptionBudget"),
    ),
    _kind("networking.k8s.io", "networkpolicies", "NetworkPolicy", "netpol", generation=True),
    _kind("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", namespaced=False),
    _kind("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    _kind("rbac.authorization.k8s.io", "roles", "Role"),
    _kind("rbac.authorization.k8s.io", "rolebindings", "RoleBinding"),
    _kind("scheduling.k8s.io", "priorityclasses", "PriorityClass", "pc", namespaced=False, generation=True),
    _kind("storage.k8s.io", "storageclasses", "StorageClass", "sc", namespaced=False),
    _kind(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd",
        "crds",
        categories=("api-extensions",),
        namespaced=False,
        generation=True,
        subresources=_status("CustomResourceDefinition"),
    ),
    _review("authentication.k8s.io", "SelfSubjectReview"),
    _review("authentication.k8s.io", "TokenReview"),
    _review("authorization.k8s.io", "LocalSubjectAccessReview", namespaced=True),
    _review("authorization.k8s.io", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "SelfSubjectRulesReview"),
    _review("authorization.k8s.io", "SubjectAccessReview"),
)
