"""Sets of owned fields."""

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.local.applying import merged, pruned
from trimtab.local.fieldsets import compare, fields_of, from_fields_v1, shown, to_fields_v1
from trimtab.local.schema import builtin

POD = builtin.node_of("Pod")
NAMES = st.text("abc", min_size=1, max_size=2)
VALUES = st.recursive(
    st.integers(0, 3) | st.text("xy", max_size=2), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)


def a_container(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, **fields}


def test_fields_are_named_by_their_keys():
    """Items of keyed lists are named by key, members of sets by value, atomic things as one."""
    pod = {
        "metadata": {"name": "p", "finalizers": ["a/b"], "labels": {"k": "v"}},
        "spec": {
            "containers": [a_container("c", ports=[{"containerPort": 80}])],
            "tolerations": [{"key": "t"}],
        },
    }
    found = {"".join(path) for path in fields_of(pod, POD)}
    assert found == {
        'f:metadataf:finalizersv:"a/b"',
        "f:metadataf:labelsf:k",
        'f:specf:containersk:{"name":"c"}',
        'f:specf:containersk:{"name":"c"}f:name',
        'f:specf:containersk:{"name":"c"}f:portsk:{"containerPort":80,"protocol":"TCP"}',
        'f:specf:containersk:{"name":"c"}f:portsk:{"containerPort":80,"protocol":"TCP"}f:containerPort',
        "f:specf:tolerations",
    }


def test_paths_read_as_conflicts_show_them():
    """A path is shown the way people write it."""
    assert shown(("f:spec", "f:containers", 'k:{"name":"c"}', "f:image")) == '.spec.containers[name="c"].image'
    assert shown(("f:metadata", "f:finalizers", 'v:"a"')) == '.metadata.finalizers[="a"]'


@settings(deadline=None)  # other work on the machine is no failure
@given(OBJECTS)
def test_the_nested_form_loses_nothing(obj):
    """What managedFields carry reads back as the same set."""
    for fields in (fields_of(obj, {}), fields_of(obj, {}, containers=True)):
        assert from_fields_v1(to_fields_v1(fields)) == fields


@settings(deadline=None)  # other work on the machine is no failure
@given(OBJECTS, OBJECTS)
def test_a_difference_is_empty_for_equal_objects_alone(old, new):
    """Comparing finds something exactly where there is something."""
    assert bool(compare(old, new, {})) == (old != new)


@settings(deadline=None)  # other work on the machine is no failure
@given(OBJECTS, OBJECTS)
def test_applied_fields_win_and_others_stay(live, config):
    """After a merge the config's fields have its values."""
    result = merged(live, config, {})
    assert fields_of(config, {}) <= fields_of(result, {}) | fields_of(config, {}, containers=True)
    assert merged(result, config, {}) == result


def test_dropped_items_go_unless_somebody_holds_something_in_them():
    """Pruning takes what nobody owns any more."""
    pod = {"spec": {"containers": [a_container("a"), a_container("b", image="1")]}}
    dropped = fields_of(pod, POD)
    held = {("f:spec", "f:containers", 'k:{"name":"b"}', "f:image")}
    left = pruned(pod, POD, dropped, held)
    assert left == {"spec": {"containers": [{"image": "1"}]}}
    assert pruned(pod, POD, dropped, set()) == {}


def test_lists_keep_the_applied_order():
    """Shared items come in the applied order, foreign ones where they stood."""
    live = {"spec": {"containers": [a_container("a"), a_container("x"), a_container("b")]}}
    config = {"spec": {"containers": [a_container("b"), a_container("a"), a_container("n")]}}
    names = [c["name"] for c in merged(live, config, POD)["spec"]["containers"]]
    assert sorted(names) == ["a", "b", "n", "x"]
    assert [n for n in names if n != "x"] == ["b", "a", "n"]
