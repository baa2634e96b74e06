"""Says what is wrong with an object in the words of its author: field, value, remedy."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError


def explain(error: ValidationError) -> str:
    """Return one line per fault, each beginning with the field's path as the user wrote it."""
    return "; ".join(_fault(fault) for fault in error.errors(include_url=False))


def _fault(fault: Any) -> str:
    path = ""
    for part in fault["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    path = path.lstrip(".") or "spec"
    kind, said = fault["type"], fault["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{path}: unknown field; remove it or correct its name (`kubectl explain optimizedmodel.spec`)"
    if kind == "missing":
        return f"{path}: required, but not set"
    value = fault.get("input")
    shown = "" if isinstance(value, dict | list) else f"{value!r}: "
    return f"{path}: {shown}{said}"
