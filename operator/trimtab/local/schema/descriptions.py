"""What the built-in types and their fields mean, for `kubectl explain`.

`descriptions.txt` has one line per type (`Type: text`), one per field (`Type.field: text`), and one for each field that
means the same in every type (`field: text`).
"""

from functools import cache
from importlib import resources


@cache
def _lines() -> dict[str, str]:
    text = resources.files("trimtab.local.schema").joinpath("descriptions.txt").read_text("utf-8")
    return dict(line.split(": ", 1) for line in text.splitlines())


def of_type(name: str) -> str:
    """What a type is; empty where nothing is said."""
    return _lines().get(name, "")


def of_field(type_name: str, field: str) -> str:
    """What a field of a type is; empty where nothing is said."""
    return _lines().get(f"{type_name}.{field}") or _lines().get(field, "")


def names() -> list[str]:
    """Everything that is described, as the lines name it."""
    return list(_lines())
