"""What is sent: formats, syntax, types, fields that there are not, and options of the request."""

import json

import pytest

pytestmark = pytest.mark.integration

META = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
UNRECOGNIZED = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; "


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param("", 400, UNRECOGNIZED + "json parse error: unexpected end of JSON input (<empty>)", id="nothing"),
        pytest.param(
            "{", 400, UNRECOGNIZED + "json parse error: unexpected end of JSON input ({)", id="one that does not end"
        ),
        pytest.param(
            '{"a" 1}',
            400,
            UNRECOGNIZED + """json parse error: invalid character '1' after object key ({"a" 1})""",
            id="no JSON",
        ),
        pytest.param(
            "[]",
            400,
            UNRECOGNIZED + f"json parse error: json: cannot unmarshal array into Go value of type {META} (5b5d)",
            id="a list",
        ),
        pytest.param(
            {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}},
            400,
            'Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): '
            "unknown conversion",
            id="another kind",
        ),
        pytest.param(
            {"kind": "ConfigMap", "apiVersion": "v7"},
            400,
            'ConfigMap in version "v7" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version '
            '"v7" in scheme "pkg/api/legacyscheme/scheme.go:30"',
            id="another version",
        ),
        pytest.param(
            {"metadata": {"name": "a"}, "data": {"a": 1}},
            400,
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct '
            "field ConfigMap.data of type string",
            id="another type",
        ),
        pytest.param(
            {"metadata": {"name": "a", "namespace": "b"}},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
            id="another namespace",
        ),
    ],
)
async def test_what_cannot_be_read(send, body, status, message):
    """The text says what the decoder stumbled on, and shows the beginning of the body."""
    answer = await send("POST", "configmaps", body)
    assert (answer.status, answer.message) == (status, message)


@pytest.mark.parametrize("kind", ["text/plain", "application/cbor", "application/merge-patch+json"])
async def test_other_formats(send, kind):
    """Objects are JSON, YAML or protobuf."""
    answer = await send("POST", "configmaps", {"metadata": {"name": "a"}}, kind)
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")
    assert answer.message.startswith("the body of the request was in an unknown format - accepted media types include")


async def test_yaml(send):
    """YAML is read as JSON would be; what is said twice is a complaint, and the last one holds."""
    text = "metadata:\n  name: a\ndata:\n  a: '1'\n  a: '2'\n"
    answer = await send("POST", "configmaps", text, "application/yaml")
    assert (answer.status, answer.body["data"]) == (201, {"a": "2"})
    assert answer.warnings == ['299 - "line 5: key \\"a\\" already set in map"']


UNKNOWN = '{"metadata": {"name": "a", "nam": 1}, "data": {"a": "1"}, "data": {"a": "2"}, "extra": 1}'
COMPLAINTS = ['duplicate field "data"', 'unknown field "extra"', 'unknown field "metadata.nam"']


@pytest.mark.parametrize(("validation", "warned"), [("Ignore", False), ("Warn", True), ("", True)])
async def test_fields_that_there_are_not_are_warned_about(send, validation, warned):
    """One header each, by default; none when asked to keep quiet. The fields are dropped either way."""
    answer = await send("POST", f"configmaps?fieldValidation={validation}", UNKNOWN)
    assert (answer.status, answer.body["data"], "extra" in answer.body) == (201, {"a": "2"}, False)
    shown = [f"299 - {json.dumps(text)}" for text in COMPLAINTS]
    assert sorted(answer.warnings) == (sorted(shown) if warned else [])


@pytest.mark.parametrize("method", ["POST", "PUT", "json", "merge", "strategic"])
async def test_fields_that_there_are_not_are_refused_when_strict(send, method):
    """All of them at once, whatever the way of writing."""
    if method != "POST":
        await send.make("configmaps", {"metadata": {"name": "a"}})
    path = "configmaps/a?fieldValidation=Strict" if method != "POST" else "configmaps?fieldValidation=Strict"
    if method in ("POST", "PUT"):
        answer = await send(method, path, {"metadata": {"name": "a"}, "extra": 1, "other": {}})
    elif method == "json":
        steps = [{"op": "add", "path": "/extra", "value": 1}, {"op": "add", "path": "/other", "value": {}}]
        answer = await send("PATCH", path, steps, method)
    else:
        answer = await send("PATCH", path, {"extra": 1, "other": {}}, method)
    assert answer.message.endswith('strict decoding error: unknown field "extra", unknown field "other"')
    refusal = (400, "BadRequest") if method in ("POST", "PUT") else (422, "Invalid")
    assert (answer.status, answer.body["reason"]) == refusal


@pytest.mark.parametrize(
    ("query", "body", "causes"),
    [
        (
            "fieldValidation=Sure",
            "CreateOptions",
            [("fieldValidation", 'Unsupported value: "Sure": supported values: "", "Ignore", "Strict", "Warn"')],
        ),
        ("dryRun=Some", "CreateOptions", [("dryRun", 'Unsupported value: ["Some"]: supported values: "All"')]),
        (f"fieldManager={'m' * 129}", "CreateOptions", [("fieldManager", "Too long: may not be more than 128 bytes")]),
        (
            "fieldManager=a%07",
            "CreateOptions",
            [("fieldManager", r'Invalid value: "a\a": invalid character U+0007 (at position 1)')],
        ),
    ],
)
async def test_options_of_a_write(send, query, body, causes):
    """Options with values that there are not are refused before the object is looked at."""
    answer = await send("POST", f"configmaps?{query}", {"metadata": {"name": "a"}})
    assert (answer.status, answer.body["details"]["kind"]) == (422, body)
    assert answer.causes == causes


async def test_unknown_parameters_mean_nothing(send):
    """What the server does not know it ignores."""
    answer = await send("POST", "configmaps?pretty=true&nothing=1", {"metadata": {"name": "a"}})
    assert answer.status == 201


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (
            "services",
            {"spec": {"ports": [{"port": 80, "targetPort": [1]}]}},
            "array into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
        (
            "services",
            {"spec": {"ports": [{"port": 80, "targetPort": 1.5}]}},
            "number 1.5 into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
        (
            "services",
            {"spec": {"ports": [{"port": 2**31}]}},
            "number 2147483648 into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            "pods",
            {"spec": {"activeDeadlineSeconds": -(2**63) - 1}},
            "number -9223372036854775809 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
    ],
)
async def test_numbers_that_do_not_fit(send, path, body, message):
    """Numbers have a size, also where a text would do."""
    answer = await send("POST", path, {"metadata": {"name": "a"}, **body})
    assert (answer.status, answer.message.partition("json: cannot unmarshal ")[2]) == (400, message)


async def test_nulls(send):
    """A field that is null is left out; a member of a map or a list that is null is its type's zero."""
    made = await send.make("configmaps", {"metadata": {"name": "a", "labels": None}, "data": {"a": None}})
    assert made["data"] == {"a": ""}
    answer = await send("POST", "pods", {"metadata": {"name": "a"}, "spec": {"containers": [None]}})
    assert ("spec.containers[0].name", "Required value") in answer.causes


@pytest.mark.parametrize(
    ("given", "kept"), [("1.0001Ki", "1024102400u"), (2**70, str(2**63 - 1)), ("1024Ki", "1Mi"), ("0.0000000001", "1n")]
)
async def test_quantities(send, given, kept):
    """They are kept in one form, which loses nothing but what is too small or too large."""
    made = await send.make("/api/v1/nodes", {"metadata": {"name": "n"}, "status": {"capacity": {"memory": given}}})
    assert made["status"]["capacity"]["memory"] == kept
