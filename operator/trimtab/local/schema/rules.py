"""x-kubernetes-validations at work: which rules of a schema an object breaks, and how that is said."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.local.objects import quote
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.cel.checking import Uncheckable, check
from trimtab.local.schema.cel.declared import Declared, declared
from trimtab.local.schema.cel.evaluating import Program
from trimtab.local.schema.cel.reading import reader
from trimtab.local.schema.cel.syntax import library
from trimtab.local.schema.cel.values import NO_OVERLOAD, NOTHING, CostExceeded, EvaluationError, Optional, Reader
from trimtab.local.schema.fieldpaths import BadPath, resolved
from trimtab.local.schema.validation import MISSING, counterparts, join, same, shown
from trimtab.local.statuses import FieldError, duplicate, forbidden_field, invalid_value, required

OBJECT_BUDGET = 10_000_000  # cost units for all rules about one object, about 1 s on a real server
_MESSAGE_BYTES = 5 * 1024
_NOWHERE = "<nil>"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, compiled.

    Attributes:
        optional_old: whether it is asked about new values too, with an empty oldSelf.
        place: where its errors are, below the value.
    """

    source: Node
    program: Program
    message: Program | None
    uses_old: bool
    optional_old: bool
    place: str

    def text(self) -> str:
        """The rule as error messages name it."""
        return str(self.source.get("message") or self.source["rule"]).strip()


@dataclass(frozen=True, slots=True)
class RuleTree:
    """The rules of a schema node and of what is below it."""

    node: Node
    rules: Sequence[Rule]
    read: Reader | None
    properties: Mapping[str, "RuleTree"]
    additional: "RuleTree | None"
    items: "RuleTree | None"
    parts: Sequence["RuleTree"]

    def is_empty(self) -> bool:
        return not (self.rules or self.properties or self.additional or self.items or self.parts)


def has_rules(node: Node) -> bool:
    """Whether a schema has validation rules anywhere."""
    if node.get("x-kubernetes-validations"):
        return True
    inside = [*(node.get("properties") or {}).values(), node.get("items"), node.get("additionalProperties")]
    return any(isinstance(child, dict) and has_rules(child) for child in inside)


def rule_tree(node: Node, *, root: bool = False) -> RuleTree | None:
    """Compile the rules of a schema that was checked before; None where it has none.

    Without the CEL library there is none: rules are accepted and not asked.
    """
    if library() is None or not has_rules(node):
        return None
    return _tree(node, node.get("x-kubernetes-validations") or (), root=root)


def _tree(node: Node, sources: Sequence[Node], *, root: bool = False) -> RuleTree:
    scope = declared(node, root=root) if sources else None
    rules = [rule for source in sources if (rule := _rule(source, node, scope)) is not None]
    properties = {name: _child(child) for name, child in (node.get("properties") or {}).items()}
    return RuleTree(
        node,
        rules,
        reader(node),
        {name: child for name, child in properties.items() if child is not None},
        _child(node.get("additionalProperties")),
        _child(node.get("items")),
        (),
    )


def _child(node: Any) -> RuleTree | None:
    if not isinstance(node, dict) or not has_rules(node):
        return None
    root = bool(node.get("x-kubernetes-embedded-resource"))
    tree = _tree(node, node.get("x-kubernetes-validations") or (), root=root)
    return None if tree.is_empty() else tree


def _rule(source: Node, node: Node, scope: Declared | None) -> Rule | None:
    if scope is None or not source.get("rule", "").strip():
        return None
    optional = bool(source.get("optionalOldSelf"))
    try:
        checked = check(source["rule"], scope, optional_old=optional)
        message = None
        if source.get("messageExpression"):
            message = Program(check(source["messageExpression"], scope, optional_old=optional))
    except Uncheckable:
        return None  # definitions are refused for it; what is stored was not
    place = ""
    if source.get("fieldPath"):
        try:
            place = resolved(source["fieldPath"], node)[0]
        except BadPath:
            place = ""
    return Rule(source, Program(checked), message, checked.uses_old_self, optional, place)


@dataclass(slots=True)
class _Round:
    """One object being judged; `left` is what its rules may still cost."""

    left: int = OBJECT_BUDGET

    @property
    def over(self) -> bool:
        return self.left < 0


def rule_errors(value: Any, tree: RuleTree | None, path: str, old: Any = MISSING) -> list[FieldError]:
    """The rules that do not hold, in the value and everything below it."""
    if tree is None:
        return []
    return list(_broken(value, tree, path, old, (MISSING, MISSING), _Round()))


def _broken(
    value: Any, tree: RuleTree, path: str, old: Any, around: tuple[Any, Any], state: _Round
) -> Iterator[FieldError]:
    """`around` is the nearest value with a counterpart: what has not changed there is not judged again."""
    if value is None or state.over:
        return
    if old is not MISSING:
        around = (value, old)
    if tree.rules:
        yield from _asked(value, tree, path, old, around, state)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, inner in value.items():
            child = tree.properties.get(name, tree.additional)
            if child is not None:
                where = join(path, name) if name in tree.properties else f"{path}[{name}]"
                yield from _broken(inner, child, where, before.get(name, MISSING), around, state)
    elif isinstance(value, list) and tree.items is not None:
        matching = counterparts(value, tree.node, old)
        for index, item in enumerate(value):
            yield from _broken(item, tree.items, f"{path}[{index}]", matching[index], around, state)


def _asked(
    value: Any, tree: RuleTree, path: str, old: Any, around: tuple[Any, Any], state: _Round
) -> Iterator[FieldError]:
    this = value if tree.read is None else tree.read(value)
    before = None if old is MISSING or old is None else (old if tree.read is None else tree.read(old))
    kind = f'"{tree.node.get("type", "")}"'
    where = path or _NOWHERE
    for rule in tree.rules:
        if rule.uses_old and before is None and not rule.optional_old:
            continue
        past = (Optional(True, before) if before is not None else NOTHING) if rule.optional_old else before
        try:
            holds, cost = rule.program.evaluate(this, past)
            state.left -= cost
        except CostExceeded as error:
            tail = f"no further validation rules will be run due to call cost exceeds limit for rule: {rule.text()}"
            state.left = -1
            yield invalid_value(where, kind, f"'{error}': {tail}")
            return
        except EvaluationError as error:
            yield invalid_value(where, kind, _failed(rule, str(error)))
            continue
        if state.over:
            text = "validation failed due to running out of cost budget, no further validation rules will be run"
            yield invalid_value(where, kind, text)
            return
        if holds is True:
            continue
        if not rule.uses_old and around[1] is not MISSING and same(*around):
            continue
        yield _error(rule, value, path, _message(rule, this, past))


def _failed(rule: Rule, error: str) -> str:
    if error.startswith(NO_OVERLOAD):
        what = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{error}': {what}: {rule.text()}"
    return f"{error} evaluating rule: {rule.text()}"


def _message(rule: Rule, this: Any, past: Any) -> str:
    """What the rule's own expression says; empty where it has none or it fails."""
    if rule.message is None:
        return ""
    try:
        found, _ = rule.message.evaluate(this, past)
    except EvaluationError:
        return ""
    text = found.strip() if isinstance(found, str) else ""
    return "" if "\n" in text or len(text.encode()) > _MESSAGE_BYTES else text


def _error(rule: Rule, value: Any, path: str, message: str) -> FieldError:
    where = path
    if rule.place:
        where = f"{path}{rule.place}" if rule.place.startswith("[") else join(path, rule.place)
    where = where or _NOWHERE
    given = str(rule.source.get("message") or "").strip()
    detail = message or given or f"failed rule: {rule.source['rule'].strip()}"
    match rule.source.get("reason"):
        case "FieldValueRequired":
            return required(where, detail)
        case "FieldValueForbidden":
            return forbidden_field(where, detail)
        case "FieldValueDuplicate":
            # A message of its own is expected to show the value.
            if message:
                return FieldError(where, "FieldValueDuplicate", "Duplicate value")
            return duplicate(where, quote(value) if isinstance(value, dict | list) else shown(value))
    if message or isinstance(value, dict | list):
        return FieldError(where, "FieldValueInvalid", f"Invalid value: {detail}")
    return invalid_value(where, shown(value), detail)
