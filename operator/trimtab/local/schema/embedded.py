"""Objects inside of objects (x-kubernetes-embedded-resource): their names, kinds and metadata."""

from typing import Any

from trimtab.local.names import label_1035_problems, metadata_errors
from trimtab.local.objects import Object, quote
from trimtab.local.schema import builtin
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.decoding import decode
from trimtab.local.schema.validation import join
from trimtab.local.statuses import FieldError, invalid_value, required


def has_embedded(node: Node) -> bool:
    """Whether a schema has embedded objects anywhere below its root."""
    inside = [*(node.get("properties") or {}).values(), node.get("items"), node.get("additionalProperties")]
    return any(
        isinstance(child, dict) and (child.get("x-kubernetes-embedded-resource") or has_embedded(child))
        for child in inside
    )


def settle(value: Any, node: Node, path: str, unknown: list[str]) -> None:
    """Give embedded objects the metadata that every object has, in place; adds unknown fields of it.

    Raises:
        Undecodable: metadata of the wrong type.
    """
    if isinstance(value, dict):
        metadata = value.get("metadata")
        if node.get("x-kubernetes-embedded-resource") and isinstance(metadata, dict):
            found = decode(metadata, builtin.node_of("ObjectMeta"))
            unknown += [f"{path}.metadata.{name}" for name in found.unknown]
            value["metadata"] = found.object
        for name, inner, child in _children(value, node):
            settle(inner, child, join(path, name), unknown)
    elif isinstance(value, list) and isinstance(node.get("items"), dict):
        for index, item in enumerate(value):
            settle(item, node["items"], f"{path}[{index}]", unknown)


def _children(value: Object, node: Node) -> list[tuple[str, Any, Node]]:
    properties, additional = node.get("properties") or {}, node.get("additionalProperties")
    found = [(name, inner, properties.get(name, additional)) for name, inner in value.items()]
    return [(name, inner, child) for name, inner, child in found if isinstance(child, dict)]


def embedded_errors(value: Any, node: Node, path: str) -> list[FieldError]:
    """Everything wrong with the identity of embedded objects."""
    errors: list[FieldError] = []
    if isinstance(value, dict):
        if node.get("x-kubernetes-embedded-resource"):
            errors += _identity_errors(value, path)
        properties = node.get("properties") or {}
        for name, inner, child in _children(value, node):
            where = join(path, name) if name in properties else f"{path}[{name}]"
            errors += embedded_errors(inner, child, where)
    elif isinstance(value, list) and isinstance(node.get("items"), dict):
        for index, item in enumerate(value):
            errors += embedded_errors(item, node["items"], f"{path}[{index}]")
    return errors


def _identity_errors(value: Object, path: str) -> list[FieldError]:
    errors = []
    for name in ("apiVersion", "kind"):
        given = value.get(name, "")
        if not isinstance(given, str):
            errors.append(invalid_value(join(path, name), quote(given), "must be a string"))
        elif not given:
            errors.append(required(join(path, name)))
        elif name == "kind" and (problems := label_1035_problems(given.lower())):
            text = f"may have mixed case, but should otherwise match: {','.join(problems)}"
            errors.append(invalid_value(join(path, name), quote(given), text))
        elif name == "apiVersion" and given.count("/") > 1:
            errors.append(invalid_value(join(path, name), quote(given), f"unexpected GroupVersion string: {given}"))
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        named = {**metadata, "name": metadata.get("name") or "fakename"}
        found = metadata_errors("", named)
        errors += [FieldError(join(path, error.field), error.reason, error.message) for error in found]
    return errors
