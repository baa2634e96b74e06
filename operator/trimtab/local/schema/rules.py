"""x-kubernetes-validations: CEL rules, evaluated by the CEL project's own library where it is installed."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog

from trimtab.local.fieldsets import item_element
from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.statuses import FieldError

log = structlog.get_logger()

_MISSING = object()
_SCALARS = {"string": "STRING", "integer": "INT", "boolean": "BOOL", "number": "DOUBLE"}
_REASONS = {
    "FieldValueRequired": "Required value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate value",
}


class Uncompilable(Exception):  # noqa: N818 - says what the rule is
    """A rule that is no CEL expression, or not one that decides."""


@lru_cache(1)
def _library() -> Any:
    """The CEL library, or None: then rules are accepted and not evaluated."""
    try:
        return importlib.import_module("cel_expr_python.cel")
    except ImportError:
        log.warning("cel.unavailable", remedy="install cel-expr-python to have x-kubernetes-validations evaluated")
        return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule said: `holds`, or the evaluation's own error."""

    holds: bool
    error: str = ""


def check_rule(rule: str, node: Node) -> None:
    """Compile a rule against the type it is about.

    Raises:
        Uncompilable: with the compiler's message.
    """
    cel = _library()
    if cel is None:
        return
    if not rule.strip():
        raise Uncompilable("rule is not specified")
    try:
        compiled = _compiled(rule, _type_key(node))
    except RuntimeError as error:
        text = str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
        raise Uncompilable(f"compilation failed: {text}") from None
    returned = str(getattr(compiled, "return_type", lambda: "BOOL")())
    if returned not in ("BOOL", "bool", "DYN", "dyn"):
        raise Uncompilable("cel expression must evaluate to a bool")


def _type_key(node: Node) -> str:
    """The CEL type of a schema node as text: scalars are checked, everything else is dynamic."""
    if node.get("x-kubernetes-int-or-string") or node.get("nullable"):
        return "DYN"
    return _SCALARS.get(node.get("type", ""), "DYN")


@lru_cache(2048)
def _compiled(rule: str, type_key: str) -> Any:
    cel = _library()
    kind = getattr(cel.Type, type_key)
    environment = cel.NewEnv(variables={"self": kind, "oldSelf": kind}, extensions=_extensions())
    return environment.compile(rule)


@lru_cache(1)
def _extensions() -> list[Any]:
    """What Kubernetes has beside the language itself, as far as the library ships it."""
    names = (("strings", "ExtStrings"), ("optional", "ExtOptional"))
    return [getattr(importlib.import_module(f"cel_expr_python.ext.ext_{module}"), name)() for module, name in names]


def evaluated(rule: str, node: Node, value: Any, old: Any) -> Outcome:
    """Evaluate one rule; `old` is only bound for transition rules."""
    cel = _library()
    if cel is None:
        return Outcome(True)
    data = {"self": _typed(value, node)}
    if old is not _MISSING:
        data["oldSelf"] = _typed(old, node)
    try:
        result = _compiled(rule, _type_key(node)).eval(data=data)
    except RuntimeError as error:
        return Outcome(False, str(error))
    found = result.value()
    if isinstance(found, bool):
        return Outcome(found)
    return Outcome(False, _cel_error(str(found)))


def _typed(value: Any, node: Node) -> Any:
    """The value with numbers as the schema types them: a `number` is a double even when it is whole."""
    if node.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if node.get("type") == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        properties, additional = node.get("properties") or {}, node.get("additionalProperties")
        rest = additional if isinstance(additional, dict) else {}
        return {k: _typed(v, properties.get(k, rest)) for k, v in value.items()}
    if isinstance(value, list):
        return [_typed(v, node.get("items") or {}) for v in value]
    return value


def _cel_error(text: str) -> str:
    """Kubernetes' words for the evaluation errors that occur most."""
    marker = 'Key not found in map : "'
    if marker in text:
        key = text.partition(marker)[2].rstrip('"')
        return f"no such key: {key}"
    return text


def rule_errors(value: Any, node: Node, path: str, old: Any = _MISSING) -> list[FieldError]:
    """The rules that do not hold, in the value and everything below it."""
    if value is None:
        return []
    if old is not _MISSING and old == value:
        return []  # what has not changed is not judged again, nor is anything in it
    errors = [
        error for rule in node.get("x-kubernetes-validations") or () for error in _broken(rule, node, value, old, path)
    ]
    for inner, child, where, before in _children(value, node, path, old):
        errors += rule_errors(inner, child, where, before)
    return errors


def _broken(rule: Node, node: Node, value: Any, old: Any, path: str) -> Iterator[FieldError]:
    expression = rule["rule"]
    if old is not _MISSING and old == value:
        return  # what has not changed is not judged again
    if "oldSelf" in expression:
        if old is _MISSING:
            return
        outcome = evaluated(expression, node, value, old)
    else:
        outcome = evaluated(expression, node, value, _MISSING)
    if outcome.holds:
        return
    where = f"{path}{rule.get('fieldPath', '')}".lstrip(".") or "<nil>"
    if outcome.error:
        shown = quote(value) if not isinstance(value, dict | list) else f'"{_json_kind(value)}"'
        text = f"Invalid value: {shown}: {outcome.error} evaluating rule: {rule.get('message') or expression}"
        yield FieldError(where, "FieldValueInvalid", text)
        return
    message = _message(rule, node, value, old)
    reason = rule.get("reason") or "FieldValueInvalid"
    if reason in _REASONS:
        yield FieldError(where, reason, f"{_REASONS[reason]}: {message}")
    else:
        shown = "" if isinstance(value, dict | list) else f"{quote(value)}: "
        yield FieldError(where, "FieldValueInvalid", f"Invalid value: {shown}{message}")


def _message(rule: Node, node: Node, value: Any, old: Any) -> str:
    if expression := rule.get("messageExpression"):
        text = _text(expression, node, value, old)
        if text:
            return text
    return str(rule.get("message") or f"failed rule: {rule['rule']}")


def _text(expression: str, node: Node, value: Any, old: Any) -> str:
    """What a messageExpression says; empty where it fails, so that the plain message is used."""
    cel = _library()
    if cel is None:
        return ""
    data = {"self": _typed(value, node)} | ({} if old is _MISSING else {"oldSelf": _typed(old, node)})
    try:
        found = _compiled(expression, "DYN").eval(data=data).value()
    except RuntimeError:
        return ""
    return found if isinstance(found, str) else ""


def _json_kind(value: Any) -> str:
    return "object" if isinstance(value, dict) else "array"


def _children(value: Any, node: Node, path: str, old: Any) -> Iterator[tuple[Any, Node, str, Any]]:
    if isinstance(value, dict):
        properties, additional = node.get("properties") or {}, node.get("additionalProperties")
        before = old if isinstance(old, dict) else {}
        for name in sorted(value):
            child = properties.get(name, additional)
            if isinstance(child, dict):
                yield value[name], child, f"{path}.{name}" if path else name, before.get(name, _MISSING)
    elif isinstance(value, list) and isinstance(node.get("items"), dict):
        keyed = node.get("x-kubernetes-list-type") == "map" and isinstance(old, list)
        before = {item_element(item, node): item for item in old} if keyed else {}
        for index, item in enumerate(value):
            previous = before.get(item_element(item, node), _MISSING) if keyed else _MISSING
            yield item, node["items"], f"{path}[{index}]", previous


def has_rules(node: Node) -> bool:
    """Whether a schema has validation rules anywhere."""
    if node.get("x-kubernetes-validations"):
        return True
    inside = [*(node.get("properties") or {}).values(), node.get("items"), node.get("additionalProperties")]
    inside += node.get("allOf") or []
    return any(isinstance(child, dict) and has_rules(child) for child in inside)
