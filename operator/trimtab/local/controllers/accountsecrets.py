"""Secrets that hold a service account's token without an end, as older set-ups use them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime

from trimtab.local.access.tokens import Bound, TokenIssuer
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object
from trimtab.local.registry import Registry

_TYPE = "kubernetes.io/service-account-token"
_NAME = "kubernetes.io/service-account.name"
_UID = "kubernetes.io/service-account.uid"


class AccountSecrets(Controller):
    """The tokens controller: fills such Secrets, and takes those whose account is gone."""

    name = "tokens-controller"

    def __init__(
        self,
        registry: Registry,
        feed: Feed,
        clock: Callable[[], datetime],
        tokens: TokenIssuer,
        certificate: bytes,
    ) -> None:
        super().__init__(registry, feed, clock)
        self._tokens = tokens
        self._certificate = certificate

    def subscribe(self) -> None:
        """Wake a Secret for itself and for its account."""
        self.feed.subscribe("secrets", self._secret_changed)
        self.feed.subscribe("serviceaccounts", self._account_changed)

    def _secret_changed(self, change: Change) -> None:
        if change.object.get("type") == _TYPE:
            self._wake(change.object)

    def _account_changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        for secret in self.registry.list("secrets", metadata["namespace"])[0]:
            if secret.get("type") == _TYPE and _account_name(secret) == metadata["name"]:
                self._wake(secret)

    def _wake(self, secret: Object) -> None:
        self.queue.add(Key(secret["metadata"]["namespace"], secret["metadata"]["name"]))

    def reconcile(self, key: Key) -> float | None:
        """Fill in what is missing, or remove a Secret of no account."""
        secret = self.find("secrets", key)
        if secret is None or secret.get("type") != _TYPE or secret["metadata"].get("deletionTimestamp"):
            return None
        account = self.find("serviceaccounts", Key(key.namespace, _account_name(secret)))
        metadata = secret["metadata"]
        known = metadata["annotations"].get(_UID)
        if account is None or (known and known != account["metadata"]["uid"]):
            self.drop("secrets", secret)
            return None
        data = secret.get("data") or {}
        wanted = {"ca.crt": _encoded(self._certificate), "namespace": _encoded(key.namespace.encode())}
        if not data.get("token"):
            token = self._tokens.issue(account, None, bound=Bound("Secret", key.name, metadata["uid"]))
            wanted["token"] = _encoded(token.encode())
        annotations = {**metadata["annotations"], _UID: account["metadata"]["uid"]}
        filled = {**secret, "metadata": {**metadata, "annotations": annotations}, "data": {**data, **wanted}}
        if filled != secret:
            self.registry.update("secrets", filled, manager=self.name)
        return None


def _account_name(secret: Object) -> str:
    return str((secret["metadata"].get("annotations") or {}).get(_NAME, ""))


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
