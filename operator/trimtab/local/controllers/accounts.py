"""What every namespace has for its pods to reach the API: an account, and the certificate to trust."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from trimtab.local.access.podaccounts import ROOT_CERTIFICATE
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError

_ACCOUNT = "default"
_ABOUT = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using "
    "internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed "
    "across distributions of Kubernetes clusters."
}


class _PerNamespace(Controller):
    """Keeps one object of a name in every namespace that is not going away."""

    resource: str
    object_name: str

    def subscribe(self) -> None:
        """Wake a namespace for itself and for its object."""
        self.feed.subscribe("namespaces", lambda change: self.queue.add(Key("", change.object["metadata"]["name"])))
        self.feed.subscribe(self.resource, self._changed)

    def _changed(self, change: Change) -> None:
        if change.object["metadata"]["name"] == self.object_name:
            self.queue.add(Key("", change.object["metadata"]["namespace"]))

    def reconcile(self, key: Key) -> float | None:
        """Make the object, or bring it back to what it has to be."""
        namespace = self.find("namespaces", key)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return None
        found = self.find(self.resource, Key(key.name, self.object_name))
        try:
            if found is None:
                self.registry.create(self.resource, self.wanted(), key.name, manager=self.name)
            elif (restored := self.restored(found)) is not None:
                self.registry.update(self.resource, restored, manager=self.name)
        except ApiError as error:
            if error.status not in (403, 404, 409):  # the namespace goes, or somebody else was faster
                raise
        return None

    def wanted(self) -> Object:
        """The object as it is made."""
        return {"metadata": {"name": self.object_name}}

    def restored(self, found: Object) -> Object | None:  # noqa: ARG002
        """What an existing object has to become, if it is not right."""
        return None


class DefaultAccounts(_PerNamespace):
    """The service-account controller."""

    name = "serviceaccount-controller"
    resource = "serviceaccounts"
    object_name = _ACCOUNT


class RootCertificates(_PerNamespace):
    """The root-ca-certificate-publisher. `certificate` is PEM."""

    name = "root-ca-certificate-publisher-controller"
    resource = "configmaps"
    object_name = ROOT_CERTIFICATE

    def __init__(self, registry: Registry, feed: Feed, clock: Callable[[], datetime], certificate: bytes) -> None:
        super().__init__(registry, feed, clock)
        self._data = {"ca.crt": certificate.decode("ascii")}

    def wanted(self) -> Object:
        return {"metadata": {"name": ROOT_CERTIFICATE, "annotations": dict(_ABOUT)}, "data": self._data}

    def restored(self, found: Object) -> Object | None:
        return None if found.get("data") == self._data else {**found, "data": self._data}
