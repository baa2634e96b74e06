"""Macros with two variables, which the library's parser leaves alone."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from trimtab.local.schema.cel.syntax import Call, Const, Expr, Fold, Ident, ListOf, MapOf, Parsed, Select, Unparsable

_RESULT = "@result"
_Make = Callable[[Expr], Expr]


def expanded(parsed: Parsed) -> Parsed:
    """The expression with those macros written out. Raises Unparsable for a macro that is misused."""
    positions = dict(parsed.positions)
    root = _Expander(positions, max(positions, default=0) + 1).visit(parsed.root)
    return Parsed(parsed.source, root, positions)


class _Expander:
    def __init__(self, positions: dict[int, int], first: int) -> None:
        self._positions = positions
        self._ids = count(first)

    def visit(self, expr: Expr) -> Expr:
        match expr:
            case Select():
                return Select(expr.id, self.visit(expr.operand), expr.field, expr.test)
            case Call():
                target = self.visit(expr.target) if expr.target is not None else None
                call = Call(expr.id, expr.function, [self.visit(arg) for arg in expr.args], target)
                return self._macro(call) or call
            case ListOf():
                return ListOf(expr.id, [self.visit(item) for item in expr.elements], expr.optional)
            case MapOf():
                return MapOf(expr.id, [(self.visit(k), self.visit(v), o) for k, v, o in expr.entries], expr.message)
            case Fold():
                parts = (expr.range, expr.start, expr.condition, expr.step, expr.result)
                source, start, condition, step, result = map(self.visit, parts)
                return Fold(
                    expr.id, expr.variable, source, expr.accumulator, start, condition, step, result, expr.second
                )
        return expr

    def _macro(self, call: Call) -> Expr | None:
        target, args = call.target, call.args
        if target is None:
            return None
        match call.function, len(args):
            case "all", 3:
                return self._fold(call, self._all(call))
            case "exists", 3:
                return self._fold(call, self._exists(call))
            case (("existsOne" | "exists_one"), 3):
                return self._fold(call, self._exists_one(call, args[2]))
            case "existsOne", 2:
                return self._fold(call, self._exists_one(call, args[1]))
            case "transformList", (3 | 4):
                return self._fold(call, self._transform_list(call))
            case "transformMap", (3 | 4):
                return self._fold(call, self._transform_map(call))
        return None

    def _new(self, call: Call) -> int:
        identity = next(self._ids)
        self._positions[identity] = self._positions.get(call.id, 0)
        return identity

    def _const(self, call: Call, value: Any) -> Const:
        return Const(self._new(call), value)

    def _result(self, call: Call) -> Ident:
        return Ident(self._new(call), _RESULT)

    def _apply(self, call: Call, function: str, *args: Expr) -> Call:
        return Call(self._new(call), function, args)

    def _fold(self, call: Call, parts: Sequence[Expr]) -> Fold:
        start, condition, step, result = parts
        single = call.function == "existsOne" and len(call.args) == 2
        names = [self._name(call, arg) for arg in call.args[: 1 if single else 2]]
        assert call.target is not None  # noqa: S101 - macros are methods
        second = names[1] if len(names) == 2 else ""
        return Fold(call.id, names[0], call.target, _RESULT, start, condition, step, result, second)

    def _name(self, call: Call, arg: Expr) -> str:
        if isinstance(arg, Ident):
            return arg.name
        raise Unparsable(f"ERROR: <input>: {call.function}() variable name must be a simple identifier")

    def _all(self, call: Call) -> Sequence[Expr]:
        unless_false = self._apply(call, "@not_strictly_false", self._result(call))
        step = self._apply(call, "_&&_", self._result(call), call.args[2])
        return self._const(call, value=True), unless_false, step, self._result(call)

    def _exists(self, call: Call) -> Sequence[Expr]:
        negated = self._apply(call, "!_", self._result(call))
        unless_true = self._apply(call, "@not_strictly_false", negated)
        step = self._apply(call, "_||_", self._result(call), call.args[2])
        return self._const(call, value=False), unless_true, step, self._result(call)

    def _exists_one(self, call: Call, predicate: Expr) -> Sequence[Expr]:
        more = self._apply(call, "_+_", self._result(call), self._const(call, 1))
        step = self._apply(call, "_?_:_", predicate, more, self._result(call))
        result = self._apply(call, "_==_", self._result(call), self._const(call, 1))
        return self._const(call, 0), self._const(call, value=True), step, result

    def _transform_list(self, call: Call) -> Sequence[Expr]:
        item = ListOf(self._new(call), [call.args[-1]])
        step: Expr = self._apply(call, "_+_", self._result(call), item)
        if len(call.args) == 4:
            step = self._apply(call, "_?_:_", call.args[2], step, self._result(call))
        return ListOf(self._new(call), []), self._const(call, value=True), step, self._result(call)

    def _transform_map(self, call: Call) -> Sequence[Expr]:
        key = call.args[0]
        name = Ident(self._new(call), self._name(call, key))
        step: Expr = self._apply(call, "cel.@mapInsert", self._result(call), name, call.args[-1])
        if len(call.args) == 4:
            step = self._apply(call, "_?_:_", call.args[2], step, self._result(call))
        return MapOf(self._new(call), []), self._const(call, value=True), step, self._result(call)
