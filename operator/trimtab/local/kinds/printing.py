"""Columns that a custom kind's definition declares."""

from typing import Any

from trimtab.local.jsonpaths import values_at
from trimtab.local.kinds.columns import Cell, Column, since
from trimtab.local.objects import Object


def printer_column(declared: Object) -> Column:
    """The column behind one entry of additionalPrinterColumns."""
    path, kind = declared["jsonPath"], declared["type"]
    return Column(
        declared["name"],
        _cell(path, kind),
        kind,
        declared.get("priority", 0),
        declared.get("description") or f"Custom resource definition column (in JSONPath format): {path}",
        declared.get("format", ""),
    )


def _cell(path: str, kind: str) -> Cell:
    def cell(obj: Object, now: str) -> Any:
        found = values_at(obj, path)
        return _shown(found[0], kind, now) if found else None

    return cell


def _shown(value: Any, kind: str, now: str) -> Any:
    match kind:
        case "date":
            return since(value, now)
        case "integer":
            return value if isinstance(value, int) else None
        case "number":
            return value if isinstance(value, int | float) else None
        case "boolean":
            return value if isinstance(value, bool) else None
    return value if isinstance(value, str | int | float | bool) else _compact(value)


def _compact(value: Any) -> str:
    if isinstance(value, list):
        return f"[{' '.join(str(item) for item in value)}]"
    return str(value)
