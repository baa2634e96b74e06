"""The shared watches."""

import asyncio

import pytest

from trimtab.local.controllers.everything import EveryResource
from trimtab.local.controllers.feed import Feed

CRDS = "customresourcedefinitions.apiextensions.k8s.io"


def definition():
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    spec = {"group": "x.io", "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": "things.x.io"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }


@pytest.fixture
async def feed(registry):
    """A feed on a fresh registry."""
    made = Feed(registry)
    yield made
    await made.stop()


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_late_listener_hears_what_there_is_already(registry, feed):
    """Every listener sees every object, whenever it came."""
    early, late = [], []
    feed.subscribe("nodes", lambda c: early.append((c.type, c.object["metadata"]["name"])))
    await turns()
    registry.create("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    await turns()
    feed.subscribe("nodes", lambda c: late.append((c.type, c.object["metadata"]["name"])))
    registry.delete("nodes", "n")
    await turns()
    assert early == late == [("ADDED", "n"), ("DELETED", "n")]


async def test_custom_resources_are_followed_from_their_definition_to_its_end(registry, feed):
    """A kind that is defined later is followed; with its definition all of its objects are gone."""
    seen = []
    EveryResource(registry, feed, lambda c: seen.append((c.type, c.resource))).follow()
    await turns()
    registry.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}})
    registry.create(CRDS, definition())
    await turns()
    registry.create("things.x.io", {"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "t"}}, "d")
    await turns()
    registry.delete(CRDS, "things.x.io")
    await turns()
    assert [s for s in seen if s[1] == "things.x.io"] == [("ADDED", "things.x.io"), ("DELETED", "things.x.io")]
