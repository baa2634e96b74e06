"""Rules of a definition: whether they compile, and whether they may cost what they cost."""

from dataclasses import dataclass, field

from trimtab.local.objects import quote
from trimtab.local.schema import gostructs
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.cel.checking import Checked, Uncheckable, check
from trimtab.local.schema.cel.costs import highest_cost
from trimtab.local.schema.cel.declared import MAX_REQUEST_BYTES, Declared, declared
from trimtab.local.schema.cel.spans import UNLIMITED
from trimtab.local.schema.cel.syntax import library
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value

RULE_LIMIT = 10_000_000
SCHEMA_LIMIT = 100_000_000
_ADVICE = (
    "try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings "
    "are declared"
)
_SHARE = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
_TOTAL = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"


@dataclass(slots=True)
class Budget:
    """What all rules of a schema cost together, and the dearest of them."""

    total: int = 0
    dearest: list[tuple[int, str]] = field(default_factory=list)

    def spend(self, where: str, cost: int) -> None:
        self.total = min(self.total + cost, UNLIMITED)
        if cost >= SCHEMA_LIMIT // 100:
            self.dearest = sorted([*self.dearest, (cost, where)], key=lambda entry: -entry[0])[:4]

    def errors(self, at: str) -> list[FieldError]:
        if self.total <= SCHEMA_LIMIT:
            return []
        shares = [forbidden_field(where, _SHARE) for _, where in self.dearest]
        return [*shares, forbidden_field(at, _too_dear(_TOTAL, self.total, SCHEMA_LIMIT))]


@dataclass(slots=True)
class Context:
    """A schema node under which rules may stand.

    Attributes:
        repeats: how often values of the node can be there at most; None where nothing bounds that.
    """

    node: Node
    budget: Budget
    is_root: bool
    repeats: int | None

    @classmethod
    def root(cls, node: Node, budget: Budget) -> "Context":
        return cls(node, budget, True, 1)

    def child(self, node: Node) -> "Context":
        factor = _most_elements(self.node)
        repeats = None if self.repeats is None or factor is None else min(self.repeats * factor, UNLIMITED)
        return Context(node, self.budget, bool(node.get("x-kubernetes-embedded-resource")), repeats)


def _most_elements(node: Node) -> int | None:
    if node.get("type") == "array":
        keyword = "maxItems"
    elif node.get("type") == "object" and node.get("additionalProperties") is not None:
        keyword = "maxProperties"
    else:
        return 1
    return max(int(node[keyword]), 0) if node.get(keyword) is not None else None


def rule_problems(node: Node, at: str, context: Context, uncorrelated: str) -> list[FieldError]:
    """What is wrong with the rules of one node; `uncorrelated` is where old values stop to be known."""
    scope = declared(node, root=context.is_root) if library() is not None else None
    if scope is None:
        return []
    errors: list[FieldError] = []
    for index, rule in enumerate(node["x-kubernetes-validations"]):
        errors += _Admission(rule, scope, f"{at}.x-kubernetes-validations[{index}]", context).errors(uncorrelated)
    return errors


@dataclass(slots=True)
class _Admission:
    """One rule on its way in."""

    rule: Node
    scope: Declared
    at: str
    context: Context

    def errors(self, uncorrelated: str) -> list[FieldError]:
        try:
            checked = self._checked(self.rule["rule"], "compilation failed", "bool")
        except Uncheckable as error:
            return [self._refused("rule", str(error)), *self._old_errors(uses_old=False, uncorrelated=uncorrelated)]
        errors = self._cost_errors("rule", "estimated rule cost", self._times(checked))
        errors += self._message_errors()
        return errors + self._old_errors(uses_old=checked.uses_old_self, uncorrelated=uncorrelated)

    def _checked(self, expression: str, what: str, result: str) -> Checked:
        try:
            checked = check(expression, self.scope, optional_old=bool(self.rule.get("optionalOldSelf")))
        except Uncheckable as error:
            raise Uncheckable(f"{what}: {error}") from None
        if checked.type.kind != result:
            subject = "cel expression must evaluate to a bool"
            raise Uncheckable(subject if result == "bool" else "messageExpression must evaluate to a string")
        return checked

    def _refused(self, name: str, text: str) -> FieldError:
        return invalid_value(f"{self.at}.{name}", gostructs.shown(gostructs.rule(self.rule)), text)

    def _times(self, checked: Checked) -> int:
        cost = highest_cost(checked, self.scope)
        repeats = self.context.repeats
        if repeats is None:
            repeats = MAX_REQUEST_BYTES // (self.scope.smallest + 1)
        return min(cost * repeats, UNLIMITED)

    def _cost_errors(self, name: str, what: str, cost: int) -> list[FieldError]:
        where = f"{self.at}.{name}"
        self.context.budget.spend(where, cost)
        if cost <= RULE_LIMIT:
            return []
        return [forbidden_field(where, _too_dear(what, cost, RULE_LIMIT))]

    def _message_errors(self) -> list[FieldError]:
        expression = self.rule.get("messageExpression")
        if not expression:
            return []
        try:
            checked = self._checked(expression, "messageExpression compilation failed", "string")
        except Uncheckable as error:
            return [self._refused("messageExpression", str(error))]
        cost = highest_cost(checked, self.scope)
        return self._cost_errors("messageExpression", "estimated messageExpression cost", cost)

    def _old_errors(self, *, uses_old: bool, uncorrelated: str) -> list[FieldError]:
        optional = self.rule.get("optionalOldSelf")
        if uses_old and uncorrelated:
            text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
            return [invalid_value(f"{self.at}.rule", quote(self.rule["rule"]), text)]
        if not uses_old and optional is not None:
            text = "may not be set if oldSelf is not used in rule"
            return [invalid_value(f"{self.at}.optionalOldSelf", quote(optional), text)]
        return []


def _too_dear(what: str, cost: int, limit: int) -> str:
    times = cost / limit
    if times > 100:
        factor = "more than 100x"
    elif times < 1.5:
        factor = f"{times:f}x"
    else:
        factor = f"{times:.1f}x"
    return f"{what} exceeds budget by factor of {factor} ({_ADVICE})"
