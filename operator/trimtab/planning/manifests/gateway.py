"""The gateway of a namespace with models: some pods of HAProxy and its agent, kept alive by the models together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from trimtab.api.base import CapacityType
from trimtab.api.names import (
    API_VERSION,
    CAPACITY_TYPE_LABEL,
    GATEWAY,
    GATEWAY_PORT,
    GATEWAY_STATS_PORT,
    GATEWAY_TLS_PORT,
    GATEWAY_TLS_SECRET,
    GROUP,
    labels,
    selector,
)
from trimtab.planning.manifests import pods
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import Owner

Manifest = dict[str, Any]
_DIRECTORY = "/var/run/trimtab/gateway"
_DIRECTORY_OPTION = f"--directory={_DIRECTORY}"
# Every request of the namespace goes through it: it should not be what a notice hits.
_RATHER_NOT_SPOT: Manifest = {
    "weight": 100,
    "preference": {
        "matchExpressions": [{"key": CAPACITY_TYPE_LABEL, "operator": "NotIn", "values": [CapacityType.SPOT.label]}]
    },
}
# One lost node should not take them all.
_RATHER_APART: Manifest = {
    "weight": 100,
    "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": selector(GATEWAY)}},
}
# HAProxy takes at most 4,000 connections with 1 GiB of buffers, and its predecessor as much while it finishes after a
# reload; the rest is the agent's, and for TLS and the tables of thousands of models. What takes more than that is at
# fault, and no node has to bear it. No limit of CPU: a gateway that is throttled makes everybody wait.
_RESOURCES: Manifest = {"requests": {"cpu": "350m", "memory": "256Mi"}, "limits": {"memory": "3Gi"}}
_SHARED_MOUNT: Manifest = {"name": "gateway", "mountPath": _DIRECTORY}
_CERTIFICATES = "/var/run/trimtab/tls"
_CERTIFICATES_MOUNT: Manifest = {"name": "tls", "mountPath": _CERTIFICATES, "readOnly": True}
# Mounting needs no right to read Secrets. It may come, change and go while the pod runs.
_CERTIFICATES_VOLUME: Manifest = {"name": "tls", "secret": {"secretName": GATEWAY_TLS_SECRET, "optional": True}}


# All models of a small namespace keep its gateway alive, of a large one some: enough that they do not all go at once.
_EVERYONE = 8
_KEEPERS = 64


def keepers(owners: Sequence[Owner], known: Collection[str]) -> tuple[Owner, ...]:
    """Return the models that are to own the gateway, given the UIDs of those that do.

    Each change of them is a write of every object of the gateway, so they change rarely: their number doubles with that
    of the models, and is made up again when half of them are gone.
    """
    enough = min(len(owners), _KEEPERS)
    kept = tuple(owner for owner in owners if owner.uid in known)
    if len(kept) >= min(enough, _EVERYONE) and 2 * len(kept) > enough:
        return kept
    others = sorted((owner for owner in owners if owner.uid not in known), key=lambda owner: owner.uid)
    return (*kept, *others)[: max(enough, len(kept))]


def gateway(namespace: str, owners: Sequence[Owner], settings: Settings) -> tuple[Manifest, ...]:
    """Return the gateway's objects, in the order in which they depend on each other."""
    meta = _metadata(namespace, owners)
    return (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": meta,
            "rules": [
                # The models say how to balance and what share each revision gets.
                {"apiGroups": [GROUP], "resources": ["optimizedmodels"], "verbs": ["get", "list", "watch"]},
                # The replicas' addresses and whether they are ready or terminating.
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["get", "list", "watch"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": GATEWAY},
            "subjects": [{"kind": "ServiceAccount", "name": GATEWAY, "namespace": namespace}],
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": meta,
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(GATEWAY)}},
        },
        _deployment(namespace, meta, settings),
    )


def _metadata(namespace: str, owners: Sequence[Owner]) -> Manifest:
    """Return metadata with its owners, so that the last one to go takes the gateway along."""
    return {
        "name": GATEWAY,
        "namespace": namespace,
        "labels": labels("gateway", GATEWAY),
        "ownerReferences": [
            {"apiVersion": API_VERSION, "kind": "OptimizedModel", "name": owner.name, "uid": owner.uid}
            for owner in sorted(owners, key=lambda owner: owner.uid)
        ],
    }


def _deployment(namespace: str, meta: Manifest, settings: Settings) -> Manifest:
    marks = labels("gateway", GATEWAY)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": settings.gateway_replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": selector(GATEWAY)},
            "template": {
                "metadata": {"labels": marks},
                "spec": {
                    "serviceAccountName": GATEWAY,
                    "terminationGracePeriodSeconds": 60,
                    "enableServiceLinks": False,  # variables named after Services would fall among our own
                    "securityContext": pods.POD_SECURITY,
                    "affinity": {
                        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [_RATHER_NOT_SPOT]},
                        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [_RATHER_APART]},
                    },
                    "containers": [_container(namespace, settings)],
                    "volumes": [{"name": "gateway", "emptyDir": {}}, _CERTIFICATES_VOLUME, pods.SCRATCH_VOLUME],
                },
            },
        },
    }


def _container(namespace: str, settings: Settings) -> Manifest:
    """Return HAProxy and its agent in one container: two would make the pod depend on both."""
    return {
        "name": "gateway",
        "image": settings.gateway_image,
        "securityContext": pods.CONTAINER_SECURITY,
        "args": [
            "gateway",
            "run",
            _DIRECTORY_OPTION,
            f"--namespace={namespace}",
            "--host=$(POD_IP)",
            f"--port={GATEWAY_PORT}",
            f"--stats-port={GATEWAY_STATS_PORT}",
            f"--gateways={settings.gateway_replicas}",
            f"--certificates={_CERTIFICATES}",
        ],
        "env": [pods.POD_IP, *pods.SCRATCH_ENV],
        "ports": [
            {"name": "http", "containerPort": GATEWAY_PORT},
            {"name": "https", "containerPort": GATEWAY_TLS_PORT},
            {"name": "stats", "containerPort": GATEWAY_STATS_PORT},
        ],
        "resources": _RESOURCES,
        "readinessProbe": {
            "httpGet": {"path": "/gateway/ready", "port": GATEWAY_PORT},  # HAProxy's own
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        # At SIGTERM HAProxy cuts what is in flight; this lets it finish first.
        "lifecycle": {"preStop": {"exec": {"command": ["trimtab", "gateway", "stop", _DIRECTORY_OPTION]}}},
        "volumeMounts": [_SHARED_MOUNT, _CERTIFICATES_MOUNT, pods.SCRATCH_MOUNT],
    }
