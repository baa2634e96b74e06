"""Label and field selectors."""

import pytest

from trimtab.local.selectors import field_matcher, label_matcher, matches_label_selector, selector_text
from trimtab.local.statuses import ApiError

LABELS = {"tier": "web", "env": "prod", "size": "5"}


def labelled(labels: dict[str, str]) -> dict[str, object]:
    return {"metadata": {"name": "x", "labels": labels}}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("tier=web", True),
        ("tier==web,env=prod", True),
        ("tier=db", False),
        ("tier!=db", True),
        ("absent!=db", True),
        ("tier", True),
        ("!tier", False),
        ("!absent", True),
        ("tier in (web, db)", True),
        ("tier notin (web,db)", False),
        ("absent notin (web)", True),
        ("absent in (web)", False),
        ("size>4", True),
        ("size<5", False),
        ("absent>4", False),
        ("tier=", False),
        (" tier = web ", True),
    ],
)
def test_label_selectors(selector, selected):
    """Every operator, alone and combined."""
    matcher = label_matcher(selector)
    assert matcher is not None
    assert matcher(labelled(LABELS)) is selected


@pytest.mark.parametrize("selector", [None, "", "  "])
def test_no_label_selector_asks_for_nothing(selector):
    """Nothing to match is no matcher at all."""
    assert label_matcher(selector) is None


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("a = b c", "found 'c', expected: ',' or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        (",", "unable to parse requirement: found ',', expected: identifier"),
        ("a ~ b", "unable to parse requirement: found '~', expected: in, notin, =, ==, !=, gt, lt"),
    ],
)
def test_unreadable_label_selectors(selector, message):
    """The refusal says what was found where something else was expected."""
    with pytest.raises(ApiError) as refused:
        label_matcher(selector)
    assert (refused.value.status, refused.value.message) == (400, message)


def test_field_selectors_know_the_fields_of_a_kind():
    """Pods can be selected by node and phase; other kinds by name alone."""
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "a"}, "status": {"phase": "Running"}}
    matcher = field_matcher("spec.nodeName=a,status.phase!=Failed,metadata.namespace==n", "pods")
    assert matcher is not None
    assert matcher(pod)
    assert not matcher({**pod, "spec": {}})
    with pytest.raises(ApiError, match=r'"data\.a" is not a known field selector'):
        field_matcher("data.a=1", "configmaps")
    with pytest.raises(ApiError, match=r"field label not supported: spec\.x"):
        field_matcher("spec.x=1", "pods")


def test_an_absent_flag_is_false():
    """Nodes that say nothing about scheduling are schedulable."""
    matcher = field_matcher("spec.unschedulable=false", "nodes")
    assert matcher is not None
    assert matcher({"metadata": {"name": "n"}, "spec": {}})


@pytest.mark.parametrize(
    ("selector", "selected", "text"),
    [
        ({}, True, ""),
        (None, False, ""),
        ({"matchLabels": {"tier": "web"}}, True, "tier=web"),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}, False, "tier in (a,b)"),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}, True, "tier notin (a)"),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True, "tier"),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False, "!tier"),
    ],
)
def test_selector_objects(selector, selected, text):
    """Selectors as specs carry them match, and read in tables, like those of requests."""
    assert matches_label_selector(selector, LABELS) is selected
    assert selector_text(selector) == text
