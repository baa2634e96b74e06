"""HTTP: who gets in, what streams, what ends."""

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest

from trimtab.local.apiserver.server import ApiServer
from trimtab.local.registry import Registry

pytestmark = pytest.mark.integration

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def http(api_server: ApiServer):
    """A session that shows the token."""
    async with aiohttp.ClientSession(api_server.url, headers={"Authorization": "Bearer secret"}) as session:
        yield session


async def test_strangers_see_little(api_server: ApiServer):
    """Health and version are told to everybody, nothing else to whoever shows no token; a wrong one is refused."""
    async with aiohttp.ClientSession(api_server.url) as session:
        for path, headers, status in [
            ("/healthz", {}, 200),
            ("/version", {}, 200),
            ("/api", {}, 403),
            ("/api/v1/nodes", {}, 403),
            ("/api/v1/nodes", {"Authorization": "Bearer wrong"}, 401),
            ("/version", {"Authorization": "Bearer wrong"}, 401),
            ("/api/v1/nodes", {"Authorization": "Basic c2VjcmV0"}, 403),
            ("/api/v1/nodes", {"Authorization": "bearer secret"}, 200),
        ]:
            async with session.get(path, headers=headers) as response:
                assert response.status == status, path


async def test_unknown_fields_are_warned_about(http: aiohttp.ClientSession):
    """A typo is not lost in silence, even where it is not refused."""
    body = {"metadata": {"name": "c"}, "data": {}, "dada": {}}
    async with http.post(CONFIG_MAPS, json=body) as response:
        assert response.status == 201
        assert response.headers["Warning"] == '299 - "unknown field \\"dada\\""'


@pytest.mark.parametrize(("token", "told"), [("secret", 100), ("wrong", 401)])
async def test_a_client_may_wait_until_it_is_asked_to_send(api_server: ApiServer, token: str, told: int):
    """curl does so with large bodies: it is told to go on, or refused before it has sent anything."""
    host, _, port = api_server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"metadata": {"name": "waited"}}).encode()
    head = f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body))
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(b"HTTP/1.1 %d " % told)
        if told == 100:
            assert await reader.readline() == b"\r\n"
            writer.write(body)
            assert await reader.readline() == b"HTTP/1.1 201 Created\r\n"
    writer.close()
    await writer.wait_closed()


async def test_dry_runs_keep_nothing(http: aiohttp.ClientSession, registry: Registry):
    """The answer shows what would be; the registry has not moved."""
    before = registry.version
    async with http.post(CONFIG_MAPS, params={"dryRun": "All"}, json={"metadata": {"name": "c"}}) as response:
        assert (response.status, "resourceVersion" in (await response.json())["metadata"]) == (201, False)
    assert registry.version == before


async def read_event(response: aiohttp.ClientResponse) -> Any:
    return json.loads(await asyncio.wait_for(response.content.readline(), 30))


async def test_watches_stream_and_end_with_the_client(http: aiohttp.ClientSession, registry: Registry):
    """Events arrive as they happen, and a client that leaves is forgotten."""
    async with http.get(CONFIG_MAPS, params={"watch": "true"}) as response:
        registry.create("configmaps", {"metadata": {"name": "c"}}, "default")
        event = await read_event(response)
        assert (event["type"], event["object"]["kind"]) == ("ADDED", "ConfigMap")
        assert len(list(registry._store._watches["configmaps"])) == 1
        response.close()
    async with asyncio.timeout(30):
        while list(registry._store._watches["configmaps"]):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_tables_are_watched_as_tables(http: aiohttp.ClientSession, registry: Registry):
    """`kubectl get -w` gets rows; only the first one repeats the columns."""
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with http.get("/api/v1/namespaces", params={"watch": "true"}, headers=accept) as response:
        first = (await read_event(response))["object"]
        registry.create("namespaces", {"metadata": {"name": "n"}})
        second = (await read_event(response))["object"]
    assert (first["kind"], first["rows"][0]["cells"][0], len(first["columnDefinitions"])) == ("Table", "default", 3)
    assert (second["rows"][0]["cells"][0], second["columnDefinitions"]) == ("n", None)


async def test_an_expired_version_is_told_in_the_stream(http: aiohttp.ClientSession, registry: Registry):
    """Clients expect 410 as the only event of an answer that is 200."""
    registry.create("configmaps", {"metadata": {"name": "c"}}, "default")
    registry._store._forgotten = 100
    registry._store.version = 200
    async with http.get(CONFIG_MAPS, params={"watch": "true", "resourceVersion": "5"}) as response:
        event = await read_event(response)
        assert (response.status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)


async def test_a_kind_that_goes_away_ends_its_watches(http: aiohttp.ClientSession, registry: Registry):
    """Whoever watched learns by the end of the stream."""
    definition = {
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    crds = "customresourcedefinitions.apiextensions.k8s.io"
    registry.create(crds, definition)
    async with http.get("/apis/example.com/v1/things", params={"watch": "true"}) as response:
        registry.delete(crds, "things.example.com")
        assert await asyncio.wait_for(response.content.read(), 30) == b""
    async with http.get("/apis/example.com/v1/things") as response:
        assert response.status == 404


async def test_stopping_ends_open_watches(http: aiohttp.ClientSession, api_server: ApiServer):
    """A server that stops leaves nobody waiting."""
    async with http.get(CONFIG_MAPS, params={"watch": "true"}) as response:
        await asyncio.wait_for(api_server.stop(), 30)
        assert await asyncio.wait_for(response.content.read(), 30) == b""


async def test_documents_are_sent_once(http: aiohttp.ClientSession):
    """Discovery and OpenAPI carry a tag, and a client that has them is told so."""
    for path, accept in [
        ("/openapi/v3/apis/apps/v1", "application/json"),
        ("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    ]:
        async with http.get(path, headers={"Accept": accept}) as response:
            assert response.status == 200
            tag = response.headers["ETag"]
        async with http.get(path, headers={"Accept": accept, "If-None-Match": tag}) as response:
            assert response.status == 304


async def test_bodies_have_a_limit(http: aiohttp.ClientSession):
    """A body beyond it is refused with the limit."""
    async with http.post(
        CONFIG_MAPS, data=io.BytesIO(b"x" * (4 << 20)), headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 413
        assert (await response.json())["message"] == "Request entity too large: limit is 3145728"


async def test_logs_without_an_agent_are_a_temporary_refusal(http: aiohttp.ClientSession, registry: Registry):
    """Nobody serves logs before the node agent is there."""
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]},
    }
    registry.create("pods", pod, "default")
    path = "/api/v1/namespaces/default/pods/p/log"
    async with http.get(path, params={"container": "a"}) as response:
        assert response.status == 503

    async def lines(*_: Any, **__: Any) -> Any:
        yield b"x"

    registry.pod_logs = lines
    async with http.get(path) as response:
        message = (await response.json())["message"]
        assert message == "a container name must be specified for pod p, choose one of: [a b]"
    async with http.get(path, params={"container": "b"}) as response:
        assert await response.text() == "x"


async def test_events_are_the_same_in_both_groups(http: aiohttp.ClientSession):
    """An Event written through events.k8s.io reads under core's names from the core group, and back."""
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    event = {"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "note": "n"}
    async with http.post(path, json={"apiVersion": "events.k8s.io/v1", "kind": "Event", **event}) as response:
        created = await response.json()
        assert (response.status, created["apiVersion"], created["note"]) == (201, "events.k8s.io/v1", "n")
    patch = {"headers": {"Content-Type": "application/merge-patch+json"}, "json": {"note": "m"}}
    async with http.patch(f"{path}/e", **patch) as response:
        assert (await response.json())["regarding"]["name"] == "p"
    async with http.get(
        "/api/v1/namespaces/default/events", params={"fieldSelector": "involvedObject.name=p"}
    ) as response:
        [kept] = (await response.json())["items"]
        assert (kept["message"], kept["involvedObject"]["kind"]) == ("m", "Pod")
    async with http.get(path, params={"watch": "true"}) as response:
        seen = (await read_event(response))["object"]
        assert (seen["apiVersion"], seen["note"]) == ("events.k8s.io/v1", "m")
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with http.get(path, headers=accept) as response:
        assert (await response.json())["rows"][0]["cells"][3] == "pod/p"


async def test_ways_into_a_pod_that_runs_nowhere(http: aiohttp.ClientSession, registry: Registry):
    """A real API server answers before it asks a node; a debug container is refused with another way."""
    registry.create(
        "pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}]}}, "default"
    )
    for subresource, status, message in (
        ("exec", 400, "pod p does not have a host assigned"),
        ("exec?container=b", 400, "container b is not valid for pod p"),
        ("attach", 400, "pod p does not have a host assigned"),
        ("portforward", 400, "pod p does not have a host assigned"),
        ("ephemeralcontainers", 405, "debug the process here, or kubectl exec into a container"),
    ):
        async with http.post(f"/api/v1/namespaces/default/pods/p/{subresource}") as response:
            assert response.status == status
            assert (await response.json())["message"].endswith(message)
    async with http.get("/api/v1/namespaces/default/pods/p/log") as response:
        assert response.status == 204


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", "at most one of `sinceTime` or `sinceSeconds`"),
    ],
)
async def test_log_options_that_make_no_sense(
    http: aiohttp.ClientSession, registry: Registry, options: str, words: str
):
    """They are refused with the option's name."""
    registry.create(
        "pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "i"}]}}, "default"
    )
    async with http.get(f"/api/v1/namespaces/default/pods/p/log?{options}") as response:
        assert response.status == 422
        assert words in (await response.json())["message"]
