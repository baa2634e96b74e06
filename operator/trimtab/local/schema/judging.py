"""What one version of a custom kind does with an object: prune, default, judge. Compiled once per definition."""

from functools import cached_property

from trimtab.local.objects import Object
from trimtab.local.schema import compiling, defaulting, lists, pruning
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.embedded import embedded_errors, has_embedded, settle
from trimtab.local.schema.rules import RuleTree, has_rules, rule_errors, rule_tree
from trimtab.local.schema.validation import MISSING, blocks_rules, schema_errors
from trimtab.local.statuses import FieldError, unchecked

_TEXT: Node = {"type": "string"}


class SchemaVersion:
    """The schema of one version at work.

    Attributes:
        node: the schema, as an object's fields are judged by it.
    """

    def __init__(self, schema: Node) -> None:
        properties = dict(schema.get("properties") or {})
        restricted = properties.get("metadata") or {}
        # Of metadata, a schema may restrict the names alone.
        metadata = {"properties": restricted.get("properties") or {}, "x-kubernetes-preserve-unknown-fields": True}
        properties |= {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object", **metadata}}
        self.node: Node = {**schema, "type": "object", "properties": properties}
        self._schema = schema

    @cached_property
    def _prune(self) -> pruning.Prune:
        return pruning.compiled(self.node)

    @cached_property
    def fill(self) -> defaulting.Fill:
        """Fills in defaults, in place."""
        return defaulting.compiled(self.node)

    @cached_property
    def _valid(self) -> compiling.Check:
        return compiling.compiled(self.node) or (lambda _value: True)

    @cached_property
    def _has_members_once(self) -> lists.Check:
        return lists.compiled(self.node) or (lambda _value: True)

    @cached_property
    def _has_embedded(self) -> bool:
        return has_embedded(self.node)

    @cached_property
    def _has_rules(self) -> bool:
        return has_rules(self.node)

    @cached_property
    def _rules(self) -> RuleTree | None:
        return rule_tree(self._schema, root=True)

    def pruned(self, obj: Object, unknown: list[str]) -> Object:
        """A copy without what the schema does not know; `unknown` gets the paths of that.

        Raises:
            Undecodable: the metadata of an embedded object has a wrong type.
        """
        dropped: list[bool] = []
        out: Object = self._prune(obj, dropped)
        if dropped:
            pruning.pruned(obj, self.node, "", unknown)
        if self._has_embedded:
            settle(out, self.node, "", unknown)
        return out

    def shape_errors(self, new: Object, old: Object | None) -> list[FieldError]:
        """What the schema's keywords refuse."""
        if self._valid(new):
            return []
        return schema_errors(new, self.node, "", MISSING if old is None else old)

    def member_errors(self, new: Object, old: Object | None) -> list[FieldError]:
        """Embedded objects without identity, and members of sets that are there twice."""
        errors = embedded_errors(new, self.node, "") if self._has_embedded else []
        # An object that had members twice before may keep them, or get others.
        if not self._has_members_once(new) and (old is None or self._has_members_once(old)):
            errors += lists.duplicate_errors(new, self.node, "")
        return errors

    def broken_rules(self, new: Object, old: Object | None, errors: list[FieldError]) -> list[FieldError]:
        """The validation rules that do not hold; none is asked about an object of the wrong shape."""
        if not self._has_rules:
            return []
        if blocks_rules(errors):
            return [unchecked()]
        return rule_errors(new, self._rules, "", MISSING if old is None else old)
