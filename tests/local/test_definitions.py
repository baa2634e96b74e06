"""Custom kinds: versions, names, schemas that change, and the end of a kind."""

import copy
from typing import Any

import aiohttp
import pytest

from trimtab.local.apiserver.server import ApiServer
from trimtab.local.objects import Object
from trimtab.local.patching import APPLY, MERGE
from trimtab.local.registry import ApiError, Registry

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
THINGS = "things.example.com"


def a_version(name: str, *, storage: bool, **fields: object) -> Object:
    spec = {"type": "object", "default": {}, "properties": fields}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {"name": name, "served": True, "storage": storage, "schema": schema}


def a_definition(*versions: Object, plural: str = "things", **names: Any) -> Object:
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": plural, "kind": "Thing", **names},
        "versions": list(versions) or [a_version("v1", storage=True, a={"type": "integer"})],
    }
    return {"metadata": {"name": f"{plural}.example.com"}, "spec": spec}


def conditions(registry: Registry, name: str) -> dict[str, tuple[str, str]]:
    found = registry.get(CRDS, name)["status"]["conditions"]
    return {c["type"]: (c["status"], c["reason"]) for c in found}


def test_each_version_reads_and_defaults_in_its_own_way(registry: Registry):
    """An object written in one version reads in the other; discovery prefers the stable one."""
    old = a_version("v1beta1", storage=False, a={"type": "integer", "default": 1})
    new = a_version("v1", storage=True, a={"type": "integer"}, b={"type": "string"})
    registry.create(CRDS, a_definition(old, new))
    assert registry.catalog.get(THINGS).resource.versions == ("v1", "v1beta1")
    body = {"apiVersion": "example.com/v1beta1", "kind": "Thing", "metadata": {"name": "x"}}
    registry.create(THINGS, body, "default", version="v1beta1")
    stored = registry.get(THINGS, "x", "default")
    assert (stored["apiVersion"], stored["spec"]) == ("example.com/v1", {"a": 1})
    applied = registry.patch(
        THINGS, "x", "default", {**body, "spec": {"a": 2}}, APPLY, manager="m", force=True, version="v1beta1"
    )
    assert (applied["apiVersion"], applied["spec"]) == ("example.com/v1beta1", {"a": 2})


def test_a_new_default_shows_on_old_objects(registry: Registry):
    """Objects read by the schema of today, without having been written."""
    registry.create(CRDS, a_definition())
    before = registry.create(THINGS, {"metadata": {"name": "x"}}, "default")
    patch = {"spec": {"versions": [a_version("v1", storage=True, b={"type": "string", "default": "new"})]}}
    changed = registry.patch(CRDS, THINGS, None, patch, MERGE, manager="m")
    assert changed["metadata"]["generation"] == 2
    after = registry.get(THINGS, "x", "default")
    assert after["spec"] == {"b": "new"}
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_a_name_that_is_taken_is_had_once_it_is_free(registry: Registry):
    """Two definitions cannot share a kind; the second serves when the first is gone."""
    registry.create(CRDS, a_definition())
    registry.create(CRDS, a_definition(plural="thingies", singular="thingy"))
    assert conditions(registry, "thingies.example.com")["NamesAccepted"] == ("False", "ListKindConflict")
    with pytest.raises(ApiError, match="could not find the requested resource"):
        registry.list("thingies.example.com")
    registry.delete(CRDS, THINGS)
    assert conditions(registry, "thingies.example.com") == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert registry.list("thingies.example.com")[0] == []


def test_a_kind_goes_with_its_last_object(registry: Registry):
    """An object that is held holds its kind, which takes no new ones meanwhile."""
    registry.create(CRDS, a_definition())
    for name, finalizers in (("free", []), ("held", ["example.com/hold"])):
        registry.create(THINGS, {"metadata": {"name": name, "finalizers": finalizers}}, "default")
    registry.delete(CRDS, THINGS)
    assert [obj["metadata"]["name"] for obj in registry.list(THINGS)[0]] == ["held"]
    assert conditions(registry, THINGS)["Terminating"] == ("True", "InstanceDeletionInProgress")
    with pytest.raises(ApiError, match="custom resource definition is terminating") as refused:
        registry.create(THINGS, {"metadata": {"name": "late"}}, "default")
    assert refused.value.status == 405
    registry.patch(THINGS, "held", "default", {"metadata": {"finalizers": None}}, MERGE, manager="m")
    assert registry.find(CRDS, "", THINGS) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scope": "Cluster"}, 'spec.scope: Invalid value: "Cluster": field is immutable'),
        ({"conversion": {"strategy": "Webhook"}}, "webhookClientConfig: Required value: required when strategy is set"),
    ],
)
def test_what_a_definition_cannot_become(registry: Registry, change: Object, message: str):
    """Some fields are for life, and some are not supported; the refusal says which."""
    created = registry.create(CRDS, a_definition())
    changed = copy.deepcopy(registry.get(CRDS, created["metadata"]["name"]))
    changed["spec"].update(change)
    with pytest.raises(ApiError) as refused:
        registry.update(CRDS, changed)
    assert message in refused.value.message


def test_selectable_fields(registry: Registry):
    """A custom kind is selected by the fields that it declares."""
    version = a_version("v1", storage=True, a={"type": "string"})
    registry.create(CRDS, a_definition({**version, "selectableFields": [{"jsonPath": ".spec.a"}]}))
    for name, value in (("x", "1"), ("y", "2")):
        registry.create(THINGS, {"metadata": {"name": name}, "spec": {"a": value}}, "default")
    assert [o["metadata"]["name"] for o in registry.list(THINGS, field_selector="spec.a=2")[0]] == ["y"]
    with pytest.raises(ApiError, match="field label not supported"):
        registry.list(THINGS, field_selector="spec.b=2")


def test_what_a_version_does_not_know_is_lost_in_it(registry: Registry):
    """Objects are kept in one version: what that does not have goes, and reads as another's default."""
    old = a_version("v1beta1", storage=False, a={"type": "integer"}, b={"type": "string", "default": "x"})
    registry.create(CRDS, a_definition(old, a_version("v1", storage=True, a={"type": "integer"})))
    spec = {"a": 1.0, "b": "y"}
    body = {"apiVersion": "example.com/v1beta1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}
    created = registry.create(THINGS, body, "default", version="v1beta1")
    assert created["spec"] == {"a": 1, "b": "x"}
    assert type(created["spec"]["a"]) is int
    assert registry.get(THINGS, "x", "default")["spec"] == {"a": 1}


def test_versions_have_their_own_subresources(registry: Registry):
    """Discovery lists what a version declares."""
    plain = a_version("v1", storage=True, a={"type": "integer"})
    rich = {**a_version("v1beta1", storage=False, a={"type": "integer"}), "subresources": {"status": {}}}
    registry.create(CRDS, a_definition(plain, rich))
    resource = registry.catalog.get(THINGS).resource
    assert resource.subresources_in("v1") == ()
    assert [sub.name for sub in resource.subresources_in("v1beta1")] == ["status"]


async def test_a_deprecated_version_warns(registry: Registry, api_server: ApiServer):
    """Whoever speaks it is told, in the definition's words where it has some; its status is its own."""
    old = {**a_version("v1beta1", storage=False), "deprecated": True, "subresources": {"status": {}}}
    older = {**a_version("v1alpha1", storage=False), "deprecated": True, "deprecationWarning": "use v1"}
    registry.create(CRDS, a_definition(a_version("v1", storage=True), old, older))
    registry.create(THINGS, {"metadata": {"name": "x"}}, "default")
    answers = {}
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer secret"}) as session:
        for version in ("v1", "v1beta1", "v1alpha1"):
            url = f"{api_server.url}/apis/example.com/{version}/namespaces/default/things/x"
            async with session.get(url) as response, session.get(f"{url}/status") as status:
                answers[version] = (response.headers.get("Warning"), status.status)
    assert answers == {
        "v1": (None, 404),
        "v1beta1": ('299 - "example.com/v1beta1 Thing is deprecated"', 200),
        "v1alpha1": ('299 - "use v1"', 404),
    }
