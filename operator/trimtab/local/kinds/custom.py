"""A custom kind: what its definition says, at work."""

from collections.abc import Sequence
from typing import Any

from trimtab.local import statuses
from trimtab.local.kinds.columns import Column
from trimtab.local.kinds.printing import printer_columns
from trimtab.local.kinds.rules import Rules
from trimtab.local.names import metadata_change_errors, metadata_errors
from trimtab.local.objects import Object, quote
from trimtab.local.resources import Resource, Subresource, group_version, version_rank
from trimtab.local.scaling import ScalePaths
from trimtab.local.schema import builtin
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.decoding import Decoded, Undecodable, decode
from trimtab.local.schema.judging import SchemaVersion
from trimtab.local.schema.numbers import go_float
from trimtab.local.schema.pruning import copied
from trimtab.local.statuses import FieldError, invalid_value

_RULES = Rules(unconditional=False)
_MAX_INT32 = 2**31 - 1


def resource_of(definition: Object) -> Resource:
    """The names and subresources that a definition declares; the preferred version first."""
    spec, names = definition["spec"], definition["spec"]["names"]
    storage = next(v for v in spec["versions"] if v["storage"])
    served = sorted((v["name"] for v in spec["versions"] if v["served"]), key=version_rank, reverse=True)
    by_version = tuple((v["name"], _subresources(v, names["kind"])) for v in spec["versions"])
    return Resource(
        group=spec["group"],
        versions=tuple(served),
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        singular=names["singular"],
        list_kind=names["listKind"],
        subresources=tuple({sub.name: sub for _, subs in by_version for sub in subs}.values()),
        generation=True,
        custom=True,
        storage_version=storage["name"],
        by_version=by_version,
    )


def _subresources(version: Object, kind: str) -> tuple[Subresource, ...]:
    declared = version.get("subresources") or {}
    found = []
    if "status" in declared:
        found.append(Subresource("status", kind))
    if "scale" in declared:
        found.append(Subresource("scale", "Scale", group="autoscaling", version="v1"))
    return tuple(found)


class Custom:
    """One custom kind, as `kinds.served.Served` wants it."""

    def __init__(self, definition: Object) -> None:
        self.resource = resource_of(definition)
        self.rules = _RULES
        self.definition = definition
        self._versions: dict[str, Object] = {v["name"]: v for v in definition["spec"]["versions"]}
        self._nodes = {name: _whole(version) for name, version in self._versions.items()}
        self._schemas = {name: SchemaVersion(_schema(version)) for name, version in self._versions.items()}

    def schema(self, version: str) -> Node:
        return self._nodes[version]

    def columns(self, version: str) -> Sequence[Column]:
        return printer_columns(self._versions[version].get("additionalPrinterColumns") or ())

    def deprecations(self, version: str) -> list[str]:
        """The warning of a version that is on its way out."""
        declared = self._versions[version]
        if not declared.get("deprecated"):
            return []
        name = f"{group_version(self.resource.group, version)} {self.resource.kind}"
        return [declared.get("deprecationWarning") or f"{name} is deprecated"]

    def has_status(self, version: str) -> bool:
        return "status" in (self._versions[version].get("subresources") or {})

    def scale_paths(self, version: str) -> ScalePaths:
        declared = (self._versions[version].get("subresources") or {}).get("scale")
        if declared is None:
            raise statuses.no_such_resource()
        selector = declared.get("labelSelectorPath")
        return ScalePaths(declared["specReplicasPath"], declared["statusReplicasPath"], selector or ".none")

    def selectable_fields(self) -> tuple[str, ...]:
        fields = [field for version in self._versions.values() for field in version.get("selectableFields") or ()]
        return tuple(dict.fromkeys(field["jsonPath"].lstrip(".") for field in fields))

    def decode(self, obj: Object, version: str) -> Decoded:
        api_version = group_version(self.resource.group, version)
        given = obj.get("apiVersion", api_version)
        if given != api_version:
            raise statuses.bad_request(
                f"the API version in the data ({given}) does not match the expected API version ({api_version})"
            )
        kind = obj.get("kind", self.resource.kind)
        about = obj.get("metadata") or {}
        if not isinstance(about, dict):
            raise Undecodable(f"metadata: Invalid value: {quote(about)}: must be an object")
        if kind != self.resource.kind:
            name = about.get("name", "")
            error = invalid_value("kind", quote(kind), f"must be {self.resource.kind}")
            raise statuses.invalid(self.resource.group, kind, name, [error])
        metadata = decode(about, builtin.node_of("ObjectMeta"))
        unknown = [f"metadata.{path}" for path in metadata.unknown]
        rest = {"apiVersion": given, "kind": kind, **{k: v for k, v in obj.items() if k != "metadata"}}
        out = self._schemas[version].pruned(rest, unknown)
        return Decoded({**out, "metadata": metadata.object}, unknown)

    def default(self, obj: Object, version: str) -> None:
        self._schemas[version].fill(obj)

    def revive(self, obj: Object, version: str) -> None:
        """Stored objects show the defaults of the schema of today, those of a status included."""
        self.default(obj, version)

    def converted(self, obj: Object, version: str) -> Object:
        """The object in a version: what that does not know goes, and its defaults are filled in."""
        rest = {k: v for k, v in obj.items() if k != "metadata"}
        rest["apiVersion"] = group_version(self.resource.group, version)
        out = {**self._schemas[version].pruned(rest, []), "metadata": copied(obj["metadata"])}
        self.default(out, version)
        return out

    def validate(self, new: Object, old: Object | None, version: str, subresource: str) -> statuses.ApiError | None:
        resource, metadata = self.resource, new["metadata"]
        errors = metadata_errors(resource.key, metadata)
        if old is not None:
            # A real server looks at the changes of a custom resource's metadata twice, and says so.
            errors += 2 * metadata_change_errors(metadata, old["metadata"])
        schema = self._schemas[version]
        errors += schema.shape_errors(new, old)
        errors += self._scale_errors(new, version, subresource)
        errors += schema.member_errors(new, old)
        errors += schema.broken_rules(new, old, errors)
        if not errors:
            return None
        return statuses.invalid(resource.group, resource.kind, metadata.get("name", ""), errors)

    def _scale_errors(self, new: Object, version: str, subresource: str) -> list[FieldError]:
        """The numbers and the selector have to be what the scale subresource can show."""
        declared = (self._versions[version].get("subresources") or {}).get("scale")
        if declared is None:
            return []
        errors = [] if subresource else _count_errors(new, declared["specReplicasPath"])
        errors += _count_errors(new, declared["statusReplicasPath"])
        if selector := declared.get("labelSelectorPath"):
            _, problem = _reached(new, selector, str, "string")
            errors += [invalid_value(selector, '""', problem)] if problem else []
        return errors


def _count_errors(obj: Object, path: str) -> list[FieldError]:
    count, problem = _reached(obj, path, int, "int64")
    if problem:
        return [invalid_value(path, "0", problem)]
    if count is not None and count < 0:
        return [invalid_value(path, str(count), "should be a non-negative integer")]
    if count is not None and count > _MAX_INT32:
        return [invalid_value(path, str(count), f"should be less than or equal to {_MAX_INT32}")]
    return []


def _reached(obj: Any, path: str, kind: type, kind_name: str) -> tuple[Any, str]:
    """What is at a path, or what is in the way; a null is as good as nothing."""
    names = path.removeprefix(".").split(".")
    for index, name in enumerate(names):
        if obj is None:
            return None, ""
        if not isinstance(obj, dict):
            where = "." + ".".join(names[: index + 1])
            return None, f"{where} accessor error: {_typed(obj)}, expected map[string]interface{{}}"
        if name not in obj:
            return None, ""
        obj = obj[name]
    if type(obj) is not kind:
        return None, f".{'.'.join(names)} accessor error: {_typed(obj)}, expected {kind_name}"
    return obj, ""


def _typed(value: Any) -> str:
    """A value and its type in Go's words."""
    match value:
        case None:
            return "<nil> is of the type <nil>"
        case bool():
            return f"{str(value).lower()} is of the type bool"
        case str():
            return f"{value} is of the type string"
        case int():
            return f"{value} is of the type int64"
        case float():
            return f"{go_float(value)} is of the type float64"
        case list():
            return f"{quote(value)} is of the type []interface {{}}"
        case _:
            return f"{quote(value)} is of the type map[string]interface {{}}"


def _schema(version: Object) -> Node:
    schema: Node = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return schema


def _whole(version: Object) -> Node:
    """The schema of a version with the metadata that every object has."""
    schema = _schema(version)
    properties = dict(schema.get("properties") or {})
    text: Node = {"type": "string"}
    properties |= {"apiVersion": text, "kind": text, "metadata": builtin.node_of("ObjectMeta")}
    return {**schema, "type": "object", "properties": properties}
