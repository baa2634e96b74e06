"""In which form an answer is wanted: the objects themselves, a table, or their metadata alone."""

from dataclasses import dataclass

from trimtab.local.apiserver.tables import table_of
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError

_METADATA = "PartialObjectMetadata"
_META = "meta.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Form:
    """What the Accept header chose: "" for the object, else Table or PartialObjectMetadata."""

    name: str = ""
    include: str = "Metadata"


def form_of(accept: str, include: str) -> Form:
    """Choose the first form of the header that can be served.

    Raises:
        ApiError: 406 when there is none.
    """
    if not accept:
        return Form()
    for choice in accept.split(","):
        media, *parameters = [part.strip() for part in choice.split(";")]
        values = dict(p.split("=", 1) for p in parameters if "=" in p)
        wanted = values.get("as", "")
        if media not in ("application/json", "application/*", "*/*", "application/yaml", "text/plain"):
            continue
        if wanted in ("", "Table"):
            return Form(wanted, include or "Metadata")
        if wanted.removesuffix("List") == _METADATA:
            return Form(_METADATA)
    raise ApiError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/json;stream=watch",
    )


def one(form: Form, served: Served, obj: Object, version: str, now: str) -> Object:
    """A single object in the wanted form."""
    if form.name == "Table":
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return table_of(served, [obj], version, metadata, form.include, now)
    return _metadata_of(obj) if form.name == _METADATA else obj


def many(form: Form, served: Served, items: list[Object], metadata: Object, version: str, now: str) -> Object:
    """A list in the wanted form; items of built-in kinds leave out the kind, as the list says it."""
    resource = served.resource
    if form.name == "Table":
        return table_of(served, items, version, metadata, form.include, now)
    if form.name == _METADATA:
        found = [_metadata_of(obj) for obj in items]
        return {"kind": f"{_METADATA}List", "apiVersion": _META, "metadata": metadata, "items": found}
    api_version = f"{resource.group}/{version}" if resource.group else version
    if resource.custom:
        listed: Object = {"continue": "", **metadata}
        return {"apiVersion": api_version, "items": items, "kind": resource.list_name, "metadata": listed}
    bare = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in items]
    return {"kind": resource.list_name, "apiVersion": api_version, "metadata": metadata, "items": bare}


def _metadata_of(obj: Object) -> Object:
    return {"kind": _METADATA, "apiVersion": _META, "metadata": obj["metadata"]}
