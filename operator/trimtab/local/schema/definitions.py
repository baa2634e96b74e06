"""What is wrong with the schema of a definition: its shape, its keywords, its defaults, its rules and their cost."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from trimtab.local.objects import quote
from trimtab.local.schema import gostructs
from trimtab.local.schema.admitting import Budget, Context, rule_problems
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.defaults import default_errors
from trimtab.local.schema.keywords import keyword_errors
from trimtab.local.schema.structural import shape_errors
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value

# Fields of the structure that may stand at the root where the status is written apart.
_AT_THE_ROOT = (
    "Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum",
    "MaxLength", "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items",
    "Properties", "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations",
)  # fmt: skip
_WHERE = "the root of the schema if the status subresource is enabled"
_METADATA = ("metadata", "kind", "apiVersion")


def definition_errors(node: Node, at: str, *, has_status: bool) -> list[FieldError]:
    """Everything wrong with a schema; `has_status` says that the status is a subresource."""
    errors = list(_root_errors(node, at, has_status=has_status))
    found = shape_errors(node, at) or default_errors(node, at)
    errors += found
    budget = Budget()
    context = None if found else Context.root(node, budget)
    own, rules = _Walk().visit(node, at, _Place(root=True), context)
    errors += own + rules
    if context is not None:
        errors += budget.errors(at)
    return errors


def _root_errors(node: Node, at: str, *, has_status: bool) -> Iterator[FieldError]:
    if has_status:
        for name in gostructs.said(node):
            if name == "Type" and node["type"] != "object":
                text = f'only "object" is allowed as the type at {_WHERE}'
                yield invalid_value(f"{at}.type", quote(node["type"]), text)
                break
            if name not in _AT_THE_ROOT:
                listed = " ".join(_AT_THE_ROOT)
                text = (
                    f"only [{listed}] fields are allowed at the root of the schema if the status subresource is enabled"
                )
                yield invalid_value(at, gostructs.shown(gostructs.schema(node)), text)
                break
    if node.get("nullable"):
        yield forbidden_field(f"{at}.nullable", "nullable cannot be true at the root")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a schema a node is, as far as that decides what it may say."""

    root: bool = False
    in_metadata: bool = False
    no_defaults: str = ""
    uncorrelated: str = ""


@dataclass(slots=True)
class _Walk:
    """A walk over a schema, which keeps errors of its keywords apart from those of its rules."""

    errors: list[FieldError] = field(default_factory=list)

    def visit(
        self, node: Node, at: str, place: _Place, context: Context | None
    ) -> tuple[list[FieldError], list[FieldError]]:
        own = keyword_errors(node, at, in_metadata=place.in_metadata, no_defaults=place.no_defaults)
        rules: list[FieldError] = []
        for child, where, inside, below in _children(node, at, place, context):
            found = self.visit(child, where, inside, below)
            own += found[0]
            rules += found[1]
        if node.get("x-kubernetes-validations") and not own and context is not None:
            rules += rule_problems(node, at, context, place.uncorrelated)
        return own, rules


def _children(
    node: Node, at: str, place: _Place, context: Context | None
) -> Iterator[tuple[Node, str, _Place, Context | None]]:
    below = replace(place, root=False)
    additional = node.get("additionalProperties")
    if isinstance(additional, dict):
        where = below
        if place.in_metadata:
            where = replace(below, no_defaults="inside additionalProperties applying to object metadata")
        yield additional, f"{at}.additionalProperties", where, context and context.child(additional)
    for name, child in (node.get("properties") or {}).items():
        inside = below
        if (place.root or node.get("x-kubernetes-embedded-resource")) and name in _METADATA:
            inside = replace(inside, in_metadata=True)
            if place.root:
                inside = replace(inside, no_defaults=f"in top-level {name}")
        yield child, f"{at}.properties[{name}]", inside, context and context.child(child)
    for keyword in ("allOf", "oneOf", "anyOf"):
        for index, inner in enumerate(node.get(keyword) or ()):
            yield inner, f"{at}.{keyword}[{index}]", below, None
    if isinstance(node.get("not"), dict):
        yield node["not"], f"{at}.not", below, None
    items: Any = node.get("items")
    if isinstance(items, dict):
        inside = below
        if node.get("x-kubernetes-list-type") != "map" and not below.uncorrelated:
            inside = replace(below, uncorrelated=at)
        yield items, f"{at}.items", inside, context and context.child(items)
