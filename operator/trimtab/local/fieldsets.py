"""Sets of fields: who owns what. A path is a tuple of elements as FieldsV1 writes them.

`f:name` is a field, `k:{...}` an item of a list by its keys, `v:...` a member of a set.
"""

import json
from typing import Any, NamedTuple

from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node

Path = tuple[str, ...]
FieldSet = set[Path]

# What the server itself decides is owned by nobody.
_UNOWNED: frozenset[Path] = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",), ("f:spec", "."), ("f:status", ".")}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    }
)
_UNTYPED: Node = {}


def is_atomic(value: Any, node: Node) -> bool:
    """Whether the value is owned and replaced as a whole."""
    if isinstance(value, dict):
        return bool(node.get("x-kubernetes-map-type") == "atomic")
    if isinstance(value, list):
        return node.get("x-kubernetes-list-type") not in ("map", "set")
    return True


def child_node(node: Node, name: str) -> Node:
    """The schema of a field or of a map's value; an empty node where the schema says nothing."""
    properties = node.get("properties")
    if properties and name in properties:
        found: Node = properties[name]
        return found
    additional = node.get("additionalProperties")
    return additional if isinstance(additional, dict) else _UNTYPED


def item_element(item: Any, node: Node) -> str:
    """How a set or a list with keys names one of its items."""
    if node.get("x-kubernetes-list-type") == "set" or not isinstance(item, dict):
        return "v:" + json.dumps(item, separators=(",", ":"))
    keys: Object = {}
    for key in sorted(node.get("x-kubernetes-list-map-keys") or ()):
        default = child_node(node.get("items", _UNTYPED), key).get("default")
        if (value := item.get(key, default)) is not None:
            keys[key] = value
    return "k:" + json.dumps(keys, separators=(",", ":"))


def fields_of(value: Any, node: Node, *, containers: bool = False) -> FieldSet:
    """All fields that a value sets; with `containers`, the maps and lists themselves as well."""
    found: FieldSet = set()
    _collect(value, node, (), found, containers)
    return owned(found)


def owned(fields: FieldSet) -> FieldSet:
    return {path for path in fields if path not in _UNOWNED and path}


def _collect(value: Any, node: Node, path: Path, found: FieldSet, containers: bool) -> None:
    if is_atomic(value, node) or not value:
        found.add(path)
        return
    if containers:
        found.add(path)
    if isinstance(value, dict):
        for name, inner in value.items():
            _collect(inner, child_node(node, name), (*path, f"f:{name}"), found, containers)
        return
    items = node.get("items", _UNTYPED)
    for item in value:
        where = (*path, item_element(item, node))
        found.add(where)
        if isinstance(item, dict):
            _collect(item, items, where, found, containers)


class Difference(NamedTuple):
    """Fields that one object has and the other has not, or not with the same value."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)


def compare(old: Object, new: Object, node: Node) -> Difference:
    difference = Difference(set(), set(), set())
    _compare(old, new, node, (), difference)
    return Difference(*(owned(fields) for fields in difference))


def _compare(old: Any, new: Any, node: Node, path: Path, out: Difference) -> None:
    if old == new:
        return
    granular = type(old) is type(new) and not is_atomic(new, node) and not is_atomic(old, node)
    if not granular:
        out.modified.add(path)
        return
    if isinstance(new, dict):
        for name in old.keys() | new.keys():
            _compare_child(old, new, name, child_node(node, name), (*path, f"f:{name}"), out)
        return
    before = {item_element(item, node): item for item in old}
    after = {item_element(item, node): item for item in new}
    items = node.get("items", _UNTYPED)
    for element in before.keys() | after.keys():
        _compare_child(before, after, element, items, (*path, element), out)


def _compare_child(old: Object, new: Object, name: str, node: Node, path: Path, out: Difference) -> None:
    if name not in old:
        _collect(new[name], node, path, out.added, containers=True)
    elif name not in new:
        _collect(old[name], node, path, out.removed, containers=True)
    else:
        _compare(old[name], new[name], node, path, out)


def to_fields_v1(fields: FieldSet) -> Object:
    """The nested form that managedFields carry; "." marks a path that is a member and has members below."""
    tree: Object = {}
    for path in sorted(fields):
        at = tree
        for element in path:
            at = at.setdefault(element, {})
        at["."] = {}
    _strip_leaf_marks(tree)
    return tree


def _strip_leaf_marks(tree: Object) -> None:
    for name, inner in tree.items():
        if name != ".":
            if inner.keys() == {"."}:
                tree[name] = {}
            else:
                _strip_leaf_marks(inner)


def from_fields_v1(tree: Object) -> FieldSet:
    found: FieldSet = set()
    _read_tree(tree, (), found)
    return found


def _read_tree(tree: Object, path: Path, found: FieldSet) -> None:
    if path and (not tree or "." in tree):
        found.add(path)
    for name, inner in tree.items():
        if name != ".":
            _read_tree(inner, (*path, name), found)


def shown(path: Path) -> str:
    """A path as conflicts name it, such as `.spec.containers[name="main"].image`."""
    out = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            out += f".{rest}"
        elif kind == "k":
            keys = json.loads(rest)
            out += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in sorted(keys.items())) + "]"
        elif kind == "i":
            out += f"[{rest}]"
        else:
            out += f"[={rest}]"
    return out
