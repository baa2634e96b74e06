"""Label and field selectors: parsing what a request carries, matching objects."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError, bad_request

Matcher = Callable[[Object], bool]

_TOKEN = re.compile(r"\s*(==|!=|=|!|,|\(|\)|<|>|[^\s=!,()<>]+)")
_SUPPORTED_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
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
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "jobs.batch": ("status.successful",),
    "replicasets.apps": ("status.replicas",),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}
_FALSE_WHEN_ABSENT = {"spec.unschedulable", "spec.hostNetwork"}


def label_matcher(selector: str | None) -> Matcher | None:
    """What `labelSelector` asks for; None when it asks for nothing.

    Raises:
        ApiError: 400 with the parser's message.
    """
    if not selector or not selector.strip():
        return None
    terms = _LabelParser(selector).terms()
    return lambda obj: _all_hold(terms, obj["metadata"].get("labels") or {})


def _all_hold(terms: list[Callable[[Mapping[str, str]], bool]], labels: Mapping[str, str]) -> bool:
    return all(term(labels) for term in terms)


class _LabelParser:
    """Recursive descent over the tokens of a label selector."""

    def __init__(self, text: str) -> None:
        self._tokens = [m.group(1) for m in _TOKEN.finditer(text)]
        self._at = 0

    def terms(self) -> list[Callable[[Mapping[str, str]], bool]]:
        found = [self._term()]
        while (found_next := self._next()) != "":
            if found_next != ",":
                raise bad_request(f"found '{found_next}', expected: ',' or 'end of string'")
            found.append(self._term())
        return found

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _term(self) -> Callable[[Mapping[str, str]], bool]:
        key = self._next()
        if key == "!":
            absent = self._identifier(self._next())
            return lambda labels: absent not in labels
        key = self._identifier(key)
        operator = self._peek()
        if operator in ("", ","):
            return lambda labels: key in labels
        self._at += 1
        match operator:
            case "=" | "==":
                value = self._value()
                return lambda labels: labels.get(key) == value
            case "!=":
                value = self._value()
                return lambda labels: labels.get(key) != value
            case "in":
                values = self._values()
                return lambda labels: labels.get(key) in values
            case "notin":
                values = self._values()
                return lambda labels: labels.get(key) not in values
            case "<" | ">":
                bound = int(self._identifier(self._next()))
                sign = 1 if operator == ">" else -1
                return lambda labels: _is_int(labels.get(key)) and sign * int(labels[key]) > sign * bound
        raise bad_request(f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def _identifier(self, token: str) -> str:
        if token and token not in {",", "(", ")", "=", "==", "!=", "!", "<", ">"}:
            return token
        raise bad_request(f"unable to parse requirement: found '{token}', expected: identifier")

    def _value(self) -> str:
        return "" if self._peek() in ("", ",") else self._identifier(self._next())

    def _values(self) -> set[str]:
        if (word := self._next()) != "(":
            raise bad_request(f"unable to parse requirement: found '{word}' expected: '('")
        values: set[str] = set()
        while True:
            word = self._next()
            if word == ")":
                return values or {""}
            if word == ",":
                continue
            if word in ("", "(", "=", "==", "!=", "!"):
                raise bad_request(f"unable to parse requirement: found '{word}', expected: ',', ')' or identifier")
            values.add(word)


def _is_int(value: str | None) -> bool:
    return value is not None and value.lstrip("-").isdigit()


def matches_label_selector(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector object selects `labels`; an empty selector selects all, None nothing."""
    if selector is None:
        return False
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression_holds(e, labels) for e in selector.get("matchExpressions") or [])


def _expression_holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def selector_text(selector: Object | None) -> str:
    """A LabelSelector as the text that tables and scale subresources carry."""
    parts = [f"{k}={v}" for k, v in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for expression in (selector or {}).get("matchExpressions") or []:
        key, values = expression["key"], ",".join(expression.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(parts)


def field_matcher(selector: str | None, resource: str, selectable: tuple[str, ...] = ()) -> Matcher | None:
    """What `fieldSelector` asks for; `selectable` are the fields that a custom resource declares.

    Raises:
        ApiError: 400 for a field that cannot be selected by.
    """
    if not selector or not selector.strip():
        return None
    terms = [_field_term(part, resource, selectable) for part in selector.split(",") if part]
    return lambda obj: all(term(obj) for term in terms)


def _field_term(part: str, resource: str, selectable: tuple[str, ...]) -> Matcher:
    for operator in ("!=", "==", "="):
        path, found, value = part.partition(operator)
        if found:
            break
    else:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    supported = ("metadata.name", "metadata.namespace", *_SUPPORTED_FIELDS.get(resource, ()), *selectable)
    if path not in supported:
        raise _unknown_field(path, resource)
    keep = operator != "!="
    return lambda obj: (_field_value(obj, path) == value) is keep


def _unknown_field(path: str, resource: str) -> ApiError:
    if "." in resource or resource in _SUPPORTED_FIELDS:
        return bad_request(f"field label not supported: {path}")
    return bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _field_value(obj: Object, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "false" if path in _FALSE_WHEN_ABSENT else ""
    if path == "source" and isinstance(value, dict):
        return str(value.get("component", ""))
    return str(value).lower() if isinstance(value, bool) else str(value)
