"""What an expression can cost at most, in the units that Kubernetes limits rules by.

A walk over the expression that keeps where values come from, so that the bounds of the schema apply to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.local.schema.cel.checking import Checked
from trimtab.local.schema.cel.declared import Declared
from trimtab.local.schema.cel.prices import priced
from trimtab.local.schema.cel.spans import NONE, ONE, TRAVERSAL, UNKNOWN, UNLIMITED, Part, Span, fixed
from trimtab.local.schema.cel.syntax import Call, Const, Expr, Fold, Ident, ListOf, MapOf, Select
from trimtab.local.schema.cel.types import DYN, Type

_LIST_COST, _MAP_COST = fixed(10), fixed(30)


@dataclass(frozen=True, slots=True)
class Entries:
    """Sizes of what a list or map contains."""

    kind: str
    key: Span
    value: Span


@dataclass(frozen=True, slots=True)
class Local:
    """A variable of a macro."""

    path: tuple[str, ...]
    size: Span | None
    entries: Entries | None


def highest_cost(checked: Checked, scope: Declared) -> int:
    """The most that one evaluation can cost."""
    return Estimator(checked, scope).cost(checked.root).most


class Estimator:
    """The state of one walk."""

    def __init__(self, checked: Checked, scope: Declared) -> None:
        self._checked = checked
        self._scope = scope
        self._paths: dict[int, tuple[str, ...]] = {}
        self._sizes: dict[int, Span] = {}
        self._entries: dict[int, Entries] = {}
        self._locals: dict[str, list[Local]] = {}

    def cost(self, expr: Expr) -> Span:
        match expr:
            case Const():
                return NONE
            case Ident():
                local = self._local(expr.name)
                self._paths[expr.id] = local.path if local is not None else (expr.name,)
                return ONE
            case Select():
                return self._select(expr)
            case Call():
                return self._call(expr)
            case ListOf():
                return self._list(expr)
            case MapOf():
                return self._map(expr)
            case Fold():
                return self._bind(expr) if _is_bind(expr) else self._fold(expr)

    # Where values come from, and how large they are.

    def _local(self, name: str) -> Local | None:
        stack = self._locals.get(name)
        return stack[-1] if stack else None

    def _type(self, expr: Expr) -> Type:
        return self._checked.types.get(expr.id, DYN)

    def _path(self, expr: Expr) -> tuple[str, ...]:
        if isinstance(expr, Ident) and (local := self._local(expr.name)) is not None:
            return local.path
        return self._paths.get(expr.id, ())

    def part(self, expr: Expr) -> Part:
        path = self._path(expr)
        if path and path[0] == "@result":
            path = ()
        return Part(expr, path, self._type(expr), self.size(expr))

    def size(self, expr: Expr) -> Span | None:
        """The size of a value; None where nothing is known of it."""
        if expr.id in self._sizes:
            return self._sizes[expr.id]
        if (literal := _literal_size(expr)) is not None:
            return literal
        if (declared := self.declared_size(self._path(expr))) is not None:
            self._sizes[expr.id] = declared
            return declared
        if _is_scalar(self._type(expr)):
            return ONE
        if isinstance(expr, Ident) and (local := self._local(expr.name)) is not None:
            return local.size
        return None

    def declared_size(self, path: tuple[str, ...]) -> Span | None:
        """What the schema says of the value at a path; the first step is the variable."""
        if not path:
            return None
        at: Declared | None = self._scope
        for step in path[1:]:
            if at is None:
                return None
            if step in ("@items", "@values"):
                at = at.element
            elif step == "@keys":
                return NONE if at.type.kind == "map" else None
            else:
                at = at.fields.get(step)
        return None if at is None else Span(0, at.largest)

    def size_or_unknown(self, expr: Expr) -> Span:
        found = self.size(expr)
        return UNKNOWN if found is None else found

    def entries(self, expr: Expr) -> Entries | None:
        if expr.id in self._entries:
            return self._entries[expr.id]
        local = self._local(expr.name) if isinstance(expr, Ident) else None
        return local.entries if local is not None else None

    def _keep(self, expr: Expr, size: Span | None, entries: Entries | None) -> None:
        if size is not None:
            self._sizes[expr.id] = size
        if entries is not None:
            self._entries[expr.id] = entries

    # The kinds of expressions.

    def _select(self, expr: Select) -> Span:
        inside = self.cost(expr.operand)
        if expr.test:
            return inside
        self._paths[expr.id] = (*self._path(expr.operand), expr.field)
        priced = self._type(expr.operand).kind in ("map", "object", "param")
        return inside.plus(ONE) if priced else inside

    def _call(self, expr: Call) -> Span:
        if expr.function == "dyn" and len(expr.args) == 1:
            inside = self.cost(expr.args[0])
            self._keep(expr, self.size(expr.args[0]), self.entries(expr.args[0]))
            return inside.plus(ONE)
        costs = [self.cost(arg) for arg in expr.args]
        args = [self.part(arg) for arg in expr.args]
        forms = self._checked.forms.get(expr.id)
        if not forms:
            return NONE
        name = self._checked.functions.get(expr.id)
        target, before = None, NONE
        if expr.target is not None and name is None:
            before = self.cost(expr.target)
            target = self.part(expr.target)
        price = Span(UNLIMITED, 0)
        result: Span | None = None
        for form in forms:
            found, size = self._priced(expr, name or expr.function, form, target, args, costs)
            price = price.union(found)
            if size is not None:
                result = size if result is None else result.union(size)
            if form in ("index_list", "index_map"):
                entries = self.entries(expr.args[0])
                result = entries.value if entries is not None else None
                step = "@items" if form == "index_list" else "@values"
                self._paths[expr.id] = (*self._path(expr.args[0]), step)
            if result is None:
                result = self.size(expr)
        self._keep(expr, result, None)
        return before.plus(price)

    def _priced(
        self, expr: Call, name: str, form: str, target: Part | None, args: Sequence[Part], costs: Sequence[Span]
    ) -> tuple[Span, Span | None]:
        """The cost of one form of a function with its arguments, and the size of its result."""
        inside = NONE
        for cost in costs:
            inside = inside.plus(cost)
        match form:
            case "logical_and" | "logical_or":
                most = costs[0].plus(costs[1]).most
                return Span(costs[0].least, most), None
            case "conditional":
                return self._conditional(expr, costs)
            case "add_string" | "add_bytes" | "add_list":
                return self._addition(expr, form, inside)
        found = priced(self, name, form, target, args)
        return found[0].plus(inside), found[1]

    def _conditional(self, expr: Call, costs: Sequence[Span]) -> tuple[Span, Span | None]:
        then, otherwise = expr.args[1], expr.args[2]
        size = self.size_or_unknown(then).union(self.size_or_unknown(otherwise))
        self._keep(expr, None, _union(self.entries(then), self.entries(otherwise)))
        return costs[0].plus(costs[1].union(costs[2])), size

    def _addition(self, expr: Call, form: str, inside: Span) -> tuple[Span, Span | None]:
        one, other = expr.args
        size = self.size_or_unknown(one).plus(self.size_or_unknown(other))
        self._keep(expr, None, _union(self.entries(one), self.entries(other)))
        price = ONE if form == "add_list" else size.scaled(TRAVERSAL)
        return price.plus(inside), size

    def _list(self, expr: ListOf) -> Span:
        total = _LIST_COST
        size = Span(UNLIMITED, 0) if expr.elements else NONE
        for item in expr.elements:
            total = total.plus(self.cost(item))
            size = size.union(self.size_or_unknown(item))
        self._keep(expr, None, Entries("list", ONE, size))
        return total

    def _map(self, expr: MapOf) -> Span:
        total = _MAP_COST
        key = value = Span(UNLIMITED, 0) if expr.entries else NONE
        for name, inner, _ in expr.entries:
            total = total.plus(self.cost(name)).plus(self.cost(inner))
            key = key.union(self.size_or_unknown(name))
            value = value.union(self.size_or_unknown(inner))
        self._keep(expr, None, Entries("map", key, value))
        return total

    def _fold(self, expr: Fold) -> Span:
        total = self.cost(expr.range).plus(self.cost(expr.start))
        self._push(expr.accumulator, self._path(expr.start), self.size(expr.start), self.entries(expr.start))
        for name, step in self._variables(expr):
            entries = self.entries(expr.range)
            size = None
            if entries is not None:
                size = entries.value if step in ("@items", "@values") else entries.key
            self._push(name, (*self._path(expr.range), step), size, None)
        loop = self.cost(expr.condition).plus(self.cost(expr.step))
        for name, _ in self._variables(expr):
            self._locals[name].pop()
        total = total.plus(self.cost(expr.result))
        self._locals[expr.accumulator].pop()
        rounds = self.size_or_unknown(expr.range)
        if isinstance(expr.start, Const):
            self._keep(expr, self.size(expr.start), None)
        elif isinstance(expr.start, ListOf | MapOf):
            self._keep(expr, rounds, self.entries(expr.step))
        return total.plus(rounds.times(loop))

    def _variables(self, expr: Fold) -> list[tuple[str, str]]:
        """The variables of a macro, with the step that leads to them."""
        entries = self.entries(expr.range)
        kind = entries.kind if entries is not None else self._type(expr.range).kind
        if expr.second:
            steps = ("@indices", "@items") if kind == "list" else ("@keys", "@values")
            return [(expr.variable, steps[0]), (expr.second, steps[1])]
        return [(expr.variable, "@items" if kind == "list" else "@keys")]

    def _push(self, name: str, path: tuple[str, ...], size: Span | None, entries: Entries | None) -> None:
        self._locals.setdefault(name, []).append(Local(path, size, entries))

    def _bind(self, expr: Fold) -> Span:
        total = self.cost(expr.range).plus(self.cost(expr.start))
        self._push(expr.accumulator, self._path(expr.start), self.size(expr.start), self.entries(expr.start))
        total = total.plus(self.cost(expr.result))
        self._locals[expr.accumulator].pop()
        self._keep(expr, self.size(expr.result), self.entries(expr.result))
        return total


def _union(one: Entries | None, other: Entries | None) -> Entries | None:
    if one is None or other is None:
        return None
    return Entries(one.kind, one.key.union(other.key), one.value.union(other.value))


def _is_bind(expr: Fold) -> bool:
    """Whether a comprehension only names a value (optMap does)."""
    empty = isinstance(expr.range, ListOf) and not expr.range.elements
    never = isinstance(expr.condition, Const) and expr.condition.value is False
    return empty and never and expr.accumulator != "@result"


def _literal_size(expr: Expr) -> Span | None:
    match expr:
        case Const():
            return fixed(len(expr.value)) if isinstance(expr.value, str | bytes) else ONE
        case ListOf():
            return fixed(len(expr.elements))
        case MapOf():
            return fixed(len(expr.entries))
    return None


def _is_scalar(kind: Type) -> bool:
    if kind.name == "optional_type":
        return _is_scalar(kind.params[0])
    return kind.kind in ("bool", "double", "duration", "int", "timestamp", "uint")
