"""The type checker: what an expression results in, or why it makes no sense."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trimtab.local.schema.cel.declared import Declared, field_types
from trimtab.local.schema.cel.literals import literal_errors
from trimtab.local.schema.cel.macros import expanded
from trimtab.local.schema.cel.signatures import functions
from trimtab.local.schema.cel.syntax import (
    Call,
    Const,
    Expr,
    Fold,
    Ident,
    ListOf,
    MapOf,
    Parsed,
    Select,
    Uint,
    Unparsable,
    parse,
)
from trimtab.local.schema.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    ERROR,
    INT,
    NULL,
    SCALARS,
    STRING,
    TIMESTAMP,
    UINT,
    Substitutions,
    Type,
    is_dynamic,
    is_optional,
    list_of,
    map_of,
    most_general,
    optional_of,
    type_of,
    variable,
)

SELF, OLD_SELF = "self", "oldSelf"
_TYPE_NAMES = {
    **{name: kind for name, kind in SCALARS.items() if name not in ("dyn", "null", "timestamp", "duration")},
    "null_type": NULL,
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": SCALARS["duration"],
    "list": list_of(DYN),
    "map": map_of(DYN, DYN),
    "type": type_of(DYN),
}


class Uncheckable(ValueError):  # noqa: N818 - says what the expression is
    """An expression that does not compile, with the compiler's text."""


@dataclass(slots=True)
class Checked:
    """An expression whose types are known.

    Attributes:
        types: the type of every part, by its id.
        forms: the forms of the function that a call may turn out to be.
        names: selected fields of objects, by the name they have there.
        functions: calls of functions in a namespace, by their full name.
    """

    root: Expr
    declared: Declared | None
    type: Type = DYN
    types: dict[int, Type] = field(default_factory=dict)
    forms: dict[int, list[str]] = field(default_factory=dict)
    names: dict[int, tuple[str, Declared]] = field(default_factory=dict)
    functions: dict[int, str] = field(default_factory=dict)
    uses_old_self: bool = False


def check(source: str, scope: Declared, *, optional_old: bool = False) -> Checked:
    """Check an expression about a value of a declared type.

    Raises:
        Uncheckable: with all errors as the compiler lists them.
    """
    try:
        parsed = expanded(parse(source))
    except Unparsable as error:
        raise Uncheckable(str(error)) from None
    checker = _Checker(parsed, scope, optional_old=optional_old)
    checker.visit(parsed.root)
    errors = checker.errors or literal_errors(parsed.root)
    if errors:
        raise Uncheckable(_listed(parsed, errors))
    return checker.finished()


def _listed(parsed: Parsed, errors: Sequence[tuple[int, str]]) -> str:
    """Errors in the order of their places, each with its line and a pointer."""
    lines = parsed.source.split("\n")
    found = []
    for identity, text in errors:
        offset = parsed.positions.get(identity, 0)
        line = parsed.source.count("\n", 0, offset)
        column = offset - (parsed.source.rfind("\n", 0, offset) + 1)
        found.append((line, column, text))
    shown = []
    for line, column, text in sorted(dict.fromkeys(found), key=lambda e: e[:2]):
        pointer = "".join("．" if ord(c) > 0xFF else "." for c in lines[line][:column])
        mark = "＾" if column < len(lines[line]) and ord(lines[line][column]) > 0xFF else "^"
        shown.append(f"ERROR: <input>:{line + 1}:{column + 1}: {text}\n | {lines[line]}\n | {pointer}{mark}")
    return "\n".join(shown)


class _Checker:
    def __init__(self, parsed: Parsed, scope: Declared, *, optional_old: bool) -> None:
        self._checked = Checked(parsed.root, scope)
        self._objects: Mapping[str, Declared] = field_types(scope)
        old = optional_of(scope.type) if optional_old else scope.type
        self._scopes: list[dict[str, Type]] = [{SELF: scope.type, OLD_SELF: old}]
        self._substitutions = Substitutions()
        self._free = 0
        self.errors: list[tuple[int, str]] = []

    def finished(self) -> Checked:
        checked, resolved = self._checked, self._substitutions.resolved
        checked.types = {i: resolved(t, free_is_dynamic=True) for i, t in checked.types.items()}
        checked.type = checked.types[checked.root.id]
        return checked

    def visit(self, expr: Expr) -> Type:
        match expr:
            case Const():
                found = _constant_type(expr.value)
            case Ident():
                found = self._ident(expr)
            case Select():
                found = self._select(expr)
            case Call():
                found = self._call(expr)
            case ListOf():
                found = self._list(expr)
            case MapOf():
                found = self._map(expr)
            case Fold():
                found = self._fold(expr)
        self._checked.types[expr.id] = found
        return found

    def _fail(self, expr: Expr, text: str) -> Type:
        self.errors.append((expr.id, text))
        return ERROR

    def _fresh(self) -> Type:
        self._free += 1
        return variable(f"_var{self._free}")

    def _known(self, name: str) -> Type | None:
        name = name.removeprefix(".")
        for scope in reversed(self._scopes):
            if name in scope:
                if name == OLD_SELF and scope is self._scopes[0]:
                    self._checked.uses_old_self = True
                return scope[name]
        return type_of(_TYPE_NAMES[name]) if name in _TYPE_NAMES else None

    def _ident(self, expr: Ident) -> Type:
        found = self._known(expr.name)
        if found is None:
            return self._fail(expr, f"undeclared reference to '{expr.name}' (in container '')")
        return found

    def _select(self, expr: Select) -> Type:
        name = _qualified(expr)
        if name and not expr.test and (found := self._known(name)) is not None:
            return found
        result = self._field(expr, self.visit(expr.operand), expr.field)
        return BOOL if expr.test else result

    def _field(self, expr: Expr, target: Type, name: str) -> Type:
        target = self._substitutions.resolved(target)
        inner = target.params[0] if is_optional(target) else target
        result = self._field_of(expr, inner, name)
        return optional_of(result) if is_optional(target) else result

    def _field_of(self, expr: Expr, target: Type, name: str) -> Type:
        match target.kind:
            case "dyn" | "!error!":
                return DYN
            case "object":
                owner = self._objects[target.name]
                if name not in owner.fields:
                    return self._fail(expr, f"undefined field '{name}'")
                self._checked.names[expr.id] = (owner.names[name], owner.fields[name])
                return owner.fields[name].type
            case "map":
                return target.params[1]
            case "param":
                self._substitutions.assign([DYN], [target])
                return DYN
        return self._fail(expr, f"type '{target}' does not support field selection")

    def _call(self, expr: Call) -> Type:
        if expr.function == "_?._":
            return self._optional_field(expr)
        for arg in expr.args:
            self.visit(arg)
        known = functions()
        if expr.target is None:
            if expr.function not in known:
                return self._fail(expr, f"undeclared reference to '{expr.function}' (in container '')")
            return self._resolved(expr, expr.function, [])
        qualifier = _qualified(expr.target)
        if qualifier and f"{qualifier}.{expr.function}" in known:
            self._checked.functions[expr.id] = f"{qualifier}.{expr.function}"
            return self._resolved(expr, f"{qualifier}.{expr.function}", [])
        target = self.visit(expr.target)
        if expr.function not in known:
            return self._fail(expr, f"undeclared reference to '{expr.function}' (in container '')")
        return self._resolved(expr, expr.function, [target])

    def _optional_field(self, expr: Call) -> Type:
        operand, name = expr.args
        self._checked.forms[expr.id] = ["select_optional_field"]
        if not isinstance(name, Const) or not isinstance(name.value, str):
            return self._fail(name, f"unsupported optional field selection: {name}")
        self._checked.types[name.id] = STRING
        found = self._field(expr, self.visit(operand), name.value)
        return found if is_optional(found) else optional_of(found)

    def _resolved(self, expr: Call, name: str, target: list[Type]) -> Type:
        given = [*target, *(self._checked.types[arg.id] for arg in expr.args)]
        if name in ("_&&_", "_||_"):
            return self._logical(expr, name)
        result: Type | None = None
        matching = []
        for form in functions()[name]:
            if form.method != bool(target):
                continue
            fresh: dict[Type, Type] = {}
            params = [self._renamed(param, fresh) for param in form.params]
            if self._substitutions.assign(given, params):
                matching.append(form.id)
                found = self._substitutions.resolved(self._renamed(form.result, fresh))
                if result is None:
                    result = found
                elif result.kind != "dyn" and found != result:
                    result = DYN
        if result is None:
            shown = [str(self._substitutions.resolved(t, free_is_dynamic=True)) for t in given]
            signature = f"{shown[0]}.({', '.join(shown[1:])})" if target else f"({', '.join(shown)})"
            return self._fail(expr, f"found no matching overload for '{name}' applied to '{signature}'")
        self._checked.forms[expr.id] = matching
        return result

    def _renamed(self, kind: Type, fresh: dict[Type, Type]) -> Type:
        """A type of a form with variables that nothing else uses."""
        if kind.kind == "param":
            if kind not in fresh:
                fresh[kind] = self._fresh()
            return fresh[kind]
        if kind.params:
            return Type(kind.kind, tuple(self._renamed(p, fresh) for p in kind.params), kind.name)
        return kind

    def _logical(self, expr: Call, name: str) -> Type:
        fine = True
        for arg in expr.args:
            found = self._checked.types[arg.id]
            if not self._substitutions.assign([found], [BOOL]):
                shown = self._substitutions.resolved(found, free_is_dynamic=True)
                self._fail(arg, f"expected type 'bool' but found '{shown}'")
                fine = False
        self._checked.forms[expr.id] = ["logical_and" if name == "_&&_" else "logical_or"]
        return BOOL if fine else ERROR

    def _list(self, expr: ListOf) -> Type:
        element: Type | None = None
        for index, item in enumerate(expr.elements):
            found = self.visit(item)
            if index in expr.optional:
                found = self._unwrapped(item, found)
            element = self._joined(item, element, found)
        return list_of(element if element is not None else self._fresh())

    def _unwrapped(self, expr: Expr, found: Type) -> Type:
        if is_optional(found):
            return found.params[0]
        if not is_dynamic(found):
            self._fail(expr, f"expected type 'optional_type({found})' but found '{found}'")
        return found

    def _map(self, expr: MapOf) -> Type:
        if expr.message:
            return self._fail(expr, f"undeclared reference to '{expr.message}' (in container '')")
        key: Type | None = None
        value: Type | None = None
        for name, inner, optional in expr.entries:
            key = self._joined(name, key, self.visit(name))
            found = self.visit(inner)
            value = self._joined(inner, value, self._unwrapped(inner, found) if optional else found)
        return map_of(key if key is not None else self._fresh(), value if value is not None else self._fresh())

    def _joined(self, expr: Expr, before: Type | None, found: Type) -> Type:
        if before is None:
            return found
        if self._substitutions.assign([before], [found]):
            return most_general(before, found)
        shown = [self._substitutions.resolved(t, free_is_dynamic=True) for t in (before, found)]
        return self._fail(expr, f"expected type '{shown[0]}' but found '{shown[1]}'")

    def _fold(self, expr: Fold) -> Type:
        scope = self._range_scope(expr, self._substitutions.resolved(self.visit(expr.range)))
        accumulated = self.visit(expr.start)
        self._scopes.append({expr.accumulator: accumulated})
        self._scopes.append(scope)
        self._expect(expr.condition, BOOL)
        self._expect(expr.step, accumulated)
        self._scopes.pop()
        result = self.visit(expr.result)
        self._scopes.pop()
        return self._substitutions.resolved(result)

    def _range_scope(self, expr: Fold, found: Type) -> dict[str, Type]:
        key, value = DYN, DYN
        match found.kind:
            case "list":
                key, value = INT, found.params[0]
            case "map":
                key, value = found.params
            case "dyn" | "!error!":
                pass
            case "param":
                self._substitutions.assign([DYN], [found])
            case _:
                text = (
                    f"expression of type '{found}' cannot be range of a comprehension (must be list, map, or dynamic)"
                )
                key = value = self._fail(expr.range, text)
        if expr.second:
            return {expr.variable: key, expr.second: value}
        return {expr.variable: key if found.kind == "map" else value}

    def _expect(self, expr: Expr, wanted: Type) -> None:
        found = self.visit(expr)
        if not self._substitutions.assign([wanted], [found]):
            shown = [self._substitutions.resolved(t, free_is_dynamic=True) for t in (wanted, found)]
            self._fail(expr, f"expected type '{shown[0]}' but found '{shown[1]}'")


def _qualified(expr: Expr) -> str:
    """A chain of names as one name; empty where it is none."""
    match expr:
        case Ident():
            return expr.name
        case Select(test=False):
            before = _qualified(expr.operand)
            return f"{before}.{expr.field}" if before else ""
    return ""


def _constant_type(value: object) -> Type:
    match value:
        case None:
            return NULL
        case bool():
            return BOOL
        case Uint():
            return UINT
        case int():
            return INT
        case float():
            return DOUBLE
        case str():
            return STRING
    return BYTES
