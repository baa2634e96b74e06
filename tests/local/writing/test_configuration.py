"""ConfigMaps, Secrets, Namespaces, Nodes, policies, roles, leases and events: what they may be and become."""

import base64

import pytest

pytestmark = pytest.mark.integration

RBAC = "/apis/rbac.authorization.k8s.io/v1"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
FROZEN = "Forbidden: field is immutable when `immutable` is set"


def named(**fields):
    return {"metadata": {"name": "a"}, **fields}


def encoded(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("path", "obj", "wrong"),
    [
        ("configmaps", named(data={"a b": ""}), [f'data[a b]: Invalid value: "a b": {KEY}']),
        (
            "configmaps",
            named(data={"a": ""}, binaryData={"a": ""}),
            ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
        ),
        ("configmaps", named(data={"a": "x" * (1 << 20), "b": "x"}), ["Too long: may not be more than 1048576 bytes"]),
        ("secrets", named(data={"a/b": ""}), [f'data[a/b]: Invalid value: "a/b": {KEY}']),
        (
            "secrets",
            named(type="kubernetes.io/tls", data={"tls.crt": ""}),
            ["data[tls.key]: Required value"],
        ),
        (
            "secrets",
            named(type="kubernetes.io/basic-auth"),
            ["data[username]: Required value", "data[password]: Required value"],
        ),
        ("secrets", named(type="kubernetes.io/ssh-auth"), ["data[ssh-privatekey]: Required value"]),
        ("secrets", named(type="kubernetes.io/dockerconfigjson"), ["data[.dockerconfigjson]: Required value"]),
        (
            "secrets",
            named(type="kubernetes.io/service-account-token"),
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        (
            BUDGETS,
            named(spec={"minAvailable": 1, "maxUnavailable": 1, "selector": {}}),
            ["minAvailable and maxUnavailable cannot be both set"],
        ),
        (BUDGETS, named(spec={"minAvailable": "120%"}), ["must not be greater than 100%"]),
        (
            LEASES,
            named(spec={"leaseDurationSeconds": 0}),
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            POLICIES,
            named(spec={"podSelector": {}, "ingress": [{"from": [{}]}]}),
            ["spec.ingress[0].from[0]: Required value: must specify a peer"],
        ),
        (
            POLICIES,
            named(spec={"podSelector": {}, "policyTypes": ["Maybe"]}),
            ['spec.policyTypes[0]: Unsupported value: "Maybe": supported values: "Ingress", "Egress"'],
        ),
        (
            f"{RBAC}/namespaces/default/roles",
            named(rules=[{"apiGroups": [""], "resources": ["pods"]}]),
            ["rules[0].verbs: Required value: verbs must contain at least one value"],
        ),
        (
            f"{RBAC}/namespaces/default/roles",
            named(rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}]),
            ["namespaced rules cannot apply to non-resource URLs"],
        ),
        (
            f"{RBAC}/clusterrolebindings",
            named(roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}),
            ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'],
        ),
        (
            f"{RBAC}/clusterrolebindings",
            named(
                roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
                subjects=[{"kind": "ServiceAccount", "name": "x"}],
            ),
            ["subjects[0].namespace: Required value"],
        ),
        (PRIORITIES, {"metadata": {"name": "system-x"}, "value": 1}, ["metadata.name: Forbidden: "]),
        (
            PRIORITIES,
            named(value=1_000_000_001),
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            "events",
            named(involvedObject={"namespace": "other"}),
            ["does not match event.namespace"],
        ),
        (
            "/api/v1/nodes",
            named(spec={"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}),
            ["taints must be unique by key and effect pair"],
        ),
        (
            "/api/v1/nodes",
            named(spec={"taints": [{"key": "a", "effect": "Maybe"}]}),
            ["metadata.taints[0].effect: "],
        ),
    ],
)
async def test_what_there_cannot_be(send, path, obj, wrong):
    """Each refusal names the field and the rule."""
    answer = await send("POST", path, obj)
    assert answer.status == 422, answer.body
    found = [f"{field}: {message}" for field, message in answer.causes]
    for text in wrong:
        assert any(text in line for line in found), found


FROZEN_MAP = named(immutable=True, data={"a": "1"})
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}


@pytest.mark.parametrize(
    ("path", "obj", "changes", "wrong"),
    [
        ("configmaps", FROZEN_MAP, {"data.a": "2"}, [f"data: {FROZEN}"]),
        ("configmaps", FROZEN_MAP, {"immutable": None}, [f"immutable: {FROZEN}"]),
        ("configmaps", FROZEN_MAP, {"metadata.labels": {"a": "b"}}, []),
        ("secrets", named(immutable=True, data={"a": ""}), {"data.a": encoded("2")}, [f"data: {FROZEN}"]),
        ("secrets", named(data={"a": ""}), {"type": "x"}, ['type: Invalid value: "x": field is immutable']),
        (
            f"{RBAC}/clusterrolebindings",
            named(roleRef=ROLE),
            {"roleRef.name": "other"},
            [
                (
                    "roleRef: Invalid value: "
                    '{"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"other"}: '
                    "cannot change roleRef"
                )
            ],
        ),
        (PRIORITIES, named(value=1), {"value": 2}, ["value: Forbidden: may not be changed in an update."]),
        (BUDGETS, named(spec={"minAvailable": 1, "selector": {}}), {"spec.minAvailable": 2}, []),
    ],
)
async def test_what_may_be_changed(judge, path, obj, changes, wrong):
    """Some things are chosen once."""
    assert await judge.update(path, obj, changes) == wrong


async def test_secrets_in_words(send):
    """What is given as text is kept encoded, and wins."""
    made = await send.make("secrets", named(data={"a": encoded("1")}, stringData={"a": "2", "b": "3"}))
    assert made["data"] == {"a": encoded("2"), "b": encoded("3")}
    assert (made["type"], "stringData" in made) == ("Opaque", False)
    answer = await send("POST", "secrets", {"metadata": {"name": "b"}, "data": {"a": "!"}})
    assert (answer.status, answer.message) == (
        400,
        'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0',
    )


async def test_namespaces(send):
    """A namespace is active, labelled with its name, and has a finalizer of its own."""
    made = await send.make("/api/v1/namespaces", {"metadata": {"name": "n"}})
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    answer = await send("DELETE", "/api/v1/namespaces/n")
    assert (answer.status, answer.body["status"]["phase"]) == (200, "Terminating")
    late = await send("POST", "/api/v1/namespaces/n/configmaps", named())
    assert (late.status, late.body["reason"]) == (403, "Forbidden")
    assert late.message == (
        'configmaps "a" is forbidden: unable to create new content in namespace n because it is being terminated'
    )
    assert late.body["details"]["causes"] == [
        {"reason": "NamespaceTerminating", "message": "namespace n is being terminated", "field": "metadata.namespace"}
    ]


async def test_creating_where_there_is_nothing(send):
    """There has to be the namespace first."""
    answer = await send("POST", "/api/v1/namespaces/z/configmaps", named())
    assert (answer.status, answer.message) == (404, 'namespaces "z" not found')
