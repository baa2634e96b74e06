"""The three kinds of patches."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.local.patching import JSON, MERGE, STRATEGIC, patched
from trimtab.local.schema import builtin
from trimtab.local.statuses import ApiError

POD = builtin.node_of("Pod")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=4)


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ],
)
def test_merge_patch(document, patch, result):
    """RFC 7386: null removes, objects merge, everything else is replaced."""
    assert patched(document, patch, MERGE, {}) == result


@settings(deadline=None)  # other work on the machine is no failure
@given(document=OBJECTS, patch=OBJECTS)
def test_merge_patches_are_idempotent_and_change_no_argument(document, patch):
    """Applying a patch twice is applying it once."""
    before = copy.deepcopy((document, patch))
    once = patched(document, patch, MERGE, {})
    assert patched(once, patch, MERGE, {}) == once
    assert (document, patch) == before


def a_pod(*containers: dict[str, object], **spec: object) -> dict[str, object]:
    return {"spec": {"containers": list(containers), **spec}}


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        pytest.param(
            a_pod({"name": "a", "image": "1"}, {"name": "b", "image": "1"}),
            a_pod({"name": "b", "image": "2"}),
            a_pod({"name": "a", "image": "1"}, {"name": "b", "image": "2"}),
            id="by key, where they stood",
        ),
        pytest.param(
            a_pod({"name": "a"}, {"name": "b"}),
            a_pod({"name": "a", "$patch": "delete"}),
            a_pod({"name": "b"}),
            id="delete an item",
        ),
        pytest.param(
            a_pod({"name": "a", "image": "1"}),
            a_pod({"$patch": "replace"}, {"name": "c"}),
            a_pod({"name": "c"}),
            id="replace a list",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"finalizers": ["b", "c"]}},
            {"metadata": {"finalizers": ["a", "b", "c"]}},
            id="a list of scalars grows",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
            id="delete a scalar",
        ),
        pytest.param(
            a_pod({"name": "a"}, {"name": "b"}),
            {
                "spec": {
                    "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                    "containers": [{"name": "a", "image": "2"}],
                }
            },
            a_pod({"name": "b"}, {"name": "a", "image": "2"}),
            id="an order",
        ),
        pytest.param(
            {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
            {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}},
            {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}},
            id="retained keys",
        ),
        pytest.param(
            {"spec": {"tolerations": [{"key": "a"}]}},
            {"spec": {"tolerations": [{"key": "b"}]}},
            {"spec": {"tolerations": [{"key": "b"}]}},
            id="an atomic list",
        ),
        pytest.param(
            {"spec": {"nodeSelector": {"a": "1"}}},
            {"spec": {"nodeSelector": {"$patch": "replace", "b": "2"}}},
            {"spec": {"nodeSelector": {"b": "2"}}},
            id="replace a map",
        ),
    ],
)
def test_strategic_merge_patch(document, patch, result):
    """Lists merge by their keys, and directives are obeyed."""
    before = copy.deepcopy(document)
    assert patched(document, patch, STRATEGIC, POD) == result
    assert document == before


def test_items_need_their_merge_key():
    """An item that does not say which one it is cannot be merged."""
    with pytest.raises(ApiError, match="does not contain declared merge key: name") as refused:
        patched(a_pod({"name": "a"}), a_pod({"image": "x"}), STRATEGIC, POD)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "remove", "path": "/none"}], 422),
        ([{"op": "replace", "path": "/none/x", "value": 1}], 422),
        ([{"op": "unknown", "path": "/a"}], 422),
        ({"op": "remove"}, 400),
    ],
)
def test_json_patches_that_do_not_apply(patch, status):
    """A patch applies as a whole or not at all."""
    document = {"a": 1}
    with pytest.raises(ApiError) as refused:
        patched(document, patch, JSON, {})
    assert refused.value.status == status
    assert document == {"a": 1}


def test_json_patch():
    """RFC 6902, through the library."""
    patch = [{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/b", "value": [1]}]
    assert patched({"a": 1}, patch, JSON, {}) == {"a": 1, "b": [1]}


def test_copies_of_copies_are_bounded():
    """Forty operations would make a terabyte; more than 3 MiB of copies is refused, as on a real server."""
    steps = [{"op": "copy", "from": "/data", "path": f"/data/k{n}"} for n in range(40)]
    document = {"data": {"a": "x" * 10}}
    assert len(patched(document, steps[:5], JSON, None)["data"]) == 6
    with pytest.raises(ApiError, match="exceeding the limit 3145728") as refused:
        patched(document, steps, JSON, None)
    assert (refused.value.status, refused.value.reason) == (413, "RequestEntityTooLarge")


def test_a_json_patch_may_not_nest_deeper_than_a_body():
    """Neither by copies nor by additions, each of which goes deeper."""
    copies = [{"op": "copy", "from": "/a", "path": "/a" * (2**n)} for n in range(1, 12)]
    adds = [{"op": "add", "path": "/a" * n, "value": {}} for n in range(1, 300)]
    for steps in (copies, adds):
        with pytest.raises(ApiError, match=r"exceeded max depth|rejected our request"):
            patched({"a": {"a": {}}}, steps, JSON, None)
