"""CustomResourceDefinitions at work: the kind behind each one is served from its creation to its end."""

from trimtab.local.catalog import Catalog
from trimtab.local.kinds.custom import Custom
from trimtab.local.objects import Object
from trimtab.local.schema.pruning import copied
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
        self._serve(definition)

    def resume(self) -> None:
        """Serve every kind whose definition is stored already."""
        for definition in self._store.all(CRDS):
            self._serve(definition)

    def _serve(self, definition: Object) -> None:
        name = definition["metadata"]["name"]
        if not definition["status"]["acceptedNames"]["plural"]:
            return
        kind = Custom(definition)
        self._catalog.add(kind)
        for obj in self._store.all(name):
            self._store.refresh(name, _with_new_defaults(kind, obj))

    def removed(self, definition: Object, now: str) -> None:
        """Serve a kind no longer: watches of it end, and its names are free for who waited for them."""
        name = definition["metadata"]["name"]
        self._catalog.drop(name)
        self._store.close_watches(name)
        for other in self._store.all(CRDS):
            if other["spec"]["group"] == definition["spec"]["group"] and not other["status"]["acceptedNames"]["plural"]:
                self.written(other, now)

    def _accepted(self, definition: Object, now: str) -> Object:
        """The status of a definition after its names were compared with those of its group."""
        status, spec = definition["status"], definition["spec"]
        names = {field: spec["names"][field] for field in _NAMES if field in spec["names"]}
        conflict = self._conflict(definition)
        conditions = {c["type"]: c for c in status.get("conditions") or []}
        if conflict:
            reason, taken = conflict
            _set(conditions, "NamesAccepted", "False", reason, f'"{taken}" is already in use', now)
            if "Established" not in conditions:
                _set(conditions, "Established", "False", "NotAccepted", "not all names are accepted", now)
            return {**status, "conditions": list(conditions.values())}
        _set(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        message = "the initial names have been accepted"
        _set(conditions, "Established", "True", "InitialNamesAccepted", message, now)
        return {**status, "conditions": list(conditions.values()), "acceptedNames": names}

    def _conflict(self, definition: Object) -> tuple[str, str] | None:
        """The first name that another definition of the group has, with the reason that says which it is."""
        spec, mine = definition["spec"], definition["spec"]["names"]
        taken: set[str] = set()
        kinds: set[str] = set()
        for other in self._store.all(CRDS):
            if other["spec"]["group"] != spec["group"] or other["metadata"]["name"] == definition["metadata"]["name"]:
                continue
            theirs = other["status"]["acceptedNames"]
            taken |= {theirs.get("plural", ""), theirs.get("singular", ""), *(theirs.get("shortNames") or ())}
            kinds |= {theirs.get("kind", ""), theirs.get("listKind", "")}
        if mine["singular"] in taken:
            return "SingularConflict", mine["singular"]
        for name in mine.get("shortNames") or ():
            if name in taken:
                return "ShortNamesConflict", name
        if mine["kind"] in kinds:
            return "KindConflict", mine["kind"]
        return ("ListKindConflict", mine["listKind"]) if mine["listKind"] in kinds else None


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
    out: Object = copied(obj)
    out["apiVersion"] = kind.resource.api_version
    kind.revive(out, kind.resource.version)
    return out
