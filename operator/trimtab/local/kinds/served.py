"""A served kind: how its objects are read, defaulted and checked. Built-in kinds have a type, custom ones a schema."""

from collections.abc import Sequence
from typing import Any, Protocol

from trimtab.local import statuses
from trimtab.local.kinds.columns import COLUMNS, Column
from trimtab.local.kinds.rules import NO_RULES, Rules
from trimtab.local.names import immutable_metadata_errors, metadata_errors
from trimtab.local.objects import Object
from trimtab.local.resources import Resource, group_version
from trimtab.local.scaling import ScalePaths
from trimtab.local.schema import builtin
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.decoding import Decoded, decode


class Served(Protocol):
    """One kind that the registry keeps objects of."""

    resource: Resource
    rules: Rules

    def schema(self, version: str) -> Node:
        """The type of the objects, for merging and for pruning."""

    def decode(self, obj: Object, version: str) -> Decoded:
        """The object as its kind allows it. Raises ApiError 400 for another kind, Undecodable for a wrong type."""

    def default(self, obj: Object, version: str) -> None:
        """Fill in defaults, in place."""

    def revive(self, obj: Object, version: str) -> None:
        """Fill in what appears when a stored object is read."""

    def columns(self, version: str) -> Sequence[Column]:
        """What a table shows of it beside the name."""

    def has_status(self, version: str) -> bool:
        """Whether status is a subresource."""

    def scale_paths(self, version: str) -> ScalePaths:
        """Where the numbers of its scale subresource are. Raises ApiError 404 where it has none."""

    def selectable_fields(self) -> tuple[str, ...]:
        """Fields that a custom resource can be selected by."""

    def validate(self, new: Object, old: Object | None, version: str, subresource: str) -> statuses.ApiError | None:
        """The refusal of an invalid object."""


class BuiltIn:
    """A kind with a type in the table of types."""

    def __init__(self, resource: Resource, rules: Rules = NO_RULES) -> None:
        self.resource = resource
        self.rules = rules

    def schema(self, version: str) -> Node:  # noqa: ARG002 - one type for all versions
        return builtin.node_of(self.resource.schema)

    def decode(self, obj: Object, version: str) -> Decoded:
        kind = self.resource.kind
        check_type_meta(obj, group_version(self.resource.group, version), kind)
        return decode(obj, self.schema(version))

    def default(self, obj: Object, version: str) -> None:  # noqa: ARG002
        self.rules.default(obj)

    def columns(self, version: str) -> Sequence[Column]:  # noqa: ARG002
        return COLUMNS.get(self.resource.key, COLUMNS[""])

    def has_status(self, version: str) -> bool:  # noqa: ARG002
        return self.resource.subresource("status") is not None

    def scale_paths(self, version: str) -> ScalePaths:  # noqa: ARG002
        if self.resource.subresource("scale") is None:
            raise statuses.no_such_resource()
        return ScalePaths()

    def selectable_fields(self) -> tuple[str, ...]:
        return ()

    def revive(self, obj: Object, version: str) -> None:
        """Nothing appears: defaults of built-in kinds are stored."""

    def validate(
        self,
        new: Object,
        old: Object | None,
        version: str,  # noqa: ARG002
        subresource: str,  # noqa: ARG002
    ) -> statuses.ApiError | None:
        errors = metadata_errors(self.resource.key, new["metadata"])
        if old is not None:
            errors += immutable_metadata_errors(new["metadata"], old["metadata"])
        errors += self.rules.validate(new, old)
        if not errors:
            return None
        name = new["metadata"].get("name", "")
        return statuses.invalid(self.resource.group, self.resource.kind, name, errors)


def check_type_meta(obj: Any, api_version: str, kind: str) -> None:
    """Refuse a body of another version or kind.

    Raises:
        ApiError: 400.
    """
    version = obj.setdefault("apiVersion", api_version)
    given = obj.setdefault("kind", kind)
    if version != api_version:
        raise statuses.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({api_version})"
        )
    if given != kind:
        raise statuses.bad_request(
            f'{given} in version "{version.rpartition("/")[2]}" cannot be handled as a {kind}: '
            f'no kind "{given}" is registered for version "{version}" in scheme'
        )
