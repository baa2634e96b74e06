"""metadata.managedFields: which manager owns which fields, and what applying means for the others."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import lru_cache

from trimtab.local import lastapplied
from trimtab.local.applying import merged, pruned
from trimtab.local.fieldsets import (
    FieldSet,
    Path,
    compare,
    fields_of,
    from_fields_v1,
    shown,
    to_fields_v1,
)
from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node
from trimtab.local.statuses import ApiError

_MOST_UPDATERS = 10
_ANCIENT = "ancient-changes"


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes, how, and in which version: two writes by the same manager share an entry."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one manager owns, and since when; `tree` is how the object says it, if it does already."""

    manager: Manager
    fields: frozenset[Path]
    time: str
    tree: Object | None = field(default=None, compare=False)


def entries_of(obj: Object) -> list[Entry]:
    return [
        Entry(
            Manager(
                entry.get("manager", ""),
                entry.get("operation", "Update"),
                entry.get("apiVersion", ""),
                entry.get("subresource", ""),
            ),
            _fields_of_tree(entry["fieldsV1"]),
            entry.get("time", ""),
            entry.get("fieldsV1"),
        )
        for entry in obj["metadata"].get("managedFields") or []
        if entry.get("fieldsV1") is not None
    ]


def _written(entry: Entry) -> Object:
    out: Object = {
        "manager": entry.manager.name,
        "operation": entry.manager.operation,
        "apiVersion": entry.manager.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.tree if entry.tree is not None else _tree_of(entry.fields),
    }
    if entry.manager.subresource:
        out["subresource"] = entry.manager.subresource
    return out


_READ: OrderedDict[int, tuple[Object, frozenset[Path]]] = OrderedDict()
_MOST_READ = 4_096


def _fields_of_tree(tree: Object) -> frozenset[Path]:
    """The same tree is read once: known by its identity, it is kept beside its fields."""
    if (known := _READ.get(id(tree))) is not None:
        return known[1]
    fields = frozenset(from_fields_v1(tree))
    _READ[id(tree)] = tree, fields
    if len(_READ) > _MOST_READ:
        _READ.popitem(last=False)
    return fields


@lru_cache(4_096)
def _tree_of(fields: frozenset[Path]) -> Object:
    """Objects of one kind are mostly written alike: they share their trees, as no object is changed in place."""
    return to_fields_v1(set(fields))


def with_entries(obj: Object, entries: list[Entry]) -> None:
    """Set the object's managedFields, in place: appliers first, then by time, as Kubernetes orders them."""
    kept = sorted(
        (e for e in entries if e.fields),
        key=lambda e: (
            e.manager.operation != "Apply",
            e.time if e.manager.operation != "Apply" else "",
            e.manager.name,
        ),
    )
    if kept:
        obj["metadata"]["managedFields"] = [_written(entry) for entry in kept]
    else:
        obj["metadata"].pop("managedFields", None)


def without_entries(obj: Object) -> Object:
    if "managedFields" not in obj["metadata"]:
        return obj
    metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    return {**obj, "metadata": metadata}


def record_update(old: Object | None, new: Object, node: Node, manager: Manager, now: str) -> None:
    """Note in `new` that `manager` made the difference between `old` and `new`, in place."""
    if _is_reset(new) or (old is not None and not old["metadata"].get("managedFields")):
        # Once forgotten, owners are noted again from the first apply on.
        new["metadata"].pop("managedFields", None)
        return
    if old is None:
        fields = fields_of(without_entries(new), node, containers=True)
        with_entries(new, [Entry(manager, frozenset(fields), now)])
        return
    difference = compare(without_entries(old), without_entries(new), node)
    if not difference:
        _keep_entries(old, new)
        return
    gained = difference.added | difference.modified
    touched = gained | difference.removed
    entries = _taken_from_others(entries_of(old), manager, touched, now)
    own = next((e for e in entries if e.manager == manager), Entry(manager, frozenset(), now))
    kept = (own.fields | gained) - difference.removed
    others = [e for e in entries if e.manager != manager]
    mine = own if kept == own.fields and own.time else Entry(manager, kept, now)
    with_entries(new, _few_updaters([*others, mine]))


def _few_updaters(entries: list[Entry]) -> list[Entry]:
    """The oldest updates of a version become one, until no more than a few managers are left."""
    updaters = [e for e in entries if e.manager.operation == "Update" and e.fields]
    if (surplus := len(updaters) - _MOST_UPDATERS) <= 0:
        return entries
    merged_ones: dict[str, list[Entry]] = {}
    for entry in sorted(updaters, key=lambda e: (e.time, e.manager.name)):
        if surplus <= 0:
            break
        same_version = merged_ones.setdefault(entry.manager.api_version, [])
        same_version.append(entry)
        surplus -= len(same_version) > 1
    gone = [e for group in merged_ones.values() if len(group) > 1 for e in group]
    ancient = [
        Entry(
            Manager(_ANCIENT, "Update", version),
            frozenset[Path]().union(*(e.fields for e in group)),
            group[-1].time,
        )
        for version, group in merged_ones.items()
        if len(group) > 1
    ]
    return [e for e in entries if e not in gone] + ancient


def _is_reset(new: Object) -> bool:
    """An update that sends one empty entry asks to forget all owners."""
    return bool(new["metadata"].get("managedFields") == [{}])


def _keep_entries(old: Object, new: Object) -> None:
    if "managedFields" in old["metadata"]:
        new["metadata"]["managedFields"] = old["metadata"]["managedFields"]
    else:
        new["metadata"].pop("managedFields", None)


def _taken_from_others(entries: list[Entry], manager: Manager, touched: FieldSet, now: str) -> list[Entry]:
    return [
        replace(e, fields=e.fields - touched, time=now, tree=None) if e.manager != manager and e.fields & touched else e
        for e in entries
    ]


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of an apply: the object before defaulting, and who owns what."""

    object: Object
    entries: list[Entry]


def apply(live: Object, config: Object, node: Node, manager: Manager, *, force: bool, now: str) -> Applied:
    """Apply `config` on `live`.

    Fields that the manager applied before and left out now go, unless someone else owns them too.

    Raises:
        ApiError: 409 when it changes fields that others own, unless `force`.
    """
    entries = entries_of(live) or _before_first_apply(live, node, manager, now)
    last = next((e for e in entries if e.manager == manager), None)
    others = [e for e in entries if e.manager != manager]
    applied = fields_of(config, node)
    bare = without_entries(live)
    target: Object = merged(bare, config, node)
    if last is not None:
        kept = set(applied).union(*(e.fields for e in others))
        target = pruned(target, node, set(last.fields) - applied, kept)
    difference = compare(bare, target, node)
    gained = difference.added | difference.modified
    if not force and any(e.fields & gained for e in others):
        from_kubectl = manager.name == lastapplied.MANAGER
        disputed = gained - lastapplied.unchanged_since(bare, node) if from_kubectl else gained
        if conflicts := [(e, e.fields & disputed) for e in others if e.fields & disputed]:
            raise _conflict(conflicts)
    others = _taken_from_others(others, manager, gained | difference.removed, now)
    same = last is not None and last.fields == applied
    mine = last if last is not None and same else Entry(manager, frozenset(applied), now)
    result = lastapplied.followed(target, config) if manager.name == lastapplied.MANAGER else target
    return Applied(result, [*others, mine])


def _before_first_apply(live: Object, node: Node, manager: Manager, now: str) -> list[Entry]:
    fields = fields_of(without_entries(live), node)
    if not fields or "resourceVersion" not in live["metadata"]:
        return []
    unknown = Manager("before-first-apply", "Update", manager.api_version)
    return [Entry(unknown, frozenset(fields), now)]


def _conflict(found: list[tuple[Entry, frozenset[Path]]]) -> ApiError:
    causes = []
    lines = []
    for entry, fields in sorted(found, key=lambda pair: pair[0].manager.name):
        who = _shown_manager(entry)
        paths = [shown(path) for path in sorted(fields, key=_as_listed)]
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path} for path in paths
        ]
        lines += [f"conflicts with {who}:", *(f"- {path}" for path in paths)]
    if len(causes) == 1:
        text = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        text = f"{len(causes)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", f"Apply failed with {text}", {"causes": causes})


def _as_listed(path: Path) -> list[tuple[bool, str]]:
    """Sets list the members of a level before what is below it."""
    return [(index < len(path) - 1, element) for index, element in enumerate(path)]


def _shown_manager(entry: Entry) -> str:
    who = f'"{entry.manager.name}"'
    if entry.manager.subresource:
        who += f' with subresource "{entry.manager.subresource}"'
    if entry.manager.operation == "Update":
        who += f" using {entry.manager.api_version}"
        if entry.time:
            who += f" at {entry.time}"
    return who
