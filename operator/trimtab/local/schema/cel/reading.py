"""How values of a schema come into CEL: numbers, times and bytes as their types, lists with their kind."""

from typing import Any

from trimtab.local.schema.builtin import Node
from trimtab.local.schema.cel.times import parse_date, parse_duration, parse_timestamp
from trimtab.local.schema.cel.values import EvaluationError, MapList, Reader, SetList
from trimtab.local.schema.formats import decode_base64

_FORMATS = {"duration": parse_duration, "date": parse_date, "date-time": parse_timestamp, "byte": decode_base64}


def reader(node: Node) -> Reader | None:
    """What to do with a value before an expression sees it; None where it may see it as it is.

    Objects stay as they are: what is in them is read when it is selected.
    """
    if node.get("x-kubernetes-int-or-string"):
        return None
    match node.get("type"):
        case "number":
            return _double
        case "integer":
            return _integer
        case "string" if node.get("format") in _FORMATS:
            return _text(node["format"])
        case "array":
            return _list(node)
        case "object" if isinstance(node.get("additionalProperties"), dict):
            return _map(node)
    return None


def _double(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _integer(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


def _text(form: str) -> Reader:
    parse = _FORMATS[form]

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except ValueError as error:
            raise EvaluationError(f"invalid {form} {value}: {error}") from None

    return read


def _list(node: Node) -> Reader | None:
    inside = reader(node["items"]) if isinstance(node.get("items"), dict) else None
    kind = node.get("x-kubernetes-list-type")
    keys = node.get("x-kubernetes-list-map-keys") or ()
    if inside is None and kind not in ("set", "map"):
        return None

    def read(value: Any) -> Any:
        if type(value) is not list:
            return value
        items = value if inside is None else [inside(item) for item in value]
        if kind == "set":
            return SetList(items)
        return MapList(items, keys) if kind == "map" else items

    return read


def _map(node: Node) -> Reader | None:
    inside = reader(node["additionalProperties"])
    if inside is None:
        return None
    return lambda value: {k: inside(v) for k, v in value.items()} if type(value) is dict else value
