"""Label and field selectors."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.catalog import Catalog
from trimtab.local.fieldselectors import field_matcher, named_in, of_core_events
from trimtab.local.labelselectors import label_matcher
from trimtab.local.selectors import matches_label_selector, selector_text
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


NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
UNKNOWN = 'is not a known field selector: only "metadata.name", "metadata.namespace"'
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("a in (=", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a in (b,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("a in (b,=)", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("a = b c", "found 'c', expected: ',' or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!!a", "unable to parse requirement: found '!', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("a ~ b", "unable to parse requirement: found '~', expected: in, notin, =, ==, !=, gt, lt"),
        ("-a", f'unable to parse requirement: <nil>: Invalid value: "-a": {NAME_PART}'),
        ("a/b/c=d", 'unable to parse requirement: <nil>: Invalid value: "a/b/c": a qualified name must consist'),
        ("a=b/c", f'unable to parse requirement: values[0][a]: Invalid value: "b/c": {VALUE}'),
        ("a in (z, b_)", f'unable to parse requirement: values[0][a]: Invalid value: "b_": {VALUE}'),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators",
        ),
    ],
)
def test_unreadable_label_selectors(selector, message):
    """The refusal says what was found where something else was expected."""
    with pytest.raises(ApiError) as refused:
        label_matcher(selector)
    assert refused.value.status == 400
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize("selector", ["a in ()", "a in (,)", "a in (b,)", "a in (,b)", "a in (b,,c)"])
def test_an_empty_value_may_be_listed(selector):
    """Nothing between two commas is the empty value."""
    matcher = label_matcher(selector)
    assert matcher is not None
    assert matcher(labelled({"a": ""}))
    assert not matcher(labelled({}))


@given(st.text(alphabet="ab=!(),<> \tin.-/\u00e9", max_size=20))
def test_any_text_is_a_selector_or_refused(text):
    """No text breaks either parser."""
    for parse in (label_matcher, lambda t: field_matcher(t, PODS)):
        with contextlib.suppress(ApiError):
            matcher = parse(text)
            assert matcher is None or matcher(labelled(LABELS)) in (True, False)


CATALOG = Catalog()
PODS = CATALOG.get("pods").resource


def test_field_selectors_know_the_fields_of_a_kind():
    """Pods can be selected by node and phase."""
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"nodeName": "a", "hostNetwork": True},
        "status": {"phase": "Running"},
    }
    matcher = field_matcher("spec.host=a,status.phase!=Failed,metadata.namespace==n,spec.hostNetwork=true", PODS)
    assert matcher is not None
    assert matcher(pod)
    assert not matcher({**pod, "spec": {}})


@pytest.mark.parametrize(
    ("resource", "selector", "message"),
    [
        (
            "configmaps",
            "data.a=1",
            '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("pods", "spec.x=1", "field label not supported: spec.x"),
        ("nodes", "metadata.namespace=x", "field label not supported: metadata.namespace"),
        ("jobs.batch", "spec.x=1", 'field label "spec.x" not supported for Job'),
        ("pods", "a", "invalid selector: 'a'; can't understand 'a'"),
        ("pods", "metadata.name=b,a", "invalid selector: 'metadata.name=b,a'; can't understand 'a'"),
        ("pods", "metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
        ("pods", r"metadata.name=a\b", r"invalid field selector: invalid escape sequence: \b"),
    ],
)
def test_unreadable_field_selectors(resource, selector, message):
    """The refusal names the field or the term."""
    with pytest.raises(ApiError) as refused:
        field_matcher(selector, CATALOG.get(resource).resource)
    assert (refused.value.status, refused.value.message) == (400, message)


@pytest.mark.parametrize(
    ("resource", "selector", "obj"),
    [
        ("nodes", "spec.unschedulable=false", {"spec": {}}),
        ("jobs.batch", "status.successful=0", {"status": {}}),
        ("jobs.batch", "status.successful=2", {"status": {"succeeded": 2}}),
        ("replicasets.apps", "status.replicas=0", {}),
        ("events", "source=kubelet", {"source": {"component": "kubelet"}}),
        ("events", "source=scheduler", {"source": {}, "reportingComponent": "scheduler"}),
        ("secrets", "type!=Opaque", {"type": "kubernetes.io/tls"}),
        ("secrets", r"type=a\,b\=c\\d", {"type": "a,b=c\\d"}),
    ],
)
def test_values_of_fields(resource, selector, obj):
    """What is absent reads as the field's zero value."""
    matcher = field_matcher(selector, CATALOG.get(resource).resource)
    assert matcher is not None
    assert matcher({"metadata": {"name": "x"}, **obj})


def test_events_have_two_sets_of_names():
    """events.k8s.io selects by its own names, and by no others."""
    assert of_core_events("regarding.name=a\\,b,type!=Normal") == "involvedObject.name=a\\,b,type!=Normal"
    with pytest.raises(ApiError, match=r"field label not supported: involvedObject\.name"):
        of_core_events("involvedObject.name=a")


@pytest.mark.parametrize(
    ("selector", "name"), [("metadata.name=a", "a"), ("metadata.name!=a", None), ("", None), ("x", None)]
)
def test_a_selector_may_be_about_one_object(selector, name):
    """Its name is known before any object is looked at."""
    assert named_in(selector) == name


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
        (
            {
                "matchLabels": {"tier": "web"},
                "matchExpressions": [{"key": "env", "operator": "In", "values": ["b", "a"]}],
            },
            False,
            "env in (a,b),tier=web",
        ),
    ],
)
def test_selector_objects(selector, selected, text):
    """Selectors as specs carry them match, and read in tables, like those of requests."""
    assert matches_label_selector(selector, LABELS) is selected
    assert selector_text(selector) == text
