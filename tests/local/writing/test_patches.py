"""Patches: four content types, what each refuses, and in which words."""

import json

import pytest

pytestmark = pytest.mark.integration

INVALID = "the server rejected our request due to an error in our request"


@pytest.mark.parametrize(
    ("steps", "status", "message"),
    [
        pytest.param(
            [{"op": "test", "path": "/data/a", "value": "2"}],
            422,
            INVALID,
            id="a test that fails",
        ),
        pytest.param([{"op": "remove", "path": "/data/z"}], 422, INVALID, id="nothing to remove"),
        pytest.param([{"op": "replace", "path": "/data/z", "value": "1"}], 422, INVALID, id="nothing to replace"),
        pytest.param([{"op": "add", "path": "/x/y/z", "value": "1"}], 422, INVALID, id="no such place"),
        pytest.param([{"op": "copy", "from": "/data/z", "path": "/data/b"}], 422, INVALID, id="nothing to copy"),
        pytest.param([{"op": "spin", "path": "/data/a"}], 422, INVALID, id="no such operation"),
        pytest.param(
            {"op": "test"},
            400,
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            id="no list",
        ),
        pytest.param("[", 400, "error decoding patch: unexpected end of JSON input", id="no JSON"),
    ],
)
async def test_json_patches_that_fail(send, steps, status, message):
    """Nothing of a JSON patch is done when one step fails."""
    await send.make("configmaps", {"metadata": {"name": "a"}, "data": {"a": "1"}})
    if isinstance(steps, list):
        steps = [{"op": "add", "path": "/data/b", "value": "2"}, *steps]
    answer = await send("PATCH", "configmaps/a", steps, "json")
    assert (answer.status, answer.message) == (status, message)
    assert (await send("GET", "configmaps/a")).body["data"] == {"a": "1"}


async def test_json_patches(send):
    """All six operations, escaped names and both ends of a list."""
    await send.make("configmaps", {"metadata": {"name": "a", "finalizers": ["a/a"]}, "data": {"a": "1", "b": "2"}})
    steps = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/metadata/labels", "value": {"x/y": "1"}},
        {"op": "replace", "path": "/metadata/labels/x~1y", "value": "2"},
        {"op": "copy", "from": "/data/a", "path": "/data/c"},
        {"op": "move", "from": "/data/b", "path": "/data/d"},
        {"op": "remove", "path": "/data/a"},
        {"op": "add", "path": "/metadata/finalizers/-", "value": "z/z"},
        {"op": "add", "path": "/metadata/finalizers/0", "value": "b/b"},
    ]
    found = (await send("PATCH", "configmaps/a", steps, "json")).body
    assert found["data"] == {"c": "1", "d": "2"}
    assert found["metadata"]["labels"] == {"x/y": "2"}
    assert found["metadata"]["finalizers"] == ["b/b", "a/a", "z/z"]


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/strategic-merge-patch+yaml"])
async def test_other_kinds_of_patches(send, kind):
    """The content type says what a patch means; there is none that goes without saying."""
    await send.make("configmaps", {"metadata": {"name": "a"}})
    answer = await send("PATCH", "configmaps/a", {}, kind)
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize("kind", ["merge", "strategic", "json"])
async def test_patches_of_what_is_not_there(send, kind):
    """Only an apply creates."""
    answer = await send("PATCH", "configmaps/a", [] if kind == "json" else {}, kind)
    assert (answer.status, answer.message) == (404, 'configmaps "a" not found')


@pytest.mark.parametrize(
    ("patch", "kind", "status", "message"),
    [
        pytest.param(
            {"metadata": {"name": "b"}},
            "merge",
            400,
            "the name of the object (b) does not match the name on the URL (a)",
            id="name",
        ),
        pytest.param(
            {"metadata": None},
            "merge",
            400,
            "the name of the object (a based on URL) was undeterminable: name must be provided",
            id="no metadata",
        ),
        pytest.param(
            {"metadata": {"namespace": "b"}},
            "merge",
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
            id="namespace",
        ),
        pytest.param(
            {"metadata": {"resourceVersion": "1"}},
            "merge",
            409,
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your '
            "changes to the latest version and try again",
            id="version",
        ),
        pytest.param({"data": [1]}, "strategic", 422, None, id="a list for a map"),
        pytest.param(
            [1],
            "merge",
            400,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            id="no object",
        ),
    ],
)
async def test_merge_patches_that_are_refused(send, patch, kind, status, message):
    """A patch may name what it is for, but not change it."""
    await send.make("configmaps", {"metadata": {"name": "a"}, "data": {"a": "1"}})
    answer = await send("PATCH", "configmaps/a", patch, kind)
    assert answer.status == status, answer.body
    if message:
        assert answer.message == message


CONTAINERS = [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"}]


def template(patch):
    return {"spec": {"template": {"spec": patch}}}


@pytest.mark.parametrize(
    ("patch", "names", "images"),
    [
        pytest.param({"containers": [{"name": "b", "image": "2"}]}, "ab", "12", id="merge by name"),
        pytest.param({"containers": [{"name": "c", "image": "3"}]}, "cab", "311", id="new ones come first"),
        pytest.param(
            {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": []}, "ba", "11", id="order"
        ),
        pytest.param({"containers": [{"name": "a", "$patch": "delete"}]}, "b", "1", id="delete"),
        pytest.param(
            {"containers": [{"$patch": "replace"}, {"name": "z", "image": "9"}]}, "z", "9", id="replace the list"
        ),
        pytest.param({"containers": [{"name": "a", "image": "2", "env": None}]}, "ab", "21", id="null removes"),
    ],
)
async def test_strategic_merges(send, patch, names, images):
    """Lists are merged as their type says, unless a directive says otherwise."""
    path = "/apis/apps/v1/namespaces/default/replicasets"
    labels = {"a": "b"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": CONTAINERS}},
    }
    await send.make(path, {"metadata": {"name": "a"}, "spec": spec})
    answer = await send("PATCH", f"{path}/a", template(patch), "strategic")
    assert answer.status == 200, answer.body
    found = answer.body["spec"]["template"]["spec"]["containers"]
    assert ["".join(c["name"] for c in found), "".join(c["image"] for c in found)] == [names, images]


async def test_strategies_and_finalizers(send):
    """$retainKeys clears what a union leaves behind; $deleteFromPrimitiveList takes single values out."""
    path = "/apis/apps/v1/namespaces/default/deployments"
    labels = {"a": "b"}
    await send.make(
        path,
        {
            "metadata": {"name": "a", "finalizers": ["a/a", "b/b"]},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": CONTAINERS}},
            },
        },
    )
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]},
        "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
    }
    found = (await send("PATCH", f"{path}/a", patch, "strategic")).body
    assert (found["metadata"]["finalizers"], found["spec"]["strategy"]) == (["b/b"], {"type": "Recreate"})


async def test_directives_that_there_are_not(send):
    """An unknown directive is an error of the client."""
    await send.make("configmaps", {"metadata": {"name": "a"}, "data": {"a": "1"}})
    answer = await send("PATCH", "configmaps/a", {"data": {"$patch": "spin"}}, "strategic")
    assert answer.status == 400, answer.body
    assert "spin" in answer.message


async def test_the_status_is_apart(send):
    """A patch of the status changes nothing else; a patch of the object leaves the status as it is."""
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await send.make("pods", pod)
    both = {"metadata": {"labels": {"a": "b"}}, "spec": {"activeDeadlineSeconds": 5}, "status": {"message": "m"}}
    status = (await send("PATCH", "pods/p/status", both, "merge")).body
    assert status["status"]["message"] == "m"
    assert "activeDeadlineSeconds" not in status["spec"]
    both["status"]["message"] = "other"
    whole = (await send("PATCH", "pods/p", both, "merge")).body
    assert (whole["status"]["message"], whole["spec"]["activeDeadlineSeconds"]) == ("m", 5)


async def test_long_json_patches(send):
    """There may be ten thousand steps, not more."""
    await send.make("configmaps", {"metadata": {"name": "a"}})
    steps = [{"op": "test", "path": "/metadata/name", "value": "a"}] * 10_001
    answer = await send("PATCH", "configmaps/a", json.dumps(steps), "json")
    assert (answer.status, answer.message) == (
        413,
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
    )
