"""One object or many in the form that a client wants: as they are, as a table, or their metadata alone."""

from trimtab.local.apiserver.negotiation import METADATA, METADATA_LIST, TABLE, Form
from trimtab.local.apiserver.tables import table_of
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object
from trimtab.local.resources import Resource, group_version
from trimtab.local.statuses import ApiError

_PACKAGES = {"": "core", "apiextensions.k8s.io": "apiextensions", "apiregistration.k8s.io": "apiregistration"}


def one(form: Form, served: Served, obj: Object, version: str, now: str, include: str) -> Object:
    """A single object in the wanted form. Raises ApiError 406."""
    match form.name:
        case "Table":
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return table_of(form, served, [obj], version, metadata, include, now)
        case "PartialObjectMetadata":
            return metadata_of(form, obj)
        case "PartialObjectMetadataList":
            shown = _go_type(served.resource)
            text = f"you requested {METADATA_LIST}, but the requested object is not a list ({shown})"
            raise ApiError(406, "NotAcceptable", text)
    return obj


def many(
    form: Form, served: Served, items: list[Object], metadata: Object, version: str, now: str, include: str
) -> Object:
    """A list in the wanted form; items of built-in kinds leave out the kind, as the list says it.

    Raises:
        ApiError: 406.
    """
    resource = served.resource
    match form.name:
        case "Table":
            return table_of(form, served, items, version, metadata, include, now)
        case "PartialObjectMetadataList":
            found = [metadata_of(form, obj) for obj in items]
            return {"kind": METADATA_LIST, "apiVersion": form.api_version, "metadata": metadata, "items": found}
        case "PartialObjectMetadata":
            shown = _go_type(resource, "List")
            text = f"you requested {METADATA}, but the requested object is a list ({shown})"
            raise ApiError(406, "NotAcceptable", text)
    api_version = group_version(resource.group, version)
    if resource.custom:
        listed: Object = {"continue": "", **metadata}
        return {"apiVersion": api_version, "items": items, "kind": resource.list_name, "metadata": listed}
    bare = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in items]
    return {"kind": resource.list_name, "apiVersion": api_version, "metadata": metadata, "items": bare}


def metadata_of(form: Form, obj: Object) -> Object:
    return {"kind": METADATA, "apiVersion": form.api_version, "metadata": obj["metadata"]}


def is_transformed(form: Form) -> bool:
    return form.name in (TABLE, METADATA, METADATA_LIST)


def _go_type(resource: Resource, suffix: str = "") -> str:
    """What a real server's messages call the kind."""
    if resource.custom:
        return f"*unstructured.Unstructured{suffix}"
    package = _PACKAGES.get(resource.group, resource.group.partition(".")[0])
    return f"*{package}.{resource.kind}{suffix}"
