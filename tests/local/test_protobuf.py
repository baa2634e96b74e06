"""Kubernetes' protobuf, read and written."""

from trimtab.local.apiserver import openapiprotobuf
from trimtab.local.apiserver.protobuf import decode_protobuf


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
