"""What a rule allows, what covers it, and how a refusal prints it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.access.attributes import Attributes, attributes_of
from trimtab.local.access.rules import EVERYTHING, Rule, missing


@pytest.mark.parametrize(
    ("rule", "wanted", "allowed"),
    [
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, ("get", "pods"), True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, ("list", "pods"), False),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, ("anything", "pods/log"), True),
        ({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["pods"]}, ("get", "pods"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, ("get", "pods/log"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}, ("get", "pods/log"), True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}, ("get", "pods"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["*/scale"]}, ("get", "deployments/scale"), True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["*/scale"]}, ("get", "deployments/status"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/*"]}, ("get", "pods/log"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, ("get", "pods"), False),
    ],
)
def test_what_a_rule_allows(rule, wanted, allowed):
    """Verb, group and resource have to fit; a star fits everything, also behind the slash, never in front of it."""
    verb, path = wanted
    resource, _, subresource = path.partition("/")
    asked = Attributes(verb, group="", version="v1", resource=resource, subresource=subresource, name="n")
    assert Rule.of(rule).allows(asked) is allowed


@pytest.mark.parametrize(("name", "allowed"), [("mine", True), ("other", False), ("", False)])
def test_names_narrow_a_rule(name, allowed):
    """A rule for some names allows neither others nor what has no name, such as creating and listing."""
    rule = Rule.of({"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"]})
    assert rule.allows(Attributes("get", resource="secrets", name=name)) is allowed


@pytest.mark.parametrize(
    ("urls", "path", "allowed"),
    [
        (["/healthz"], "/healthz", True),
        (["/healthz"], "/healthz/etcd", False),
        (["/apis/*"], "/apis/apps/v1", True),
        (["/apis/*"], "/apis", False),
        (["*"], "/metrics", True),
    ],
)
def test_paths_that_are_no_resources(urls, path, allowed):
    """A path fits as a whole, or up to a star at the end."""
    assert Rule.of({"verbs": ["get"], "nonResourceURLs": urls}).allows(Attributes("get", path)) is allowed


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/version", {}, Attributes("get", "/version")),
        ("GET", "/apis/apps", {}, Attributes("get", "/apis/apps")),
        ("GET", "/api/v1", {}, Attributes("get", "/api/v1")),
        ("GET", "/api/v1/pods", {}, Attributes("list", "", "", "v1", "pods")),
        ("GET", "/api/v1/pods", {"watch": "1"}, Attributes("watch", "", "", "v1", "pods")),
        ("GET", "/api/v1/pods", {"watch": ""}, Attributes("watch", "", "", "v1", "pods")),
        ("GET", "/api/v1/pods", {"watch": "false"}, Attributes("list", "", "", "v1", "pods")),
        ("GET", "/api/v1/watch/pods", {}, Attributes("watch", "", "", "v1", "pods")),
        ("GET", "/api/v1/watch/namespaces/n/pods/p", {}, Attributes("watch", "", "", "v1", "pods", "", "n", "p")),
        (
            "GET",
            "/api/v1/pods",
            {"fieldSelector": "metadata.name=p"},
            Attributes("list", "", "", "v1", "pods", name="p"),
        ),
        (
            "POST",
            "/apis/apps/v1/namespaces/n/deployments",
            {},
            Attributes("create", "", "apps", "v1", "deployments", "", "n"),
        ),
        ("DELETE", "/api/v1/namespaces/n/pods", {}, Attributes("deletecollection", "", "", "v1", "pods", "", "n")),
        ("DELETE", "/api/v1/namespaces/n", {}, Attributes("delete", "", "", "v1", "namespaces", "", "n", "n")),
        (
            "PUT",
            "/api/v1/namespaces/n/finalize",
            {},
            Attributes("update", "", "", "v1", "namespaces", "finalize", "n", "n"),
        ),
        (
            "GET",
            "/api/v1/namespaces/n/pods/p/log",
            {},
            Attributes("get", "", "", "v1", "pods", "log", "n", "p"),
        ),
        ("PATCH", "/apis/g/v2/things/t/status", {}, Attributes("patch", "", "g", "v2", "things", "status", "", "t")),
    ],
)
def test_what_a_request_asks_for(method, path, query, expected):
    """Method and path say it all, whether such a kind is served or not."""
    assert attributes_of(method, path, query) == expected


def test_what_is_missing_is_put_together():
    """Each verb on each resource is looked at by itself; what is missing of one resource is one rule again."""
    held = [Rule.of({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]})]
    wanted = [
        Rule.of({"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods"]}),
        Rule.of({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}),
        Rule.of({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"]}),
    ]
    assert sorted(rule.shown() for rule in missing(held, wanted)) == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}',
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["get"]}',
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}',
        '{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "list"]}',
        '{NonResourceURLs:["/metrics"], Verbs:["get"]}',
    ]


@pytest.mark.parametrize(
    ("held", "wanted", "covered"),
    [
        ({"resources": ["*"]}, {"resources": ["pods/log"]}, True),
        ({"resources": ["pods"]}, {"resources": ["*"]}, False),
        ({"resources": ["*/scale"]}, {"resources": ["jobs/scale"]}, True),
        ({"resources": ["pods"], "resourceNames": ["a"]}, {"resources": ["pods"]}, False),
        ({"resources": ["pods"]}, {"resources": ["pods"], "resourceNames": ["a"]}, True),
        ({"resources": ["pods"], "resourceNames": ["a"]}, {"resources": ["pods"], "resourceNames": ["a", "b"]}, False),
    ],
)
def test_what_covers_what(held, wanted, covered):
    """A rule without names covers one with names, and never the other way round."""
    common = {"verbs": ["get"], "apiGroups": [""]}
    assert (missing([Rule.of({**common, **held})], [Rule.of({**common, **wanted})]) == []) is covered


_WORDS = st.lists(st.sampled_from(["get", "list", "pods", "pods/log", "*", ""]), max_size=2).map(tuple)
_RULES = st.builds(Rule, verbs=_WORDS, groups=_WORDS, resources=_WORDS, names=_WORDS, urls=_WORDS)


@given(st.lists(_RULES, max_size=3))
def test_everything_covers_everything(rules):
    """The administrator lacks nothing, and whoever holds rules may grant them."""
    assert missing(EVERYTHING, rules) == []
    assert missing(rules, rules) == []
