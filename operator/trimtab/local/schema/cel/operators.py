"""Operators and conversions of CEL, on values."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from trimtab.local.schema.cel.syntax import Uint
from trimtab.local.schema.cel.times import Duration, Timestamp, duration, parse_duration, parse_timestamp, timestamp
from trimtab.local.schema.cel.values import (
    NOTHING,
    EvaluationError,
    MapList,
    Optional,
    SetList,
    TypeName,
    compare,
    contains,
    equals,
    no_overload,
    type_name,
)
from trimtab.local.schema.numbers import MAX_INT, MIN_INT, go_float

_MAX_UINT = 2**64 - 1
_SECOND = 10**9


def _int(value: int) -> int:
    if not MIN_INT <= value <= MAX_INT:
        raise EvaluationError("integer overflow")
    return value


def _uint(value: int) -> Uint:
    if not 0 <= value <= _MAX_UINT:
        raise EvaluationError("unsigned integer overflow")
    return Uint(value)


def _timed(make: Callable[[int], Any], nanoseconds: int) -> Any:
    try:
        return make(nanoseconds)
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def add(one: Any, other: Any) -> Any:
    match one, other:
        case (bool(), _) | (_, bool()):
            raise no_overload()
        case Uint(), Uint():
            return _uint(int(one) + int(other))
        case (Uint(), _) | (_, Uint()):
            raise no_overload()
        case int(), int():
            return _int(one + other)
        case (float(), float()) | (str(), str()) | (bytes(), bytes()):
            return one + other
        case list(), list():
            return _joined(one, other)
        case Duration(), Duration():
            return _timed(duration, one.nanoseconds + other.nanoseconds)
        case (Timestamp(), Duration()) | (Duration(), Timestamp()):
            return _timed(timestamp, one.nanoseconds + other.nanoseconds)
    raise no_overload()


def _joined(one: list[Any], other: list[Any]) -> list[Any]:
    """Lists with keys and sets take in what they do not have; items of the same key are replaced."""
    if isinstance(one, MapList):
        items = {one.key_of(item): item for item in one}
        items |= {one.key_of(item): item for item in other}
        return MapList(list(items.values()), one.keys)
    if isinstance(one, SetList):
        return SetList([*one, *(item for item in other if not contains(one, item))])
    return [*one, *other]


def subtract(one: Any, other: Any) -> Any:
    match one, other:
        case (bool(), _) | (_, bool()):
            raise no_overload()
        case Uint(), Uint():
            return _uint(int(one) - int(other))
        case (Uint(), _) | (_, Uint()):
            raise no_overload()
        case int(), int():
            return _int(one - other)
        case float(), float():
            return one - other
        case (Duration(), Duration()) | (Timestamp(), Timestamp()):
            return _timed(duration, one.nanoseconds - other.nanoseconds)
        case Timestamp(), Duration():
            return _timed(timestamp, one.nanoseconds - other.nanoseconds)
    raise no_overload()


def _same_numbers(one: Any, other: Any) -> type:
    kind = type(one)
    if kind is not type(other) or kind not in (int, Uint, float):
        raise no_overload()
    return kind


def multiply(one: Any, other: Any) -> Any:
    kind = _same_numbers(one, other)
    if kind is float:
        return one * other
    return _uint(int(one) * int(other)) if kind is Uint else _int(one * other)


def divide(one: Any, other: Any) -> Any:
    kind = _same_numbers(one, other)
    if kind is float:
        if other == 0:
            return math.nan if one == 0 or math.isnan(one) else math.copysign(math.inf, one) * math.copysign(1, other)
        return one / other
    if other == 0:
        raise EvaluationError("division by zero")
    quotient = abs(int(one)) // abs(int(other))
    signed = quotient if (one < 0) == (other < 0) else -quotient
    return _uint(signed) if kind is Uint else _int(signed)


def modulo(one: Any, other: Any) -> Any:
    kind = _same_numbers(one, other)
    if kind is float:
        raise no_overload()
    if other == 0:
        raise EvaluationError("modulus by zero")
    rest = abs(int(one)) % abs(int(other))
    return Uint(rest) if kind is Uint else (rest if one >= 0 else -rest)


def negate(value: Any) -> Any:
    if type(value) is int:
        return _int(-value)
    if type(value) is float:
        return -value
    raise no_overload()


def index(container: Any, key: Any) -> Any:
    if isinstance(container, Optional):
        return optional_index(container, key)
    if isinstance(container, list):
        place = _place(key)
        if not 0 <= place < len(container):
            raise EvaluationError(f"index out of bounds: {place}")
        return container[place]
    if isinstance(container, dict):
        if isinstance(key, dict | list) or (isinstance(key, float) and not key.is_integer()) or key not in container:
            raise EvaluationError(f"no such key: {shown(key)}")
        return container[key]
    raise no_overload()


def _place(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int | float) or (isinstance(key, float) and not key.is_integer()):
        raise EvaluationError(f"unsupported index type '{type_name(key)}' in list")
    return int(key)


def optional_index(container: Any, key: Any) -> Optional:
    if isinstance(container, Optional):
        if not container.present:
            return NOTHING
        container = container.value
    try:
        return Optional(True, index(container, key))
    except EvaluationError:
        return NOTHING


def is_in(value: Any, container: Any) -> bool:
    if isinstance(container, list):
        return contains(container, value)
    if isinstance(container, dict):
        return any(equals(value, key) for key in container) if not isinstance(value, str) else value in container
    raise no_overload()


def size(value: Any) -> int:
    if isinstance(value, str | bytes | list | dict):
        return len(value)
    raise no_overload()


def shown(value: Any) -> str:
    """A value as error messages show it."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return go_float(value)
    return str(value)


def _unconvertible(value: Any, wanted: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{type_name(value)}' to '{wanted}'")


def to_int(value: Any) -> int:
    match value:
        case bool():
            raise no_overload()
        case float():
            if not -(2.0**63) < value < 2.0**63:
                raise EvaluationError("integer overflow")
            return int(value)
        case int():
            return _int(int(value))
        case str():
            try:
                return _int(int(value)) if value.strip() == value and "_" not in value else _fail(value, "int")
            except ValueError:
                raise _unconvertible(value, "int") from None
        case Timestamp():
            return value.nanoseconds // _SECOND
        case Duration():
            return value.nanoseconds
    raise no_overload()


def _fail(value: Any, wanted: str) -> Any:
    raise _unconvertible(value, wanted)


def to_uint(value: Any) -> Uint:
    match value:
        case bool():
            raise no_overload()
        case int() | float():
            if math.isnan(value) or math.isinf(value):
                raise EvaluationError("unsigned integer overflow")
            return _uint(int(value))
        case str():
            if not value.isascii() or not value.isdigit():
                raise _unconvertible(value, "uint")
            return _uint(int(value))
    raise no_overload()


def to_double(value: Any) -> float:
    match value:
        case bool():
            raise no_overload()
        case int() | float():
            return float(value)
        case str():
            try:
                return float(value)
            except ValueError:
                raise _unconvertible(value, "double") from None
    raise no_overload()


def to_bool(value: Any) -> bool:
    match value:
        case bool():
            return value
        case "1" | "t" | "T" | "true" | "TRUE" | "True":
            return True
        case "0" | "f" | "F" | "false" | "FALSE" | "False":
            return False
        case str():
            raise _unconvertible(value, "bool")
    raise no_overload()


def to_string(value: Any) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            return shown(value)
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
        case Timestamp() | Duration():
            return str(value)
    if type_name(value) in ("net.IP", "net.CIDR"):
        return str(value)
    raise no_overload()


def to_bytes(value: Any) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return value.encode()
    raise no_overload()


def to_timestamp(value: Any) -> Timestamp:
    match value:
        case Timestamp():
            return value
        case str():
            try:
                return parse_timestamp(value)
            except ValueError:
                raise _unconvertible(value, "google.protobuf.Timestamp") from None
        case int() if not isinstance(value, bool):
            found: Timestamp = _timed(timestamp, value * _SECOND)
            return found
    raise no_overload()


def to_duration(value: Any) -> Duration:
    match value:
        case Duration():
            return value
        case str():
            try:
                return parse_duration(value)
            except ValueError:
                raise _unconvertible(value, "google.protobuf.Duration") from None
        case int() if not isinstance(value, bool):
            return Duration(value)
    raise no_overload()


def _order(holds: Callable[[int], bool]) -> Callable[[Any, Any], bool]:
    return lambda one, other: holds(compare(one, other))


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "_==_": equals,
    "_!=_": lambda one, other: not equals(one, other),
    "_<_": _order(lambda sign: sign < 0),
    "_<=_": _order(lambda sign: sign <= 0),
    "_>_": _order(lambda sign: sign > 0),
    "_>=_": _order(lambda sign: sign >= 0),
    "_+_": add,
    "_-_": subtract,
    "_*_": multiply,
    "_/_": divide,
    "_%_": modulo,
    "-_": negate,
    "_[_]": index,
    "_[?_]": optional_index,
    "@in": is_in,
    "size": size,
    "dyn": lambda value: value,
    "type": lambda value: TypeName(type_name(value)),
    "bool": to_bool,
    "bytes": to_bytes,
    "double": to_double,
    "duration": to_duration,
    "int": to_int,
    "string": to_string,
    "timestamp": to_timestamp,
    "uint": to_uint,
}
