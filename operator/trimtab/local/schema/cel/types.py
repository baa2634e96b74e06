"""The types of CEL, and which of them fit where."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Type:
    """A type by its kind; lists, maps, types of types and the like have parameters, objects and others a name."""

    kind: str
    params: tuple["Type", ...] = ()
    name: str = ""

    def __str__(self) -> str:
        shown = self.name or self.kind
        return f"{shown}({', '.join(map(str, self.params))})" if self.params else shown


DYN = Type("dyn")
ERROR = Type("!error!")
NULL = Type("null")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("timestamp")
DURATION = Type("duration")
SCALARS = {str(t): t for t in (DYN, NULL, BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION)}
# Types that null fits, as it stands for a message or an object that is not there.
_NULLABLE = ("timestamp", "duration", "object", "opaque")


def list_of(element: Type) -> Type:
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", (key, value))


def type_of(inner: Type) -> Type:
    return Type("type", (inner,))


def optional_of(inner: Type) -> Type:
    return Type("opaque", (inner,), "optional_type")


def is_optional(kind: Type) -> bool:
    return kind.name == "optional_type"


def variable(name: str) -> Type:
    return Type("param", (), name)


def is_dynamic(kind: Type) -> bool:
    return kind.kind in ("dyn", "!error!")


class Substitutions:
    """What type variables stand for. Assignability may bind them; a failed try binds nothing."""

    def __init__(self, bound: dict[Type, Type] | None = None) -> None:
        self._bound = bound or {}

    def assign(self, given: Sequence[Type], wanted: Sequence[Type]) -> bool:
        """Whether values of the given types fit the wanted ones."""
        attempt = Substitutions(dict(self._bound))
        if len(given) == len(wanted) and all(map(attempt._fits, given, wanted)):
            self._bound = attempt._bound
            return True
        return False

    def resolved(self, kind: Type, *, free_is_dynamic: bool = False) -> Type:
        """The type with its variables replaced by what they stand for."""
        if (found := self._bound.get(kind)) is not None:
            return self.resolved(found, free_is_dynamic=free_is_dynamic)
        if kind.kind == "param":
            return DYN if free_is_dynamic else kind
        if kind.params:
            inside = tuple(self.resolved(p, free_is_dynamic=free_is_dynamic) for p in kind.params)
            return Type(kind.kind, inside, kind.name)
        return kind

    def _fits(self, given: Type, wanted: Type) -> bool:
        if wanted.kind == "param":
            valid, known = self._substitute(given, wanted)
            if valid or known:
                return valid
        if given.kind == "param":
            return self._substitute(wanted, given)[0]
        if is_dynamic(given) or is_dynamic(wanted):
            return True
        if given.kind == "null" or wanted.kind == "null":
            other = wanted if given.kind == "null" else given
            return other.kind == "null" or other.kind in _NULLABLE
        if given.kind != wanted.kind or given.name != wanted.name:
            return False
        if given.kind == "type":
            return True
        return len(given.params) == len(wanted.params) and all(map(self._fits, given.params, wanted.params))

    def _substitute(self, given: Type, param: Type) -> tuple[bool, bool]:
        """Whether a variable may stand for a type, and whether that was known before."""
        if given == param:
            return True, True
        known = self._bound.get(param)
        if known is not None:
            if given == known:
                return True, True
            if not self._fits(given, known):
                return False, True
            general = _most_general(given, known)
            if not self._occurs(param, general):
                self._bound[param] = general
            return True, True
        if self._occurs(param, given):
            return False, False
        self._bound[param] = given
        return True, False

    def _occurs(self, param: Type, kind: Type) -> bool:
        if kind == param:
            return True
        if kind.kind == "param":
            found = self._bound.get(kind)
            return found is not None and self._occurs(param, found)
        return any(self._occurs(param, inner) for inner in kind.params)


def most_general(one: Type, other: Type) -> Type:
    """The type that says less of two that fit each other."""
    return _most_general(one, other)


def _most_general(one: Type, other: Type) -> Type:
    return one if _less_specific(one, other) else other


def _less_specific(one: Type, other: Type) -> bool:
    if one.kind in ("dyn", "param"):
        return True
    if other.kind in ("dyn", "param") or one.kind != other.kind:
        return False
    if one.params and one.kind != "type":
        return (
            one.name == other.name
            and len(one.params) == len(other.params)
            and all(map(_less_specific, one.params, other.params))
        )
    return one.kind == "type" or one == other
