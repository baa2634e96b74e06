"""Policy rules: what one allows, and whether some cover others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from trimtab.local.access.attributes import Attributes

_FIELDS = (
    ("APIGroups", "apiGroups"),
    ("Resources", "resources"),
    ("NonResourceURLs", "nonResourceURLs"),
    ("ResourceNames", "resourceNames"),
    ("Verbs", "verbs"),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role, read once and asked often."""

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def of(cls, rule: Mapping[str, Any]) -> Rule:
        """A rule as roles carry it."""
        fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
        return cls(*(tuple(rule.get(field) or ()) for field in fields))

    def allows(self, wanted: Attributes) -> bool:
        if "*" not in self.verbs and wanted.verb not in self.verbs:
            return False
        if not wanted.resource:
            return any(_url_covers(url, wanted.path) for url in self.urls)
        if "*" not in self.groups and wanted.group not in self.groups:
            return False
        if self.names and wanted.name not in self.names:
            return False
        return self._has_resource(wanted.combined)

    def _has_resource(self, combined: str) -> bool:
        if "*" in self.resources or combined in self.resources:
            return True
        _, slash, subresource = combined.partition("/")
        return bool(slash) and f"*/{subresource}" in self.resources

    def covers(self, part: Rule) -> bool:
        """Whether everything that an atomic rule (see `atoms`) allows is allowed by this one."""
        if "*" not in self.verbs and not set(part.verbs) <= set(self.verbs):
            return False
        if part.urls:
            return all(any(_url_covers(url, wanted) for url in self.urls) for wanted in part.urls)
        if "*" not in self.groups and not set(part.groups) <= set(self.groups):
            return False
        if self.names and (not part.names or not set(part.names) <= set(self.names)):
            return False
        return all(self._has_resource(resource) for resource in part.resources)

    def atoms(self) -> Iterable[Rule]:
        """The rule in pieces: one verb on one resource (of one name) or one URL each."""
        named: list[tuple[str, ...]] = [(name,) for name in self.names] or [()]
        for group, resource, verb, name in product(self.groups, self.resources, self.verbs, named):
            yield Rule((verb,), (group,), (resource,), name)
        for url in self.urls:
            for verb in self.verbs:
                yield Rule((verb,), urls=(url,))

    def shown(self) -> str:
        """The rule as refusals print it."""
        values = (self.groups, self.resources, self.urls, self.names, self.verbs)
        parts = [f"{label}:{quoted(value)}" for (label, _), value in zip(_FIELDS, values, strict=True) if value]
        return "{" + ", ".join(parts) + "}"


EVERYTHING = (Rule(("*",), ("*",), ("*",)), Rule(("*",), urls=("*",)))


def _url_covers(url: str, wanted: str) -> bool:
    return url in ("*", wanted) or (url.endswith("*") and wanted.startswith(url.rstrip("*")))


def missing(held: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule]:
    """What the wanted rules allow beyond those held, in pieces that are put together where they can be."""
    left = [atom for rule in wanted for atom in rule.atoms() if not any(own.covers(atom) for own in held)]
    simple: dict[tuple[Any, ...], Rule] = {}
    others = []
    for atom in left:
        if atom.urls:
            others.append(atom)
            continue
        key = (atom.groups, atom.resources, atom.names)
        before = simple[key].verbs if key in simple else ()
        verbs = before if atom.verbs[0] in before else (*before, *atom.verbs)
        simple[key] = Rule(verbs, atom.groups, atom.resources, atom.names)
    return [*others, *simple.values()]


def quoted(values: Sequence[str]) -> str:
    """A list of strings as Go's %q prints it."""
    return "[" + " ".join(json.dumps(value, ensure_ascii=False) for value in values) + "]"
