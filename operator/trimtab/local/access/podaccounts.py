"""The service account that a pod runs as: admission names it, and mounts its token and the cluster's CA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimtab.local.access.tokens import POD_SECONDS, Find
from trimtab.local.objects import Object
from trimtab.local.preparing import generated_name
from trimtab.local.statuses import ApiError

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ROOT_CERTIFICATE = "kube-root-ca.crt"
_DEFAULT = "default"
_VOLUME = "kube-api-access-"


class PodAccounts:
    """Admission of pods. `ids` makes unique identifiers."""

    def __init__(self, find: Find, ids: Callable[[], str]) -> None:
        self._find = find
        self._ids = ids

    def admit(self, pod: Object) -> None:
        """Complete a new pod, in place. Raises ApiError 403 where its account is not there."""
        spec, namespace = pod["spec"], pod["metadata"]["namespace"]
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or _DEFAULT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = self._find("serviceaccounts", namespace, name)
        if account is None:
            # Every namespace is about to have its default account, and a pod's token is asked for later.
            if name != _DEFAULT:
                raise _missing(pod, namespace, name)
            account = {}
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = list(account["imagePullSecrets"])
        wanted = spec.get("automountServiceAccountToken")
        if wanted is None:
            wanted = account.get("automountServiceAccountToken")
        if wanted is not False:
            self._mount(spec)

    def _mount(self, spec: Object) -> None:
        volume = next((v["name"] for v in spec.get("volumes") or () if v["name"].startswith(_VOLUME)), None)
        name = volume or generated_name(_VOLUME, self._ids())
        mounted = False
        for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT for mount in mounts):
                continue
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT}]
            mounted = True
        if mounted and volume is None:
            spec["volumes"] = [*(spec.get("volumes") or ()), _volume(name)]


def _volume(name: str) -> dict[str, Any]:
    certificate = {"name": ROOT_CERTIFICATE, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": POD_SECONDS, "path": "token"}},
        {"configMap": certificate},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 420}}


def _missing(pod: Object, namespace: str, name: str) -> ApiError:
    named = pod["metadata"].get("name", "")
    text = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
    details = {"name": named, "kind": "pods"} if named else {"kind": "pods"}
    return ApiError(403, "Forbidden", f'pods "{named}" is forbidden: {text}', details)
