"""Values of CEL beyond those of JSON, when they are equal, and how their types are called."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.local.schema.cel.syntax import Uint
from trimtab.local.schema.cel.times import Duration, Timestamp


class EvaluationError(Exception):
    """What went wrong in an expression, in the words of Kubernetes."""


class CostExceeded(EvaluationError):  # noqa: N818 - names the event
    """An expression took more work than one may."""


NO_OVERLOAD = "no such overload"


def no_overload() -> EvaluationError:
    return EvaluationError(NO_OVERLOAD)


class SetList(list[Any]):
    """A list without order (x-kubernetes-list-type: set)."""


class MapList(list[Any]):
    """A list of objects with keys (x-kubernetes-list-type: map); order does not count."""

    def __init__(self, items: Sequence[Any], keys: Sequence[str]) -> None:
        super().__init__(items)
        self.keys = tuple(keys)

    def key_of(self, item: Any) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in self.keys)


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be missing."""

    present: bool
    value: Any = None


NOTHING = Optional(present=False)


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as a value, as `type(x)` gives it."""

    name: str


@dataclass(slots=True)
class Failure:
    """An error that waits in an accumulator: another element may still decide."""

    error: EvaluationError


_NAMES: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    SetList: "list",
    MapList: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    Optional: "optional_type",
    TypeName: "type",
}


def type_name(value: Any) -> str:
    return _NAMES.get(type(value)) or str(value.type_name)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equals(one: Any, other: Any) -> bool:
    """Equality: numbers across types, maps and lists by content, anything else within its type."""
    kind = type(one)
    if kind is type(other):
        if kind is dict:
            return len(one) == len(other) and all(k in other and equals(v, other[k]) for k, v in one.items())
        if isinstance(one, list):
            return _lists_equal(one, other)
        return bool(one == other)
    if is_number(one) and is_number(other):
        return bool(one == other)
    if isinstance(one, list) and isinstance(other, list):
        return _lists_equal(one, other)
    return False


def _lists_equal(one: list[Any], other: list[Any]) -> bool:
    if len(one) != len(other):
        return False
    if isinstance(one, MapList) or isinstance(other, MapList):
        return _keyed_equal(one, other) if isinstance(one, MapList) else _keyed_equal(other, one)
    if isinstance(one, SetList) or isinstance(other, SetList):
        return all(contains(other, item) for item in one) and all(contains(one, item) for item in other)
    return all(map(equals, one, other))


def _keyed_equal(one: Any, other: list[Any]) -> bool:
    if not all(isinstance(item, dict) for item in other):
        return False
    before = {one.key_of(item): item for item in one}
    return all((key := one.key_of(item)) in before and equals(before[key], item) for item in other)


def contains(values: list[Any], wanted: Any) -> bool:
    """Whether a list has a member."""
    kind = type(wanted)
    if kind is str:
        return any(type(value) is str and value == wanted for value in values)
    return any(equals(value, wanted) for value in values)


def compare(one: Any, other: Any) -> int:
    """-1, 0 or 1. Raises EvaluationError for values that have no order."""
    comparable = type(one) is type(other) and isinstance(one, str | bool | bytes | Timestamp | Duration)
    if not comparable and not (is_number(one) and is_number(other)):
        raise no_overload()
    return int(one > other) - int(one < other)


Reader = Callable[[Any], Any]
