"""Kubernetes' protobuf bodies, for the commands of kubectl that send nothing else, such as `kubectl create configmap`.

Only reading, and only the fields that those commands write; an unknown field is refused, never dropped.
"""

import base64
from collections.abc import Iterator
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# A field is (name, type); a type in brackets repeats, in braces is a map from strings. None skips the field:
# it is what the server decides, sent with empty values. Numbers are those of the published .proto files.
_Field = tuple[str, str] | None
_META: dict[int, _Field] = {
    1: ("name", "string"),
    2: ("generateName", "string"),
    3: ("namespace", "string"),
    4: None,
    5: None,
    6: None,
    7: None,
    8: None,
    11: ("labels", "{string}"),
    12: ("annotations", "{string}"),
    14: ("finalizers", "[string]"),
}
_MESSAGES: dict[str, dict[int, _Field]] = {
    "TypeMeta": {1: ("apiVersion", "string"), 2: ("kind", "string")},
    "ObjectMeta": _META,
    "ConfigMap": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "{string}"),
        3: ("binaryData", "{bytes}"),
        4: ("immutable", "bool"),
    },
    "Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "{bytes}"),
        3: ("type", "string"),
        4: ("stringData", "{string}"),
        5: ("immutable", "bool"),
    },
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: None, 3: None},
    "ServiceAccount": {1: ("metadata", "ObjectMeta"), 4: ("automountServiceAccountToken", "bool")},
    "SelfSubjectAccessReview": {1: ("metadata", "ObjectMeta"), 2: ("spec", "ReviewSpec"), 3: None},
    "ReviewSpec": {1: ("resourceAttributes", "ResourceAttributes"), 2: ("nonResourceAttributes", "Attributes")},
    "ResourceAttributes": {
        number: (name, "string")
        for number, name in enumerate(
            ("namespace", "verb", "group", "version", "resource", "subresource", "name"), start=1
        )
    },
    "Attributes": {1: ("path", "string"), 2: ("verb", "string")},
    "Deployment": {1: ("metadata", "ObjectMeta"), 2: ("spec", "DeploymentSpec"), 3: None},
    "DeploymentSpec": {
        1: ("replicas", "int"),
        2: ("selector", "LabelSelector"),
        3: ("template", "PodTemplateSpec"),
        4: ("strategy", "Nothing"),
        5: None,
        7: None,
    },
    "Job": {1: ("metadata", "ObjectMeta"), 2: ("spec", "JobSpec"), 3: None},
    "JobSpec": {6: ("template", "PodTemplateSpec")},
    "LabelSelector": {1: ("matchLabels", "{string}")},
    "PodTemplateSpec": {1: ("metadata", "ObjectMeta"), 2: ("spec", "PodSpec")},
    "PodSpec": {
        2: ("containers", "[Container]"),
        3: ("restartPolicy", "string"),
        6: ("dnsPolicy", "string"),
        8: ("serviceAccountName", "string"),
        9: None,
        10: None,
        11: None,
        12: None,
        13: None,
        16: None,
        17: None,
        19: None,
        24: None,
    },
    "Container": {
        1: ("name", "string"),
        2: ("image", "string"),
        3: ("command", "[string]"),
        4: ("args", "[string]"),
        5: ("workingDir", "string"),
        6: ("ports", "[ContainerPort]"),
        8: ("resources", "Nothing"),
        13: ("terminationMessagePath", "string"),
        14: ("imagePullPolicy", "string"),
        16: None,
        17: None,
        18: None,
        20: ("terminationMessagePolicy", "string"),
    },
    "ContainerPort": {
        1: ("name", "string"),
        2: None,
        3: ("containerPort", "int"),
        4: ("protocol", "string"),
        5: None,
    },
    "Nothing": {},
}
_RULES: dict[int, _Field] = {1: ("metadata", "ObjectMeta"), 2: ("rules", "[PolicyRule]")}
_BINDING: dict[int, _Field] = {1: ("metadata", "ObjectMeta"), 2: ("subjects", "[Subject]"), 3: ("roleRef", "RoleRef")}
_MESSAGES |= {
    "Role": _RULES,
    "ClusterRole": _RULES,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "PolicyRule": {
        1: ("verbs", "[string]"),
        2: ("apiGroups", "[string]"),
        3: ("resources", "[string]"),
        4: ("resourceNames", "[string]"),
        5: ("nonResourceURLs", "[string]"),
    },
    "Subject": {1: ("kind", "string"), 2: ("apiGroup", "string"), 3: ("name", "string"), 4: ("namespace", "string")},
    "RoleRef": {1: ("apiGroup", "string"), 2: ("kind", "string"), 3: ("name", "string")},
}
_ENVELOPE: dict[int, _Field] = {1: ("typeMeta", "TypeMeta"), 2: ("raw", "raw"), 3: None, 4: None}


def decode_protobuf(body: bytes) -> Object:
    """The object in a protobuf body.

    Raises:
        ApiError: 415 for kinds and fields that are not read from protobuf here, 400 for broken bodies.
    """
    if not body.startswith(_MAGIC):
        raise ApiError(400, "BadRequest", "the body is no Kubernetes protobuf message")
    try:
        envelope = _message(memoryview(body)[len(_MAGIC) :], _ENVELOPE, "Unknown")
        kind = envelope["typeMeta"]["kind"]
        if kind not in _MESSAGES:
            raise _unread(kind, "this kind")
        return {**envelope["typeMeta"], **_message(envelope["raw"], _MESSAGES[kind], kind)}
    except (IndexError, KeyError, UnicodeDecodeError, ValueError):
        raise ApiError(400, "BadRequest", "the protobuf body cannot be read") from None


def _unread(kind: str, what: str) -> ApiError:
    text = f"{kind}: the embedded cluster does not read {what} from protobuf; send JSON (kubectl create -f, apply -f)"
    return ApiError(415, "UnsupportedMediaType", text)


def _message(data: memoryview, fields: dict[int, _Field], kind: str) -> Object:
    out: Object = {}
    for number, value in _parts(data):
        if number not in fields:
            if value in (0, b""):
                continue
            raise _unread(kind, f"field {number}")
        field = fields[number]
        if field is None:
            continue
        name, type_name = field
        if type_name.startswith("["):
            out.setdefault(name, []).append(_value(value, type_name[1:-1]))
        elif type_name.startswith("{"):
            pair = dict(_parts(value))
            key = bytes(pair.get(1, b"")).decode()
            out.setdefault(name, {})[key] = _value(pair.get(2, memoryview(b"")), type_name[1:-1])
        else:
            found = _value(value, type_name)
            if found not in ("", None):
                out[name] = found
    return out


def _value(value: Any, type_name: str) -> Any:
    match type_name:
        case "string":
            return bytes(value).decode()
        case "bytes":
            return base64.b64encode(bytes(value)).decode()
        case "int":
            return value if value < 1 << 63 else value - (1 << 64)
        case "bool":
            return bool(value)
        case "raw":
            return value
    return _message(value, _MESSAGES[type_name], type_name)


def _parts(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers with their raw values: an integer, or the bytes of everything else."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("truncated")
            yield number, data[at : at + size]
            at += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("overlong")
