"""Every kind served right now: the built-in ones, and the custom ones as their definitions come and go."""

from collections.abc import Iterable

from trimtab.local import statuses
from trimtab.local.kinds.rules import NO_RULES
from trimtab.local.kinds.served import BuiltIn, Served
from trimtab.local.kinds.table import RULES
from trimtab.local.resources import BUILT_IN, Resource


class Catalog:
    """Looks kinds up by "plural.group". `generation` grows with every change, for caches of documents."""

    def __init__(self) -> None:
        self.generation = 0
        self._kinds: dict[str, Served] = {
            resource.key: BuiltIn(resource, RULES.get(resource.key, NO_RULES)) for resource in BUILT_IN
        }

    def get(self, key: str) -> Served:
        """The kind of that resource.

        Raises:
            ApiError: 404 where nothing of that name is served.
        """
        if (kind := self._kinds.get(key)) is None:
            raise statuses.no_such_resource()
        return kind

    def find(self, group: str, version: str, plural: str) -> Served | None:
        """The kind behind a path, if that version of it is served."""
        kind = self._kinds.get(f"{plural}.{group}" if group else plural)
        return kind if kind is not None and version in kind.resource.versions else None

    def all(self) -> Iterable[Served]:
        return list(self._kinds.values())

    def resources(self) -> Iterable[Resource]:
        return [kind.resource for kind in self._kinds.values()]

    def add(self, kind: Served) -> None:
        """Serve a kind, or serve it anew after its definition changed."""
        self._kinds[kind.resource.key] = kind
        self.generation += 1

    def drop(self, key: str) -> None:
        if self._kinds.pop(key, None) is not None:
            self.generation += 1
