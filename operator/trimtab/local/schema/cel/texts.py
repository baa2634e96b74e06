"""Functions on strings, lists, sets and times."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

from trimtab.local.schema.cel.operators import add, shown, to_string
from trimtab.local.schema.cel.times import Duration, Timestamp
from trimtab.local.schema.cel.values import (
    NOTHING,
    EvaluationError,
    Optional,
    compare,
    contains,
    equals,
    no_overload,
)
from trimtab.local.schema.patterns import BadPattern, compiled_pattern, searcher


def _texts(*values: Any) -> None:
    if not all(isinstance(value, str) for value in values):
        raise no_overload()


def _pattern(pattern: str) -> re.Pattern[str]:
    try:
        return compiled_pattern(pattern)
    except BadPattern as error:
        raise EvaluationError(str(error)) from None


def matches(text: Any, pattern: Any) -> bool:
    _texts(text, pattern)
    try:
        return searcher(pattern)(text)
    except BadPattern as error:
        raise EvaluationError(str(error)) from None


def find(text: Any, pattern: Any) -> str:
    _texts(text, pattern)
    found = _pattern(pattern).search(text)
    return found[0] if found else ""


def find_all(text: Any, pattern: Any, limit: int = -1) -> list[str]:
    _texts(text, pattern)
    found = [match[0] for match in _pattern(pattern).finditer(text)]
    return found if limit < 0 else found[:limit]


def _starts(text: Any, part: Any) -> bool:
    _texts(text, part)
    return bool(text.startswith(part))


def _ends(text: Any, part: Any) -> bool:
    _texts(text, part)
    return bool(text.endswith(part))


def _contains(text: Any, part: Any) -> bool:
    _texts(text, part)
    return part in text


def _char_at(text: Any, place: int) -> str:
    _texts(text)
    if not 0 <= place <= len(text):
        raise EvaluationError(f"index out of range: {place}")
    return str(text[place : place + 1])


def _index_of(value: Any, wanted: Any, start: int = 0) -> int:
    if isinstance(value, list):
        return next((i for i, item in enumerate(value) if equals(item, wanted)), -1)
    _texts(value, wanted)
    if wanted and not 0 <= start <= len(value):
        raise EvaluationError(f"index out of range: {start}")
    return int(value.find(wanted, start)) if wanted else start


def _last_index_of(value: Any, wanted: Any, end: int | None = None) -> int:
    if isinstance(value, list):
        return next((i for i in range(len(value) - 1, -1, -1) if equals(value[i], wanted)), -1)
    _texts(value, wanted)
    if end is None:
        return int(value.rfind(wanted))
    if not 0 <= end <= len(value):
        raise EvaluationError(f"index out of range: {end}")
    return int(value.rfind(wanted, 0, end + len(wanted)))


def _replace(text: Any, old: Any, new: Any, limit: int = -1) -> str:
    _texts(text, old, new)
    return str(text.replace(old, new, limit))


def _split(text: Any, separator: Any, limit: int = -1) -> list[str]:
    _texts(text, separator)
    if limit == 0:
        return []
    if limit == 1:
        return [text]
    if not separator:
        parts = list(text)
        return parts if limit < 0 or len(parts) <= limit else [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    return list(text.split(separator, limit - 1 if limit > 0 else -1))


def _substring(text: Any, start: int, end: int | None = None) -> str:
    _texts(text)
    last = len(text) if end is None else end
    for place in (start, last):
        if not 0 <= place <= len(text):
            raise EvaluationError(f"index out of range: {place}")
    if start > last:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {last}")
    return str(text[start:last])


def _ascii(convert: Callable[[str], str]) -> Callable[[Any], str]:
    def run(text: Any) -> str:
        _texts(text)
        return "".join(convert(c) if c.isascii() else c for c in text)

    return run


def _trim(text: Any) -> str:
    _texts(text)
    return str(text.strip())


def _join(values: list[Any], separator: str = "") -> str:
    _texts(*values)
    return separator.join(values)


def _quote(text: Any) -> str:
    _texts(text)
    escapes = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    escapes |= {"\\": "\\\\", '"': '\\"'}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'


_VERB = re.compile(r"%(%|(?:\.(\d+))?([a-zA-Z]))")


def _format(text: str, values: list[Any]) -> str:
    pending = iter(values)

    def one(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        try:
            value = next(pending)
        except StopIteration:
            raise EvaluationError("index out of range") from None
        return _formatted(match[3], value, int(match[2]) if match[2] else 6)

    return _VERB.sub(one, text)


def _formatted(verb: str, value: Any, precision: int) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match verb:
        case "s":
            return _clause(value)
        case "d" if number:
            return shown(value)
        case "f" if number:
            return f"{value:.{precision}f}"
        case "e" if number:
            mantissa, _, power = f"{value:.{precision}e}".partition("e")
            return f"{mantissa}e{power}"
        case "b" if isinstance(value, int):
            return f"{int(value):b}"
        case "o" if number and isinstance(value, int):
            return f"{value:o}"
        case "x" | "X":
            plain = value.encode() if isinstance(value, str) else value
            found = plain.hex() if isinstance(plain, bytes) else f"{plain:x}"
            return found.upper() if verb == "X" else found
    raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _clause(value: Any) -> str:
    match value:
        case None:
            return "null"
        case list():
            return f"[{', '.join(map(_clause, value))}]"
        case dict():
            return "{" + ", ".join(f"{_clause(k)}: {_clause(value[k])}" for k in sorted(value)) + "}"
    return to_string(value)


def _is_sorted(values: list[Any]) -> bool:
    return all(compare(a, b) <= 0 for a, b in pairwise(values))


def _sum(values: list[Any]) -> Any:
    total: Any = None
    for value in values:
        total = value if total is None else add(total, value)
    return 0 if total is None else total


def _extreme(name: str, sign: int) -> Callable[[list[Any]], Any]:
    def run(values: list[Any]) -> Any:
        if not values:
            raise EvaluationError(f"{name} called on empty list")
        return min(values, key=cmp_to_key(lambda a, b: sign * compare(a, b)))

    return run


def _hours(unit: int, part: Callable[[datetime], int]) -> Callable[..., int]:
    def run(value: Any, zone: str = "") -> int:
        if isinstance(value, Duration):
            whole = abs(value.nanoseconds) // unit
            return whole if value.nanoseconds >= 0 else -whole
        return part(_at(value, zone))

    return run


def _at(value: Any, zone: str) -> datetime:
    if not isinstance(value, Timestamp):
        raise no_overload()
    try:
        return value.at(zone)
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _calendar(part: Callable[[datetime], int]) -> Callable[..., int]:
    return lambda value, zone="": part(_at(value, zone))


def _or(one: Any, other: Any) -> Any:
    return one if one.present else other


def _value(found: Any) -> Any:
    if not found.present:
        raise EvaluationError("optional.none() dereference")
    return found.value


def _non_zero(value: Any) -> Optional:
    empty = value is None or (isinstance(value, str | bytes | list | dict | int | float) and not value)
    return NOTHING if empty else Optional(True, value)


def _inserted(values: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    return {**values, key: value}


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "matches": matches,
    "find": find,
    "findAll": find_all,
    "startsWith": _starts,
    "endsWith": _ends,
    "contains": _contains,
    "charAt": _char_at,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "lowerAscii": _ascii(str.lower),
    "upperAscii": _ascii(str.upper),
    "replace": _replace,
    "split": _split,
    "substring": _substring,
    "trim": _trim,
    "join": _join,
    "format": _format,
    "strings.quote": _quote,
    "isSorted": _is_sorted,
    "sum": _sum,
    "min": _extreme("min", 1),
    "max": _extreme("max", -1),
    "sets.contains": lambda one, other: all(contains(one, item) for item in other),
    "sets.intersects": lambda one, other: any(contains(one, item) for item in other),
    "sets.equivalent": lambda one, other: all(contains(one, i) for i in other) and all(contains(other, i) for i in one),
    "getFullYear": _calendar(lambda at: at.year),
    "getMonth": _calendar(lambda at: at.month - 1),
    "getDayOfYear": _calendar(lambda at: at.timetuple().tm_yday - 1),
    "getDayOfMonth": _calendar(lambda at: at.day - 1),
    "getDate": _calendar(lambda at: at.day),
    "getDayOfWeek": _calendar(lambda at: at.isoweekday() % 7),
    "getHours": _hours(3600 * 10**9, lambda at: at.hour),
    "getMinutes": _hours(60 * 10**9, lambda at: at.minute),
    "getSeconds": _hours(10**9, lambda at: at.second),
    "getMilliseconds": _hours(10**6, lambda at: at.microsecond // 1000),
    "optional.of": lambda value: Optional(True, value),
    "optional.ofNonZeroValue": _non_zero,
    "optional.none": lambda: NOTHING,
    "hasValue": lambda found: found.present,
    "value": _value,
    "or": _or,
    "orValue": lambda found, other: found.value if found.present else other,
    "cel.@mapInsert": _inserted,
}
