"""Kubernetes' protobuf, read and written."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.apiserver import openapiprotobuf
from trimtab.local.apiserver.protobuf import decode_protobuf, encode_event, encode_protobuf
from trimtab.local.schema import wire
from trimtab.local.statuses import ApiError


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def text(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def body(kind: bytes, raw: bytes) -> bytes:
    return b"k8s\x00" + text(1, text(1, b"v1") + text(2, kind)) + text(2, raw)


def test_ports_have_numbers_or_names():
    """What nobody set is absent, as in JSON."""
    port = text(4, number(1, 1) + text(3, b"http")) + number(3, 80) + number(5, 0)
    other = text(4, number(1, 0) + number(2, 8080) + text(3, b"")) + number(3, 81)
    found = decode_protobuf(body(b"Service", text(2, text(1, port) + text(1, other) + text(3, b""))))
    assert found["spec"] == {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8080}]}


def test_what_is_inlined_in_json_stands_in_its_parent():
    """A key's ConfigMap is named beside the key; `false` that somebody set stays."""
    source = text(1, text(1, b"c")) + text(2, b"k") + number(3, 0)
    variable = text(1, b"V") + text(3, text(3, source))
    limits = text(1, text(1, b"cpu") + text(2, text(1, b"100m")))
    container = text(7, variable) + text(8, limits)
    found = decode_protobuf(body(b"Job", text(2, text(6, text(2, text(2, container))))))
    (read,) = found["spec"]["template"]["spec"]["containers"]
    reference = {"name": "c", "key": "k", "optional": False}
    assert read["env"] == [{"name": "V", "valueFrom": {"configMapKeyRef": reference}}]
    assert read["resources"] == {"limits": {"cpu": "100m"}}


def test_the_openapi_document_field_by_field():
    """A definition with a property, a bound and an extension; what has no field is left out."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 300}}, "x-e": [1], "nullable": True}
    found = openapiprotobuf.encoded(
        {"swagger": "2.0", "info": {"title": "t", "version": "v"}, "definitions": {"D": schema}}
    )
    inner = text(22, text(1, b"string")) + number(11, 300)
    extension = text(31, text(1, b"x-e") + text(2, text(2, b"[1]")))
    node = text(22, text(1, b"object")) + text(25, text(1, text(1, b"a") + text(2, inner))) + extension
    info = text(1, b"t") + text(2, b"v")
    assert found == text(1, b"2.0") + text(2, info) + text(9, text(1, text(1, b"D") + text(2, node)))


OBJECTS = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p",
            "namespace": "n",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"b": "2", "a": ""},
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": "u", "controller": False}],
            "managedFields": [{"manager": "m", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {}}}],
        },
        "spec": {
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c", "optional": False}}],
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "resources": {"limits": {"cpu": "100m", "memory": "1Gi"}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
                    "securityContext": {"runAsUser": 0, "privileged": False},
                }
            ],
            "terminationGracePeriodSeconds": 0,
            "priority": -5,
        },
        "status": {"phase": "Running", "startTime": "2026-01-01T00:00:01Z"},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "generation": 1 << 40},
        "spec": {
            "replicas": 0,
            "selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}]}},
        },
        "status": {},
    },
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "AAEC"}, "type": "Opaque"},
    {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.250000Z",
        "regarding": {"kind": "Pod", "name": "p"},
        "note": "n",
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "s"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": False}}],
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
    },
    {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 404, "details": {"name": "x"}},
]


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: str(obj["kind"]))
def test_what_is_written_is_read_again(obj: dict[str, Any]):
    """Nothing is lost on the way, zeros that somebody set included."""
    body = encode_protobuf(obj)
    assert body is not None
    assert decode_protobuf(body) == obj


def test_lists_and_events_of_watches():
    """A list has its metadata and items; an event is framed by its length."""
    listed = {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": [OBJECTS[0]]}
    body = encode_protobuf(listed)
    assert body is not None
    raw = dict(wire.fields_of(memoryview(body)[4:]))[2]
    metadata, item = (bytes(value) for _, value in wire.fields_of(raw))
    assert (metadata, b"terminationGrace" in item, len(item) > 50) == (text(2, b"5"), False, True)
    framed = encode_event("ADDED", OBJECTS[2])
    assert int.from_bytes(framed[:4], "big") == len(framed) - 4
    event = dict(wire.fields_of(dict(wire.fields_of(memoryview(framed)[8:]))[2]))
    assert bytes(event[1]) == b"ADDED"
    assert decode_protobuf(bytes(dict(wire.fields_of(event[2]))[1])) == OBJECTS[2]


def test_kinds_without_messages_are_not_written():
    """Custom kinds have no field numbers."""
    assert encode_protobuf({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {}}) is None


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (b"{}", 400, "the body is no Kubernetes protobuf message"),
        (b"k8s\x00\x0a\xff", 400, "the protobuf body cannot be read"),
        (b"k8s\x00", 400, "the protobuf body cannot be read"),
        (body(b"ConfigMap", b"\x0a\x7f"), 400, "the protobuf body cannot be read"),
        (body(b"Thing", b""), 415, "does not read this kind from protobuf"),
        (body(b"ConfigMap", text(99, b"x")), 415, "does not read field 99 of ConfigMap from protobuf"),
    ],
)
def test_unreadable_bodies(sent: bytes, status: int, message: str):
    """What cannot be read is refused, never dropped."""
    with pytest.raises(ApiError) as refused:
        decode_protobuf(sent)
    assert refused.value.status == status
    assert message in refused.value.message


@given(st.binary(max_size=60))
def test_any_bytes_are_a_body_or_refused(data: bytes):
    """No bytes break the reader."""
    for sent in (b"k8s\x00" + data, body(b"Pod", data), body(b"Deployment", text(2, data))):
        with contextlib.suppress(ApiError):
            assert decode_protobuf(sent)["kind"] in ("Pod", "Deployment")


def test_messages_of_one_name_are_told_apart():
    """The ports of Endpoints and of EndpointSlices have their fields in different orders."""
    name, protocol, port = text(1, b"n"), text(2, b"TCP"), number(3, 80)
    found = decode_protobuf(
        b"k8s\x00"
        + text(1, text(1, b"discovery.k8s.io/v1") + text(2, b"EndpointSlice"))
        + text(2, text(3, name + protocol + port))
    )
    assert found["ports"] == [{"name": "n", "protocol": "TCP", "port": 80}]
