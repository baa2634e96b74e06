"""What keywords of a schema a definition may use, and how they go together."""

import re
from collections.abc import Iterator

from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.fieldpaths import BadPath, resolved
from trimtab.local.statuses import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_NO_UNIQUE = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
_NO_DEFAULT = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
_LINE_BREAK = re.compile(r"[\n\r]")
_RULES = "x-kubernetes-validations"
_LIST_TYPE, _MAP_TYPE, _KEYS = "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-list-map-keys"


def keyword_errors(node: Node, at: str, *, in_metadata: bool, no_defaults: str) -> list[FieldError]:
    """Errors of one node, without those below it. `no_defaults` says why it may have none."""
    errors = list(_standard_errors(node, at, in_metadata=in_metadata, no_defaults=no_defaults))
    if node.get("x-kubernetes-preserve-unknown-fields") is False:
        where = f"{at}.x-kubernetes-preserve-unknown-fields"
        errors.append(invalid_value(where, "false", "must be true or undefined"))
    errors += _kind_errors(node, at, _MAP_TYPE, "object", ("atomic", "granular"))
    errors += _kind_errors(node, at, _LIST_TYPE, "array", ("atomic", "set", "map"))
    errors += _member_errors(node, at)
    for index, rule in enumerate(node.get(_RULES) or ()):
        errors += _rule_errors(rule, node, f"{at}.{_RULES}[{index}]")
    return errors


def _standard_errors(node: Node, at: str, *, in_metadata: bool, no_defaults: str) -> Iterator[FieldError]:
    kind = node.get("type")
    if kind and kind not in _TYPES:
        yield unsupported(f"{at}.type", quote(kind), [quote(t) for t in _TYPES])
    if node.get("default") is not None and no_defaults:
        yield forbidden_field(f"{at}.default", f"must not be set {no_defaults}")
    for keyword in _UNSUPPORTED:
        if node.get(keyword):
            yield forbidden_field(f"{at}.{keyword}", f"{keyword} is not supported")
    if kind == "null":
        yield forbidden_field(f"{at}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(node.get("items"), list):
        yield forbidden_field(f"{at}.items", "items must be a schema object and not an array")
    if in_metadata and node.get("x-kubernetes-embedded-resource"):
        yield forbidden_field(f"{at}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")
    if node.get("uniqueItems"):
        yield forbidden_field(f"{at}.uniqueItems", _NO_UNIQUE)
    additional = node.get("additionalProperties")
    if node.get("properties") and additional is not None and additional is not True:
        yield forbidden_field(f"{at}.additionalProperties", "additionalProperties and properties are mutual exclusive")


def _kind_errors(node: Node, at: str, keyword: str, kind: str, choices: tuple[str, ...]) -> Iterator[FieldError]:
    """x-kubernetes-list-type and x-kubernetes-map-type: on their type alone, and only what is known."""
    given = node.get(keyword)
    if given is None:
        return
    if node.get("type") != kind:
        text = f"must be {kind} if {keyword} is specified"
        found = node.get("type")
        yield invalid_value(f"{at}.type", quote(found), text) if found else required(f"{at}.type", text)
    if given not in choices:
        yield unsupported(f"{at}.{keyword}", quote(given), [quote(choice) for choice in choices])


def _member_errors(node: Node, at: str) -> Iterator[FieldError]:
    kind, items, keys = node.get(_LIST_TYPE), node.get("items"), node.get(_KEYS) or []
    if kind == "set" and node.get("type") == "array" and isinstance(items, dict):
        yield from _set_errors(items, f"{at}.items")
    if keys and kind != "map":
        text = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield (
            required(f"{at}.{_LIST_TYPE}", text)
            if kind is None
            else invalid_value(f"{at}.{_LIST_TYPE}", quote(kind), text)
        )
    if kind == "map":
        yield from _map_errors(node, at, keys)
    if kind in ("set", "map") and isinstance(items, dict) and items.get("nullable"):
        yield forbidden_field(f"{at}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {kind}")
    if kind == "map" and isinstance(items, dict):
        yield from _key_errors(items, at, keys)


def _set_errors(items: Node, at: str) -> Iterator[FieldError]:
    text = "must be atomic as item of a list with x-kubernetes-list-type=set"
    if items.get("type") == "array" and items.get(_LIST_TYPE) not in (None, "atomic"):
        yield invalid_value(f"{at}.{_LIST_TYPE}", quote(items[_LIST_TYPE]), text)
    if items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
        yield invalid_value(f"{at}.{_MAP_TYPE}", quote(items.get(_LIST_TYPE)), text)


def _map_errors(node: Node, at: str, keys: list[str]) -> Iterator[FieldError]:
    items = node.get("items")
    if not keys:
        yield required(f"{at}.{_KEYS}", "must not be empty if x-kubernetes-list-type is map")
    if items is None:
        yield required(f"{at}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    if not isinstance(items, dict):
        return
    if items.get("type") != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid_value(f"{at}.items.type", quote(items.get("type") or ""), text)
        return
    for place, key in enumerate(keys):
        child = (items.get("properties") or {}).get(key)
        if child is None:
            yield invalid_value(f"{at}.{_KEYS}", quote(keys), "entries must all be names of item properties")
        elif child.get("type") in ("array", "object"):
            text = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield invalid_value(f"{at}.items.properties[{key}].type", quote(items["type"]), text)
        if key in keys[:place]:
            yield invalid_value(f"{at}.{_KEYS}", quote(keys), "must not contain duplicate entries")


def _key_errors(items: Node, at: str, keys: list[str]) -> Iterator[FieldError]:
    for key in keys:
        child = (items.get("properties") or {}).get(key)
        if child is None:
            continue
        where = f"{at}.items.properties[{key}]"
        if key not in (items.get("required") or ()) and child.get("default") is None:
            yield required(f"{where}.default", _NO_DEFAULT)
        if child.get("nullable"):
            text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            yield forbidden_field(f"{where}.nullable", text)


def _rule_errors(rule: Node, node: Node, at: str) -> Iterator[FieldError]:
    text, message = rule.get("rule") or "", rule.get("message") or ""
    if not text.strip():
        yield required(f"{at}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid_value(f"{at}.message", quote(message), "message must be non-empty if specified")
    elif _LINE_BREAK.search(message.strip()):
        yield invalid_value(f"{at}.message", quote(message), "message must not contain line breaks")
    elif _LINE_BREAK.search(text.strip()) and not message.strip():
        yield required(f"{at}.message", "message must be specified if rule contains line breaks")
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        yield required(f"{at}.messageExpression", "messageExpression must be non-empty if specified")
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        yield unsupported(f"{at}.reason", quote(reason), [quote(r) for r in _REASONS])
    yield from _place_errors(rule.get("fieldPath") or "", node, f"{at}.fieldPath")


def _place_errors(path: str, node: Node, at: str) -> Iterator[FieldError]:
    if not path:
        return
    if not path.strip():
        yield invalid_value(at, quote(path), "fieldPath must be non-empty if specified")
    if _LINE_BREAK.search(path):
        yield invalid_value(at, quote(path), "fieldPath must not contain line breaks")
    try:
        resolved(path, node)
    except BadPath:
        yield invalid_value(at, quote(path), "fieldPath must be a valid path")


def selectable_errors(fields: list[Node], schema: Node, at: str) -> list[FieldError]:
    """What is wrong with the fields that objects may be selected by."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, given in enumerate(fields):
        path, where = given.get("jsonPath") or "", f"{at}[{index}].jsonPath"
        if not path:
            errors.append(required(where))
            continue
        try:
            shown, found = resolved(path, schema, brackets=False)
        except BadPath as error:
            errors.append(invalid_value(where, quote(path), f"is an invalid path: {error}"))
            continue
        if shown.partition(".")[0] == "metadata":
            errors.append(invalid_value(where, quote(path), "must not point to fields in metadata"))
        if found.get("type") not in ("string", "boolean", "integer"):
            errors.append(invalid_value(where, quote(path), _SELECTABLE))
        if shown in seen:
            errors.append(duplicate(where, quote(path)))
        seen.add(shown)
    if len(seen) > _MAX_SELECTABLE:
        text = f"Too many: {len(seen)}: must have at most {_MAX_SELECTABLE} items"
        errors.append(FieldError(at, "FieldValueTooMany", text))
    return errors


_MAX_SELECTABLE = 8
_SELECTABLE = (
    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
)
