"""Which columns a table of each built-in kind has; kinds that are not named here show name and creation."""

from collections.abc import Mapping

from trimtab.local.kinds import clustercolumns as cluster
from trimtab.local.kinds import networkcolumns as network
from trimtab.local.kinds import podcolumns as pods
from trimtab.local.kinds import workloadcolumns as workloads
from trimtab.local.kinds.columns import DEFAULT, Columns

COLUMNS: Mapping[str, Columns] = {
    "componentstatuses": cluster.COMPONENT_STATUSES,
    "configmaps": cluster.CONFIG_MAPS,
    "endpoints": network.ENDPOINTS,
    "events": cluster.EVENTS,
    "namespaces": cluster.NAMESPACES,
    "nodes": cluster.NODES,
    "persistentvolumeclaims": cluster.VOLUME_CLAIMS,
    "persistentvolumes": cluster.VOLUMES,
    "pods": pods.PODS,
    "podtemplates": pods.POD_TEMPLATES,
    "replicationcontrollers": workloads.REPLICATION_CONTROLLERS,
    "resourcequotas": cluster.RESOURCE_QUOTAS,
    "secrets": cluster.SECRETS,
    "serviceaccounts": cluster.SERVICE_ACCOUNTS,
    "services": network.SERVICES,
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": cluster.WEBHOOKS,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": cluster.WEBHOOKS,
    "controllerrevisions.apps": workloads.CONTROLLER_REVISIONS,
    "daemonsets.apps": workloads.DAEMON_SETS,
    "deployments.apps": workloads.DEPLOYMENTS,
    "replicasets.apps": workloads.REPLICA_SETS,
    "statefulsets.apps": workloads.STATEFUL_SETS,
    "horizontalpodautoscalers.autoscaling": workloads.AUTOSCALERS,
    "cronjobs.batch": workloads.CRON_JOBS,
    "jobs.batch": workloads.JOBS,
    "certificatesigningrequests.certificates.k8s.io": cluster.SIGNING_REQUESTS,
    "leases.coordination.k8s.io": cluster.LEASES,
    "endpointslices.discovery.k8s.io": network.ENDPOINT_SLICES,
    "events.events.k8s.io": cluster.EVENTS,
    "ingressclasses.networking.k8s.io": network.INGRESS_CLASSES,
    "ingresses.networking.k8s.io": network.INGRESSES,
    "networkpolicies.networking.k8s.io": network.NETWORK_POLICIES,
    "scales.autoscaling": workloads.SCALES,
    "runtimeclasses.node.k8s.io": cluster.RUNTIME_CLASSES,
    "poddisruptionbudgets.policy": workloads.BUDGETS,
    "clusterrolebindings.rbac.authorization.k8s.io": cluster.ROLE_BINDINGS,
    "rolebindings.rbac.authorization.k8s.io": cluster.ROLE_BINDINGS,
    "priorityclasses.scheduling.k8s.io": cluster.PRIORITY_CLASSES,
    "storageclasses.storage.k8s.io": cluster.STORAGE_CLASSES,
}


def columns_of(resource: str) -> Columns:
    """The columns of a kind, by its "plural.group"."""
    return COLUMNS.get(resource, DEFAULT)
