"""Role-based access control: who is bound to which rules, followed as roles and bindings change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trimtab.local.access.attributes import Attributes
from trimtab.local.access.rules import Rule
from trimtab.local.access.users import User, account_name
from trimtab.local.objects import Event, Object, key_of
from trimtab.local.registry import Registry
from trimtab.local.watching import Watch

GROUP = "rbac.authorization.k8s.io"
_ROLES = (f"clusterroles.{GROUP}", f"roles.{GROUP}")
_BINDINGS = (f"clusterrolebindings.{GROUP}", f"rolebindings.{GROUP}")
_Subject = tuple[str, str]  # kind (User or Group) and name


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and by what; or which roles could not be read on the way to a refusal."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding, as one of its subjects sees it."""

    namespace: str
    name: str
    role_kind: str
    role: tuple[str, str]
    subject: str

    def __str__(self) -> str:
        what = f'RoleBinding "{self.name}/{self.namespace}"' if self.namespace else f'ClusterRoleBinding "{self.name}"'
        return f'{what} of {self.role_kind} "{self.role[1]}" to {self.subject}'

    def no_role(self) -> str:
        return f'{self.role_kind.lower()}.{GROUP} "{self.role[1]}" not found'


class Policy:
    """Answers what users may do. It reads what changed since the last question before it answers the next."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._watches: dict[str, Watch] = {}
        self._rules: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._grants: dict[str, dict[_Subject, dict[str, Grant]]] = defaultdict(lambda: defaultdict(dict))
        self._subjects: dict[tuple[str, str], list[_Subject]] = {}

    def decide(self, user: User, wanted: Attributes) -> Decision:
        """Whether the user may do that."""
        if user.may_everything:
            return Decision(allowed=True)
        problems = []
        for grant, rules in self._granted(user, wanted.namespace):
            if rules is None:
                problems.append(grant.no_role())
            elif any(rule.allows(wanted) for rule in rules):
                return Decision(allowed=True, reason=f"RBAC: allowed by {grant}")
        return Decision(allowed=False, reason=f"RBAC: {joined(problems)}" if problems else "")

    def rules_for(self, user: User, namespace: str) -> tuple[list[Rule], list[Grant]]:
        """Every rule that the user holds in a namespace (empty: cluster-wide only), and grants of no existing role."""
        found: list[Rule] = []
        dangling = []
        for grant, rules in self._granted(user, namespace):
            if rules is None:
                dangling.append(grant)
            else:
                found.extend(rules)
        return found, dangling

    def rules_of(self, namespace: str, name: str) -> tuple[Rule, ...] | None:
        """The rules of a role, or of a cluster role where the namespace is empty; None where there is none."""
        self._catch_up()
        return self._rules.get((namespace, name))

    def _granted(self, user: User, namespace: str) -> Iterator[tuple[Grant, tuple[Rule, ...] | None]]:
        self._catch_up()
        subjects = [("User", user.name), *(("Group", group) for group in user.groups)]
        for scope in ("", namespace) if namespace else ("",):
            if (grants := self._grants.get(scope)) is None:
                continue
            for subject in subjects:
                for grant in grants.get(subject, {}).values():
                    yield grant, self._rules.get(grant.role)

    def _catch_up(self) -> None:
        for resource in (*_ROLES, *_BINDINGS):
            watch = self._watches.get(resource)
            if watch is None or watch.closed:
                watch = self._begin(resource)
            while (event := watch.ready()) is not None:
                (self._role_changed if resource in _ROLES else self._binding_changed)(event)

    def _begin(self, resource: str) -> Watch:
        """Watch from the present state on; what was known before may have gone unseen."""
        if resource in _ROLES:
            cluster = resource == _ROLES[0]
            self._rules = {key: rules for key, rules in self._rules.items() if bool(key[0]) == cluster}
        else:
            cluster = resource == _BINDINGS[0]
            for key in [key for key in self._subjects if bool(key[0]) != cluster]:
                self._forget(key)
        watch = self._registry.watch(resource)
        self._watches[resource] = watch
        return watch

    def _role_changed(self, event: Event) -> None:
        key = key_of(event.object)
        if event.type == "DELETED":
            self._rules.pop(key, None)
        else:
            self._rules[key] = tuple(Rule.of(rule) for rule in event.object.get("rules") or ())

    def _binding_changed(self, event: Event) -> None:
        binding, key = event.object, key_of(event.object)
        self._forget(key)
        if event.type == "DELETED":
            return
        role = binding["roleRef"]
        role_key = (key[0] if role["kind"] == "Role" else "", role["name"])
        for subject in binding.get("subjects") or ():
            who, shown = _subject(subject, key[0])
            if key[1] not in self._grants[key[0]][who]:
                self._grants[key[0]][who][key[1]] = Grant(*key, role["kind"], role_key, shown)
                self._subjects.setdefault(key, []).append(who)

    def _forget(self, key: tuple[str, str]) -> None:
        for who in self._subjects.pop(key, ()):
            grants = self._grants[key[0]]
            grants[who].pop(key[1], None)
            if not grants[who]:
                del grants[who]


def _subject(subject: Object, namespace: str) -> tuple[_Subject, str]:
    """Which user or group a subject stands for, and how reasons name it."""
    kind, name = subject["kind"], subject["name"]
    if kind != "ServiceAccount":
        return (kind, name), f'{kind} "{name}"'
    where = subject.get("namespace") or namespace
    return ("User", account_name(where, name)), f'{kind} "{name}/{where}"'


def joined(problems: Sequence[str]) -> str:
    """Several problems in brackets, as Kubernetes lists errors; each once."""
    different = list(dict.fromkeys(problems))
    return different[0] if len(different) == 1 else f"[{', '.join(different)}]" if different else ""
