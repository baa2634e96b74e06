"""Literals that are checked with an expression: durations, times and regular expressions that cannot be read."""

from collections.abc import Callable, Iterator, Mapping

from trimtab.local.schema.cel.syntax import Call, Const, Expr, Fold, ListOf, MapOf, Select
from trimtab.local.schema.cel.times import parse_duration, parse_timestamp
from trimtab.local.schema.patterns import compiled_pattern

_CHECKS: Mapping[str, Callable[[str], object]] = {
    "duration": parse_duration,
    "timestamp": parse_timestamp,
    "matches": compiled_pattern,
}


def parts(expr: Expr) -> Iterator[Expr]:
    """An expression and everything in it."""
    yield expr
    inside: list[Expr] = []
    match expr:
        case Select():
            inside = [expr.operand]
        case Call():
            inside = [*([expr.target] if expr.target is not None else []), *expr.args]
        case ListOf():
            inside = list(expr.elements)
        case MapOf():
            inside = [part for key, value, _ in expr.entries for part in (key, value)]
        case Fold():
            inside = [expr.range, expr.start, expr.condition, expr.step, expr.result]
    for part in inside:
        yield from parts(part)


def literal_errors(root: Expr) -> list[tuple[int, str]]:
    """(id, message) of each literal argument that makes no sense to its function."""
    errors = []
    for expr in parts(root):
        if not isinstance(expr, Call) or expr.function not in _CHECKS or not expr.args:
            continue
        argument = expr.args[-1]
        if isinstance(argument, Const) and isinstance(argument.value, str):
            try:
                _CHECKS[expr.function](argument.value)
            except ValueError:
                errors.append((argument.id, f"invalid {expr.function} argument"))
    return errors
