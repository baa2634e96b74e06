"""What an API object is here, and reading its metadata."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from trimtab.local.gotext import go_quoted

Object = dict[str, Any]
"""One API object as it travels: a JSON object."""

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a watch."""

    type: EventType
    object: Object


def key_of(obj: Object) -> tuple[str, str]:
    """(namespace, name); the namespace of a cluster-scoped object is empty."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def version_of(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)


def quote(value: Any) -> str:
    """A value as error messages show it: texts in Go's quotes, anything else as compact JSON."""
    if isinstance(value, str):
        return go_quoted(value)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
