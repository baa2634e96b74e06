"""What holds for any writes, whoever makes them and in whatever order."""

import copy
import itertools
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.local.managed import entries_of
from trimtab.local.patching import APPLY, JSON, MERGE, STRATEGIC, patched
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError

KEYS = st.sampled_from("abcd")
VALUES = st.sampled_from(["", "1", "2"])
MANAGERS = st.sampled_from(["one", "two", "three"])
DATA = st.dictionaries(KEYS, VALUES, max_size=4)
NAMES = st.sampled_from(["x", "y"])
ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab/~", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=8,
)
NO_NULLS = st.recursive(
    st.booleans() | st.integers(-2, 2) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.text("ab", max_size=2), NO_NULLS, max_size=4)
few = settings(deadline=None, max_examples=60)  # other work on the machine is no failure


def a_registry():
    numbers = itertools.count(1)
    found = Registry(lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: f"uid-{next(numbers)}")
    found.create("namespaces", {"metadata": {"name": "default"}})
    return found


def config(name, data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def write(registry, step, *, dry_run=False):
    """One step, refused or not; returns what is there afterwards, or None."""
    verb, manager, name, data = step
    namespace = "default"
    try:
        if verb == "create":
            return registry.create("configmaps", config(name, data), namespace, manager=manager, dry_run=dry_run)
        if verb == "update":
            body = config(name, data)
            body["metadata"]["namespace"] = namespace
            return registry.update("configmaps", body, manager=manager, dry_run=dry_run)
        if verb == "delete":
            options = {"dry_run": dry_run}
            return registry.delete("configmaps", name, namespace, **options)
        kind, body = {
            "apply": (APPLY, config(name, data)),
            "force": (APPLY, config(name, data)),
            "merge": (MERGE, {"data": data}),
            "strategic": (STRATEGIC, {"data": data}),
            "json": (JSON, [{"op": "add", "path": "/data", "value": data}]),
        }[verb]
        return registry.patch(
            "configmaps", name, namespace, body, kind, manager=manager, force=verb == "force", dry_run=dry_run
        )
    except ApiError:
        return None


VERBS = ["create", "update", "apply", "force", "merge", "strategic", "json", "delete"]
STEPS = st.lists(st.tuples(st.sampled_from(VERBS), MANAGERS, NAMES, DATA), max_size=8)


def leaves(obj):
    return obj.get("data") or {}


@few
@given(steps=STEPS, name=NAMES, data=DATA, manager=MANAGERS)
def test_applying_twice_is_applying_once(steps, name, data, manager):
    """Whatever happened before, the second of two same applies changes nothing at all."""
    registry = a_registry()
    for step in steps:
        write(registry, step)
    once = write(registry, ("force", manager, name, data))
    version = registry.version
    assert write(registry, ("force", manager, name, data)) == once
    assert write(registry, ("apply", manager, name, data)) == once
    assert registry.version == version


@few
@given(steps=STEPS)
def test_what_changes_has_one_owner(steps):
    """A value that a write changed belongs to its writer alone; owners of one value agree on it."""
    registry = a_registry()
    for step in steps:
        _, manager, name, _ = step
        old = registry.find("configmaps", "default", name)
        before = copy.deepcopy(leaves(old)) if old else {}
        new = write(registry, step)
        if new is None or step[0] == "delete" or (old is None and step[0] != "create" and "data" not in new):
            continue
        changed = {key for key, value in leaves(new).items() if before.get(key) != value}
        for entry in entries_of(new):
            owned = {path[-1].removeprefix("f:") for path in entry.fields if path[0] == "f:data" and len(path) == 2}
            assert owned <= leaves(new).keys()
            if entry.manager.name != manager:
                assert not owned & changed


@few
@given(steps=STEPS, step=st.tuples(st.sampled_from(VERBS), MANAGERS, NAMES, DATA))
def test_a_dry_run_changes_nothing(steps, step):
    """Neither an object nor the version, whether it is refused or not."""
    registry = a_registry()
    for earlier in steps:
        write(registry, earlier)
    before = copy.deepcopy(registry.list("configmaps", "default"))
    write(registry, step, dry_run=True)
    assert registry.list("configmaps", "default") == before


def merge_patch(old, new):
    """The merge patch that leads from one document to another (RFC 7386)."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    patch = {name: None for name in old if name not in new}
    return patch | {name: merge_patch(old.get(name), new[name]) for name in new if old.get(name) != new[name]}


@few
@given(old=DOCUMENTS, new=DOCUMENTS)
def test_a_merge_patch_of_the_difference_leads_there(old, new):
    """Where there are no nulls, every change can be said as a merge patch."""
    assert patched(old, merge_patch(old, new), MERGE, {}) == new


POINTERS = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "~1", "~0", ""]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
JSON_STEPS = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "spin"])},
        optional={"path": POINTERS, "from": POINTERS, "value": ITEMS},
    ),
    max_size=4,
)


@few
@given(document=st.dictionaries(st.text("ab/~", max_size=2), ITEMS, max_size=3), steps=JSON_STEPS)
def test_any_json_patch_is_answered(document, steps):
    """A result or a refusal, and the document is as it was either way."""
    before = copy.deepcopy(document)
    try:
        patched(document, steps, JSON, {})
        status = 200
    except ApiError as error:
        status = error.status
    assert status in (200, 422)
    assert document == before


PATCHED = st.recursive(
    st.none() | st.text("ab", max_size=2) | st.integers(0, 2),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "containers",
                    "name",
                    "image",
                    "env",
                    "value",
                    "volumes",
                    "$patch",
                    "$retainKeys",
                    "$setElementOrder/containers",
                    "$deleteFromPrimitiveList/finalizers",
                    "spec",
                    "metadata",
                    "finalizers",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@few
@given(patch=st.dictionaries(st.sampled_from(["spec", "metadata", "$patch"]), PATCHED, max_size=3))
def test_any_strategic_patch_is_answered(patch):
    """A pod or a refusal, whatever the directives say."""
    registry = a_registry()
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    registry.create("pods", pod, "default")
    try:
        found = registry.patch("pods", "p", "default", patch, STRATEGIC, manager="m")
        status, reason = 200, found["metadata"]["name"]
    except ApiError as error:
        status, reason = error.status, error.reason
    assert (status, reason) in [(200, "p"), (400, "BadRequest"), (422, "Invalid"), (500, "")]
