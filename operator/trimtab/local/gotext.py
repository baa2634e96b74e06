"""How Go prints values, as some refusals quote them."""

from typing import Any


def go_text(value: Any) -> str:
    """A value as Go prints it: maps in the order of their keys, texts without quotes."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
        case dict():
            return "map[" + " ".join(f"{name}:{go_text(value[name])}" for name in sorted(value)) + "]"
        case list():
            return "[" + " ".join(go_text(item) for item in value) + "]"
    return str(value)
