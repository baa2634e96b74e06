"""Server-side apply: who owns which field, who may change it, and what happens to what is left out."""

import pytest

pytestmark = pytest.mark.integration

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


@pytest.fixture
def apply(send):
    """Apply as a manager; the path is that of the ConfigMap, unless it is another's."""

    async def applied(manager, body, path="configmaps/a", force=False):
        query = f"?fieldManager={manager}" + ("&force=true" if force else "")
        return await send("PATCH", path + query, body, "apply")

    return applied


def owners(body):
    """Which fields each manager owns, by name and operation."""
    entries = body["metadata"].get("managedFields") or []
    return {(e["manager"], e["operation"], e.get("subresource", "")): e["fieldsV1"] for e in entries}


async def test_applying_creates_and_changes(send, apply):
    """The first apply creates; the same one again changes nothing, not even a time."""
    first = await apply("m", config(x="1"))
    assert first.status == 201
    assert first.body["metadata"]["managedFields"] == [
        {
            "manager": "m",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:x": {}}},
        }
    ]
    again = await apply("m", config(x="1"))
    assert (again.status, again.body) == (200, first.body)
    assert owners((await apply("m", config(x="1", y="2"))).body) == {
        ("m", "Apply", ""): {"f:data": {"f:x": {}, "f:y": {}}}
    }


async def test_conflicts(send, apply):
    """Each field of somebody else is a cause; agreeing on the value is no conflict, and then both own it."""
    await apply("one", config(x="1", y="1"))
    await send("PATCH", "configmaps/a?fieldManager=two", {"data": {"z": "1"}}, "merge")
    several = await apply("three", config(x="2", y="2", z="2"))
    at = "2026-01-01T00:00:00Z"
    assert (several.status, several.body["reason"]) == (409, "Conflict")
    assert several.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.x\n- .data.y\n'
        f'conflicts with "two" using v1 at {at}:\n- .data.z'
    )
    assert several.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.y"},
        {"reason": "FieldManagerConflict", "message": f'conflict with "two" using v1 at {at}', "field": ".data.z"},
    ]
    single = await apply("three", config(x="2"))
    assert single.message == 'Apply failed with 1 conflict: conflict with "one": .data.x'
    shared = await apply("three", config(x="1"))
    assert shared.status == 200
    assert owners(shared.body)[("one", "Apply", "")] == {"f:data": {"f:x": {}, "f:y": {}}}
    assert owners(shared.body)[("three", "Apply", "")] == {"f:data": {"f:x": {}}}


async def test_force_takes_over(send, apply):
    """The field changes hands; the one that lost it may leave it out without removing it."""
    await apply("one", config(x="1", y="1"))
    forced = await apply("two", config(x="2"), force=True)
    assert owners(forced.body) == {
        ("one", "Apply", ""): {"f:data": {"f:y": {}}},
        ("two", "Apply", ""): {"f:data": {"f:x": {}}},
    }
    assert (await apply("one", config(y="1"))).body["data"] == {"x": "2", "y": "1"}


async def test_what_is_left_out_goes(send, apply):
    """A field that only the applier owned goes, one that is shared stays."""
    await apply("one", config(x="1", y="1"))
    await apply("two", config(y="1"))
    assert (await apply("one", config())).body["data"] == {"y": "1"}


async def test_an_update_takes_ownership(send, apply):
    """Whoever changes a value owns it, by whatever verb."""
    await apply("one", config(x="1", y="1"))
    patched = await send("PATCH", "configmaps/a?fieldManager=two", {"data": {"x": "2"}}, "merge")
    assert owners(patched.body) == {
        ("one", "Apply", ""): {"f:data": {"f:y": {}}},
        ("two", "Update", ""): {"f:data": {"f:x": {}}},
    }
    refused = await apply("one", config(x="1", y="1"))
    assert refused.status == 409


def deployment(*containers, **spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}},
            **spec,
        },
    }


async def test_lists_of_maps(send, apply):
    """Items are owned by their keys, so that two appliers can each have one of a list."""
    path = f"{DEPLOYMENTS}/a"
    await apply("one", deployment({"name": "x", "image": "1"}), path)
    both = (await apply("two", deployment({"name": "y", "image": "2"}), path)).body
    containers = both["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in containers] == ["x", "y"]
    mine = owners(both)[("two", "Apply", "")]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert mine == {'k:{"name":"y"}': {".": {}, "f:image": {}, "f:name": {}}}
    less = (await apply("one", deployment(), path)).body
    assert [c["name"] for c in less["spec"]["template"]["spec"]["containers"]] == ["y"]


async def test_sets_and_atomic_parts(send, apply):
    """Finalizers are a set of values; a selector is owned as a whole."""
    body = deployment({"name": "x", "image": "1"})
    body["metadata"]["finalizers"] = ["a/a"]
    mine = owners((await apply("one", body, f"{DEPLOYMENTS}/a")).body)[("one", "Apply", "")]
    assert mine["f:metadata"] == {"f:finalizers": {'v:"a/a"': {}}}
    assert mine["f:spec"]["f:selector"] == {}


async def test_subresources_are_owned_apart(send, apply):
    """The status has owners of its own, and a status apply says nothing about the spec."""
    path = f"{DEPLOYMENTS}/a"
    await apply("m", deployment({"name": "x", "image": "1"}), path)
    status = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "status": {"replicas": 1}}
    answer = await apply("m", status, f"{path}/status")
    assert answer.status == 200, answer.body
    assert owners(answer.body)[("m", "Apply", "status")] == {"f:status": {"f:replicas": {}}}
    assert "f:spec" in owners(answer.body)[("m", "Apply", "")]
    scaled = await send("PATCH", f"{path}/scale?fieldManager=s", {"spec": {"replicas": 3}}, "merge")
    assert scaled.status == 200
    found = (await send("GET", path)).body
    assert owners(found)[("s", "Update", "scale")] == {"f:spec": {"f:replicas": {}}}


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        pytest.param(
            "",
            config(),
            422,
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
            id="nobody",
        ),
        pytest.param(
            "?fieldManager=m",
            {**config(), "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}},
            400,
            "metadata.managedFields must be nil",
            id="owners",
        ),
        pytest.param(
            "?fieldManager=m",
            {**config(), "metadata": {"name": "b"}},
            400,
            "the name of the object (b) does not match the name on the URL (a)",
            id="another name",
        ),
        pytest.param(
            "?fieldManager=m",
            {**config(), "metadata": {"name": "a", "namespace": "b"}},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
            id="another namespace",
        ),
        pytest.param("?fieldManager=m", "a: [", 400, None, id="no YAML"),
        pytest.param(
            "?fieldManager=m",
            {**config(), "metadata": {"name": "a", "resourceVersion": "7"}},
            409,
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes '
            "to the latest version and try again",
            id="a version of nothing",
        ),
        pytest.param(
            "?fieldManager=m",
            {**config(), "extra": 1},
            400,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .extra: field not declared in schema",
            id="no such field",
        ),
    ],
)
async def test_what_cannot_be_applied(send, query, body, status, message):
    """An applied configuration is typed, complete and addressed to the object of the path."""
    answer = await send("PATCH", f"configmaps/a{query}", body, "apply")
    assert answer.status == status, answer.body
    if message:
        assert answer.message == message


async def test_force_is_for_applies(send):
    """A patch of another type always wins, and may not say so."""
    await send.make("configmaps", config(x="1"))
    answer = await send("PATCH", "configmaps/a?force=true", {}, "merge")
    text = "force: Forbidden: may not be specified for non-apply patch"
    assert (answer.status, answer.message) == (422, f'PatchOptions.meta.k8s.io "" is invalid: {text}')


async def test_yaml(apply):
    """A configuration may be written in YAML."""
    answer = await apply("m", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: '1'\n")
    assert (answer.status, answer.body["data"]) == (201, {"x": "1"})


async def test_owners_can_be_forgotten(send, apply):
    """One empty entry resets them; what was there before the next apply then belongs to nobody in particular."""
    await apply("one", config(x="1"))
    reset = await send("PATCH", "configmaps/a", {"metadata": {"managedFields": [{}]}}, "merge")
    assert owners(reset.body) == {}
    updated = await send("PATCH", "configmaps/a", {"data": {"y": "1"}}, "merge")
    assert owners(updated.body) == {}
    refused = await apply("two", config(x="2"))
    assert 'conflict with "before-first-apply" using v1' in refused.message
    agreed = await apply("two", config(x="1"))
    assert set(owners(agreed.body)) == {("two", "Apply", ""), ("before-first-apply", "Update", "")}


async def test_only_some_updaters_are_remembered(send, clock):
    """Beyond ten, the oldest become one."""
    await send.make("configmaps?fieldManager=m0", config(f0="1"))
    for number in range(1, 13):
        clock.advance(1)
        await send("PATCH", f"configmaps/a?fieldManager=m{number}", {"data": {f"f{number}": "1"}}, "merge")
    found = owners((await send("GET", "configmaps/a")).body)
    assert len(found) == 10
    ancient = found[("ancient-changes", "Update", "")]["f:data"]
    assert {name for name in ancient if name != "."} == {"f:f0", "f:f1", "f:f2", "f:f3"}


CRD = {
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "plain": {"type": "array", "items": {"type": "string"}},
                                    "tags": {
                                        "type": "array",
                                        "items": {"type": "string"},
                                        "x-kubernetes-list-type": "set",
                                    },
                                    "parts": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["id"],
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "properties": {"id": {"type": "string"}, "size": {"type": "integer"}},
                                        },
                                    },
                                    "whole": {
                                        "type": "object",
                                        "x-kubernetes-map-type": "atomic",
                                        "additionalProperties": {"type": "string"},
                                    },
                                    "size": {"type": "integer", "default": 3},
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}


async def test_custom_kinds(send, apply):
    """Lists and maps are owned as their schema says; a default belongs to nobody."""
    await send.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    spec = {"plain": ["a"], "tags": ["x"], "parts": [{"id": "1", "size": 1}], "whole": {"k": "v"}}
    body = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}
    path = "/apis/example.com/v1/namespaces/default/things/t"
    made = await apply("m", body, path)
    assert made.status == 201, made.body
    assert made.body["spec"]["size"] == 3
    assert owners(made.body)[("m", "Apply", "")] == {
        "f:spec": {
            "f:plain": {},
            "f:tags": {'v:"x"': {}},
            "f:parts": {'k:{"id":"1"}': {".": {}, "f:id": {}, "f:size": {}}},
            "f:whole": {},
        }
    }
    more = {**body, "spec": {"tags": ["y"], "parts": [{"id": "2"}]}}
    both = (await apply("n", more, path)).body["spec"]
    assert (both["tags"], [p["id"] for p in both["parts"]]) == (["x", "y"], ["1", "2"])
    assert (await apply("n", {**body, "spec": {"whole": {"z": "v"}}}, path)).status == 409
    assert (await send("PATCH", path, {"spec": {"size": 1}}, "strategic")).status == 415
