"""CustomResourceDefinitions at work: the kind behind each one is served from its creation to its end."""

from trimtab.local.catalog import Catalog
from trimtab.local.kinds.custom import Custom
from trimtab.local.kinds.definitions import approval, is_protected, terminating
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
        self._serve(definition)

    def resume(self) -> None:
        """Serve every kind whose definition is stored already."""
        for definition in self._store.all(CRDS):
            self._serve(definition)

    def _serve(self, definition: Object) -> None:
        name = definition["metadata"]["name"]
        if not _is_true(definition, "Established"):
            return
        # What the kind is called is what was accepted, which may not be all that was asked for.
        kind = Custom({**definition, "spec": {**definition["spec"], "names": definition["status"]["acceptedNames"]}})
        self._catalog.add(kind)
        for obj in self._store.all(name):
            self._store.refresh(name, kind.converted(obj, kind.resource.version))

    def removed(self, definition: Object, now: str) -> None:
        """Serve a kind no longer: watches of it end, and its names are free for who waited for them."""
        name = definition["metadata"]["name"]
        self._catalog.drop(name)
        self._store.close_watches(name)
        for other in self._store.all(CRDS):
            if other["spec"]["group"] == definition["spec"]["group"] and not _is_true(other, "NamesAccepted"):
                self.written(other, now)

    def emptying(self, name: str, now: str) -> None:
        """Say that a definition waits for the last objects of its kind, if it does."""
        definition = self._store.find(CRDS, "", name)
        if definition is not None and definition["metadata"].get("deletionTimestamp") and self._store.all(name):
            text = "CustomResource deletion is in progress"
            self._store.put(CRDS, terminating(definition, "InstanceDeletionInProgress", text, now))

    def _accepted(self, definition: Object, now: str) -> Object:
        """The status of a definition after its names were compared with those of its group."""
        status, wanted = definition["status"], definition["spec"]["names"]
        names, conflict = self._names(definition)
        conditions = {c["type"]: c for c in status.get("conditions") or []}
        if is_protected(definition["spec"]["group"]):
            _judge_approval(conditions, definition, now)
        if names == {field: wanted[field] for field in _NAMES if field in wanted}:
            _set(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
            message = "the initial names have been accepted"
            if conditions.get("Established", {}).get("status") != "True":
                _set(conditions, "Established", "True", "InitialNamesAccepted", message, now)
        else:
            reason, message = conflict
            _set(conditions, "NamesAccepted", "False", reason, message, now)
            if "Established" not in conditions:
                _set(conditions, "Established", "False", "NotAccepted", "not all names are accepted", now)
        return {**status, "conditions": list(conditions.values()), "acceptedNames": names}

    def _names(self, definition: Object) -> tuple[Object, tuple[str, str]]:
        """The names that a definition gets, and the last conflict over one of them with its reason."""
        wanted, had = definition["spec"]["names"], definition["status"]["acceptedNames"]
        taken, kinds = self._taken(definition)
        conflict = ("", "")
        names: Object = {}
        for field in _NAMES:
            given = wanted.get(field)
            if field == "categories" or given == had.get(field):
                problems = []
            elif field == "shortNames":
                problems = [name for name in given or () if name not in (had.get(field) or ()) and name in taken]
            else:
                problems = [given] if given in (kinds if field in ("kind", "listKind") else taken) else []
            if problems:
                shown = [f'"{name}" is already in use' for name in problems]
                message = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
                conflict = (f"{field[0].upper()}{field[1:]}Conflict", message)
                given = had.get(field)
            if given:
                names[field] = given
        for required in ("plural", "kind"):
            names.setdefault(required, "")
        return names, conflict

    def _taken(self, definition: Object) -> tuple[set[str], set[str]]:
        """Names of resources and of kinds that other definitions of the group have."""
        taken: set[str] = set()
        kinds: set[str] = set()
        for other in self._store.all(CRDS):
            same_group = other["spec"]["group"] == definition["spec"]["group"]
            if not same_group or other["metadata"]["name"] == definition["metadata"]["name"]:
                continue
            theirs = other["status"]["acceptedNames"]
            taken |= {theirs.get("plural", ""), theirs.get("singular", ""), *(theirs.get("shortNames") or ())}
            kinds |= {theirs.get("kind", ""), theirs.get("listKind", "")}
        return taken - {""}, kinds - {""}


def _is_true(definition: Object, kind: str) -> bool:
    conditions = definition["status"].get("conditions") or []
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def _judge_approval(conditions: dict[str, Object], definition: Object, now: str) -> None:
    """Say whether the API of a protected group was approved."""
    state, message = approval(definition)
    reasons = {"Approved": ("True", "ApprovedAnnotation"), "Bypassed": ("False", "UnapprovedAnnotation")}
    status, reason = reasons.get(state, ("False", f"{state}Annotation"))
    _set(conditions, "KubernetesAPIApprovalPolicyConformant", status, reason, message, now)


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
