"""CEL expressions as trees.

The CEL project's own library parses them and expands their macros; what it gives out serialized
(cel.expr.ParsedExpr) is read here. Types, costs and values are not left to it: it takes no types made from
a schema, and gives Python objects of its own no way in.
"""

import importlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog

log = structlog.get_logger()


class Uint(int):
    """An unsigned integer, which is another type than an integer."""


@dataclass(frozen=True, slots=True)
class Const:
    """A literal."""

    id: int
    value: Any


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable or a type."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """A field of an operand; with `test`, whether it is there."""

    id: int
    operand: "Expr"
    field: str
    test: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function of arguments; a method has a target, operators are functions such as `_+_`."""

    id: int
    function: str
    args: Sequence["Expr"]
    target: "Expr | None" = None


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; the elements at `optional` places are left out where they have no value."""

    id: int
    elements: Sequence["Expr"]
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class MapOf:
    """Entries as (key, value, whether it is optional); with a name, a message."""

    id: int
    entries: Sequence[tuple["Expr", "Expr", bool]]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Fold:
    """A comprehension: what all macros over lists and maps become."""

    id: int
    variable: str
    range: "Expr"
    accumulator: str
    start: "Expr"
    condition: "Expr"
    step: "Expr"
    result: "Expr"
    second: str = ""


Expr = Const | Ident | Select | Call | ListOf | MapOf | Fold


@dataclass(frozen=True, slots=True)
class Parsed:
    """An expression, with where each of its parts is in the source."""

    source: str
    root: Expr
    positions: dict[int, int] = field(default_factory=dict)


class Unparsable(ValueError):  # noqa: N818 - says what the expression is
    """No expression, with the parser's text."""


@lru_cache(1)
def library() -> Any:
    """The CEL library, or None where it is not installed."""
    try:
        return importlib.import_module("cel_expr_python.cel")
    except ImportError:
        log.warning("cel.unavailable", remedy="install cel-expr-python to have x-kubernetes-validations evaluated")
        return None


@lru_cache(1)
def _parser() -> Any:
    optional = importlib.import_module("cel_expr_python.ext.ext_optional").ExtOptional()
    return library().NewEnv(variables={}, extensions=[optional])


@lru_cache(4096)
def parse(source: str) -> Parsed:
    """The tree of an expression.

    Raises:
        Unparsable: with the parser's message.
    """
    try:
        data = _parser().compile(source, disable_check=True).serialize()
    except RuntimeError as error:
        text = str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
        raise Unparsable(text) from None
    wrapped = dict(_fields(data))
    root: Any = None
    positions: dict[int, int] = {}
    for number, value in _fields(wrapped[2]):
        if number == 2:
            root = _expr(value)
        elif number == 3:
            positions = _positions(value)
    return Parsed(source, root, positions)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: numbers as integers, anything else as bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif kind == 1:
            yield tag >> 3, data[at : at + 8]
            at += 8
        else:
            size, at = _varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _positions(data: bytes) -> dict[int, int]:
    found = {}
    for number, value in _fields(data):
        if number == 4:
            entry = dict(_fields(value))
            found[entry.get(1, 0)] = entry.get(2, 0)
    return found


def _expr(data: bytes) -> Expr:
    identity = 0
    for number, value in _fields(data):
        if number == 2:
            identity = value
        else:
            return _READERS[number](identity or _id_of(data), value)
    return Const(identity, None)


def _id_of(data: bytes) -> int:
    return next((value for number, value in _fields(data) if number == 2), 0)


def _const(identity: int, data: bytes) -> Expr:
    for number, value in _fields(data):
        match number:
            case 2:
                return Const(identity, bool(value))
            case 3:
                return Const(identity, _signed(value))
            case 4:
                return Const(identity, Uint(value))
            case 5:
                return Const(identity, struct.unpack("<d", value)[0])
            case 6:
                return Const(identity, value.decode())
            case 7:
                return Const(identity, bytes(value))
    return Const(identity, None)


def _ident(identity: int, data: bytes) -> Expr:
    return Ident(identity, dict(_fields(data)).get(1, b"").decode())


def _select(identity: int, data: bytes) -> Expr:
    found = dict(_fields(data))
    return Select(identity, _expr(found[1]), found.get(2, b"").decode(), bool(found.get(3)))


def _call(identity: int, data: bytes) -> Expr:
    target, function = None, ""
    args = []
    for number, value in _fields(data):
        match number:
            case 1:
                target = _expr(value)
            case 2:
                function = value.decode()
            case 3:
                args.append(_expr(value))
    return Call(identity, function, args, target)


def _list(identity: int, data: bytes) -> Expr:
    elements = []
    optional: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            elements.append(_expr(value))
        elif isinstance(value, int):
            optional.append(value)
        else:
            at = 0
            while at < len(value):
                place, at = _varint(value, at)
                optional.append(place)
    return ListOf(identity, elements, frozenset(optional))


def _struct(identity: int, data: bytes) -> Expr:
    message = ""
    entries: list[tuple[Expr, Expr, bool]] = []
    for number, value in _fields(data):
        if number == 1:
            message = value.decode()
        elif number == 2:
            entry = dict(_fields(value))
            key = _expr(entry[3]) if 3 in entry else Const(entry.get(1, 0), entry.get(2, b"").decode())
            entries.append((key, _expr(entry[4]), bool(entry.get(5))))
    return MapOf(identity, entries, message)


def _fold(identity: int, data: bytes) -> Expr:
    found = dict(_fields(data))
    return Fold(
        identity,
        found.get(1, b"").decode(),
        _expr(found[2]),
        found.get(3, b"").decode(),
        _expr(found[4]),
        _expr(found[5]),
        _expr(found[6]),
        _expr(found[7]),
        found.get(8, b"").decode(),
    )


_READERS = {3: _const, 4: _ident, 5: _select, 6: _call, 7: _list, 8: _struct, 9: _fold}
