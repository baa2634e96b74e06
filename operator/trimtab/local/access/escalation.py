"""Nobody may grant rights that they do not hold: what has to be true of a write beside the right to make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from trimtab.local.access.attributes import Attributes
from trimtab.local.access.gate import Caller, forbidden
from trimtab.local.access.policy import GROUP
from trimtab.local.access.rules import EVERYTHING, Rule, missing, quoted
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError

Check = Callable[[Object, Object | None], None]

_ROLES = ("roles", "clusterroles")
_BINDINGS = ("rolebindings", "clusterrolebindings")
_OF_GARBAGE = ("ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation")
_AGGREGATION = "must have cluster-admin privileges to use an aggregationRule"


def check_of(caller: Caller, asked: Attributes) -> Check | None:
    """What to call with the new state of an object and the present one, None where there is none.

    It raises ApiError 403, and 404 for a binding to a role that is not there. Without anything to
    check there is nothing to call.
    """
    about_rights = asked.group == GROUP and not asked.subresource
    if not about_rights and asked.verb == "create":
        return None
    return _Granting(caller, asked, about_rights=about_rights).check


class _Granting:
    """One write by one user."""

    def __init__(self, caller: Caller, asked: Attributes, *, about_rights: bool) -> None:
        self._caller = caller
        self._asked = asked
        self._about_rights = about_rights

    def check(self, new: Object, old: Object | None) -> None:
        if self._about_rights and not (old is not None and _same_but_for_garbage(new, old)):
            if self._asked.resource in _ROLES:
                self._check_role(new, old)
            elif self._asked.resource in _BINDINGS:
                self._check_binding(new)
        if old is None and self._asked.verb != "create":
            self._check_create()

    def _check_create(self) -> None:
        """An update or a patch that makes the object needs the right to create it, too."""
        decision = self._caller.gate.policy.decide(self._caller.user, replace(self._asked, verb="create"))
        if not decision.allowed:
            raise forbidden(self._asked, decision.reason)

    def _check_role(self, new: Object, old: Object | None) -> None:
        if self._may(replace(self._asked, verb="escalate")):
            return
        self._confirm([Rule.of(rule) for rule in new.get("rules") or ()], new)
        if new.get("aggregationRule") or (old or {}).get("aggregationRule"):
            held, _ = self._caller.gate.policy.rules_for(self._caller.user, "")
            if missing(held, EVERYTHING):
                raise self._refusal(new, _AGGREGATION)

    def _check_binding(self, new: Object) -> None:
        role = new.get("roleRef") or {}
        kind, name = role.get("kind", ""), role.get("name", "")
        plural, namespace = f"{kind.lower()}s", self._asked.namespace
        if plural not in _ROLES:
            return  # validation says so
        if self._may(Attributes("bind", "", role.get("apiGroup", ""), "*", plural, "", namespace, name)):
            return
        rules = self._caller.gate.policy.rules_of(namespace if kind == "Role" else "", name)
        if rules is None:
            text = f'{plural}.{GROUP} "{name}" not found'
            raise ApiError(404, "NotFound", text, {"name": name, "group": GROUP, "kind": plural})
        self._confirm(rules, new)

    def _may(self, wanted: Attributes) -> bool:
        return self._caller.gate.policy.decide(self._caller.user, wanted).allowed

    def _confirm(self, rules: Sequence[Rule], new: Object) -> None:
        user = self._caller.user
        held, unknown = self._caller.gate.policy.rules_for(user, self._asked.namespace)
        if not (beyond := missing(held, rules)):
            return
        shown = "\n".join(sorted({rule.shown() for rule in beyond}))
        text = (
            f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions '
            f"not currently held:\n{shown}"
        )
        if unknown:
            listed = [f'{grant.role_kind.lower()}s.{GROUP} "{grant.role[1]}" not found' for grant in unknown]
            several = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
            text += f"; resolution errors: [{several}]"
        raise self._refusal(new, text)

    def _refusal(self, new: Object, text: str) -> ApiError:
        name = self._asked.name or new["metadata"].get("name", "")
        return forbidden(replace(self._asked, name=name), text)


def _same_but_for_garbage(new: Object, old: Object) -> bool:
    """Whether at most what the garbage collector needs to change has changed."""

    def rest(obj: Object) -> Object:
        return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k not in _OF_GARBAGE}}

    return rest(new) == rest(old)
