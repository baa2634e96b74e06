"""The types of the built-in kinds, as schema nodes in the vocabulary of OpenAPI v3.

`builtin_types.txt` lists every type with its fields: `name! type flags;`. `!` is required, `[T]` a list,
`{T}` a map. Flags: `map=k1,k2` and `set` say how server-side apply merges a list, `merge=key` and `retain`
how a strategic merge patch does, `atomic` that it is replaced whole, `default=V` a value that takes part in
list keys.
"""

from functools import cache
from importlib import resources
from typing import Any

Node = dict[str, Any]
"""A schema node: JSON-schema keywords with the x-kubernetes extensions."""

_SCALARS: dict[str, Node] = {
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "microTime": {"type": "string", "format": "date-time", "x-go-type": "microTime"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "quantity": {"x-kubernetes-int-or-string": True, "x-go-type": "quantity"},
    "intOrString": {"x-kubernetes-int-or-string": True},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
}


@cache
def definitions() -> dict[str, Node]:
    """Every type by its name, with `{"$ref": name}` where it refers to another type."""
    text = resources.files("trimtab.local.schema").joinpath("builtin_types.txt").read_text("utf-8")
    found: dict[str, Node] = {}
    node: Node = {}
    for line in text.splitlines():
        if not line.startswith(" "):
            name, *flags = line.rstrip(":").split()
            node = {"type": "object", "x-go-type": name, "properties": {}}
            if "atomic" in flags:
                node["x-kubernetes-map-type"] = "atomic"
            found[name] = node
        else:
            for field in line.split(";"):
                if field.strip():
                    _add_field(node, field.split())
    return found


def _add_field(node: Node, words: list[str]) -> None:
    name, type_name, *flags = words
    if name.endswith("!"):
        name = name[:-1]
        node.setdefault("required", []).append(name)
    node["properties"][name] = {**_type(type_name), **_flags(type_name, flags)}


def _type(name: str) -> Node:
    if name.startswith("["):
        return {"type": "array", "items": _type(name[1:-1])}
    if name.startswith("{"):
        return {"type": "object", "additionalProperties": _type(name[1:-1])}
    if name.endswith("|bool"):
        return {"x-kubernetes-preserve-unknown-fields": True, "x-go-type": name}
    return _SCALARS.get(name) or {"$ref": name}


def _flags(type_name: str, flags: list[str]) -> Node:
    found: Node = {}
    for flag in flags:
        keyword, _, value = flag.partition("=")
        match keyword:
            case "map":
                found["x-kubernetes-list-type"] = "map"
                found["x-kubernetes-list-map-keys"] = value.split(",")
            case "set":
                found["x-kubernetes-list-type"] = "set"
            case "merge":
                found["x-kubernetes-patch-strategy"] = "merge"
                if value:
                    found["x-kubernetes-patch-merge-key"] = value
            case "retain":
                strategy = found.get("x-kubernetes-patch-strategy")
                found["x-kubernetes-patch-strategy"] = f"{strategy},retainKeys" if strategy else "retainKeys"
            case "atomic":
                kind = "list" if type_name.startswith("[") else "map"
                found[f"x-kubernetes-{kind}-type"] = "atomic"
            case _:
                found["default"] = value
    if type_name.startswith("[") and "x-kubernetes-list-type" not in found:
        found["x-kubernetes-list-type"] = "atomic"
    return found


@cache
def node_of(name: str) -> Node:
    """The type `name` with its references replaced by the types themselves; recursive types make cycles."""
    return _linked()[name]


@cache
def _linked() -> dict[str, Node]:
    linked: dict[str, Node] = {name: {} for name in definitions()}
    for name, node in definitions().items():
        linked[name].update(_link(node, linked))
    return linked


def _link(node: Node, linked: dict[str, Node]) -> Node:
    if "$ref" in node:
        target = linked[node["$ref"]]
        extra = {k: v for k, v in node.items() if k != "$ref"}
        return _Overlay(target, extra) if extra else target
    out = dict(node)
    for keyword in ("items", "additionalProperties"):
        if keyword in out:
            out[keyword] = _link(out[keyword], linked)
    if "properties" in out:
        out["properties"] = {k: _link(v, linked) for k, v in out["properties"].items()}
    return out


class _Overlay(dict[str, Any]):
    """A type with additions at one place of use; the type may still be filled in while linking."""

    def __init__(self, target: Node, extra: Node) -> None:
        super().__init__(extra)
        self._target = target

    def __missing__(self, key: str) -> Any:
        return self._target[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._target

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key) if super().__contains__(key) else self._target.get(key, default)
