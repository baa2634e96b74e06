"""What a custom resource's schema has to be itself: structural, with defaults that hold and rules that compile."""

import json
from collections.abc import Iterator

from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.patterns import BadPattern, compiled_pattern
from trimtab.local.schema.rules import Uncompilable, check_rule, rule_errors
from trimtab.local.schema.validation import schema_errors
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required, unsupported

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_COMBINERS = ("allOf", "anyOf", "oneOf")
# Inside allOf, anyOf, oneOf and not only values are restricted; the shape is said outside.
_SHAPE = ("additionalProperties", "default", "description", "nullable", "title", "type")
_UNSUPPORTED = ("definitions", "dependencies", "id", "patternProperties", "additionalItems", "$ref")


def structural_errors(node: Node, at: str) -> list[FieldError]:
    """Everything wrong with a schema; `at` is its path in the definition."""
    errors = list(_node_errors(node, at, root=True))
    if node.get("type", "object") != "object":
        errors.append(invalid_value(f"{at}.type", quote(node["type"]), "must be object at the root"))
    return errors


def _node_errors(node: Node, at: str, *, root: bool = False) -> Iterator[FieldError]:
    yield from _type_errors(node, at, root=root)
    for keyword in _UNSUPPORTED:
        if node.get(keyword):
            yield forbidden_field(f"{at}.{keyword}", f"{keyword} is not supported")
    if node.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden_field(f"{at}.uniqueItems", text)
    yield from _pattern_errors(node, at)
    if node.get("properties") and node.get("additionalProperties") is not None:
        text = "additionalProperties and properties are mutual exclusive"
        yield forbidden_field(f"{at}.additionalProperties", text)
    yield from _list_errors(node, at)
    yield from _default_errors(node, at)
    yield from _rule_errors(node, at)
    for keyword in _COMBINERS:
        for index, inner in enumerate(node.get(keyword) or ()):
            yield from _value_errors(inner, f"{at}.{keyword}[{index}]", node)
    if node.get("not"):
        yield from _value_errors(node["not"], f"{at}.not", node)
    for name, child in (node.get("properties") or {}).items():
        if not (root and name == "metadata"):
            yield from _node_errors(child, f"{at}.properties[{name}]")
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            yield from _node_errors(node[keyword], f"{at}.{keyword}")


def _type_errors(node: Node, at: str, *, root: bool) -> Iterator[FieldError]:
    kind = node.get("type")
    if kind:
        if kind not in _TYPES:
            yield unsupported(f"{at}.type", quote(kind), [quote(t) for t in _TYPES])
        elif kind == "array" and not isinstance(node.get("items"), dict):
            yield required(f"{at}.items", "must be specified")
        return
    if node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields"):
        return
    where = "at the root" if root else f"for specified {_holder(at)}"
    yield required(f"{at}.type", f"must not be empty {where}")


def _holder(at: str) -> str:
    if at.endswith(".items"):
        return "array items"
    return "object fields"


def _pattern_errors(node: Node, at: str) -> Iterator[FieldError]:
    pattern = node.get("pattern")
    if not pattern:
        return
    try:
        compiled_pattern(pattern)
    except BadPattern as error:
        yield invalid_value(
            f"{at}.pattern",
            quote(pattern),
            f"must be a valid regular expression, but isn't: {error}",
        )


def _list_errors(node: Node, at: str) -> Iterator[FieldError]:
    kind = node.get("x-kubernetes-list-type")
    if kind is None:
        return
    if kind not in ("atomic", "set", "map"):
        shown = ['"atomic"', '"map"', '"set"']
        yield unsupported(f"{at}.x-kubernetes-list-type", quote(kind), shown)
    keys = node.get("x-kubernetes-list-map-keys") or []
    items = node.get("items") or {}
    if kind == "map":
        if not keys:
            text = "must not be empty if x-kubernetes-list-type is map"
            yield required(f"{at}.x-kubernetes-list-map-keys", text)
        for key in keys:
            yield from _key_errors(items, key, at)
    elif keys:
        text = "must be empty if x-kubernetes-list-type is not map"
        yield forbidden_field(f"{at}.x-kubernetes-list-map-keys", text)


def _key_errors(items: Node, key: str, at: str) -> Iterator[FieldError]:
    child = (items.get("properties") or {}).get(key)
    if child is None:
        yield invalid_value(
            f"{at}.x-kubernetes-list-map-keys", quote(key), "entries must all be names of item properties"
        )
    elif key not in (items.get("required") or ()) and "default" not in child:
        text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
        yield required(f"{at}.items.properties[{key}].default", text)


def _default_errors(node: Node, at: str) -> Iterator[FieldError]:
    if "default" not in node:
        return
    value = node["default"]
    found = schema_errors(value, node, "") or rule_errors(value, node, "")
    for error in found:
        below = "" if error.field in ("", "<nil>") else f".{error.field}"
        yield FieldError(f"{at}.default{below}", error.reason, error.message)


def _rule_errors(node: Node, at: str) -> Iterator[FieldError]:
    for index, rule in enumerate(node.get("x-kubernetes-validations") or ()):
        try:
            check_rule(rule.get("rule", ""), node)
        except Uncompilable as error:
            where = f"{at}.x-kubernetes-validations[{index}].rule"
            yield invalid_value(where, _shown_rule(rule), str(error))


def _shown_rule(rule: Node) -> str:
    shown = {
        "Rule": rule.get("rule", ""),
        "Message": rule.get("message", ""),
        "MessageExpression": rule.get("messageExpression", ""),
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath", ""),
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
    # The way Go's encoder writes what could be read as markup.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _value_errors(node: Node, at: str, shape: Node) -> Iterator[FieldError]:
    """Errors of a schema that may only restrict values, not shape them."""
    anything = shape.get("x-kubernetes-int-or-string")
    for keyword in _SHAPE:
        if keyword in node and node[keyword] not in (None, "") and not (keyword == "type" and anything):
            yield forbidden_field(f"{at}.{keyword}", "must be empty to be structural")
    for name, child in (node.get("properties") or {}).items():
        outer = (shape.get("properties") or {}).get(name)
        if outer is None and not shape.get("x-kubernetes-preserve-unknown-fields"):
            where = at.rpartition(".")[0] or at
            yield required(f"{where}.properties[{name}]", f"because it is defined in {at}.properties[{name}]")
        yield from _value_errors(child, f"{at}.properties[{name}]", outer or {})
    if isinstance(node.get("items"), dict):
        yield from _value_errors(node["items"], f"{at}.items", shape.get("items") or {})
    for keyword in _COMBINERS:
        for index, inner in enumerate(node.get(keyword) or ()):
            yield from _value_errors(inner, f"{at}.{keyword}[{index}]", shape)
    if node.get("not"):
        yield from _value_errors(node["not"], f"{at}.not", shape)
