"""CustomResourceDefinitions at work: the kind behind each one is served from its creation to its end."""

import copy

from trimtab.local.catalog import Catalog
from trimtab.local.kinds.custom import Custom
from trimtab.local.objects import Object
from trimtab.local.store import Store

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_NAMES = ("plural", "singular", "shortNames", "kind", "listKind", "categories")


class Definitions:
    """Keeps the catalog in step with the stored definitions."""

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self._catalog = catalog
        self._store = store

    def written(self, definition: Object, now: str) -> None:
        """Accept the names of a definition that was stored, and serve its kind as it says now."""
        if not definition["metadata"].get("deletionTimestamp"):
            status = self._accepted(definition, now)
            if status != definition["status"]:
                definition = self._store.put(CRDS, {**definition, "status": status})
        name = definition["metadata"]["name"]
        if not definition["status"]["acceptedNames"]["plural"]:
            return
        kind = Custom(definition)
        self._catalog.add(kind)
        for obj in self._store.all(name):
            self._store.refresh(name, _with_new_defaults(kind, obj))

    def removed(self, definition: Object) -> None:
        """Serve a kind no longer; whoever watches it is told by the end of the watch."""
        name = definition["metadata"]["name"]
        self._catalog.drop(name)
        self._store.close_watches(name)

    def _accepted(self, definition: Object, now: str) -> Object:
        """The status of a definition after its names were compared with those of its group."""
        status, spec = definition["status"], definition["spec"]
        names = {field: spec["names"][field] for field in _NAMES if field in spec["names"]}
        conflict = self._conflict(definition)
        conditions = {c["type"]: c for c in status.get("conditions") or []}
        if conflict:
            _set(conditions, "NamesAccepted", "False", conflict, f"{conflict} is already in use", now)
            if "Established" not in conditions:
                _set(conditions, "Established", "False", "NotAccepted", "not all names are accepted", now)
            return {**status, "conditions": list(conditions.values())}
        _set(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        message = "the initial names have been accepted"
        _set(conditions, "Established", "True", "InitialNamesAccepted", message, now)
        return {**status, "conditions": list(conditions.values()), "acceptedNames": names}

    def _conflict(self, definition: Object) -> str:
        """Which field takes a name that another definition of the group has; empty where none does."""
        spec, mine = definition["spec"], definition["spec"]["names"]
        for other in self._store.all(CRDS):
            if other["spec"]["group"] != spec["group"] or other["metadata"]["name"] == definition["metadata"]["name"]:
                continue
            theirs = other["status"]["acceptedNames"]
            taken = {theirs.get("plural"), theirs.get("singular"), *(theirs.get("shortNames") or ())}
            if mine["singular"] in taken or taken & set(mine.get("shortNames") or ()):
                return "ShortNamesConflict" if mine["singular"] not in taken else "SingularConflict"
            if mine["kind"] in (theirs.get("kind"), theirs.get("listKind")):
                return "KindConflict"
        return ""


def _set(conditions: dict[str, Object], kind: str, status: str, reason: str, message: str, now: str) -> None:
    old = conditions.get(kind)
    since = old["lastTransitionTime"] if old and old["status"] == status else now
    conditions[kind] = {
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }


def _with_new_defaults(kind: Custom, obj: Object) -> Object:
    """A stored object as it reads under a new schema; its version stays, as nobody wrote it."""
    out = copy.deepcopy(obj)
    out["apiVersion"] = kind.resource.api_version
    kind.revive(out, kind.resource.version)
    return out
