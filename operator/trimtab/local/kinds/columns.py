"""Columns of tables: what they are, and the cells that many kinds have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trimtab.local.objects import Object
from trimtab.local.selectors import selector_text
from trimtab.local.times import parse_stamp

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"
_SHOWN = 3  # how many of a list a cell names before it says how many more there are
Cell = Callable[[Object, str], Any]
Columns = Sequence["Column"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; priority 1 shows with -o wide only. `cell` gets the object and the present moment."""

    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0
    description: str = ""
    format: str = ""

    def definition(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": self.priority,
        }


def human_duration(seconds: float) -> str:
    """How long, in the two units that matter: 45s, 3m20s, 5h, 2d4h."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if years < 8 and rest else f"{years}y"


_moment = lru_cache(maxsize=16)(parse_stamp)  # all rows of a table are of the same moment


def since(stamp: Any, now: str) -> str:
    """The age of a timestamp, or <unknown>."""
    if not isinstance(stamp, str) or not stamp:
        return UNKNOWN
    try:
        return human_duration((_moment(now) - parse_stamp(stamp)).total_seconds())
    except (TypeError, ValueError):  # a date without a time cannot be compared with an instant
        return "<invalid>"


def value_of(obj: Any, path: str) -> Any:
    """The value behind a dotted path; None where there is none."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def at(path: str, default: Any = NONE) -> Cell:
    """A cell with the value behind a dotted path, or what stands for nothing."""

    def cell(obj: Object, _now: str) -> Any:
        value = value_of(obj, path)
        return default if value in (None, "") else value

    return cell


def number(path: str) -> Cell:
    return at(path, 0)


def count(*fields: str) -> Cell:
    """How many entries fields have, all together."""
    return lambda obj, _now: sum(len(obj.get(field) or ()) for field in fields)


def age_of(path: str, default: str = UNKNOWN) -> Cell:
    """How long ago the timestamp behind a path was."""

    def cell(obj: Object, now: str) -> str:
        stamp = value_of(obj, path)
        return since(stamp, now) if stamp else default

    return cell


def flag(path: str, default: Any) -> Cell:
    """True or False as words; `default` where nothing is said."""

    def cell(obj: Object, _now: str) -> Any:
        value = value_of(obj, path)
        return default if value is None else str(bool(value))

    return cell


def labels_text(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_cell(path: str, default: str = NONE) -> Cell:
    """A LabelSelector as text."""
    return lambda obj, _now: selector_text(value_of(obj, path)) or default


def shortened(values: Sequence[str], default: str = NONE) -> str:
    """The first of many, and how many more there are."""
    if len(values) <= _SHOWN:
        return ",".join(values) or default
    return f"{','.join(values[:_SHOWN])} + {len(values) - _SHOWN} more..."


def joined(values: Iterable[Any], default: str = NONE) -> str:
    return ",".join(str(value) for value in values) or default


NAME = Column(
    "Name", at("metadata.name", ""), format="name", description="Unique among the objects of its kind in a namespace."
)
AGE = Column("Age", age_of("metadata.creationTimestamp"), description="How long the object exists.")
CREATED = Column(
    "Created At", at("metadata.creationTimestamp", UNKNOWN), "date", description="When the object was created."
)
DEFAULT: Columns = (NAME, CREATED)


def container_columns(path: str, selector: Cell | None = None) -> Columns:
    """Names and images of a pod template's containers, and what selects its pods; for -o wide."""

    def of(field: str) -> Cell:
        def cell(obj: Object, _now: str) -> str:
            containers = value_of(obj, f"{path}.spec.containers") or []
            return ",".join(container.get(field, "") for container in containers)

        return cell

    found = [
        Column("Containers", of("name"), priority=1, description="The containers of the template, by name."),
        Column("Images", of("image"), priority=1, description="The images of the template's containers."),
    ]
    return found if selector is None else [*found, Column("Selector", selector, priority=1)]
