"""What `fieldSelector` of a request asks for: FIELD=VALUE, FIELD==VALUE or FIELD!=VALUE, with commas between them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.resources import Resource
from trimtab.local.statuses import ApiError, bad_request

_NAME, _NAMESPACE = "metadata.name", "metadata.namespace"
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

# The fields of kinds that have more than their name to be selected by.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "pods": (
        _NAME,
        _NAMESPACE,
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "nodes": (_NAME, "spec.unschedulable"),
    "namespaces": (_NAME, "status.phase"),
    "secrets": (_NAME, _NAMESPACE, "type"),
    "services": (_NAME, _NAMESPACE, "spec.clusterIP", "spec.type"),
    "replicationcontrollers": (_NAME, _NAMESPACE, "status.replicas"),
    "events": (
        *(f"involvedObject.{field}" for field in _INVOLVED),
        "reason",
        "reportingComponent",
        "source",
        "type",
        _NAME,
        _NAMESPACE,
    ),
    "jobs.batch": (_NAME, _NAMESPACE, "status.successful"),
    "replicasets.apps": (_NAME, _NAMESPACE, "status.replicas"),
    "certificatesigningrequests.certificates.k8s.io": (_NAME, "spec.signerName"),
}
_RENAMED = {("pods", "spec.host"): "spec.nodeName"}
_DEFAULT_ONLY = {"replicasets.apps"}  # kinds whose refusal names the fields that every kind has
# events.k8s.io: its names for the fields, and the core group's.
_OF_EVENTS = {
    **{f"regarding.{field}": f"involvedObject.{field}" for field in _INVOLVED},
    "reportingController": "reportingComponent",
    "reason": "reason",
    "type": "type",
    _NAME: _NAME,
    _NAMESPACE: _NAMESPACE,
}
_ABSENT = {
    "spec.unschedulable": "false",
    "spec.hostNetwork": "false",
    "status.replicas": "0",
    "status.successful": "0",
}
_TERM_END = re.compile(r"(?<!\\)((?:\\\\)*),")


def field_matcher(
    selector: str | None, resource: Resource, selectable: tuple[str, ...] = ()
) -> Callable[[Object], bool] | None:
    """What a field selector asks for; `selectable` are the fields that a custom resource declares.

    Raises:
        ApiError: 400 for a selector that cannot be read, and for a field that cannot be selected by.
    """
    terms = [_term(*term, resource, selectable) for term in _terms(selector or "")]
    return (lambda obj: all(term(obj) for term in terms)) if terms else None


def named_in(selector: str | None) -> str | None:
    """The name that a field selector asks for, if it asks for one."""
    try:
        return next((v for f, o, v in _terms(selector or "") if f == _NAME and o != "!="), None)
    except ApiError:
        return None


def of_core_events(selector: str) -> str:
    """A selector over the fields of events.k8s.io in the core group's names. Raises ApiError 400."""
    renamed = []
    for field, operator, value in _terms(selector):
        if field not in _OF_EVENTS:
            raise bad_request(f"field label not supported: {field}")
        renamed.append(f"{_OF_EVENTS[field]}{operator}{_escaped(value)}")
    return ",".join(renamed)


def _terms(selector: str) -> list[tuple[str, str, str]]:
    """Field, operator and value of every term. Raises ApiError 400."""
    found = []
    for part in sorted(_split(selector)):
        match = re.search("!=|==|=", part)
        if match is None:
            raise bad_request(f"invalid selector: '{selector}'; can't understand '{part}'")
        found.append((part[: match.start()], match.group(), _unescaped(part[match.end() :])))
    return found


def _split(selector: str) -> list[str]:
    parts = _TERM_END.sub(lambda m: m.group(1) + "\0", selector).split("\0")
    return [part for part in parts if part]


def _unescaped(value: str) -> str:
    """A value without its backslashes. Raises ApiError 400."""
    out, at = "", 0
    while at < len(value):
        character = value[at]
        if character == "\\":
            following = value[at + 1 : at + 2]
            if not following or following not in "\\,=":
                raise bad_request(f"invalid field selector: invalid escape sequence: {value[at : at + 2]}")
            character, at = following, at + 1
        elif character in ",=":
            raise bad_request(f"invalid field selector: unescaped character in value: {ord(character)}")
        out += character
        at += 1
    return out


def _escaped(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


def _term(
    field: str, operator: str, value: str, resource: Resource, selectable: tuple[str, ...]
) -> Callable[[Object], bool]:
    field = _RENAMED.get((resource.key, field), field)
    if field not in _supported(resource, selectable):
        raise _unsupported(field, resource)
    if operator == "!=":
        return lambda obj: _value(obj, field) != value
    return lambda obj: _value(obj, field) == value


def _supported(resource: Resource, selectable: tuple[str, ...]) -> tuple[str, ...]:
    if resource.custom:
        return (_NAME, _NAMESPACE, *selectable) if resource.namespaced else (_NAME, *selectable)
    return _FIELDS.get(resource.key, (_NAME, _NAMESPACE))


def _unsupported(field: str, resource: Resource) -> ApiError:
    if resource.key == "jobs.batch":
        return bad_request(f'field label "{field}" not supported for Job')
    if resource.custom or (resource.key in _FIELDS and resource.key not in _DEFAULT_ONLY):
        return bad_request(f"field label not supported: {field}")
    return bad_request(f'"{field}" is not a known field selector: only "{_NAME}", "{_NAMESPACE}"')


def _value(obj: Object, field: str) -> str:
    if field == "source":
        return str((obj.get("source") or {}).get("component") or obj.get("reportingComponent") or "")
    if field == "status.successful":
        field = "status.succeeded"
    value: Any = obj
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return _ABSENT.get("status.successful" if field == "status.succeeded" else field, "")
    if isinstance(value, list | dict):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
