"""Tables: what `kubectl get` prints, worked out by the server."""

from collections.abc import Sequence

from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object

_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}


def table_of(served: Served, items: Sequence[Object], version: str, metadata: Object, include: str, now: str) -> Object:
    """A Table with one row per object."""
    columns = served.columns(version)
    rows = []
    for obj in items:
        cells = [obj["metadata"].get("name", ""), *(column.cell(obj, now) for column in columns)]
        rows.append({"cells": cells, "object": _included(obj, include)})
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_NAME, *(column.definition() for column in columns)],
        "rows": rows,
    }


def _included(obj: Object, include: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
