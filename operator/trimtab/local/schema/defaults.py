"""Whether the defaults of a schema are values that it admits."""

from collections.abc import Iterator

from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.embedded import embedded_errors
from trimtab.local.schema.pruning import pruned
from trimtab.local.schema.rules import rule_errors, rule_tree
from trimtab.local.schema.validation import schema_errors
from trimtab.local.statuses import FieldError, invalid_value

_METADATA = ("metadata", "kind", "apiVersion")


def default_errors(node: Node, at: str) -> list[FieldError]:
    """Everything wrong with the defaults of a schema and of what is below it."""
    return list(_errors(node, at, embedded=True, in_metadata=False))


def _errors(node: Node, at: str, *, embedded: bool, in_metadata: bool) -> Iterator[FieldError]:
    if node.get("default") is not None:
        yield from _value_errors(node, f"{at}.default", in_metadata=in_metadata and not embedded)
    items = node.get("items")
    if isinstance(items, dict):
        inside = bool(items.get("x-kubernetes-embedded-resource"))
        yield from _errors(items, f"{at}.items", embedded=inside, in_metadata=in_metadata and not inside)
    for name, child in (node.get("properties") or {}).items():
        inside = bool(child.get("x-kubernetes-embedded-resource"))
        meta = (in_metadata or (embedded and name in _METADATA)) and not inside
        yield from _errors(child, f"{at}.properties[{name}]", embedded=inside, in_metadata=meta)


def _value_errors(node: Node, at: str, *, in_metadata: bool) -> Iterator[FieldError]:
    value = node["default"]
    if not in_metadata:
        unknown: list[str] = []
        pruned(value, node, "", unknown)
        if unknown:
            yield invalid_value(at, quote(value), "must not have unknown fields")
    found = embedded_errors(value, node, "") or schema_errors(value, node, "")
    if not found:
        root = bool(node.get("x-kubernetes-embedded-resource"))
        # A rule sees the default as it is written: nothing is filled in below it.
        found = rule_errors(value, rule_tree(node, root=root), "", value)
    for error in found:
        below = "" if error.field in ("", "<nil>") else f".{error.field}"
        yield FieldError(f"{at}{below}", error.reason, error.message)
