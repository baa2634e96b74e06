"""Whether a schema is structural: every field has a type, and combinations restrict values without shaping them."""

from collections.abc import Iterator
from typing import Any

from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.patterns import BadPattern, compiled_pattern
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required

COMBINERS = ("allOf", "anyOf", "oneOf")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
# Inside of combinations these say more than which values are meant: how they must be empty.
_SHAPE = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "externalDocs": "must be undefined to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_PLACES = {"root": "at the root", "items": "for specified array items", "field": "for specified object fields"}
_NO_FIELDS = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
_METADATA_TEXT = "must not specify anything other than name and generateName, but metadata is implicitly specified"


def shape_errors(node: Node, at: str) -> list[FieldError]:
    """What keeps a schema from being structural; `at` is its path in the definition."""
    return sorted([*_node_errors(node, at, "root"), *_missing(node, node, at, at)], key=str)


def _node_errors(node: Node, at: str, level: str) -> Iterator[FieldError]:
    items = node.get("items")
    if node.get("type") == "array" and not isinstance(items, dict):
        yield required(f"{at}.items", "must be specified")
    if isinstance(items, dict):
        yield from _node_errors(items, f"{at}.items", "items")
    for name, child in (node.get("properties") or {}).items():
        # The type of metadata has a message of its own.
        bare = {"type": "object", **child} if level == "root" and name == "metadata" else child
        yield from _node_errors(bare, f"{at}.properties[{name}]", "field")
    additional = node.get("additionalProperties")
    if additional is not None and level == "root":
        yield forbidden_field(f"{at}.additionalProperties", "must not be used at the root")
    if isinstance(additional, dict):
        yield from _node_errors(additional, f"{at}.additionalProperties", "field")
    yield from _extension_errors(node, at)
    skip_any, skip_first = _is_int_or_string(node), _is_int_or_string((node.get("allOf") or [{}])[0])
    yield from _value_errors(node, at, skip_any=skip_any, skip_first=skip_first)
    yield from _type_errors(node, at, level)
    yield from _metadata_errors(node, at, level)


def _is_int_or_string(node: Node) -> bool:
    return bool(node.get("anyOf") == _INT_OR_STRING)


def _extension_errors(node: Node, at: str) -> Iterator[FieldError]:
    if not node.get("x-kubernetes-int-or-string"):
        return
    for name in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
        if node.get(name):
            yield invalid_value(f"{at}.{name}", "true", "must be false if x-kubernetes-int-or-string is true")


def _type_errors(node: Node, at: str, level: str) -> Iterator[FieldError]:
    kind = node.get("type") or ""
    if node.get("x-kubernetes-embedded-resource"):
        if kind != "object":
            text = "must be object if x-kubernetes-embedded-resource is true"
            yield invalid_value(f"{at}.type", quote(kind), text) if kind else required(f"{at}.type", text)
        if node.get("additionalProperties") is not None:
            text = "must not be used if x-kubernetes-embedded-resource is set"
            yield forbidden_field(f"{at}.additionalProperties", text)
        if not node.get("x-kubernetes-preserve-unknown-fields") and not node.get("properties"):
            yield required(f"{at}.properties", _NO_FIELDS)
        return
    free = node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields")
    if not kind and not free:
        yield required(f"{at}.type", f"must not be empty {_PLACES[level]}")
    if level == "root" and kind not in ("", "object"):
        yield invalid_value(f"{at}.type", quote(kind), "must be object at the root")


def _metadata_errors(node: Node, at: str, level: str) -> Iterator[FieldError]:
    properties = node.get("properties") or {}
    if level != "root" and not node.get("x-kubernetes-embedded-resource"):
        return
    for name in ("kind", "apiVersion"):
        if name in properties and (kind := properties[name].get("type") or "") != "string":
            yield invalid_value(f"{at}.properties[{name}].type", quote(kind), "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    if (kind := metadata.get("type") or "") != "object":
        yield invalid_value(f"{at}.properties[metadata].type", quote(kind), "must be object")
    if level == "root" and not _names_only(metadata):
        yield forbidden_field(f"{at}.properties[metadata]", _METADATA_TEXT)


def _names_only(metadata: Node) -> bool:
    said = {name for name, value in metadata.items() if value not in (None, "", False, [], {})}
    return said <= {"type", "properties", "default"} and (metadata.get("properties") or {}).keys() <= {
        "name",
        "generateName",
    }


def _value_errors(node: Node, at: str, *, skip_any: bool = False, skip_first: bool = False) -> Iterator[FieldError]:
    for keyword in COMBINERS:
        if keyword == "anyOf" and skip_any:
            continue
        for index, inner in enumerate(node.get(keyword) or ()):
            skip = keyword == "allOf" and not index and skip_first
            yield from _nested_errors(inner, f"{at}.{keyword}[{index}]", skip_any=skip)
    if node.get("not") is not None:
        yield from _nested_errors(node["not"], f"{at}.not")
    if pattern := node.get("pattern"):
        try:
            compiled_pattern(pattern)
        except BadPattern as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            yield invalid_value(f"{at}.pattern", quote(pattern), text)


def _nested_errors(node: Node, at: str, *, skip_any: bool = False) -> Iterator[FieldError]:
    yield from _value_errors(node, at, skip_any=skip_any)
    if isinstance(node.get("items"), dict):
        yield from _nested_errors(node["items"], f"{at}.items")
    for name, child in (node.get("properties") or {}).items():
        yield from _nested_errors(child, f"{at}.properties[{name}]")
        if name == "metadata":
            yield forbidden_field(f"{at}.properties[metadata]", "must not be specified in a nested context")
    for keyword, text in _SHAPE.items():
        if _is_said(node.get(keyword), keyword):
            yield forbidden_field(f"{at}.{keyword}", text)


def _is_said(value: Any, keyword: str) -> bool:
    if keyword in ("additionalProperties", "default"):
        return value is not None
    return value not in (None, "", False, [], {})


def _missing(node: Node, shape: Node | None, at: str, seen_at: str) -> Iterator[FieldError]:
    """Fields that combinations speak of and the schema itself does not have."""
    if shape is None:
        yield required(at, f"because it is defined in {seen_at}")
        return
    for keyword in COMBINERS:
        for index, inner in enumerate(node.get(keyword) or ()):
            yield from _missing_nested(inner, shape, at, f"{seen_at}.{keyword}[{index}]")
    if node.get("not") is not None:
        yield from _missing_nested(node["not"], shape, at, f"{seen_at}.not")


def _missing_nested(node: Node, shape: Node | None, at: str, seen_at: str) -> Iterator[FieldError]:
    if shape is None:
        yield required(at, f"because it is defined in {seen_at}")
        return
    yield from _missing(node, shape, at, seen_at)
    if isinstance(node.get("items"), dict):
        items = shape.get("items")
        yield from _missing_nested(
            node["items"], items if isinstance(items, dict) else None, f"{at}.items", f"{seen_at}.items"
        )
    for name, child in (node.get("properties") or {}).items():
        inside = (shape.get("properties") or {}).get(name)
        yield from _missing_nested(child, inside, f"{at}.properties[{name}]", f"{seen_at}.properties[{name}]")
