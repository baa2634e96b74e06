"""A served kind: how its objects are read, defaulted and checked. Built-in kinds have a type, custom ones a schema."""

from collections.abc import Sequence
from typing import Any, Protocol

from trimtab.local import statuses
from trimtab.local.kinds.columns import Column
from trimtab.local.kinds.printers import columns_of
from trimtab.local.kinds.rules import NO_RULES, Rules
from trimtab.local.names import legacy_finalizer_errors, metadata_change_errors, metadata_errors
from trimtab.local.objects import Object
from trimtab.local.resources import BUILT_IN, Resource, group_version
from trimtab.local.scaling import ScalePaths
from trimtab.local.schema import builtin
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.decoding import Decoded, Undecodable, decode
from trimtab.local.schema.pruning import copied
from trimtab.local.statuses import FieldError

# Names of kinds that have no rule of their own only have to fit into a URL.
_ANY_PATH_SEGMENT = "rbac.authorization.k8s.io"
# What a real server tells whoever uses a kind that is on its way out.
_DEPRECATED = {"endpoints": ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"]}
_SCHEME = '"pkg/api/legacyscheme/scheme.go:30"'


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

    def converted(self, obj: Object, version: str) -> Object:
        """A copy of an object in another version."""

    def columns(self, version: str) -> Sequence[Column]:
        """What a table shows of it."""

    def deprecations(self, version: str) -> list[str]:
        """What whoever speaks that version is warned of."""

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
        check_type_meta(obj, self.resource, version)
        return decode(obj, self.schema(version))

    def default(self, obj: Object, version: str) -> None:  # noqa: ARG002
        self.rules.default(obj)

    def columns(self, version: str) -> Sequence[Column]:  # noqa: ARG002
        return columns_of(self.resource.key)

    def deprecations(self, version: str) -> list[str]:  # noqa: ARG002
        return _DEPRECATED.get(self.resource.key, [])

    def has_status(self, version: str) -> bool:  # noqa: ARG002
        return self.resource.subresource("status") is not None

    def scale_paths(self, version: str) -> ScalePaths:  # noqa: ARG002
        if self.resource.subresource("scale") is None:
            raise statuses.no_such_resource()
        return ScalePaths()

    def selectable_fields(self) -> tuple[str, ...]:
        return ()

    def converted(self, obj: Object, version: str) -> Object:
        found: Object = copied({**obj, "apiVersion": group_version(self.resource.group, version)})
        return found

    def revive(self, obj: Object, version: str) -> None:
        """Nothing appears: defaults of built-in kinds are stored."""

    def validate(
        self,
        new: Object,
        old: Object | None,
        version: str,  # noqa: ARG002
        subresource: str,
    ) -> statuses.ApiError | None:
        metadata = new["metadata"]
        if old is None:
            errors = self._creation_errors(new)
        else:
            errors = self._metadata_update_errors(metadata, old["metadata"], subresource)
            errors += self.rules.validate_status(new, old) if subresource == "status" else self.rules.validate(new, old)
        if not errors:
            return None
        return statuses.invalid(self.resource.group, self.resource.kind, metadata.get("name", ""), errors)

    def _creation_errors(self, new: Object) -> list[FieldError]:
        checks = self.rules.metadata
        metadata = new["metadata"]
        errors = []
        if checks.on_create:
            errors += metadata_errors(self.resource.key, metadata)
            errors += legacy_finalizer_errors(metadata) if checks.legacy_finalizers else []
        errors += self.rules.validate(new, None)
        # What every object has is checked last, once the kind finds nothing wrong.
        return errors or ([] if checks.on_create else metadata_errors(_ANY_PATH_SEGMENT, metadata))

    def _metadata_update_errors(self, new: Object, old: Object, subresource: str) -> list[FieldError]:
        """A real server looks at the metadata as often as the kind does, and once more; it repeats what it finds."""
        checks = self.rules.metadata
        whole, change = metadata_errors(_ANY_PATH_SEGMENT, new), metadata_change_errors(new, old)
        legacy = legacy_finalizer_errors(new) if checks.legacy_finalizers else []
        if not (whole or change or legacy):
            return []
        again = 0 if subresource == "status" else checks.whole_on_update
        return whole + change + again * (whole + legacy) + checks.changes_on_update * (change + legacy)


def check_type_meta(obj: Any, resource: Resource, version: str) -> None:
    """Refuse a body of another version or kind.

    Raises:
        ApiError: 400 for another version of the kind.
        Undecodable: a kind that there is not, or that is another one.
    """
    api_version = group_version(resource.group, version)
    given_version, given = obj.get("apiVersion") or api_version, obj.get("kind") or resource.kind
    obj["apiVersion"], obj["kind"] = given_version, given
    if (given_version, given) == (api_version, resource.kind):
        return
    known = any(r.kind == given and given_version in [group_version(r.group, v) for v in r.versions] for r in BUILT_IN)
    if not known:
        raise Undecodable(f'no kind "{given}" is registered for version "{given_version}" in scheme {_SCHEME}')
    if given != resource.kind:
        ours = f"{_go_package(resource.group)}.{resource.kind}"
        raise Undecodable(f"converting (v1.{given}) to ({ours}): unknown conversion")
    raise statuses.bad_request(
        f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
    )


def _go_package(group: str) -> str:
    return group.partition(".")[0] or "core"
