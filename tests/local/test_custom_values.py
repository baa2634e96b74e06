"""Values of custom kinds: what the schema and its rules make of them, from creation to every change."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.local.kinds.custom import Custom
from trimtab.local.objects import Object
from trimtab.local.patching import MERGE
from trimtab.local.registry import ApiError, Registry
from trimtab.local.schema.cel.syntax import library
from trimtab.local.schema.compiling import compiled
from trimtab.local.schema.defaulting import fill_defaults
from trimtab.local.schema.definitions import definition_errors
from trimtab.local.schema.judging import SchemaVersion
from trimtab.local.schema.pruning import pruned
from trimtab.local.schema.rules import rule_errors, rule_tree
from trimtab.local.schema.validation import same, schema_errors
from trimtab.local.statuses import unchecked

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
THINGS = "things.example.com"
NEEDS_CEL = pytest.mark.skipif(library() is None, reason="the CEL library is not installed")
TEXT = {"type": "string"}
INTEGER = {"type": "integer"}
RULES = "x-kubernetes-validations"


def an_object(**properties: Any) -> Object:
    return {"type": "object", "properties": properties}


def serve(registry: Registry, spec: Object, **version: Any) -> None:
    """Define the kind Thing with a schema for its spec."""
    schema = {"openAPIV3Schema": an_object(spec=spec, status=an_object(replicas=INTEGER, selector=TEXT))}
    one = {"name": "v1", "served": True, "storage": True, "schema": schema, **version}
    names = {"plural": "things", "kind": "Thing"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [one]}
    registry.create(CRDS, {"metadata": {"name": THINGS}, "spec": spec})


def thing(spec: Any, name: str = "x") -> Object:
    return {"metadata": {"name": name}, "spec": spec}


def causes(refused: ApiError) -> list[str]:
    assert refused.details is not None
    return [f"{c['field']}: {c['message']}" for c in refused.details["causes"]]


def refusal(registry: Registry, spec: Any) -> list[str]:
    with pytest.raises(ApiError) as refused:
        registry.create(THINGS, thing(spec), "default")
    return causes(refused.value)


@pytest.mark.parametrize(
    ("node", "value", "errors"),
    [
        ({**TEXT, "enum": ["a"]}, 5, ["FieldValueTypeInvalid", "FieldValueNotSupported"]),
        ({**TEXT, "enum": ["a", None], "nullable": True}, None, ["FieldValueNotSupported"]),
        ({**INTEGER, "maximum": 10}, 10.5, ["FieldValueTypeInvalid", "FieldValueInvalid", "FieldValueInvalid"]),
        ({**INTEGER, "format": "int32"}, 2**31 - 1, []),
        ({**INTEGER, "format": "int32"}, 2**31, ["FieldValueInvalid"]),
        ({**INTEGER, "format": "int32", "maximum": 2**32}, 5, ["FieldValueInvalid"]),
        ({**INTEGER, "format": "int64"}, 2**40, []),
        ({**INTEGER, "format": "uint8"}, 2**40, []),
        ({"type": "number", "format": "float"}, 3.5e38, ["FieldValueInvalid"]),
        ({"type": "number", "format": "double"}, 3.5e38, []),
        (INTEGER, 2**70, ["FieldValueTypeInvalid", "FieldValueInvalid"]),
        (INTEGER, 3.0, []),
        ({"type": "number"}, 3, []),
        ({"type": "number", "exclusiveMinimum": True, "minimum": 0}, 0, ["FieldValueInvalid"]),
        ({"type": "number", "multipleOf": 0.1}, 0.3, []),
        ({**TEXT, "format": "date"}, [], []),
        ({**TEXT, "format": "date"}, "2026-02-30", ["FieldValueTypeInvalid"]),
        ({**TEXT, "format": "ipv4"}, "::1", ["FieldValueTypeInvalid"]),
        ({"type": "object", "minProperties": 2, "required": ["a"]}, {"b": 1}, ["FieldValueInvalid"]),
        ({"type": "object", "additionalProperties": INTEGER}, {"a": "x", "b": 1}, ["FieldValueTypeInvalid"]),
        ({"type": "array", "items": INTEGER, "maxItems": 1}, [1, "x"], ["FieldValueTypeInvalid", "FieldValueTooMany"]),
        ({"type": "boolean"}, 1, ["FieldValueTypeInvalid"]),
        ({"x-kubernetes-int-or-string": True}, 1.5, ["FieldValueTypeInvalid", "FieldValueInvalid"]),
        ({"x-kubernetes-preserve-unknown-fields": True}, {"a": [1]}, []),
    ],
)
def test_kinds_of_errors(node: Object, value: Any, errors: list[str]):
    """Every keyword is judged on its own, and the compiled check agrees on what is valid."""
    assert [error.reason for error in schema_errors(value, node, "f")] == errors
    check = compiled(node)
    assert check is None or not errors or not check(value)


def test_numbers_are_shown_as_go_shows_them():
    """Bounds of whole numbers are whole; others are floats, with an exponent from a million on."""
    (whole,) = schema_errors(9_000_000, {**INTEGER, "maximum": 1_000_000.0}, "f")
    (broken,) = schema_errors(9_000_000.5, {"type": "number", "maximum": 1_000_000}, "f")
    assert whole.message == "Invalid value: 9000000: f in body should be less than or equal to 1000000"
    assert broken.message.startswith("Invalid value: 9.0000005e+06: f in body should be less than or equal to 1")


def test_combinations_say_which_and_why():
    """A failing allOf lists its parts; of alternatives, the one that had most to check is explained."""
    node = an_object(a=INTEGER, b=INTEGER) | {
        "allOf": [{"required": ["b"]}, {"properties": {"a": {"minimum": 1}}}],
    }
    assert [str(e) for e in schema_errors({"a": 0}, node, "spec")] == [
        "spec.b: Required value",
        "spec.a: Invalid value: 0: spec.a in body should be greater than or equal to 1",
        '<nil>: Invalid value: "": "spec" must validate all the schemas (allOf). None validated',
    ]


def test_sets_and_keyed_lists_have_every_member_once(registry: Registry):
    """A second member is refused, unless the object had it twice before."""
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k", "p"],
        "items": {**an_object(k=TEXT, p={**INTEGER, "default": 1}), "required": ["k"]},
    }
    serve(registry, an_object(s={"type": "array", "x-kubernetes-list-type": "set", "items": TEXT}, m=keyed))
    found = refusal(registry, {"s": ["a", "b", "a", "a"], "m": [{"k": "x"}, {"k": "x", "p": 1}]})
    assert found == [
        'spec.s[2]: Duplicate value: "a"',
        'spec.m[1]: Duplicate value: {"k":"x","p":1}',
    ]


def test_numbers_of_the_scale_subresource(registry: Registry):
    """What scales has to be countable; nothing counts as none."""
    scale = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".spec.s"}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    serve(registry, free, subresources={"status": {}, "scale": scale})
    for value, message in (
        (-1, ".spec.n: Invalid value: -1: should be a non-negative integer"),
        (2**31, ".spec.n: Invalid value: 2147483648: should be less than or equal to 2147483647"),
        ("x", ".spec.n: Invalid value: 0: .spec.n accessor error: x is of the type string, expected int64"),
    ):
        assert refusal(registry, {"n": value}) == [message]
    assert refusal(registry, {"s": 1}) == [
        '.spec.s: Invalid value: "": .spec.s accessor error: 1 is of the type int64, expected string'
    ]
    registry.create(THINGS, thing({}), "default")


def test_embedded_objects_have_an_identity(registry: Registry):
    """An object inside of an object says what it is; unknown fields of its metadata go."""
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    serve(registry, an_object(t=embedded))
    assert refusal(registry, {"t": {"kind": "a b", "metadata": {"labels": {"!": "x"}}}})[:2] == [
        "spec.t.apiVersion: Required value",
        (
            'spec.t.kind: Invalid value: "a b": may have mixed case, but should otherwise match: a DNS-1035 label must '
            "consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an "
            "alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
            "'[a-z]([-a-z0-9]*[a-z0-9])?')"
        ),
    ]
    inner = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "nope": 1}, "spec": {"a": 1}}
    created = registry.create(THINGS, thing({"t": inner}), "default")
    assert created["spec"]["t"] == {**inner, "metadata": {"name": "p"}}


def test_no_rules_no_word_about_them(registry: Registry):
    """Only where rules were not asked is that said."""
    serve(registry, an_object(a=INTEGER))
    assert refusal(registry, {"a": "x"}) == [
        'spec.a: Invalid value: "string": spec.a in body must be of type integer: "string"'
    ]


@NEEDS_CEL
def test_rules_are_asked_unless_the_shape_is_wrong(registry: Registry):
    """A value out of bounds is judged by rules as well, one of a wrong type is not."""
    rules = [{"rule": "self.a != 7", "message": "seven"}]
    serve(registry, {**an_object(a={**INTEGER, "maximum": 5}), RULES: rules})
    assert refusal(registry, {"a": 7}) == [
        "spec.a: Invalid value: 7: spec.a in body should be less than or equal to 5",
        "spec: Invalid value: seven",
    ]
    unasked = unchecked()
    assert refusal(registry, {"a": "7"})[1] == f"{unasked.field}: {unasked.message}"


def broken(rule: str, value: Any, node: Object | None = None, old: Any = None, **more: Any) -> list[str]:
    """What a rule about a value says."""
    schema = {**(node or an_object(a=INTEGER, s=TEXT)), RULES: [{"rule": rule, **more}]}
    before = [] if old is None else [old]
    return [str(error) for error in rule_errors(value, rule_tree(schema), "spec", *before)]


@NEEDS_CEL
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "spec: Invalid value: failed rule: self.a < 1"),
        ({"message": "small"}, "spec: Invalid value: small"),
        ({"messageExpression": "'not ' + string(self.a)"}, "spec: Invalid value: not 5"),
        ({"messageExpression": "'  '", "message": "small"}, "spec: Invalid value: small"),
        ({"messageExpression": r"'a\nb'", "message": "small"}, "spec: Invalid value: small"),
        ({"messageExpression": "string(1 / (self.a - 5))", "message": "small"}, "spec: Invalid value: small"),
        ({"reason": "FieldValueForbidden", "message": "no"}, "spec: Forbidden: no"),
        ({"reason": "FieldValueRequired"}, "spec: Required value: failed rule: self.a < 1"),
        ({"reason": "FieldValueDuplicate", "message": "no"}, 'spec: Duplicate value: {"a":5}'),
        ({"fieldPath": ".a"}, "spec.a: Invalid value: failed rule: self.a < 1"),
    ],
)
def test_how_a_broken_rule_is_reported(said: Object, expected: str):
    """Message, expression, reason and path are the rule's own; a failing expression gives way."""
    assert broken("self.a < 1", {"a": 5}, **said) == [expected]


@NEEDS_CEL
def test_rules_about_plain_values_show_them():
    """Of a text or number the value is shown, of anything larger it is not."""
    assert broken("self != 'a'", "a", TEXT) == ["spec: Invalid value: \"a\": failed rule: self != 'a'"]
    assert broken("self > 1", 1, INTEGER, message="more") == ["spec: Invalid value: 1: more"]


@NEEDS_CEL
def test_rules_that_cannot_be_evaluated():
    """The error is reported with the type of the value and the rule it was about."""
    assert broken("self.a > 1", {}) == ['spec: Invalid value: "object": no such key: a evaluating rule: self.a > 1']
    either = an_object(x={"x-kubernetes-int-or-string": True})
    assert broken("self.x > 1", {"x": "1"}, either, message="m") == [
        (
            "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, "
            "function or macro signature for rule: m"
        )
    ]


@NEEDS_CEL
def test_transition_rules():
    """They wait for an old value, unless they take an optional one, and are asked though nothing changed."""
    assert broken("self == oldSelf", "b", TEXT) == []
    assert broken("self == oldSelf", "b", TEXT, "a") == ['spec: Invalid value: "b": failed rule: self == oldSelf']
    assert broken("oldSelf.hasValue() || self == 'a'", "b", TEXT, optionalOldSelf=True) != []
    assert broken("oldSelf.orValue('b') == self", "b", TEXT, "b", optionalOldSelf=True) == []
    assert broken("oldSelf.size() < 1 && self == ''", "b", TEXT, "b") != []


@NEEDS_CEL
def test_members_are_told_again_by_their_keys():
    """Items of a keyed list are compared with what they were, wherever they stand now."""
    item = {**an_object(k=TEXT, v=INTEGER), "required": ["k"], RULES: [{"rule": "self.v >= oldSelf.v"}]}
    node = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item}
    old = [{"k": "a", "v": 1}, {"k": "b", "v": 5}]
    new = [{"k": "c", "v": 0}, {"k": "b", "v": 4}, {"k": "a", "v": 2}]
    errors = rule_errors(new, rule_tree(node), "spec", old)
    assert [error.field for error in errors] == ["spec[1]"]


@NEEDS_CEL
def test_rules_in_maps_name_the_key():
    """Entries of a map are named by their keys."""
    entry = {**INTEGER, RULES: [{"rule": "self > 0"}]}
    node = {"type": "object", "additionalProperties": entry}
    assert [e.field for e in rule_errors({"a": 1, "b": 0}, rule_tree(node), "spec")] == ["spec[b]"]


@NEEDS_CEL
def test_what_was_broken_before_may_stay(registry: Registry):
    """A rule that came later breaks no object that does not change there."""
    serve(registry, an_object(a=INTEGER, b=INTEGER))
    registry.create(THINGS, thing({"a": 1, "b": 1}), "default")
    definition = copy.deepcopy(registry.get(CRDS, THINGS))
    root = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    root["properties"]["spec"]["properties"]["a"] |= {"maximum": 0, RULES: [{"rule": "self < 0"}]}
    registry.update(CRDS, definition)
    changed = registry.patch(THINGS, "x", "default", {"spec": {"b": 2}}, MERGE, manager="m")
    assert changed["spec"] == {"a": 1, "b": 2}
    with pytest.raises(ApiError) as refused:
        registry.patch(THINGS, "x", "default", {"spec": {"a": 2}}, MERGE, manager="m")
    assert len(causes(refused.value)) == 2


def test_what_a_new_schema_does_not_know_is_not_read(registry: Registry):
    """Stored objects are read by the schema of today: fields that are gone do not show."""
    serve(registry, an_object(a=INTEGER, b=INTEGER))
    registry.create(THINGS, thing({"a": 1, "b": 1}), "default")
    definition = copy.deepcopy(registry.get(CRDS, THINGS))
    del definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["b"]
    registry.update(CRDS, definition)
    assert registry.get(THINGS, "x", "default")["spec"] == {"a": 1}


NAMES = st.sampled_from(["a", "b", "c-d", "namespace"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 2.0]), st.sampled_from(["", "a", "2026-01-01"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)


def _described(kind: str, inner: st.SearchStrategy[Object]) -> st.SearchStrategy[Object]:
    if kind == "array":
        return st.fixed_dictionaries(
            {"type": st.just(kind), "items": inner},
            optional={"maxItems": st.integers(0, 3), "nullable": st.booleans(), "default": VALUES},
        )
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)},
            optional={
                "required": st.lists(NAMES, max_size=2, unique=True),
                "x-kubernetes-preserve-unknown-fields": st.just(value=True),
                "default": VALUES,
            },
        ),
        st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner}),
    )


LEAVES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "number", "boolean"])},
        optional={"nullable": st.booleans(), "default": SCALARS, "enum": st.lists(SCALARS, min_size=1, max_size=3)},
    ),
    st.just({"type": "string", "format": "date"}),
    st.just({"type": "integer", "minimum": 0, "maximum": 2}),
    st.just({"x-kubernetes-int-or-string": True}),
    st.just({"type": "string", "pattern": "^a*$", "maxLength": 3}),
)
SCHEMAS = st.recursive(
    LEAVES, lambda inner: st.one_of(_described("array", inner), _described("object", inner)), max_leaves=6
)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS, VALUES)
def test_defaulting_what_was_pruned_is_done_once(node: Object, value: Any):
    """Pruning and defaulting change nothing the second time, and valid values stay valid; nothing fails."""
    schema = an_object(spec=node)
    first = pruned({"spec": value}, schema, "", [])
    fill_defaults(first, schema)
    second = pruned(first, schema, "", unknown := [])
    fill_defaults(second, schema)
    clean = not definition_errors(schema, "schema", has_status=False)
    assert not clean or (same(first, second) and not unknown)
    version = SchemaVersion(schema)
    short = version.shape_errors(first, None)
    assert [str(e) for e in short] == [str(e) for e in schema_errors(first, version.node, "")]
    assert version.shape_errors(first, first) == []


@settings(max_examples=100, deadline=None)
@given(SCHEMAS, VALUES)
def test_a_kind_only_ever_refuses(node: Object, value: Any):
    """Whatever is sent to a custom kind is taken or refused by an API error."""
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": an_object(spec=node)}}
    names = {"plural": "things", "kind": "Thing", "singular": "thing", "listKind": "ThingList"}
    kind = Custom({"spec": {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]}})
    decoded = kind.decode(thing(value), "v1").object
    kind.default(decoded, "v1")
    refused = kind.validate(decoded, None, "v1", "")
    assert refused is None or refused.status == 422
