"""Schemas of custom kinds: what they have to be, and what they make of objects."""

import pytest

from trimtab.local.schema.builtin import definitions, node_of
from trimtab.local.schema.cel.syntax import library
from trimtab.local.schema.decoding import Undecodable, decode
from trimtab.local.schema.defaulting import fill_defaults
from trimtab.local.schema.definitions import definition_errors
from trimtab.local.schema.formats import has_format
from trimtab.local.schema.patterns import python_pattern
from trimtab.local.schema.pruning import pruned
from trimtab.local.schema.rules import rule_errors, rule_tree
from trimtab.local.schema.validation import blocks_rules, schema_errors

INTEGER = {"type": "integer"}
TEXT = {"type": "string"}
NEEDS_CEL = pytest.mark.skipif(library() is None, reason="the CEL library is not installed")


def an_object(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("node", "value", "result"),
    [
        (an_object(a={**INTEGER, "default": 1}), {}, {"a": 1}),
        (an_object(a={**INTEGER, "default": 1}), {"a": 2}, {"a": 2}),
        (an_object(a={**INTEGER, "default": 1}), {"a": None}, {"a": 1}),
        (an_object(a={**INTEGER, "default": 1, "nullable": True}), {"a": None}, {"a": None}),
        (an_object(a=INTEGER), {"a": None}, {}),
        (an_object(a=an_object(b={**INTEGER, "default": 1})), {}, {}),
        (an_object(a={**an_object(b={**INTEGER, "default": 1}), "default": {}}), {}, {"a": {"b": 1}}),
        (
            an_object(a={"type": "array", "items": an_object(b={**INTEGER, "default": 1})}),
            {"a": [{}, {"b": 2}]},
            {"a": [{"b": 1}, {"b": 2}]},
        ),
        (
            {"type": "object", "additionalProperties": an_object(b={**INTEGER, "default": 1})},
            {"x": {}},
            {"x": {"b": 1}},
        ),
    ],
)
def test_defaults(node, value, result):
    """Defaults fill what is missing, level by level; nulls go where none are allowed."""
    fill_defaults(value, node)
    assert value == result


@pytest.mark.parametrize(
    ("node", "value", "result", "unknown"),
    [
        (an_object(a=INTEGER), {"a": 1, "b": 2}, {"a": 1}, ["b"]),
        (an_object(a=an_object(b=INTEGER)), {"a": {"c": 1}}, {"a": {}}, ["a.c"]),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"b": {"c": 1}}, {"b": {"c": 1}}, []),
        (
            {**an_object(a=an_object()), "x-kubernetes-preserve-unknown-fields": True},
            {"a": {"c": 1}, "b": 1},
            {"a": {}, "b": 1},
            ["a.c"],
        ),
        (an_object(l={"type": "array", "items": an_object()}), {"l": [{"x": 1}]}, {"l": [{}]}, ["l[0].x"]),
        ({"type": "object", "additionalProperties": TEXT}, {"x": "y"}, {"x": "y"}, []),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {}},
            {"kind": "K", "spec": {}},
            {"kind": "K"},
            ["spec"],
        ),
    ],
)
def test_pruning(node, value, result, unknown):
    """Unknown fields go, and are reported, unless the schema preserves them."""
    found: list[str] = []
    assert pruned(value, node, "", found) == result
    assert found == unknown


@pytest.mark.parametrize(
    ("node", "value", "message"),
    [
        (
            {**INTEGER, "format": "int32"},
            2**31,
            'Invalid value: "": Checked value must be of type integer with format int32 in f',
        ),
        ({**INTEGER, "multipleOf": 2}, 3, "Invalid value: 3: f in body should be a multiple of 2"),
        (
            {**INTEGER, "minimum": 1, "exclusiveMinimum": True},
            1,
            "Invalid value: 1: f in body should be greater than 1",
        ),
        ({**INTEGER, "maximum": 1, "exclusiveMaximum": True}, 1, "Invalid value: 1: f in body should be less than 1"),
        ({**TEXT, "minLength": 2}, "a", 'Invalid value: "a": f in body should be at least 2 chars long'),
        (
            {"type": "array", "minItems": 1, "items": TEXT},
            [],
            "Invalid value: 0: f in body should have at least 1 items",
        ),
        ({**TEXT, "format": "date-time"}, "soon", 'Invalid value: "soon": f in body must be of type date-time: "soon"'),
        ({**TEXT, "pattern": "^a+$"}, "a\n", "Invalid value: \"a\\n\": f in body should match '^a+$'"),
        ({"type": "boolean"}, "true", 'Invalid value: "string": f in body must be of type boolean: "string"'),
        (TEXT, None, 'Invalid value: "null": f in body must be of type string: "null"'),
        (
            {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], **an_object(a=TEXT, b=TEXT)},
            {"a": "", "b": ""},
            'Invalid value: "": "f" must validate one and only one schema (oneOf). Found 2 valid alternatives',
        ),
        (
            {"not": {"required": ["a"]}, **an_object(a=TEXT)},
            {"a": ""},
            'Invalid value: "": "f" must not validate the schema (not)',
        ),
    ],
)
def test_refusals(node, value, message):
    """Each keyword refuses with the text a real server has for it."""
    assert [error.message for error in schema_errors(value, node, "f")] == [message]


def test_any_of_needs_one():
    """Where no alternative holds, the refusal says so first."""
    node = {"anyOf": [{"minimum": 5}, {"maximum": 1}], **INTEGER}
    assert schema_errors(7, node, "f") == schema_errors(0, node, "f") == []
    assert schema_errors(3, node, "f")[0].message.endswith('"f" must validate at least one schema (anyOf)')


def test_what_has_not_changed_is_not_judged_again():
    """A tightened schema breaks no object that was there before; a change has to fit."""
    node = an_object(a={**INTEGER, "maximum": 5}, b=INTEGER)
    assert schema_errors({"a": 9, "b": 2}, node, "", {"a": 9, "b": 1}) == []
    assert schema_errors({"a": 8}, node, "", {"a": 9}) != []


def test_some_errors_keep_rules_from_being_evaluated():
    """Rules need values of the right shape, but not within bounds."""
    assert blocks_rules(schema_errors("x", INTEGER, "f"))
    assert not blocks_rules(schema_errors(9, {**INTEGER, "maximum": 5}, "f"))


@NEEDS_CEL
@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "^((a*)b?)*$"])
def test_patterns_that_repeat_repetitions_end(pattern):
    """No text keeps the server busy, however an expression could go back over it."""
    schema = {**TEXT, "pattern": pattern}
    assert schema_errors("a" * 5000, schema, "f") == []
    assert len(schema_errors("a" * 5000 + "!", schema, "f")) == 1


@pytest.mark.parametrize(
    ("pattern", "translated"), [("^a$", r"^a\Z"), (r"^a\$$", r"^a\$\Z"), ("[$]", "[$]"), (r"a\z", r"a\Z")]
)
def test_patterns_end_where_re2_ends_them(pattern, translated):
    """A dollar is the end of the text, not of a line."""
    assert python_pattern(pattern) == translated


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        (an_object(a={"type": "array"}), "properties[a].items: Required value: must be specified"),
        (
            an_object(a={"type": "array", "items": {}}),
            "properties[a].items.type: Required value: must not be empty for specified array items",
        ),
        ({"type": "string"}, 'schema.type: Invalid value: "string": must be object at the root'),
        (an_object(a={"$ref": "#/x", "type": "string"}), "properties[a].$ref: Forbidden: $ref is not supported"),
        (
            an_object(a={**TEXT, "pattern": "("}),
            'properties[a].pattern: Invalid value: "(": must be a valid regular expression',
        ),
        (
            {"type": "object", "anyOf": [{"properties": {"b": {}}}], "properties": {"a": TEXT}},
            "properties[b]: Required value: because it is defined in schema.anyOf[0].properties[b]",
        ),
    ],
)
def test_schemas_that_are_not_structural(node, problem):
    """A definition is refused with the path of what is wrong with it."""
    assert any(problem in str(error) for error in definition_errors(node, "schema", has_status=False))


def test_structural_schemas_pass():
    """What the rules ask for is enough."""
    node = an_object(
        a={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {**an_object(k=TEXT), "required": ["k"]},
        },
        b={"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
    )
    assert definition_errors(node, "schema", has_status=False) == []


@NEEDS_CEL
def test_rules_say_what_does_not_hold():
    """A message, a message expression, a reason and a field path are all used."""
    node = an_object(a=INTEGER, b=INTEGER) | {
        "x-kubernetes-validations": [
            {"rule": "self.a <= self.b", "messageExpression": "'a is ' + string(self.a)", "fieldPath": ".a"},
            {"rule": "self.b < 5", "message": "too big", "reason": "FieldValueForbidden"},
        ]
    }
    errors = rule_errors({"a": 9, "b": 7}, rule_tree(node), "spec")
    assert [str(e) for e in errors] == ["spec.a: Invalid value: a is 9", "spec: Forbidden: too big"]


@NEEDS_CEL
def test_transition_rules_wait_for_a_change():
    """A rule about the old value says nothing at creation, and nothing while the value stays."""
    node = {**TEXT, "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "stays"}]}
    assert rule_errors("a", rule_tree(node), "f") == []
    assert rule_errors("a", rule_tree(node), "f", "a") == []
    assert [str(e) for e in rule_errors("b", rule_tree(node), "f", "a")] == ['f: Invalid value: "b": stays']


def test_built_in_types_refer_to_types_that_are_there():
    """The table of types is closed, and every list of maps names its keys."""
    known = definitions()

    def check(node: dict[str, object]) -> None:
        if "$ref" in node:
            assert node["$ref"] in known
        for keyword in ("items", "additionalProperties"):
            if keyword in node:
                check(node[keyword])  # type: ignore[arg-type]
        for child in node.get("properties", {}).values():  # type: ignore[attr-defined]
            check(child)
        if node.get("x-kubernetes-list-type") == "map":
            item = known[node["items"]["$ref"]]  # type: ignore[index]
            assert set(node["x-kubernetes-list-map-keys"]) <= set(item["properties"])  # type: ignore[arg-type]

    for node in known.values():
        check(node)


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        (
            {"spec": {"containers": [{"name": 1}]}},
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string",
        ),
        (
            {"spec": {"containers": {}}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            {"spec": {"activeDeadlineSeconds": 1.5}},
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
    ],
)
def test_built_in_kinds_check_types(pod, message):
    """A wrong type is refused with the field and what it should be."""
    with pytest.raises(Undecodable, match="json: cannot unmarshal") as refused:
        decode(pod, node_of("Pod"))
    assert str(refused.value) == message


def test_built_in_kinds_report_unknown_fields_and_drop_nothings():
    """Nulls and empty lists are as good as left out; empty structs are not."""
    pod = {
        "spec": {
            "containers": [],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "hostAliases": [],
            "x": 1,
            "nodeName": None,
        }
    }
    found = decode(pod, node_of("Pod"))
    assert found.object == {"spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}}
    assert found.unknown == ["spec.x"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", "2026-01-01T00:00:00Z", "2026-01-01"),
        ("date", "2026-01-01", "1/1/26"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
        ("uuid", "2cbfd771-35f6-4f4d-889e-245cd5cb1415", "2cbfd771"),
        ("byte", "dg==", "dg"),
        ("duration", "1h30m", "soon"),
        ("uri", "s3://x/y", "x y"),
        ("nobody knows it", "anything", None),
    ],
)
def test_formats(name, good, bad):
    """Known formats are checked; unknown ones are had by all."""
    assert has_format(good, name)
    assert bad is None or not has_format(bad, name)
