"""Definitions as a real server's own structures, which some of its errors show."""

import json
from collections.abc import Collection
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node

_EMPTY: dict[str, Any] = {
    "ID": "", "Schema": "", "Ref": None, "Description": "", "Type": "", "Nullable": False, "Format": "", "Title": "",
    "Default": None, "Maximum": None, "ExclusiveMaximum": False, "Minimum": None, "ExclusiveMinimum": False,
    "MaxLength": None, "MinLength": None, "Pattern": "", "MaxItems": None, "MinItems": None, "UniqueItems": False,
    "MultipleOf": None, "Enum": None, "MaxProperties": None, "MinProperties": None, "Required": None, "Items": None,
    "AllOf": None, "OneOf": None, "AnyOf": None, "Not": None, "Properties": None, "AdditionalProperties": None,
    "PatternProperties": None, "Dependencies": None, "AdditionalItems": None, "Definitions": None,
    "ExternalDocs": None, "Example": None, "XPreserveUnknownFields": None, "XEmbeddedResource": False,
    "XIntOrString": False, "XListMapKeys": None, "XListType": None, "XMapType": None, "XValidations": None,
}  # fmt: skip
_RULE = {"rule": "", "message": "", "messageExpression": "", "reason": None, "fieldPath": "", "optionalOldSelf": None}


def shown(value: Any) -> str:
    """JSON the way Go's encoder writes it, with what could be read as markup escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def field_name(keyword: str) -> str:
    """A schema keyword as the structures call it."""
    if keyword.startswith("x-kubernetes-"):
        return "X" + "".join(word.capitalize() for word in keyword.removeprefix("x-kubernetes-").split("-"))
    return {"id": "ID", "$schema": "Schema", "$ref": "Ref"}.get(keyword, keyword[:1].upper() + keyword[1:])


def said(node: Node) -> list[str]:
    """The structure's fields that a schema sets, in the structure's order."""
    given = {field_name(keyword) for keyword, value in node.items() if value not in (None, "", False, [], {})}
    return [name for name in _EMPTY if name in given]


def rule(source: Node) -> Object:
    """A validation rule."""
    return {field_name(name): source.get(name) or empty for name, empty in _RULE.items()}


def schema(node: Node) -> Object:
    """A schema."""
    out = dict(_EMPTY)
    for keyword, value in node.items():
        name = field_name(keyword)
        match keyword:
            case "properties":
                out[name] = {key: schema(child) for key, child in sorted(value.items())}
            case "items":
                out[name] = {"Schema": schema(value), "JSONSchemas": None}
            case "additionalProperties":
                inner = schema(value) if isinstance(value, dict) else None
                out[name] = {"Allows": bool(value) or inner is not None, "Schema": inner}
            case "allOf" | "anyOf" | "oneOf":
                out[name] = [schema(child) for child in value]
            case "not":
                out[name] = schema(value)
            case "x-kubernetes-validations":
                out[name] = [rule(source) for source in value]
            case _:
                out[name] = value
    return out


def version(source: Object, *, shared: Collection[str]) -> Object:
    """A version of a definition, without the details that are kept for all versions together."""
    details = {name: value for name, value in source.items() if name not in shared}
    given = (details.get("schema") or {}).get("openAPIV3Schema")
    fields = [{"JSONPath": field.get("jsonPath", "")} for field in details.get("selectableFields") or []]
    return {
        "Name": source.get("name", ""),
        "Served": source.get("served", False),
        "Storage": source.get("storage", False),
        "Deprecated": source.get("deprecated", False),
        "DeprecationWarning": source.get("deprecationWarning"),
        "Schema": {"OpenAPIV3Schema": schema(given)} if given is not None else None,
        "Subresources": _subresources(details.get("subresources")),
        "AdditionalPrinterColumns": [_column(c) for c in details.get("additionalPrinterColumns") or []] or None,
        "SelectableFields": fields or None,
    }


def _subresources(source: Object | None) -> Object | None:
    if source is None:
        return None
    scale = source.get("scale")
    names = ("specReplicasPath", "statusReplicasPath")
    shown_scale = {field_name(name): scale.get(name, "") for name in names} if scale is not None else None
    if shown_scale is not None and scale is not None:
        shown_scale["LabelSelectorPath"] = scale.get("labelSelectorPath")
    return {"Status": {} if "status" in source else None, "Scale": shown_scale}


def _column(source: Object) -> Object:
    names = ("name", "type", "format", "description")
    return {
        **{field_name(name): source.get(name, "") for name in names},
        "Priority": source.get("priority", 0),
        "JSONPath": source.get("jsonPath", ""),
    }
