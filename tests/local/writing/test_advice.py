"""Warnings: what is done, but hardly meant."""

import json

import pytest

pytestmark = pytest.mark.integration

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
CONTAINER = {"name": "c", "image": "i"}
C = "spec.containers[0]"


def warnings(answer):
    return [json.loads(text.removeprefix("299 - ")) for text in answer.warnings]


@pytest.mark.parametrize(
    ("metadata", "container", "spec", "expected"),
    [
        pytest.param({}, {}, {}, [], id="nothing"),
        pytest.param(
            {},
            {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
            {},
            [f'{C}.env[1]: hides previous definition of "A", which may be dropped when using apply'],
            id="a variable that hides another",
        ),
        pytest.param(
            {},
            {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A):2"}]},
            {},
            [],
            id="a variable that goes on",
        ),
        pytest.param(
            {},
            {"ports": [{"containerPort": 1}, {"containerPort": 1}]},
            {},
            [f"{C}.ports[1]: duplicate port definition with {C}.ports[0]"],
            id="ports",
        ),
        pytest.param(
            {},
            {"resources": {"limits": {"memory": "1500m"}}},
            {},
            [
                f'{C}.resources.limits[memory]: fractional byte value "1500m" is invalid, must be an integer',
                f'{C}.resources.requests[memory]: fractional byte value "1500m" is invalid, must be an integer',
            ],
            id="parts of bytes",
        ),
        pytest.param(
            {},
            {},
            {"terminationGracePeriodSeconds": -1},
            ["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"],
            id="a negative time",
        ),
        pytest.param(
            {},
            {},
            {"imagePullSecrets": [{}]},
            ['spec.imagePullSecrets[0].name: invalid empty name ""'],
            id="no secret",
        ),
        pytest.param(
            {"ownerReferences": [OWNER, OWNER]},
            {},
            {},
            [
                (
                    ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+"
                    ", and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) "
                    "observed: u"
                )
            ],
            id="an owner twice",
        ),
        pytest.param(
            {"name": "p.q"},
            {},
            {},
            [
                (
                    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS "
                    f"label is recommended: [{LABEL}]"
                )
            ],
            id="a name with a dot",
        ),
    ],
)
async def test_pods(send, metadata, container, spec, expected):
    """The pod is made all the same."""
    pod = {
        "metadata": {"name": "p", **metadata},
        "spec": {"containers": [{**CONTAINER, **container}], **spec},
    }
    answer = await send("POST", "pods", pod)
    assert (answer.status, warnings(answer)) == (201, expected)
    assert len(answer.body["metadata"].get("ownerReferences") or [OWNER]) == 1


async def test_templates(send):
    """Whoever makes pods is warned of their template, and again when it changes."""
    path = "/apis/apps/v1/namespaces/default/deployments"
    labels = {"a": "b"}
    container = {**CONTAINER, "env": [{"name": "A"}, {"name": "A"}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    body = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    text = (
        'spec.template.spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using '
        "apply"
    )
    assert warnings(await send("POST", path, body)) == [text]
    assert warnings(await send("PATCH", f"{path}/d", {"metadata": {"labels": labels}}, "merge")) == []
    assert warnings(await send("PATCH", f"{path}/d", {"spec": {"replicas": 2}}, "merge")) == [text]


async def test_endpoints(send):
    """Slices are what is used instead."""
    answer = await send("GET", "endpoints")
    assert warnings(answer) == ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"]


async def test_formats_that_are_not_known(send):
    """Definitions may name any format; what is not checked is said once, when it comes in."""
    fields = {
        "a": {"type": "string", "format": "no-such"},
        "b": {"type": "array", "format": "cidr", "items": {"type": "integer", "format": "uint8"}},
        "c": {"type": "string", "format": "no-such"},
        "d": {"type": "string", "format": "date-time"},
        "e": {"type": "integer", "format": "int64"},
        "f": {"type": "number", "format": "double"},
    }
    schema = {"openAPIV3Schema": {"type": "object", "properties": fields}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "things", "kind": "Thing"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    answer = await send("POST", path, {**body, "metadata": {"name": "things.example.com"}, "spec": spec})
    assert warnings(answer) == [f'unrecognized format "{form}"' for form in ("no-such", "cidr", "uint8")]
    fields["d"]["format"] = "other"
    assert warnings(await send("PATCH", f"{path}/things.example.com", {"spec": spec}, "merge")) == [
        'unrecognized format "other"'
    ]


async def test_finalizers_of_custom_objects(send):
    """They are kept, but should say whose they are; a warning is given once."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "things", "kind": "Thing"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {"metadata": {"name": "things.example.com"}, "spec": spec}
    await send.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    path = "/apis/example.com/v1/namespaces/default/things"
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t", "finalizers": ["mine", "a/b"]}}
    assert warnings(await send("POST", path, thing)) == [
        (
            'metadata.finalizers: "mine": prefer a domain-qualified finalizer name including a path (/) to avoid '
            "accidental conflicts with other finalizer writers"
        )
    ]
    assert warnings(await send("PATCH", f"{path}/t", {"x": 1}, "merge")) == []
