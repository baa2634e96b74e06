"""What makes a definition invalid: every rule about names, versions, schemas, defaults and rules."""

import copy
from typing import Any

import pytest

from trimtab.local.objects import Object
from trimtab.local.registry import ApiError, Registry
from trimtab.local.schema.cel.syntax import library

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
NEEDS_CEL = pytest.mark.skipif(library() is None, reason="the CEL library is not installed")
SPEC = "spec.validation.openAPIV3Schema.properties[spec]"
RULES = "x-kubernetes-validations"
TEXT = {"type": "string"}
INTEGER = {"type": "integer"}


def a_definition(**changes: Any) -> Object:
    """A valid definition; `schema` replaces the one of its spec field, `version` and `names` add to theirs."""
    schema = changes.pop("schema", {"type": "object", "properties": {"a": INTEGER}})
    root = changes.pop("root", {"type": "object", "properties": {"spec": schema}})
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": root}}
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing", **changes.pop("names", {})},
        "versions": changes.pop("versions", [version | changes.pop("version", {})]),
        **changes,
    }
    return {"metadata": {"name": f"{spec['names']['plural']}.{spec['group']}"}, "spec": spec}


def refusal(registry: Registry, definition: Object) -> list[str]:
    """The causes of the refusal, as "field: message"."""
    with pytest.raises(ApiError) as refused:
        registry.create(CRDS, definition)
    assert refused.value.status == 422
    assert refused.value.details is not None
    return [f"{c['field']}: {c['message']}" for c in refused.value.details["causes"]]


def a_version(name: str, *, storage: bool = False, **more: Any) -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
    return {"name": name, "served": True, "storage": storage, "schema": schema, **more}


def test_a_valid_definition_is_accepted(registry: Registry):
    """Names that follow from others are filled in, and the kind is served."""
    created = registry.create(CRDS, a_definition())
    assert created["spec"]["names"] == {
        "plural": "things",
        "singular": "thing",
        "kind": "Thing",
        "listKind": "ThingList",
    }
    assert registry.list("things.example.com")[0] == []


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"group": "example"}, 'spec.group: Invalid value: "example": should be a domain with at least one dot'),
        ({"scope": "Galaxy"}, 'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"'),
        ({"scope": ""}, "spec.scope: Required value"),
        (
            {"names": {"listKind": "Thing"}},
            'spec.names.listKind: Invalid value: "Thing": kind and listKind may not be the same',
        ),
        (
            {"names": {"kind": "My Thing"}},
            'spec.names.kind: Invalid value: "My Thing": may have mixed case, but should otherwise match: a DNS-1035',
        ),
        ({"names": {"shortNames": ["T"]}}, 'spec.names.shortNames[0]: Invalid value: "T": a DNS-1035 label must'),
        ({"names": {"categories": ["A b"]}}, 'spec.names.categories[0]: Invalid value: "A b": a DNS-1035 label must'),
        (
            {"version": {"name": "V1"}},
            'spec.versions[0].name: Invalid value: "V1": a DNS-1035 label must',
        ),
        (
            {"version": {"deprecationWarning": "old"}},
            'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions',
        ),
        (
            {"version": {"deprecated": True, "deprecationWarning": "a\nb"}},
            "must only contain printable UTF-8 characters; non-printable character found at index 1",
        ),
        ({"version": {"schema": None}}, "spec.versions[0].schema.openAPIV3Schema: Required value"),
        (
            {"preserveUnknownFields": True},
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown",
        ),
        (
            {"conversion": {"strategy": "Magic"}},
            'spec.conversion.strategy: Unsupported value: "Magic": supported values: "None", "Webhook"',
        ),
        (
            {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v7"]}}},
            'spec.conversion.conversionReviewVersions: Invalid value: ["v7"]: must include at least one of v1, v1beta1',
        ),
        (
            {
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "http://x"}},
                }
            },
            "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme",
        ),
        (
            {"group": "example.k8s.io"},
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval",
        ),
        (
            {"version": {"additionalPrinterColumns": [{"name": "A", "type": "text", "jsonPath": ".a"}]}},
            'spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number',
        ),
        (
            {"version": {"additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ""}]}},
            "spec.additionalPrinterColumns[0].JSONPath: Required value",
        ),
        (
            {"version": {"subresources": {"scale": {"specReplicasPath": ".spec.a"}}}},
            "spec.subresources.scale.statusReplicasPath: Required value",
        ),
        (
            {
                "version": {
                    "subresources": {
                        "scale": {
                            "specReplicasPath": ".spec.a",
                            "statusReplicasPath": ".status.a",
                            "labelSelectorPath": ".x.y",
                        }
                    }
                }
            },
            'labelSelectorPath: Invalid value: ".x.y": should be a json path under either .spec or .status',
        ),
        (
            {"version": {"selectableFields": [{"jsonPath": ".spec.b"}]}},
            'spec.selectableFields[0].jsonPath: Invalid value: ".spec.b": is an invalid path: does not refer to',
        ),
        (
            {"version": {"selectableFields": [{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.a"}]}},
            'spec.selectableFields[1].jsonPath: Duplicate value: ".spec.a"',
        ),
        (
            {"version": {"selectableFields": [{"jsonPath": ".spec['a']"}]}},
            "is an invalid path: array notation is not allowed",
        ),
    ],
)
def test_what_a_definition_may_not_say(registry: Registry, changes: Object, cause: str):
    """Names, versions, conversions, columns and paths are refused with field and text."""
    assert any(cause in found for found in refusal(registry, a_definition(**changes)))


def test_versions_that_do_not_go_together(registry: Registry):
    """Names are unique, and one version is stored; the refusal shows the versions."""
    causes = refusal(registry, a_definition(versions=[a_version("v1", storage=True), a_version("v1", storage=True)]))
    shown = '"Served":true,"Storage":true,"Deprecated":false,"DeprecationWarning":null,"Schema":null'
    assert any(shown in c and c.endswith("must contain unique version names") for c in causes)
    assert any(c.endswith("must have exactly one version marked as storage version") for c in causes)
    causes = refusal(registry, a_definition(versions=[]))
    assert "spec.versions: Invalid value: null: must have exactly one version marked as storage version" in causes
    assert "status.storedVersions: Invalid value: null: must have at least one stored version" in causes


def test_paths_name_the_version_where_versions_differ(registry: Registry):
    """What all versions share is judged once; what differs, in each."""
    other = a_version("v2", storage=True)
    other["schema"]["openAPIV3Schema"]["properties"]["spec"] = {"type": "object", "properties": {"a": {}}}
    columns = [{"name": "A", "type": "string", "jsonPath": "a"}]
    versions = [{**v, "additionalPrinterColumns": columns} for v in (a_version("v1"), other)]
    causes = refusal(registry, a_definition(versions=versions))
    assert sorted(causes) == [
        'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "a": must be a simple json path starting with .',
        (
            "spec.versions[1].schema.openAPIV3Schema.properties[spec].properties[a].type: Required value: "
            "must not be empty for specified object fields"
        ),
    ]


SCHEMAS: list[tuple[Object, str]] = [
    ({"type": "object", "properties": {"a": {}}}, "[a].type: Required value: must not be empty for specified object"),
    ({"type": "array"}, f"{SPEC}.items: Required value: must be specified"),
    (
        {"type": "array", "items": {}},
        f"{SPEC}.items.type: Required value: must not be empty for specified array items",
    ),
    ({"type": "null"}, f"{SPEC}.type: Forbidden: type cannot be set to null, use nullable as an alternative"),
    ({"type": "text"}, f'{SPEC}.type: Unsupported value: "text": supported values: "array", "boolean"'),
    ({**TEXT, "$ref": "#/x"}, f"{SPEC}.$ref: Forbidden: $ref is not supported"),
    ({**TEXT, "id": "x"}, f"{SPEC}.id: Forbidden: id is not supported"),
    (
        {"type": "object", "patternProperties": {"a": TEXT}},
        f"{SPEC}.patternProperties: Forbidden: patternProperties is not supported",
    ),
    (
        {"type": "object", "additionalProperties": False, "properties": {"a": TEXT}},
        f"{SPEC}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
    ),
    ({**TEXT, "pattern": "a(?=b)"}, f'{SPEC}.pattern: Invalid value: "a(?=b)": must be a valid regular expression'),
    (
        {**TEXT, "anyOf": [{"description": "x"}]},
        f"{SPEC}.anyOf[0].description: Forbidden: must be empty to be structural",
    ),
    (
        {**TEXT, "allOf": [{"default": "x"}]},
        f"{SPEC}.allOf[0].default: Forbidden: must be undefined to be structural",
    ),
    ({**TEXT, "not": {"nullable": True}}, f"{SPEC}.not.nullable: Forbidden: must be false to be structural"),
    (
        {"type": "object", "properties": {"a": TEXT}, "anyOf": [{"additionalProperties": TEXT}]},
        f"{SPEC}.anyOf[0].additionalProperties: Forbidden: must be undefined to be structural",
    ),
    (
        {**TEXT, "oneOf": [{RULES: [{"rule": "true"}]}]},
        f"{SPEC}.oneOf[0].{RULES}: Forbidden: must be empty to be structural",
    ),
    (
        {"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True},
        "x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string",
    ),
    (
        {**TEXT, "x-kubernetes-embedded-resource": True},
        f'{SPEC}.type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true',
    ),
    (
        {"type": "object", "x-kubernetes-embedded-resource": True},
        f"{SPEC}.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without",
    ),
    (
        {"type": "object", "x-kubernetes-preserve-unknown-fields": False},
        "x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
    ),
    (
        {**TEXT, "x-kubernetes-list-type": "set"},
        f'{SPEC}.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified',
    ),
    (
        {**TEXT, "x-kubernetes-map-type": "atomic"},
        f'{SPEC}.type: Invalid value: "string": must be object if x-kubernetes-map-type is specified',
    ),
    (
        {"type": "array", "items": TEXT, "x-kubernetes-list-type": "bag"},
        f'{SPEC}.x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map"',
    ),
    (
        {"type": "array", "items": TEXT, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
        f'{SPEC}.items.type: Invalid value: "string": must be object if parent array\'s x-kubernetes-list-type is map',
    ),
    (
        {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
        f"{SPEC}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
    ),
    (
        {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-map-keys": ["k"]},
        f"{SPEC}.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty",
    ),
    (
        {
            "type": "array",
            "items": {"type": "object", "properties": {"k": TEXT}, "required": ["k"]},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k", "z"],
        },
        f'{SPEC}.x-kubernetes-list-map-keys: Invalid value: ["k","z"]: entries must all be names of item properties',
    ),
    (
        {
            "type": "array",
            "items": {"type": "object", "properties": {"k": {"type": "object"}}, "required": ["k"]},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
        },
        'items.properties[k].type: Invalid value: "object": must be a scalar type if parent array\'s',
    ),
    (
        {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"},
        "items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with",
    ),
    (
        {"type": "array", "items": {**TEXT, "nullable": True}, "x-kubernetes-list-type": "set"},
        f"{SPEC}.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set",
    ),
    (
        {"type": "object", "properties": {"a": INTEGER}, "default": {"b": 1}},
        f'{SPEC}.default: Invalid value: {{"b":1}}: must not have unknown fields',
    ),
    (
        {"type": "object", "properties": {"a": INTEGER}, "default": {"a": "x"}},
        f'{SPEC}.default.a: Invalid value: "string": a in body must be of type integer: "string"',
    ),
    ({**TEXT, "enum": ["a"], "default": "b"}, f'{SPEC}.default: Unsupported value: "b": supported values: "a"'),
]


@pytest.mark.parametrize(("schema", "cause"), SCHEMAS)
def test_what_a_schema_may_not_say(registry: Registry, schema: Object, cause: str):
    """Keywords have to go together, and values have to be shaped outside of combinations."""
    assert any(cause in found for found in refusal(registry, a_definition(schema=schema)))


@pytest.mark.parametrize(
    ("root", "cause"),
    [
        ({"type": "string"}, 'openAPIV3Schema.type: Invalid value: "string": must be object at the root'),
        ({}, "spec.versions[0].schema.openAPIV3Schema: Required value"),
        (
            {"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}], "properties": {"a": TEXT}},
            "openAPIV3Schema.properties[b]: Required value: because it is defined in spec.validation.openAPIV3",
        ),
        (
            {"type": "object", "nullable": True},
            "openAPIV3Schema.nullable: Forbidden: nullable cannot be true at the root",
        ),
        (
            {"type": "object", "additionalProperties": TEXT},
            "openAPIV3Schema.additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            {"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": TEXT}}}},
            "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but",
        ),
        (
            {"type": "object", "properties": {"kind": INTEGER}},
            'properties[kind].type: Invalid value: "integer": must be string',
        ),
        (
            {"type": "object", "properties": {"kind": {**TEXT, "default": "x"}}},
            "properties[kind].default: Forbidden: must not be set in top-level kind",
        ),
    ],
)
def test_what_the_root_of_a_schema_may_not_say(registry: Registry, root: Object, cause: str):
    """The root is an object whose metadata is not for definitions to shape."""
    assert any(cause in found for found in refusal(registry, a_definition(root=root)))


def test_the_root_of_a_schema_with_a_status(registry: Registry):
    """Where the status is written apart, little may be said of both together."""
    root = {"type": "object", "properties": {"spec": {"type": "object"}}, "maxProperties": 5}
    causes = refusal(registry, a_definition(root=root, version={"subresources": {"status": {}}}))
    assert any("only [Description Type Format Title" in c and '"MaxProperties":5' in c for c in causes)


def with_rule(rule: str, schema: Object | None = None, **more: Any) -> Object:
    node = copy.deepcopy(schema or {"type": "object", "properties": {"a": INTEGER, "s": TEXT}})
    return a_definition(schema={**node, RULES: [{"rule": rule, **more}]})


@NEEDS_CEL
@pytest.mark.parametrize(
    ("definition", "cause"),
    [
        (with_rule(" "), f"{SPEC}.{RULES}[0].rule: Required value: rule is not specified"),
        (with_rule("self.a > 1", message=" "), 'message: Invalid value: " ": message must be non-empty if specified'),
        (with_rule("self.a > 1", message="a\nb"), 'message: Invalid value: "a\\nb": message must not contain line'),
        (
            with_rule("self.a\n> 1"),
            f"{SPEC}.{RULES}[0].message: Required value: message must be specified if rule contains line breaks",
        ),
        (with_rule("self.a > 1", reason="Because"), 'reason: Unsupported value: "Because": supported values: "FieldV'),
        (
            with_rule("self.a > 1", fieldPath=".nope"),
            'fieldPath: Invalid value: ".nope": fieldPath must be a valid path',
        ),
        (with_rule("self.a > 1", messageExpression="1"), "messageExpression must evaluate to a string"),
        (
            with_rule("self.a > 1", messageExpression="self.b"),
            "messageExpression compilation failed: ERROR: <input>:1:5: undefined field 'b'",
        ),
        (with_rule("self.a"), "cel expression must evaluate to a bool"),
        (with_rule("self.x", {"type": "object", "properties": {"x": {"x-kubernetes-int-or-string": True}}}), "a bool"),
        (
            with_rule("self.a > 1", optionalOldSelf=True),
            "optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",
        ),
        (
            a_definition(schema={"type": "array", "items": {**INTEGER, RULES: [{"rule": "self == oldSelf"}]}}),
            (
                f'items.{RULES}[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the '
                f"uncorrelatable portion of the schema within {SPEC}"
            ),
        ),
        (
            with_rule(
                "self.l.all(x, self.l.all(y, x != y))",
                {"type": "object", "properties": {"l": {"type": "array", "items": TEXT, "maxItems": 1000}}},
            ),
            "Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or",
        ),
        (
            with_rule(
                "self.l.all(x, self.l.all(y, x != y))",
                {
                    "type": "object",
                    "properties": {"l": {"type": "array", "items": {**TEXT, "maxLength": 10}, "maxItems": 1100}},
                },
            ),
            "Forbidden: estimated rule cost exceeds budget by factor of 1.",
        ),
    ],
)
def test_what_rules_may_not_be(registry: Registry, definition: Object, cause: str):
    """Rules have to be written, to compile, to be about the schema, and to be affordable."""
    assert any(cause in found for found in refusal(registry, definition)), refusal(registry, definition)


@NEEDS_CEL
def test_the_dearest_rules_are_named(registry: Registry):
    """A schema whose rules together cost too much is refused, with those that cost most."""
    item = {**TEXT, RULES: [{"rule": "self.matches('^a+$')"}]}
    causes = refusal(registry, a_definition(schema={"type": "array", "items": item}))
    assert [c.partition(" (")[0] for c in causes] == [
        f"{SPEC}.items.{RULES}[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x",
        (
            f"{SPEC}.items.{RULES}[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit "
            "for entire OpenAPIv3 schema"
        ),
        (
            "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire "
            "OpenAPIv3 schema exceeds budget by factor of more than 100x"
        ),
    ]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"scope": "Cluster"}, 'spec.scope: Invalid value: "Cluster": field is immutable'),
        (
            {"names": {"plural": "things", "kind": "Other", "singular": "thing", "listKind": "ThingList"}},
            "spec.names.kind",
        ),
        ({"versions": [a_version("v2", storage=True)]}, 'status.storedVersions[0]: Invalid value: "v1": missing from'),
    ],
)
def test_what_a_definition_may_not_become(registry: Registry, change: Object, cause: str):
    """What objects are stored under cannot change while there may be some."""
    registry.create(CRDS, a_definition())
    changed = copy.deepcopy(registry.get(CRDS, "things.example.com"))
    changed["spec"] |= change
    with pytest.raises(ApiError, match=r"is invalid") as refused:
        registry.update(CRDS, changed)
    assert cause in refused.value.message


def test_protected_groups_need_approval(registry: Registry):
    """With an approval the kind is served, and a condition says what was approved."""
    definition = a_definition(group="example.k8s.io")
    url = "https://example.com/approval"
    definition["metadata"]["annotations"] = {"api-approved.kubernetes.io": url}
    registry.create(CRDS, definition)
    conditions = registry.get(CRDS, "things.example.k8s.io")["status"]["conditions"]
    found = next(c for c in conditions if c["type"] == "KubernetesAPIApprovalPolicyConformant")
    assert (found["status"], found["reason"], found["message"]) == ("True", "ApprovedAnnotation", f"approved in {url}")
    wrong = a_definition(group="other.k8s.io")
    wrong["metadata"]["annotations"] = {"api-approved.kubernetes.io": "yes"}
    assert any('with either a URL or a reason starting with "unapproved"' in c for c in refusal(registry, wrong))


def test_webhooks_are_accepted_while_there_is_nothing_to_convert(registry: Registry):
    """A webhook is fine while it has nothing to convert; with a second version it would be called."""
    webhook = {"conversionReviewVersions": ["v1"], "clientConfig": {"service": {"name": "n", "namespace": "ns"}}}
    conversion = {"strategy": "Webhook", "webhook": webhook}
    created = registry.create(CRDS, a_definition(conversion=conversion))
    assert created["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"] == 443
    two = a_definition(conversion=conversion, versions=[a_version("v1", storage=True), a_version("v2")])
    two["metadata"]["name"], two["spec"]["names"] = "others.example.com", {"plural": "others", "kind": "Other"}
    assert any("webhooks do not convert in the embedded cluster" in c for c in refusal(registry, two))
