"""Tables: what `kubectl get` prints, worked out by the server."""

from collections.abc import Sequence

from trimtab.local.apiserver.negotiation import METADATA, Form
from trimtab.local.kinds.columns import Columns
from trimtab.local.kinds.printers import columns_of
from trimtab.local.kinds.rows import ROW_CONDITIONS, no_conditions
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object
from trimtab.local.statuses import bad_request

_SCALES = "autoscaling/v1"
_INCLUDED = ("", "None", "Metadata", "Object")


def check_include(include: str) -> None:
    """Refuse to send more or less of an object than None, Metadata or Object. Raises ApiError 400."""
    if include not in _INCLUDED:
        raise bad_request(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{include}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )


def table_of(
    form: Form, served: Served, items: Sequence[Object], version: str, metadata: Object, include: str, now: str
) -> Object:
    """A Table with one row per object; `include` says how much of the object goes with its row."""
    columns = _columns(served, items, version)
    conditions = ROW_CONDITIONS.get(served.resource.key, no_conditions)
    rows = []
    for obj in items:
        row: Object = {"cells": [column.cell(obj, now) for column in columns]}
        if found := conditions(obj):
            row["conditions"] = found
        rows.append({**row, "object": _included(form, obj, include)})
    return {
        "kind": "Table",
        "apiVersion": form.api_version,
        "metadata": metadata,
        "columnDefinitions": [column.definition() for column in columns],
        "rows": rows,
    }


def _columns(served: Served, items: Sequence[Object], version: str) -> Columns:
    """The columns of a kind; a Scale has its own, whatever it is the scale of."""
    if any(obj.get("kind") == "Scale" and obj.get("apiVersion") == _SCALES for obj in items):
        return columns_of("scales.autoscaling")
    return served.columns(version)


def _included(form: Form, obj: Object, include: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {"kind": METADATA, "apiVersion": form.api_version, "metadata": obj["metadata"]}
