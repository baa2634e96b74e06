"""How an object of a built-in kind reads that nobody has filled in: what a bookmark carries beside its version.

A real server writes these fields even when they hold nothing.
"""

from collections.abc import Mapping
from typing import Any

from trimtab.local.kinds.plain import NODE_INFO
from trimtab.local.objects import Object

_POD: Object = {"containers": None}
_TEMPLATE: Object = {"metadata": {}, "spec": _POD}
_UNSEEN: Object = {"firstTimestamp": None, "lastTimestamp": None, "eventTime": None}
_SET: Object = {"selector": None, "template": _TEMPLATE}
_NAMES: Object = {"plural": "", "kind": ""}
_HEALTH = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
_DAEMONS = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")

_BLANKS: Mapping[str, Object] = {
    "endpoints": {},
    "events": {
        "involvedObject": {},
        "source": {},
        **_UNSEEN,
        "reportingComponent": "",
        "reportingInstance": "",
    },
    "namespaces": {"spec": {}, "status": {}},
    "nodes": {
        "spec": {},
        "status": {
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": dict.fromkeys(NODE_INFO, ""),
        },
    },
    "persistentvolumeclaims": {"spec": {"resources": {}}, "status": {}},
    "persistentvolumes": {"spec": {}, "status": {}},
    "pods": {"spec": _POD, "status": {}},
    "podtemplates": {"template": _TEMPLATE},
    "replicationcontrollers": {"spec": {}, "status": {"replicas": 0}},
    "resourcequotas": {"spec": {}, "status": {}},
    "limitranges": {"spec": {"limits": None}},
    "services": {"spec": {}, "status": {"loadBalancer": {}}},
    "controllerrevisions.apps": {"revision": 0},
    "customresourcedefinitions.apiextensions.k8s.io": {
        "spec": {"group": "", "names": _NAMES, "scope": "", "versions": None},
        "status": {"conditions": None, "acceptedNames": _NAMES, "storedVersions": None},
    },
    "daemonsets.apps": {"spec": {**_SET, "updateStrategy": {}}, "status": dict.fromkeys(_DAEMONS, 0)},
    "deployments.apps": {"spec": {**_SET, "strategy": {}}, "status": {}},
    "replicasets.apps": {"spec": {"selector": None}, "status": {"replicas": 0}},
    "statefulsets.apps": {
        "spec": {**_SET, "serviceName": "", "updateStrategy": {}},
        "status": {"replicas": 0, "availableReplicas": 0},
    },
    "cronjobs.batch": {
        "spec": {"schedule": "", "jobTemplate": {"metadata": {}, "spec": {"template": _TEMPLATE}}},
        "status": {},
    },
    "jobs.batch": {"spec": {"template": _TEMPLATE}, "status": {}},
    "leases.coordination.k8s.io": {"spec": {}},
    "endpointslices.discovery.k8s.io": {"addressType": "", "endpoints": None, "ports": None},
    "ingresses.networking.k8s.io": {"spec": {}, "status": {"loadBalancer": {}}},
    "ingressclasses.networking.k8s.io": {"spec": {}},
    "networkpolicies.networking.k8s.io": {"spec": {}},
    "poddisruptionbudgets.policy": {"spec": {}, "status": dict.fromkeys(_HEALTH, 0)},
    "clusterroles.rbac.authorization.k8s.io": {"rules": None},
    "roles.rbac.authorization.k8s.io": {"rules": None},
    "clusterrolebindings.rbac.authorization.k8s.io": {"roleRef": {"apiGroup": "", "kind": "", "name": ""}},
    "rolebindings.rbac.authorization.k8s.io": {"roleRef": {"apiGroup": "", "kind": "", "name": ""}},
    "priorityclasses.scheduling.k8s.io": {"value": 0},
    "storageclasses.storage.k8s.io": {"provisioner": ""},
}


def blank_of(resource: str) -> dict[str, Any]:
    """The fields of an empty object, by the "plural.group" of its kind; custom kinds have none."""
    return dict(_BLANKS.get(resource, {}))
