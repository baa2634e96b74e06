"""The part of JSONPath that printer columns use: fields, indices, wildcards and equality filters."""

import json
import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<field>(?:[^.\[\]\\]|\\.)+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | \['(?P<quoted>[^']*)'\]
      | \[\?\(\s*@\.(?P<path>[^=!<>\s]+)\s*(?P<operator>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]""",
    re.VERBOSE,
)


class UnreadablePath(Exception):  # noqa: N818 - says what the path is
    """A path outside of that part."""


def steps_of(path: str) -> list[re.Match[str]]:
    """Read a path such as `.status.conditions[?(@.type=="Ready")].status`.

    Raises:
        UnreadablePath: it is no such path.
    """
    if not path.startswith("."):
        raise UnreadablePath(f"{path!r} does not start with a dot")
    found = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise UnreadablePath(f"{path!r} cannot be read from character {at + 1} on")
        found.append(match)
        at = match.end()
    return found


def values_at(document: Any, path: str) -> list[Any]:
    """Everything that a path finds; nothing where it leads nowhere."""
    found = [document]
    for step in steps_of(path):
        found = [inner for value in found for inner in _taken(value, step)]
    return found


def _taken(value: Any, step: re.Match[str]) -> list[Any]:
    name = step["field"] or step["quoted"]
    if name is not None:
        name = name.replace("\\.", ".")
        return [value[name]] if isinstance(value, dict) and value.get(name) is not None else []
    if step["path"]:
        wanted = _literal(step["value"])
        keep = step["operator"] == "=="
        items = value if isinstance(value, list) else []
        return [item for item in items if (_field(item, step["path"]) == wanted) is keep]
    if step["all"]:
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    index = int(step["index"])
    return [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []


def _field(item: Any, path: str) -> Any:
    for part in path.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item


def _literal(text: str) -> Any:
    if text[:1] in "\"'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
