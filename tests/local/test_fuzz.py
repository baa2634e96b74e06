"""Ten thousand requests that nobody should send: each is answered in time, none with a 500; the store stays whole."""

import asyncio
import copy
import json
import random
import time
from collections import Counter
from typing import Any

import aiohttp
import pytest

from trimtab.api.crds import crds
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.registry import Registry

pytestmark = pytest.mark.integration

REQUESTS = 10_000
AT_ONCE = 8
IN_TIME_S = 20  # a request that takes so long hangs: the machine that tests run on may be busy
SEED = 20_26

NAMES = ["a", "b", "c", "web-0", "A", "x" * 64, "x" * 300, "..", "ü", "a%2Fb", "a.b", "", "0"]
NAMESPACES = ["default", "kube-system", "team", "nowhere", "UP", ""]
LEAVES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**70,
    1.5,
    1e308,
    "",
    "a",
    "1",
    "100m",
    "1Gi",
    "-1",
    "é",
    "\0",
    "a" * 5000,
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": ""},
    {"a": {"b": {}}},
    ["a", "a"],
    "2026-01-01T00:00:00Z",
    "50%",
    "IntOrString",
]
POD_SPEC = {"containers": [{"name": "main", "image": "busybox", "ports": [{"containerPort": 80}]}]}
TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": POD_SPEC}
SELECTOR = {"matchLabels": {"app": "a"}}
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
SCHEMA = {"openAPIV3Schema": {"type": "object"}}
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1 pods": {"spec": POD_SPEC},
    "/api/v1 configmaps": {"data": {"key": "value"}, "immutable": False},
    "/api/v1 secrets": {"type": "Opaque", "data": {"key": "dmFsdWU="}},
    "/api/v1 services": {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "http"}]}},
    "/api/v1 namespaces": {},
    "/api/v1 nodes": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    "/api/v1 serviceaccounts": {},
    "/api/v1 events": {"involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"}, "reason": "Test"},
    "/apis/apps/v1 deployments": {"spec": {"replicas": 2, "selector": SELECTOR, "template": TEMPLATE}},
    "/apis/apps/v1 replicasets": {"spec": {"replicas": 1, "selector": SELECTOR, "template": TEMPLATE}},
    "/apis/batch/v1 jobs": {"spec": {"template": {"spec": POD_SPEC | {"restartPolicy": "Never"}}}},
    "/apis/policy/v1 poddisruptionbudgets": {"spec": {"minAvailable": "50%", "selector": SELECTOR}},
    "/apis/coordination.k8s.io/v1 leases": {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}},
    "/apis/discovery.k8s.io/v1 endpointslices": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 80}],
    },
    "/apis/rbac.authorization.k8s.io/v1 roles": {"rules": RULES},
    "/apis/apiextensions.k8s.io/v1 customresourcedefinitions": {
        "spec": {
            "group": "fuzz.test",
            "scope": "Namespaced",
            "names": {"plural": "a", "kind": "A"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": SCHEMA}],
        }
    },
    "/apis/trimtab.dev/v1alpha1 optimizedmodels": {
        "spec": {
            "source": {"uri": "s3://m/a"},
            "compression": {"preset": "Fast"},
            "guardrail": {"dataset": {"uri": "s3://d/a.npz"}},
            "serving": {"maxReplicas": 2},
        }
    },
    "/apis/trimtab.dev/v1alpha1 nothings": {},
}
CLUSTER_SCOPED = {"namespaces", "nodes", "customresourcedefinitions"}
KINDS = {
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "secrets": "Secret",
    "services": "Service",
    "namespaces": "Namespace",
    "nodes": "Node",
    "serviceaccounts": "ServiceAccount",
    "events": "Event",
    "deployments": "Deployment",
    "replicasets": "ReplicaSet",
    "jobs": "Job",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "leases": "Lease",
    "endpointslices": "EndpointSlice",
    "roles": "Role",
    "customresourcedefinitions": "CustomResourceDefinition",
    "optimizedmodels": "OptimizedModel",
    "nothings": "Nothing",
}
EXTRA = ["unknown", "$patch", "", "status", "finalizers", "ownerReferences"]
PATHS = ["/metadata/labels/app", "/spec", "/spec/replicas", "/data/-", "", "/", "x", "/metadata/name", "/~2"]
SUBRESOURCES = ["", "", "", "", "/status", "/scale", "/eviction", "/binding", "/log", "/nothing", "/token", "/exec"]
QUERIES = [
    "",
    "",
    "",
    "",
    "?dryRun=All",
    "?dryRun=x",
    "?fieldValidation=Strict",
    "?fieldValidation=Maybe",
    "?limit=1",
    "?limit=-1",
    "?limit=x",
    "?continue=x",
    "?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
    "?labelSelector=a%20in%20(b",
    "?labelSelector=a%3Db",
    "?fieldSelector=metadata.name%3Da",
    "?fieldSelector=x%3Dy",
    "?resourceVersion=x",
    "?resourceVersion=99999999999",
    "?resourceVersion=-1",
    "?resourceVersionMatch=Exact",
    "?watch=1&timeoutSeconds=1",
    "?watch=1&timeoutSeconds=1&resourceVersion=1",
    "?watch=1&timeoutSeconds=x",
    "?propagationPolicy=Nope",
    "?propagationPolicy=Foreground",
    "?gracePeriodSeconds=-5",
    "?gracePeriodSeconds=0",
    "?fieldManager=" + "m" * 200,
    "?fieldManager=me&force=true",
    "?pretty=x",
    "?" + "a=b&" * 300,
    "?container=%00",
    "?tailLines=-1",
]
TYPES = [
    "application/json",
    "application/json",
    "application/json",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "text/plain",
    "",
    "application/json; charset=x",
    ";;;",
]
ACCEPTS = [
    "application/json",
    "*/*",
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "text/html",
    "",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf",
    "q=;;,",
    "application/json;as=Table;v=v9;g=x",
    "application/json;stream=watch",
]


class Fuzzer:
    """Makes requests from a seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def request(self) -> tuple[str, str, dict[str, str], bytes | None]:
        """Return method, path with query, headers and body."""
        draw = self.draw
        key = draw.choice(list(BODIES))
        prefix, plural = key.split()
        name, namespace = draw.choice(NAMES), draw.choice(NAMESPACES)
        method = draw.choice(["GET", "POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"])
        if method == "DELETE" and plural in CLUSTER_SCOPED:
            name = name or "a"  # or all kinds and namespaces would be gone after a few hundred requests
        scope = f"/namespaces/{namespace}" if (plural not in CLUSTER_SCOPED) != (draw.random() < 0.05) else ""
        path = f"{prefix}{scope}/{plural}"
        if method not in ("POST", "GET") or draw.random() < 0.4:
            path += f"/{name}{draw.choice(SUBRESOURCES)}"
        headers = {"Accept": draw.choice(ACCEPTS)}
        body = None
        if method in ("POST", "PUT", "PATCH") or draw.random() < 0.1:
            headers["Content-Type"] = draw.choice(TYPES)
            body = self.body(prefix, plural, name, namespace, headers["Content-Type"])
        return method, path + draw.choice(QUERIES), headers, body

    def body(self, prefix: str, plural: str, name: str, namespace: str, kind: str) -> bytes:
        draw = self.draw
        if kind == "application/json-patch+json" and draw.random() < 0.8:
            return json.dumps([self.operation() for _ in range(draw.randrange(4))]).encode()
        document = {
            "apiVersion": prefix.removeprefix("/apis/").removeprefix("/api/"),
            "kind": KINDS[plural],
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": "a"}},
            **copy.deepcopy(BODIES[f"{prefix} {plural}"]),
        }
        for _ in range(draw.choice([0, 0, 1, 1, 2, 5])):
            document = self.mutated(document)
        text = json.dumps(document).encode()
        if draw.random() < 0.1:
            cut = draw.randrange(len(text) + 1)
            text = draw.choice([text[:cut], text + text, text[:cut] + b"\xff" + text[cut:], b"", b"[" * 2000, b"%PDF"])
        return text

    def mutated(self, value: Any) -> Any:
        """Change one place somewhere below: another value, a field more or less, a duplicate."""
        draw = self.draw
        if isinstance(value, dict) and value and draw.random() < 0.85:
            key = draw.choice(list(value))
            if draw.random() < 0.1:
                return {name: item for name, item in value.items() if name != key}
            if draw.random() < 0.1:
                return value | {
                    draw.choice(["unknown", "$patch", "", "status", "finalizers", "ownerReferences"]): self.leaf()
                }
            return value | {key: self.mutated(value[key])}
        if isinstance(value, list) and value and draw.random() < 0.85:
            place = draw.randrange(len(value))
            if draw.random() < 0.2:
                return [*value, value[place]]
            return [*value[:place], self.mutated(value[place]), *value[place + 1 :]]
        return self.leaf()

    def leaf(self) -> Any:
        return copy.deepcopy(self.draw.choice(LEAVES))

    def operation(self) -> Any:
        draw = self.draw
        path = draw.choice(
            ["/metadata/labels/app", "/spec", "/spec/replicas", "/data/-", "", "/", "x", "/metadata/name", "/~2"]
        )
        operation = {"op": draw.choice(["add", "remove", "replace", "move", "copy", "test", "spam", 1]), "path": path}
        if draw.random() < 0.8:
            operation["value"] = self.leaf()
        if draw.random() < 0.3:
            operation["from"] = draw.choice(["/metadata", "/spec", "", "x"])
        return operation if draw.random() < 0.95 else self.leaf()


async def send(
    session: aiohttp.ClientSession, url: str, fuzzer: Fuzzer, answered: Counter[int], faults: list[str]
) -> None:
    method, path, headers, body = fuzzer.request()
    headers["Authorization"] = "Bearer secret"
    began = time.monotonic()
    try:
        async with asyncio.timeout(IN_TIME_S):
            request = session.request(
                method, url + path, headers=headers, data=body, skip_auto_headers=["Content-Type"]
            )
            async with request as response:
                text = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        faults.append(f"{method} {path}: {type(error).__name__} {error} after {time.monotonic() - began:.1f} s")
        return
    answered[response.status] += 1
    # As a real server was recorded to: it asks to come again for a version of the future.
    if response.status >= 500 and response.status != 504:
        faults.append(f"{method} {path} {headers} {body!r}: {response.status} {text[:500]!r}")


@pytest.fixture
async def filled(registry: Registry, api_server: ApiServer) -> str:
    """The address of a server with a namespace and our custom kinds."""
    registry.create("namespaces", {"metadata": {"name": "team"}})
    for crd in crds().values():
        registry.create("customresourcedefinitions.apiextensions.k8s.io", crd)
    return api_server.url


@pytest.mark.timeout(600)
async def test_any_request_is_answered(filled: str) -> None:
    """No 500, no hang, and what is stored afterwards can be read, listed, watched and written back."""
    answered: Counter[int] = Counter()
    faults: list[str] = []

    async def one_client(seed: int, session: aiohttp.ClientSession) -> None:
        fuzzer = Fuzzer(seed)
        for _ in range(REQUESTS // AT_ONCE):
            await send(session, filled, fuzzer, answered, faults)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one_client(SEED + number, session) for number in range(AT_ONCE)))
        assert not faults, "\n".join(faults[:10])
        assert {200, 201, 400, 404, 409, 415, 422} <= set(answered), f"the requests were too uniform: {answered}"
        await check_whole(session, filled)


async def check_whole(session: aiohttp.ClientSession, url: str) -> None:
    """Every object reads back alone as in its list, and is accepted as it is."""
    headers = {"Authorization": "Bearer secret"}
    total = 0
    for key in BODIES:
        prefix, plural = key.split()
        if plural == "nothings":
            continue
        async with session.get(f"{url}{prefix}/{plural}", headers=headers) as response:
            listed = (await response.json())["items"]
        for item in listed:
            meta = item["metadata"]
            scope = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
            path = f"{url}{prefix}{scope}/{plural}/{meta['name']}"
            async with session.get(path, headers=headers) as response:
                alone = await response.json()
            assert alone.pop("kind") == KINDS[plural]
            assert alone.pop("apiVersion") == prefix.removeprefix("/apis/").removeprefix("/api/")
            assert {k: v for k, v in item.items() if k not in ("kind", "apiVersion")} == alone
            again = item | {"kind": KINDS[plural], "apiVersion": prefix.removeprefix("/apis/").removeprefix("/api/")}
            async with session.put(path, headers=headers, json=again) as response:
                written = await response.json()
            assert response.status == 200, written
            assert written["metadata"]["resourceVersion"] == meta["resourceVersion"], "nothing changed"
            total += 1
    assert total > 25
