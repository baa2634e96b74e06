"""What the tests of access share: a gate on a registry with the roles of a new cluster."""

import itertools

import pytest
from multidict import CIMultiDict

from trimtab.local.access import bootstrap
from trimtab.local.access.gate import Gate
from trimtab.local.access.keys import Keys
from trimtab.local.access.policy import Policy
from trimtab.local.access.tokens import TokenIssuer

RBAC = "rbac.authorization.k8s.io"


class Cluster:
    """A registry and its gate, with the few verbs that tests need."""

    def __init__(self, registry, clock):
        bootstrap.seed(registry)
        self.registry = registry
        numbers = itertools.count(1)
        key = Keys.new(clock()).account_key
        self.tokens = TokenIssuer(key, registry.find, clock, lambda: f"jti-{next(numbers)}")
        self.gate = Gate(Policy(registry), self.tokens, "secret")

    def role(self, name, *rules, namespace="default"):
        """A role of the namespace, a cluster role without one."""
        kind = "roles" if namespace else "clusterroles"
        fields = ("apiGroups", "resources", "verbs")
        made = [{f: v.split(",") for f, v in zip(fields, rule.split("/", 2), strict=True)} for rule in rules]
        self.registry.create(f"{kind}.{RBAC}", {"metadata": {"name": name}, "rules": made}, namespace)

    def bind(self, name, role, *subjects, kind="Role", namespace="default"):
        plural = "rolebindings" if namespace else "clusterrolebindings"
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
            "subjects": [_subject(s) for s in subjects],
        }
        self.registry.create(f"{plural}.{RBAC}", binding, namespace)

    def account(self, name="robot"):
        return self.registry.create("serviceaccounts", {"metadata": {"name": name}}, "default")

    def enter(self, path, headers=(), method="GET", peer=None, query=()):
        """The name of whoever is let in with such a request."""
        return self.gate.enter(method, path, dict(query), CIMultiDict(headers), peer).name


def _subject(text):
    kind, _, name = text.partition(":")
    if kind == "ServiceAccount":
        return {"kind": kind, "name": name, "namespace": "default"}
    return {"kind": kind, "name": name, "apiGroup": RBAC}


@pytest.fixture
def cluster(registry, clock):
    return Cluster(registry, clock)
