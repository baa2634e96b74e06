"""Columns that a custom kind's definition declares."""

import json
import math
from collections.abc import Sequence
from typing import Any

from trimtab.local.jsonpaths import UnreadablePath, values_at
from trimtab.local.kinds.columns import AGE, NAME, UNKNOWN, Cell, Column, Columns, since
from trimtab.local.objects import Object

_AGE = Column(AGE.name, AGE.cell, "date", description=AGE.description)


def printer_columns(declared: Sequence[Object]) -> Columns:
    """The name, and what additionalPrinterColumns ask for; without any, the age."""
    return (NAME, *(_column(column) for column in declared)) if declared else (NAME, _AGE)


def _column(declared: Object) -> Column:
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
        try:
            found = values_at(obj, path)
        except UnreadablePath:
            return None
        return _shown(found[0], kind, now) if found else None

    return cell


def _shown(value: Any, kind: str, now: str) -> Any:
    """The first value that a path found, as a cell of that type; nothing where it is of another one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    match kind:
        case "date":
            return _date(value, now)
        case "integer":
            return int(value) if is_number else None
        case "number":
            return value if is_number else None
        case "boolean":
            return value if isinstance(value, bool) else None
    return _text(value)


def _date(value: Any, now: str) -> str | None:
    if not isinstance(value, str):
        return None
    return UNKNOWN if value in ("", "null") else since(value, now)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps(value)
