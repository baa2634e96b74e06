"""Names, labels and annotations: how the parts recognise each other's objects."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

GROUP = "trimtab.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "trimtab"

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "trimtab"
COMPONENT_LABEL = "app.kubernetes.io/component"
MODEL_LABEL = f"{GROUP}/model"
REVISION_LABEL = f"{GROUP}/revision"
RUN_LABEL = f"{GROUP}/run"
# On each object of ours: what it was made from, as a hash. Fields that it no longer has are seen by it alone.
MADE_FROM_ANNOTATION = f"{GROUP}/made-from"
# Half of every selector: selectors are immutable, so nothing a user may change belongs in them.
WORKLOAD_LABEL = f"{GROUP}/workload"
CAPACITY_TYPE_LABEL = f"{GROUP}/capacity-type"
POOL_LABEL = f"{GROUP}/pool"
# On nodes that a message announced the loss of; the annotation has the time in RFC 3339.
INTERRUPTED_TAINT = f"{GROUP}/interrupted"
LEAVES_AT_ANNOTATION = f"{GROUP}/leaves-at"
# On empty nodes that are about to be given back, so that no pod comes in between.
SURPLUS_TAINT = f"{GROUP}/surplus"
ZONE_LABEL = "topology.kubernetes.io/zone"
HOST_LABEL = "kubernetes.io/hostname"
# Kubernetes puts these on the pods of Jobs.
COMPLETION_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
JOB_UID_LABEL = "batch.kubernetes.io/controller-uid"

# On a node that is emptied because its replicas have room elsewhere.
CONSOLIDATION_TAINT = f"{GROUP}/consolidation"

GATEWAY = "trimtab-gateway"
SERVE_PORT = 8080
SERVE_GRPC_PORT = 8001
GATEWAY_PORT = 8080
GATEWAY_TLS_PORT = 8443
GATEWAY_STATS_PORT = 8090
# Who makes a Secret of this name, of type kubernetes.io/tls, in a namespace with models has its gateway speak TLS, too.
GATEWAY_TLS_SECRET = "trimtab-gateway-tls"  # noqa: S105 - its name, not what is in it
TLS_CERTIFICATE, TLS_KEY = "tls.crt", "tls.key"

# A DNS label is at most 63 characters; the longest suffix we add is `-<8 hex>-spot-<10>-<5>` on pods.
MODEL_NAME_MAX = 40


class Key(NamedTuple):
    """Identifies one OptimizedModel."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, body: Any) -> Key:
        """Return the key of an OptimizedModel's body."""
        meta = body["metadata"]
        return cls(meta["namespace"], meta["name"])

    @classmethod
    def owner_of(cls, body: Any) -> Key | None:
        """Return the key of the model that a labelled child belongs to."""
        meta = body["metadata"]
        name = (meta.get("labels") or {}).get(MODEL_LABEL)
        return cls(meta["namespace"], name) if name else None


def short_hash(*parts: str) -> str:
    """Return 8 hex digits that change when any part does; parts cannot run into each other."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:8]


def run_name(model: str, key: str) -> str:
    return f"{model}-run-{key}"


def revision_name(model: str, revision: str) -> str:
    return f"{model}-{revision}"


def labels(component: str, workload: str, **more: str) -> dict[str, str]:
    """Return the labels of an object of ours; keys in `more` are `model`, `revision`, `run`."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        COMPONENT_LABEL: component,
        WORKLOAD_LABEL: workload,
        **{f"{GROUP}/{name}": value for name, value in more.items()},
    }


def selector(workload: str) -> dict[str, str]:
    """Return the two fixed labels that select the pods of one workload."""
    return {MANAGED_BY_LABEL: MANAGED_BY, WORKLOAD_LABEL: workload}
