"""Dry runs: the answer is what it would be, and nothing is kept."""

import pytest

pytestmark = pytest.mark.integration

POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SERVICE = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
SETS = "/apis/apps/v1/namespaces/default/replicasets"
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]}
SET = {"metadata": {"name": "r"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}}
BINDING = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
APPLIED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "9"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status"),
    [
        ("POST", "configmaps", {"metadata": {"name": "z"}}, "", 201),
        ("POST", "configmaps", {"metadata": {"generateName": "z-"}}, "", 201),
        ("POST", "services", {"metadata": {"name": "z"}, "spec": {"ports": [{"port": 80}]}}, "", 201),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "z"}}, "", 201),
        ("PUT", "configmaps/a", {"metadata": {"name": "a"}, "data": {"x": "2"}}, "", 200),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/z", {"metadata": {"name": "z"}}, "", 201),
        ("PUT", f"{SETS}/r/scale", {"metadata": {"name": "r"}, "spec": {"replicas": 4}}, "", 200),
        ("PUT", "pods/p/status", {**POD, "status": {"message": "m"}}, "", 200),
        ("PATCH", "configmaps/a", {"data": {"x": "2"}}, "merge", 200),
        ("PATCH", "configmaps/a", {"data": {"x": "2"}}, "strategic", 200),
        ("PATCH", "configmaps/a", [{"op": "remove", "path": "/data/x"}], "json", 200),
        ("PATCH", "configmaps/a", APPLIED, "apply", 200),
        ("PATCH", "configmaps/z", {**APPLIED, "metadata": {"name": "z"}}, "apply", 201),
        ("PATCH", f"{SETS}/r/scale", {"spec": {"replicas": 4}}, "merge", 200),
        ("DELETE", "configmaps/a", None, "", 200),
        ("DELETE", "configmaps/held", None, "", 200),
        ("DELETE", "configmaps", None, "", 200),
        ("DELETE", "pods/p", {"gracePeriodSeconds": 0, "dryRun": ["All"]}, "", 200),
        ("DELETE", "/api/v1/namespaces/other", None, "", 200),
        ("POST", "pods/p/binding", BINDING, "", 201),
        ("POST", "pods/p/eviction", EVICTION, "", 201),
    ],
)
async def test_nothing_is_kept(send, registry, method, path, body, kind, status):
    """Every write, asked what it would do, leaves every object and the version as they were."""
    await send.make("configmaps", {"metadata": {"name": "a"}, "data": {"x": "1"}})
    await send.make("configmaps", {"metadata": {"name": "held", "finalizers": ["a/a"]}})
    await send.make("/api/v1/namespaces", {"metadata": {"name": "other"}})
    await send.make("pods", POD)
    await send.make("services", SERVICE)
    await send.make(SETS, SET)
    before = registry.version
    query = "?dryRun=All" + ("&fieldManager=m&force=true" if kind == "apply" else "")
    answer = await send(method, path + query, body, kind or "application/json")
    assert answer.status == status, answer.body
    assert registry.version == before


async def test_refusals_are_the_same(send):
    """What would be refused is refused."""
    await send.make("configmaps", {"metadata": {"name": "a"}})
    answers = [
        await send("POST", "configmaps?dryRun=All", {"metadata": {"name": "a"}}),
        await send("POST", "configmaps?dryRun=All", {"metadata": {"name": "A"}}),
        await send("PATCH", "configmaps/z?dryRun=All", {}, "merge"),
        await send("DELETE", "configmaps/z?dryRun=All"),
    ]
    assert [answer.status for answer in answers] == [409, 422, 404, 404]


async def test_the_answer_is_what_it_would_be(send):
    """A name is drawn and defaults are set; there is no version of what is not there."""
    answer = await send("POST", "pods?dryRun=All", {"metadata": {"generateName": "x-"}, "spec": POD["spec"]})
    metadata = answer.body["metadata"]
    assert metadata["name"].startswith("x-")
    assert "uid" in metadata
    assert "resourceVersion" not in metadata
    assert answer.body["spec"]["restartPolicy"] == "Always"
