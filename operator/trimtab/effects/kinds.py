"""The kinds of object that we read or write, and where the API server keeps them."""

from __future__ import annotations

from typing import Any, NamedTuple

from trimtab.api.names import API_VERSION


class Kind(NamedTuple):
    """A resource type: where it lives in the API."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection, an object or one of its subresources."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


MODELS = Kind(API_VERSION, "OptimizedModel", "optimizedmodels")
POOLS = Kind(API_VERSION, "CapacityPool", "capacitypools", namespaced=False)
DEPLOYMENTS = Kind("apps/v1", "Deployment", "deployments")
DAEMON_SETS = Kind("apps/v1", "DaemonSet", "daemonsets")
JOBS = Kind("batch/v1", "Job", "jobs")
PODS = Kind("v1", "Pod", "pods")
SERVICES = Kind("v1", "Service", "services")
NODES = Kind("v1", "Node", "nodes", namespaced=False)
NAMESPACES = Kind("v1", "Namespace", "namespaces", namespaced=False)
EVENTS = Kind("v1", "Event", "events")
SECRETS = Kind("v1", "Secret", "secrets")
SERVICE_ACCOUNTS = Kind("v1", "ServiceAccount", "serviceaccounts")
ROLES = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTER_ROLES = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDINGS = Kind(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
NETWORK_POLICIES = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
BUDGETS = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
ENDPOINT_SLICES = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
CRDS = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases")
NODE_GROUPS = Kind("local.trimtab.dev/v1", "NodeGroup", "nodegroups", namespaced=False)
NODE_POOLS = Kind("karpenter.sh/v1", "NodePool", "nodepools", namespaced=False)
NODE_CLAIMS = Kind("karpenter.sh/v1", "NodeClaim", "nodeclaims", namespaced=False)

_ALL = [value for value in list(globals().values()) if isinstance(value, Kind)]
_BY_TYPE = {(kind.api_version, kind.kind): kind for kind in _ALL}


def kind_of(manifest: dict[str, Any]) -> Kind:
    """Return the kind of a manifest.

    Raises:
        KeyError: We have no business with that kind.
    """
    return _BY_TYPE[manifest["apiVersion"], manifest["kind"]]
