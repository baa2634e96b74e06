"""Validation of a value against a structural schema, with the texts a real server answers with."""

import re
from functools import lru_cache
from typing import Any

from trimtab.local.fieldsets import item_element
from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.formats import has_format
from trimtab.local.statuses import (
    FieldError,
    duplicate,
    invalid_value,
    required,
    too_long,
    too_many,
    unsupported,
)

_MISSING = object()
_BLOCKING = {
    "FieldValueRequired",
    "FieldValueTypeInvalid",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueNotSupported",
}
_INTEGER_BOUNDS = {"int32": 2**31, "int64": 2**63}


def blocks_rules(errors: list[FieldError]) -> bool:
    """Whether errors are of the kind after which no validation rules are evaluated."""
    return any(error.reason in _BLOCKING for error in errors)


def schema_errors(value: Any, node: Node, path: str, old: Any = _MISSING) -> list[FieldError]:
    """Everything wrong with `value`.

    What has not changed since `old` is not judged again, so that tightening a schema breaks no object.
    """
    if old is not _MISSING and old == value and type(old) is type(value):
        return []
    if value is None and node.get("nullable"):
        return []
    errors = _type_errors(value, node, path)
    if errors:
        return errors
    if (allowed := node.get("enum")) is not None and value not in allowed:
        errors.append(unsupported(path, quote(value), [quote(choice) for choice in allowed]))
    match value:
        case bool() | None:
            pass
        case str():
            errors += _string_errors(value, node, path)
        case int() | float():
            errors += _number_errors(value, node, path)
        case list():
            errors += _list_errors(value, node, path, old)
        case dict():
            errors += _object_errors(value, node, path, old)
    return errors + _combination_errors(value, node, path)


def kind_of(value: Any) -> str:
    """The JSON type of a value; a whole number is an integer however it is written."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case list():
            return "array"
        case _:
            return "object"


def _type_errors(value: Any, node: Node, path: str) -> list[FieldError]:
    found = kind_of(value)
    if node.get("x-kubernetes-int-or-string"):
        wanted = "integer,string"
        fits = found in ("integer", "string")
    else:
        wanted = node.get("type", "")
        fits = not wanted or found == wanted or (wanted == "number" and found == "integer")
    if fits:
        return []
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    errors = [FieldError(path, "FieldValueTypeInvalid", text)]
    if wanted == "integer" and found == "number":
        text = f"Checked value must be of type integer (default format) in {path}"
        errors.append(invalid_value("<nil>", '""', text))
    return errors


def _string_errors(value: str, node: Node, path: str) -> list[FieldError]:
    errors = []
    limit = node.get("maxLength")
    if limit is not None and len(value) > limit:
        errors.append(too_long(path, limit))
    least = node.get("minLength")
    if least is not None and len(value) < least:
        errors.append(invalid_value(path, quote(value), f"{path} in body should be at least {least} chars long"))
    pattern = node.get("pattern")
    if pattern and not _compiled(pattern).search(value):
        errors.append(invalid_value(path, quote(value), f"{path} in body should match '{pattern}'"))
    form = node.get("format")
    if form and not has_format(value, form):
        text = f"Invalid value: {quote(value)}: {path} in body must be of type {form}: {quote(value)}"
        errors.append(FieldError(path, "FieldValueTypeInvalid", text))
    return errors


def python_pattern(pattern: str) -> str:
    """An RE2 pattern for Python, whose `$` would also match before a final newline."""
    out, in_class, at = [], False, 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            pair = pattern[at : at + 2]
            out.append(r"\Z" if pair == r"\z" else pair)
            at += 2
            continue
        if character == "[":
            in_class = True
        elif character == "]":
            in_class = False
        out.append(r"\Z" if character == "$" and not in_class else character)
        at += 1
    return "".join(out)


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(python_pattern(pattern))


def _number_errors(value: float, node: Node, path: str) -> list[FieldError]:
    errors = []
    shown = quote(value)
    maximum, minimum = node.get("maximum"), node.get("minimum")
    if maximum is not None and (value > maximum or (node.get("exclusiveMaximum") and value == maximum)):
        bound = "less than" if node.get("exclusiveMaximum") else "less than or equal to"
        errors.append(invalid_value(path, shown, f"{path} in body should be {bound} {quote(maximum)}"))
    if minimum is not None and (value < minimum or (node.get("exclusiveMinimum") and value == minimum)):
        bound = "greater than" if node.get("exclusiveMinimum") else "greater than or equal to"
        errors.append(invalid_value(path, shown, f"{path} in body should be {bound} {quote(minimum)}"))
    step = node.get("multipleOf")
    if step and value % step:
        errors.append(invalid_value(path, shown, f"{path} in body should be a multiple of {quote(step)}"))
    limit = _INTEGER_BOUNDS.get(node.get("format", "")) if node.get("type") == "integer" else None
    if limit is not None and not -limit <= value < limit:
        text = f"Checked value must be of type integer with format {node['format']} in {path}"
        errors.append(invalid_value(path, shown, text))
    return errors


def _list_errors(value: list[Any], node: Node, path: str, old: Any) -> list[FieldError]:
    errors = []
    most, least = node.get("maxItems"), node.get("minItems")
    if most is not None and len(value) > most:
        errors.append(too_many(path, len(value), most))
    if least is not None and len(value) < least:
        errors.append(invalid_value(path, str(len(value)), f"{path} in body should have at least {least} items"))
    items = node.get("items")
    if isinstance(items, dict):
        before = _by_key(old, node)
        for index, item in enumerate(value):
            previous = before.get(item_element(item, node), _MISSING) if before else _MISSING
            errors += schema_errors(item, items, f"{path}[{index}]", previous)
    return errors + _duplicate_errors(value, node, path)


def _by_key(old: Any, node: Node) -> dict[str, Any]:
    if not isinstance(old, list) or node.get("x-kubernetes-list-type") != "map":
        return {}
    return {item_element(item, node): item for item in old}


def _duplicate_errors(value: list[Any], node: Node, path: str) -> list[FieldError]:
    kind = node.get("x-kubernetes-list-type")
    if kind not in ("set", "map"):
        return []
    errors = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        element = item_element(item, node)
        if element in seen:
            shown = element.partition(":")[2]
            errors.append(duplicate(f"{path}[{index}]", shown))
        seen.add(element)
    return errors


def _object_errors(value: dict[str, Any], node: Node, path: str, old: Any) -> list[FieldError]:
    errors = []
    most, least = node.get("maxProperties"), node.get("minProperties")
    if most is not None and len(value) > most:
        errors.append(too_many(path, len(value), most))
    if least is not None and len(value) < least:
        text = f"{path} in body should have at least {least} properties"
        errors.append(invalid_value(path, str(len(value)), text))
    errors += [required(_join(path, name)) for name in node.get("required") or () if name not in value]
    properties = node.get("properties") or {}
    additional = node.get("additionalProperties")
    before = old if isinstance(old, dict) else {}
    for name in sorted(value):
        child = properties.get(name, additional)
        if isinstance(child, dict):
            errors += schema_errors(value[name], child, _join(path, name), before.get(name, _MISSING))
    return errors


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _combination_errors(value: Any, node: Node, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    where = path or "<nil>"
    for inner in node.get("allOf") or ():
        errors += schema_errors(value, inner, path)
    if choices := node.get("anyOf"):
        results = [schema_errors(value, inner, path) for inner in choices]
        if all(results):
            errors.append(invalid_value(where, '""', f'"{path}" must validate at least one schema (anyOf)'))
            errors += results[0]
    if choices := node.get("oneOf"):
        results = [schema_errors(value, inner, path) for inner in choices]
        valid = sum(1 for result in results if not result)
        if valid != 1:
            found = "Found none valid" if not valid else f"Found {valid} valid alternatives"
            text = f'"{path}" must validate one and only one schema (oneOf). {found}'
            errors.append(invalid_value(where, '""', text))
            errors += results[0] if not valid else []
    inner = node.get("not")
    if inner is not None and not schema_errors(value, inner, path):
        errors.append(invalid_value(where, '""', f'"{path}" must not validate the schema (not)'))
    return errors
