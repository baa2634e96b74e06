"""Which rules hold for which built-in kind."""

from trimtab.local.kinds import definitions, plain, pods, services, sets, workloads
from trimtab.local.kinds.rules import RuleTable

RULES: RuleTable = {
    "configmaps": plain.CONFIG_MAP,
    "endpoints": plain.ENDPOINTS,
    "events": plain.EVENT,
    "namespaces": plain.NAMESPACE,
    "nodes": plain.NODE,
    "pods": pods.POD,
    "secrets": plain.SECRET,
    "serviceaccounts": plain.SERVICE_ACCOUNT,
    "services": services.SERVICE,
    "controllerrevisions.apps": sets.REVISION,
    "daemonsets.apps": sets.DAEMON_SET,
    "deployments.apps": workloads.DEPLOYMENT,
    "replicasets.apps": workloads.REPLICA_SET,
    "statefulsets.apps": sets.STATEFUL_SET,
    "cronjobs.batch": sets.CRON_JOB,
    "jobs.batch": workloads.JOB,
    "leases.coordination.k8s.io": plain.LEASE,
    "endpointslices.discovery.k8s.io": plain.ENDPOINT_SLICE,
    "networkpolicies.networking.k8s.io": plain.NETWORK_POLICY,
    "poddisruptionbudgets.policy": plain.BUDGET,
    "clusterroles.rbac.authorization.k8s.io": plain.ROLE,
    "roles.rbac.authorization.k8s.io": plain.ROLE,
    "clusterrolebindings.rbac.authorization.k8s.io": plain.ROLE_BINDING,
    "rolebindings.rbac.authorization.k8s.io": plain.ROLE_BINDING,
    "customresourcedefinitions.apiextensions.k8s.io": definitions.DEFINITION,
    "storageclasses.storage.k8s.io": plain.STORAGE_CLASS,
    "priorityclasses.scheduling.k8s.io": plain.PRIORITY_CLASS,
}
