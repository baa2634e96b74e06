"""What every pod of ours has in common: the security that Pod Security "restricted" asks for, and scratch space."""

from __future__ import annotations

from typing import Any

from trimtab.api.base import Resources, SecretRef
from trimtab.api.names import API_VERSION, Key
from trimtab.api.serving import Accelerator

Manifest = dict[str, Any]

# Not /tmp: the path must be ours alone, as the embedded cluster finds volumes by their path.
SCRATCH = "/var/run/trimtab/scratch"
USER = 65532

POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
SCRATCH_VOLUME: Manifest = {"name": "scratch", "emptyDir": {}}
SCRATCH_MOUNT: Manifest = {"name": "scratch", "mountPath": SCRATCH}
SCRATCH_ENV: list[Manifest] = [{"name": "TMPDIR", "value": SCRATCH}, {"name": "HOME", "value": SCRATCH}]
POD_IP: Manifest = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def owned_by(model: Key, uid: str) -> Manifest:
    """Return metadata that ties an object's life to its model's."""
    return {
        "namespace": model.namespace,
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": "OptimizedModel",
                "name": model.name,
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def environment_from(secret: SecretRef | None) -> Manifest:
    """Return the container part that hands a Secret's keys over as variables, by reference."""
    return {"envFrom": [{"secretRef": {"name": secret.name}}]} if secret else {}


def resources(
    given: Resources | None, requests: dict[str, int | str], accelerator: Accelerator | None = None
) -> Manifest:
    """Return a container's resources: what the user said, else `requests`, and the devices."""
    made = given.wire() if given is not None else {"requests": dict(requests)}
    if accelerator is None:
        return made
    # Kubernetes takes no extended resource whose request and limit differ.
    devices = {accelerator.resource: str(accelerator.count)}
    return {**made, **{kind: {**made.get(kind, {}), **devices} for kind in ("limits", "requests")}}
