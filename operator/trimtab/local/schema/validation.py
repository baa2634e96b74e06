"""Validation of a value against a structural schema, with the texts a real server answers with.

Whether a value is valid is asked on every write, so that question is compiled (`schema.compiling`). Only a
value that is not is looked at here, to say what is wrong with it and where.
"""

import json
from typing import Any

from trimtab.local.fieldsets import item_element
from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.formats import format_check
from trimtab.local.schema.numbers import NUMBER_FORMATS, fits, go_float, is_whole
from trimtab.local.schema.patterns import BadPattern, searcher
from trimtab.local.statuses import (
    FieldError,
    invalid_value,
    required,
    too_long,
    too_many,
    unsupported,
)

MISSING: Any = object()
"""Stands for an old value that is not there."""

_BLOCKING = {
    "FieldValueRequired",
    "FieldValueTypeInvalid",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueNotSupported",
}
_NOWHERE = "<nil>"


def blocks_rules(errors: list[FieldError]) -> bool:
    """Whether errors are of the kind after which no validation rules are evaluated."""
    return any(error.reason in _BLOCKING for error in errors)


def schema_errors(value: Any, node: Node, path: str, old: Any = MISSING) -> list[FieldError]:
    """Everything wrong with `value`.

    What has not changed since `old` is not judged again, so that tightening a schema breaks no object.
    """
    found = _errors(value, node, path, old)
    if found and old is not MISSING and same(value, old):
        return []
    return found


def same(value: Any, other: Any) -> bool:
    """Whether two JSON values are equal; true is not 1 here."""
    if type(value) is not type(other):
        return False
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(same(inner, other[name]) for name, inner in value.items())
    if isinstance(value, list):
        return len(value) == len(other) and all(map(same, value, other))
    return bool(value == other)


def kind_of(value: Any) -> str:
    """The JSON type of a value; a whole number is an integer however it is written."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int() | float():
            return "integer" if is_whole(value) else "number"
        case list():
            return "array"
        case _:
            return "object"


def shown(value: Any) -> str:
    """A value as an error shows it."""
    return go_float(value) if isinstance(value, float) else quote(value)


def _errors(value: Any, node: Node, path: str, old: Any) -> list[FieldError]:
    errors = _type_errors(value, node, path)
    if value is not None:
        errors += _combination_errors(value, node, path)
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
    return errors + _enum_errors(value, node, path)


def wanted_types(node: Node) -> tuple[str, ...]:
    """The JSON types that a node admits; none means all."""
    if node.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    return (node["type"],) if node.get("type") else ()


def checked_format(node: Node) -> str:
    """The format, if it is one that is checked."""
    name = node.get("format") or ""
    return name if name and format_check(name) else ""


def _type_errors(value: Any, node: Node, path: str) -> list[FieldError]:
    wanted = wanted_types(node)
    if not wanted or (value is None and node.get("nullable")):
        return []
    found = kind_of(value)
    if found in wanted or (found == "integer" and "number" in wanted):
        return []
    numeric = "number" in wanted or "integer" in wanted
    form = checked_format(node)
    if form and not numeric and value is not None:
        if isinstance(value, str | list):
            return []  # to real servers, lists are strings with a format as well
        text = f'Invalid value: "": {path} in body must be of type {form}: ""'
        return [FieldError(path, "FieldValueTypeInvalid", text)]
    text = f'Invalid value: "{found}": {path} in body must be of type {",".join(wanted)}: "{found}"'
    return [FieldError(path, "FieldValueTypeInvalid", text)]


def equals_choice(value: Any, choice: Any) -> bool:
    """Whether a value is a member of an enumeration: 1 is 1.0, and true is neither."""
    if isinstance(value, bool) or isinstance(choice, bool):
        return value is choice
    return bool(value == choice)


def _enum_errors(value: Any, node: Node, path: str) -> list[FieldError]:
    allowed = node.get("enum")
    # A null is in no enumeration, not even in one that lists it.
    if not allowed or (value is not None and any(equals_choice(value, choice) for choice in allowed)):
        return []
    choices = [choice if isinstance(choice, str) else quote(choice) for choice in allowed]
    return [unsupported(path, shown(value), [quote(choice) for choice in choices])]


def _string_errors(value: str, node: Node, path: str) -> list[FieldError]:
    errors = []
    limit = node.get("maxLength")
    if limit is not None and len(value) > limit:
        errors.append(too_long(path, limit))
    least = node.get("minLength")
    if least is not None and len(value) < least:
        errors.append(invalid_value(path, quote(value), f"{path} in body should be at least {least} chars long"))
    pattern = node.get("pattern")
    if pattern and (problem := _mismatch(value, pattern)):
        errors.append(invalid_value(path, quote(value), f"{path} in body should match '{problem}'"))
    form = checked_format(node)
    check = format_check(form) if form else None
    if check and not check(value):
        text = f"Invalid value: {quote(value)}: {path} in body must be of type {form}: {quote(value)}"
        errors.append(FieldError(path, "FieldValueTypeInvalid", text))
    return errors


def _mismatch(value: str, pattern: str) -> str:
    try:
        return "" if searcher(pattern)(value) else pattern
    except BadPattern as error:
        return f"{pattern}, but pattern is invalid: {error}"


def _number_errors(value: float, node: Node, path: str) -> list[FieldError]:
    errors = []
    kind = "integer" if "integer" in wanted_types(node) else "number"
    form = number_format(node)
    named = f"with format {form}" if form else "(default format)"
    if not fits(value, kind, form):
        errors.append(invalid_value(_NOWHERE, '""', f"Checked value must be of type {kind} {named} in {path}"))
    for keyword, word, name in (("maximum", "less than", "Maximum"), ("minimum", "greater than", "Minimum")):
        bound = node.get(keyword)
        if bound is None:
            continue
        if not fits(bound, kind, form):
            text = f"{name} boundary value must be of type {kind} {named} in {path}"
            errors.append(invalid_value(_NOWHERE, '""', text))
        elif isinstance(value, int):
            bound = int(bound)
        exclusive = node.get(f"exclusive{name}")
        if outside(value, bound, keyword, exclusive=bool(exclusive)):
            relation = word if exclusive else f"{word} or equal to"
            text = f"{path} in body should be {relation} {shown(bound)}"
            errors.append(invalid_value(path, shown(value), text))
    step = node.get("multipleOf")
    if step and not is_multiple(value, step):
        errors.append(invalid_value(path, shown(value), f"{path} in body should be a multiple of {shown(step)}"))
    return errors


def number_format(node: Node) -> str:
    """The format that numbers are held to; formats that are not known for their type are not looked at."""
    form = node.get("format") or ""
    return form if form in NUMBER_FORMATS.get(node.get("type", ""), ()) else ""


def outside(value: float, bound: float, keyword: str, *, exclusive: bool) -> bool:
    if value == bound:
        return exclusive
    return value > bound if keyword == "maximum" else value < bound


def is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and float(step).is_integer():
        return value % int(step) == 0
    times = value / step if step >= 1 else 1 / step * value
    return abs(times - round(times)) < 1e-9 * max(1.0, abs(times))


def _list_errors(value: list[Any], node: Node, path: str, old: Any) -> list[FieldError]:
    errors = []
    items = node.get("items")
    if isinstance(items, dict):
        before = counterparts(value, node, old)
        for index, item in enumerate(value):
            errors += schema_errors(item, items, f"{path}[{index}]", before[index])
    least, most = node.get("minItems"), node.get("maxItems")
    if least is not None and len(value) < least:
        errors.append(invalid_value(path, str(len(value)), f"{path} in body should have at least {least} items"))
    if most is not None and len(value) > most:
        errors.append(too_many(path, len(value), most))
    if node.get("uniqueItems") and any(same(a, b) for i, a in enumerate(value) for b in value[:i]):
        errors.append(invalid_value(path, '""', f"{path} in body shouldn't contain duplicates"))
    return errors


def counterparts(value: list[Any], node: Node, old: Any) -> list[Any]:
    """For each item the one it was before; only items of lists with keys can be told again."""
    if isinstance(old, list) and node.get("x-kubernetes-list-type") == "map":
        before = {item_element(item, node): item for item in reversed(old)}
        return [before.get(item_element(item, node), MISSING) for item in value]
    return [MISSING] * len(value)


def _object_errors(value: dict[str, Any], node: Node, path: str, old: Any) -> list[FieldError]:
    most, least = node.get("maxProperties"), node.get("minProperties")
    if least is not None and len(value) < least:
        text = f"{path} in body should have at least {least} properties"
        return [invalid_value(path, str(len(value)), text)]
    if most is not None and len(value) > most:
        return [too_many(path, len(value), most)]
    errors = []
    properties = node.get("properties") or {}
    additional = node.get("additionalProperties")
    before = old if isinstance(old, dict) else {}
    for name in sorted(value):
        child = properties.get(name, additional)
        if isinstance(child, dict):
            errors += schema_errors(value[name], child, join(path, name), before.get(name, MISSING))
        elif child is False:
            text = f"{join(path, name)} in body is a forbidden property"
            errors.append(invalid_value(path or _NOWHERE, quote(name), text))
    return errors + [required(join(path, name)) for name in node.get("required") or () if name not in value]


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _combination_errors(value: Any, node: Node, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name = json.dumps(path, ensure_ascii=False)
    if choices := node.get("anyOf"):
        results = [schema_errors(value, inner, path) for inner in choices]
        if all(results):
            errors.append(invalid_value(_NOWHERE, '""', f"{name} must validate at least one schema (anyOf)"))
            errors += _best(value, choices, results)
    if choices := node.get("oneOf"):
        results = [schema_errors(value, inner, path) for inner in choices]
        valid = sum(1 for result in results if not result)
        if valid != 1:
            found = "Found none valid" if not valid else f"Found {valid} valid alternatives"
            text = f"{name} must validate one and only one schema (oneOf). {found}"
            errors.append(invalid_value(_NOWHERE, '""', text))
            errors += _best(value, choices, results) if not valid else []
    if parts := node.get("allOf"):
        results = [schema_errors(value, inner, path) for inner in parts]
        errors += [error for result in results for error in result]
        if any(results):
            none = "" if not all(results) else ". None validated"
            errors.append(invalid_value(_NOWHERE, '""', f"{name} must validate all the schemas (allOf){none}"))
    inner = node.get("not")
    if inner is not None and not schema_errors(value, inner, path):
        errors.append(invalid_value(_NOWHERE, '""', f"{name} must not validate the schema (not)"))
    return errors


def _best(value: Any, choices: list[Node], results: list[list[FieldError]]) -> list[FieldError]:
    """The errors of the alternative that had most to check; the first of several."""
    reach = [_reach(value, choice) for choice in choices]
    return results[reach.index(max(reach))]


def _reach(value: Any, node: Node) -> int:
    """How many values a schema says something about."""
    if isinstance(value, dict):
        properties = node.get("properties") or {}
        return 1 + sum(_reach(inner, properties[name]) for name, inner in value.items() if name in properties)
    if isinstance(value, list) and isinstance(node.get("items"), dict):
        return 1 + sum(_reach(item, node["items"]) for item in value)
    return 1
