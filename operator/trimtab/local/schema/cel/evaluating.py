"""Expressions as functions: a checked expression becomes closures over a frame of variables."""

from collections.abc import Callable
from typing import Any

from trimtab.local.schema.cel import kubernetes, operators, texts
from trimtab.local.schema.cel.checking import OLD_SELF, SELF, Checked
from trimtab.local.schema.cel.literals import parts
from trimtab.local.schema.cel.reading import reader
from trimtab.local.schema.cel.syntax import Call, Const, Expr, Fold, Ident, ListOf, MapOf, Select
from trimtab.local.schema.cel.values import (
    NOTHING,
    CostExceeded,
    EvaluationError,
    Failure,
    Optional,
    TypeName,
    no_overload,
)

Frame = list[Any]
Step = Callable[[Frame], Any]
FUNCTIONS: dict[str, Callable[..., Any]] = {**operators.OPERATORS, **texts.FUNCTIONS, **kubernetes.FUNCTIONS}
CALL_LIMIT = 1_000_000  # cost units of one evaluation, about 0.1 s on a real server
_COST, _SELF, _OLD = 0, 1, 2
_TRAVERSAL = 10  # characters per unit of cost


class Program:
    """A compiled expression."""

    def __init__(self, checked: Checked) -> None:
        compiler = _Compiler(checked)
        self._run = compiler.compile(checked.root)
        self._slots = compiler.slots
        self._base = sum(1 for _ in parts(checked.root))

    def evaluate(self, this: Any, old: Any = None) -> tuple[Any, int]:
        """The result, and what it cost.

        Raises:
            EvaluationError: the expression has no result.
            CostExceeded: it took too much work.
        """
        frame: Frame = [self._base, this, old, *[None] * self._slots]
        try:
            return self._run(frame), frame[_COST]
        except RecursionError:
            raise EvaluationError("evaluation nested too deeply") from None


def _spent(frame: Frame, cost: int) -> None:
    frame[_COST] += cost
    if frame[_COST] > CALL_LIMIT:
        raise CostExceeded("operation cancelled: actual cost limit exceeded")


class _Compiler:
    def __init__(self, checked: Checked) -> None:
        self._checked = checked
        self._names: dict[str, int] = {SELF: _SELF, OLD_SELF: _OLD}
        self.slots = 0

    def compile(self, expr: Expr) -> Step:
        match expr:
            case Const():
                value = expr.value
                return lambda _frame: value
            case Ident():
                return self._ident(expr)
            case Select():
                return self._select(expr)
            case Call():
                return self._call(expr)
            case ListOf():
                return self._list(expr)
            case MapOf():
                return self._map(expr)
            case Fold():
                return self._fold(expr)

    def _ident(self, expr: Ident) -> Step:
        name = expr.name.removeprefix(".")
        if name not in self._names:
            kind = TypeName(name)
            return lambda _frame: kind
        slot = self._names[name]
        if not name.startswith("@"):
            return lambda frame: frame[slot]

        def read(frame: Frame) -> Any:
            value = frame[slot]
            if type(value) is Failure:
                raise value.error
            return value

        return read

    def _select(self, expr: Select) -> Step:
        if expr.id not in self._checked.names and isinstance(expr.operand, Ident | Select) and _is_type(expr):
            kind = TypeName(_dotted(expr))
            return lambda _frame: kind
        operand = self.compile(expr.operand)
        name, read = self._field(expr.id, expr.field)
        if expr.test:
            return lambda frame: _has(operand(frame), name)

        def select(frame: Frame) -> Any:
            found = operand(frame)
            if type(found) is dict:
                if name in found:
                    value = found[name]
                    return value if read is None or value is None else read(value)
                raise EvaluationError(f"no such key: {name}")
            if type(found) is Optional:
                return _optional_field(found, name, read)
            raise no_overload()

        return select

    def _field(self, identity: int, shown: str) -> tuple[str, Callable[[Any], Any] | None]:
        """A field's name in the object, and how its value is read."""
        found = self._checked.names.get(identity)
        return (found[0], reader(found[1].node)) if found else (shown, None)

    def _call(self, expr: Call) -> Step:
        match expr.function:
            case "_&&_":
                return self._decided(expr, by=False)
            case "_||_":
                return self._decided(expr, by=True)
            case "!_":
                return self._not(expr)
            case "_?_:_":
                return self._conditional(expr)
            case "@not_strictly_false":
                return self._not_strictly_false(expr)
            case "_?._":
                return self._optional_select(expr)
            case "_+_" if _grows(expr):
                return self._append(expr)
        name = self._checked.functions.get(expr.id, expr.function)
        args = [self.compile(arg) for arg in expr.args]
        if expr.target is not None and expr.id not in self._checked.functions:
            args.insert(0, self.compile(expr.target))
        return _applied(FUNCTIONS[name], args, heavy=name in _TRAVERSING)

    def _decided(self, expr: Call, *, by: bool) -> Step:
        """`&&` and `||`: an error on one side gives way to a decision on the other."""
        steps = [self.compile(arg) for arg in expr.args]

        def run(frame: Frame) -> Any:
            failed: EvaluationError | None = None
            for step in steps:
                try:
                    value = step(frame)
                except CostExceeded:
                    raise
                except EvaluationError as error:
                    failed = failed or error
                    continue
                if value is by:
                    return by
                if value is not (not by):
                    failed = failed or no_overload()
            if failed is not None:
                raise failed
            return not by

        return run

    def _not(self, expr: Call) -> Step:
        inner = self.compile(expr.args[0])

        def run(frame: Frame) -> bool:
            value = inner(frame)
            if value is True:
                return False
            if value is False:
                return True
            raise no_overload()

        return run

    def _conditional(self, expr: Call) -> Step:
        condition, then, otherwise = (self.compile(arg) for arg in expr.args)

        def run(frame: Frame) -> Any:
            value = condition(frame)
            if value is True:
                return then(frame)
            if value is False:
                return otherwise(frame)
            raise no_overload()

        return run

    def _not_strictly_false(self, expr: Call) -> Step:
        inner = self.compile(expr.args[0])

        def run(frame: Frame) -> bool:
            try:
                return inner(frame) is not False
            except CostExceeded:
                raise
            except EvaluationError:
                return True

        return run

    def _optional_select(self, expr: Call) -> Step:
        operand, name = expr.args
        inner = self.compile(operand)
        assert isinstance(name, Const)  # noqa: S101 - the checker saw to it
        key, read = self._field(expr.id, str(name.value))

        def run(frame: Frame) -> Optional:
            found = inner(frame)
            return _optional_field(found if type(found) is Optional else Optional(True, found), key, read)

        return run

    def _append(self, expr: Call) -> Step:
        """A list that a macro builds is its own: it grows in place."""
        accumulated = self.compile(expr.args[0])
        added = expr.args[1]
        assert isinstance(added, ListOf)  # noqa: S101 - see _grows
        item = self.compile(added.elements[0])

        def run(frame: Frame) -> Any:
            values = accumulated(frame)
            values.append(item(frame))
            return values

        return run

    def _list(self, expr: ListOf) -> Step:
        steps = [self.compile(item) for item in expr.elements]
        if not expr.optional:
            return lambda frame: [step(frame) for step in steps]
        optional = expr.optional

        def run(frame: Frame) -> list[Any]:
            out = []
            for place, step in enumerate(steps):
                value = step(frame)
                if place not in optional:
                    out.append(value)
                elif value.present:
                    out.append(value.value)
            return out

        return run

    def _map(self, expr: MapOf) -> Step:
        steps = [(self.compile(key), self.compile(value), optional) for key, value, optional in expr.entries]

        def run(frame: Frame) -> dict[Any, Any]:
            out: dict[Any, Any] = {}
            for key, value, optional in steps:
                name, found = key(frame), value(frame)
                if name in out:
                    raise EvaluationError(f"Failed with repeated key: {name}")
                if not optional:
                    out[name] = found
                elif found.present:
                    out[name] = found.value
            return out

        return run

    def _fold(self, expr: Fold) -> Step:
        source, start = self.compile(expr.range), self.compile(expr.start)
        outer = dict(self._names)
        accumulator, variable, second = (self._slot(name) for name in (expr.accumulator, expr.variable, expr.second))
        condition = self.compile(expr.condition)
        step = self.compile(expr.step)
        endless = isinstance(expr.condition, Const) and expr.condition.value is True
        cost = sum(1 for part in (expr.condition, expr.step) for _ in parts(part))
        self._names = outer | {expr.accumulator: accumulator}
        result = self.compile(expr.result)
        self._names = outer

        def run(frame: Frame) -> Any:
            values = source(frame)
            frame[accumulator] = start(frame)
            if isinstance(values, dict):
                pairs: Any = values.items() if second else ((key, None) for key in values)
            elif isinstance(values, list):
                pairs = enumerate(values) if second else ((value, None) for value in values)
            else:
                raise no_overload()
            for one, other in pairs:
                frame[variable] = one
                if second:
                    frame[second] = other
                if not endless and condition(frame) is False:
                    break
                _spent(frame, cost)
                try:
                    frame[accumulator] = step(frame)
                except CostExceeded:
                    raise
                except EvaluationError as error:
                    frame[accumulator] = Failure(error)
            return result(frame)

        return run

    def _slot(self, name: str) -> int:
        """A place for a variable; none for a variable that has no name."""
        if not name:
            return 0
        self.slots += 1
        self._names[name] = _OLD + self.slots
        return _OLD + self.slots


_TRAVERSING = ("matches", "find", "findAll", "contains", "replace", "split", "join", "indexOf", "lastIndexOf", "@in")


def _applied(function: Callable[..., Any], args: list[Step], *, heavy: bool) -> Step:
    """A call; the work of those that look at whole values counts."""
    if heavy:

        def traversing(frame: Frame) -> Any:
            values = [arg(frame) for arg in args]
            _spent(frame, sum(len(v) for v in values if isinstance(v, str | list)) // _TRAVERSAL)
            return function(*values)

        return traversing
    match args:
        case [one]:
            return lambda frame: function(one(frame))
        case [one, other]:
            return lambda frame: function(one(frame), other(frame))
    return lambda frame: function(*[arg(frame) for arg in args])


def _grows(expr: Call) -> bool:
    """Whether an addition is a macro's way to add one element."""
    first, added = expr.args
    return (
        isinstance(first, Ident)
        and first.name == "@result"
        and isinstance(added, ListOf)
        and len(added.elements) == 1
        and not added.optional
    )


def _has(found: Any, name: str) -> bool:
    if isinstance(found, Optional):
        return found.present and _has(found.value, name)
    if isinstance(found, dict):
        return name in found
    raise no_overload()


def _optional_field(found: Optional, name: str, read: Callable[[Any], Any] | None) -> Optional:
    if not found.present or not isinstance(found.value, dict) or name not in found.value:
        return NOTHING
    value = found.value[name]
    return Optional(True, value if read is None or value is None else read(value))


def _dotted(expr: Expr) -> str:
    if isinstance(expr, Ident):
        return expr.name
    return f"{_dotted(expr.operand)}.{expr.field}" if isinstance(expr, Select) else ""


def _is_type(expr: Select) -> bool:
    return _dotted(expr) in ("google.protobuf.Timestamp", "google.protobuf.Duration")
