"""What the server says about itself over HTTP: discovery, OpenAPI, health, metrics."""

from typing import Any

import aiohttp
import pytest

from trimtab.local.apiserver import openapi
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.catalog import Catalog
from trimtab.local.registry import Registry
from trimtab.local.schema import builtin, descriptions

pytestmark = pytest.mark.integration

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"


@pytest.fixture
async def http(api_server: ApiServer):
    """A session that shows the token."""
    async with aiohttp.ClientSession(api_server.url, headers={"Authorization": "Bearer secret"}) as session:
        yield session


def define(registry: Registry, *versions: str) -> None:
    """A custom kind in several versions, the first of which is stored."""
    served = [
        {"name": v, "served": True, "storage": i == 0, "schema": {"openAPIV3Schema": {"type": "object"}}}
        for i, v in enumerate(versions)
    ]
    names = {"plural": "things", "kind": "Thing"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": served}
    registry.create(CRDS, {"metadata": {"name": "things.example.com"}, "spec": spec})


async def get(http: aiohttp.ClientSession, path: str, **headers: str) -> Any:
    async with http.get(path, headers=headers) as response:
        assert response.status == 200, path
        return await response.json()


async def test_groups_and_versions_are_in_order(http: aiohttp.ClientSession, registry: Registry):
    """Built-in groups come first, in Kubernetes' order; versions with the most stable and newest first."""
    define(registry, "v1alpha1", "v2beta1", "v1", "v2beta2")
    groups = {g["name"]: g for g in (await get(http, "/apis"))["groups"]}
    order = [name for name in groups if name in ("apps", "events.k8s.io", "batch", "policy", "example.com")]
    assert order == ["apps", "events.k8s.io", "batch", "policy", "example.com"]
    versions = [v["version"] for v in groups["example.com"]["versions"]]
    assert versions == ["v1", "v2beta2", "v2beta1", "v1alpha1"]
    assert groups["example.com"]["preferredVersion"]["version"] == "v1"
    aggregated = await get(http, "/apis", Accept=AGGREGATED)
    assert [item["metadata"]["name"] for item in aggregated["items"]] == list(groups)
    names = [entry["name"] for entry in (await get(http, "/api/v1"))["resources"]]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (f"{AGGREGATED},application/json", "APIGroupDiscoveryList"),
        (f"{AGGREGATED.replace('v=v2', 'v=v2beta1')},application/json", "APIGroupList"),
        (f"application/json,{AGGREGATED}", "APIGroupList"),
        ("*/*", "APIGroupList"),
    ],
)
async def test_forms_of_discovery(http: aiohttp.ClientSession, accept: str, kind: str):
    """The first form that is served is chosen; the beta of the aggregated one is not."""
    assert (await get(http, "/apis", Accept=accept))["kind"] == kind


@pytest.mark.parametrize(
    ("method", "path", "status", "page"),
    [
        ("GET", "/api/v2", 404, False),
        ("GET", "/apis/apps/v9", 404, False),
        ("GET", "/apis/nosuch.example.com", 404, True),
        ("GET", "/apis/nosuch.example.com/v1", 404, True),
        ("POST", "/apis/apps/v1", 405, False),
        ("GET", "/readyz/nosuch", 404, True),
        ("GET", "/openapi/v3/apis/nosuch/v1", 404, True),
        ("GET", "/logs", 404, True),
    ],
)
async def test_what_is_not_there(http: aiohttp.ClientSession, method: str, path: str, status: int, page: bool):
    """Built-in groups refuse with a Status, everything else as if there were no such path."""
    async with http.request(method, path) as response:
        text = await response.text()
        assert (response.status, text == "404 page not found\n") == (status, page)


async def test_documents_by_their_digest(http: aiohttp.ClientSession, registry: Registry):
    """The index names the digest; under it a document may be kept for ever, under an old one it has moved."""
    index = (await get(http, "/openapi/v3"))["paths"]
    url = index["apis/apps/v1"]["serverRelativeURL"]
    async with http.get(url) as response:
        assert (response.status, response.headers["Cache-Control"]) == (200, "public, immutable")
    async with http.get("/openapi/v3/apis/apps/v1?hash=OLD", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (301, url)
    define(registry, "v1")
    again = (await get(http, "/openapi/v3"))["paths"]
    assert set(again) - set(index) == {"apis/example.com/v1"}
    assert again["apis/apps/v1"] == index["apis/apps/v1"]


async def test_paths_and_metrics(http: aiohttp.ClientSession, registry: Registry):
    """The root lists what there is; metrics count what is stored."""
    define(registry, "v1")
    paths = (await get(http, "/"))["paths"]
    assert {"/api/v1", "/apis/apps", "/apis/example.com/v1", "/livez/ping", "/metrics"} <= set(paths)
    async with http.get("/metrics") as response:
        assert 'apiserver_storage_objects{resource="namespaces"} ' in await response.text()


def test_every_description_is_of_something():
    """What is described is a type, a field of one, or a field that several types have."""
    types = builtin.definitions()
    fields = {field for node in types.values() for field in node["properties"]}
    for name in descriptions.names():
        type_name, _, field = name.partition(".")
        assert name in types or name in fields or field in types.get(type_name, {}).get("properties", {}), name


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_schemas_say_what_fields_mean(version: str):
    """A field that refers to a type has its own meaning beside the type's."""
    catalog = Catalog()
    if version == "v2":
        schemas = openapi.v2(catalog)["definitions"]
    else:
        schemas = openapi.v3(catalog, "apis/apps/v1")["components"]["schemas"]
    deployment = schemas["io.k8s.api.apps.v1.Deployment"]
    assert deployment["description"] == "Pods of one template, replaced step by step when it changes."
    spec = deployment["properties"]["spec"]
    assert spec["description"] == "What is wanted."
    assert "$ref" in (spec if version == "v2" else spec["allOf"][0])


def test_names_of_schemas():
    """Tools look kinds up by the names that Kubernetes gives their schemas."""
    names = set(openapi.v2(Catalog())["definitions"])
    assert {
        "io.k8s.api.core.v1.Pod",
        "io.k8s.api.core.v1.PodSpec",
        "io.k8s.api.apps.v1.DeploymentSpec",
        "io.k8s.api.rbac.v1.Subject",
        "io.k8s.api.discovery.v1.EndpointPort",
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        "io.k8s.api.rbac.v1.ClusterRole",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    } <= names
