"""Server-side apply, the values: merging what a manager applies into what is there, and pruning what it dropped."""

from typing import Any

from trimtab.local.fieldsets import FieldSet, Path, child_node, is_atomic, item_element
from trimtab.local.objects import Object
from trimtab.local.schema.builtin import Node
from trimtab.local.schema.pruning import copied


def merged(live: Any, config: Any, node: Node) -> Any:
    """`live` with everything that `config` sets; neither is changed."""
    if type(live) is not type(config) or is_atomic(config, node) or is_atomic(live, node):
        return copied(config)
    if isinstance(config, dict):
        out = dict(live)
        for name, value in config.items():
            inner = child_node(node, name)
            out[name] = merged(live[name], value, inner) if name in live else copied(value)
        return out
    return _merged_list(live, config, node)


def _merged_list(live: list[Any], config: list[Any], node: Node) -> list[Any]:
    """Items by their keys: the applied order where both have an item, the others where they stood."""
    before = {item_element(item, node): item for item in live}
    wanted = {item_element(item, node): item for item in config}
    items = node.get("items", {})
    out: list[Any] = []
    placed: set[str] = set()
    rest = list(before)
    for element, item in wanted.items():
        if element in before:
            while rest:
                first = rest.pop(0)
                if first not in wanted:
                    out.append(before[first])
                if first == element:
                    break
        out.append(merged(before[element], item, items) if element in before else copied(item))
        placed.add(element)
    tail = [before[element] for element in rest if element not in wanted]
    # What only the live list has and stood behind all shared items keeps its place before new ones.
    new = len([e for e in reversed(list(wanted)) if e not in before])
    if tail and new and all(e not in before for e in list(wanted)[-new:]):
        return [*out[: len(out) - new], *tail, *out[len(out) - new :]]
    return out + tail


def pruned(obj: Object, node: Node, dropped: FieldSet, kept: FieldSet) -> Object:
    """`obj` without the fields in `dropped`, but for those that hold something in `kept`."""
    held: FieldSet = {path[:length] for path in kept for length in range(1, len(path) + 1)}
    doomed = {path for path in dropped if path not in held}
    if not doomed:
        return obj
    touched = {path[:length] for path in doomed for length in range(len(path))}
    result: Object = _without(obj, node, (), doomed, touched, held)
    return result


def _without(value: Any, node: Node, path: Path, doomed: FieldSet, touched: FieldSet, held: FieldSet) -> Any:
    if path not in touched or is_atomic(value, node):
        return value
    if isinstance(value, dict):
        out = {}
        for name, inner in value.items():
            where = (*path, f"f:{name}")
            if where in doomed:
                continue
            left = _without(inner, child_node(node, name), where, doomed, touched, held)
            if left or left == inner or where in held:
                out[name] = left
        return out
    left_items = []
    for item in value:
        where = (*path, item_element(item, node))
        if where not in doomed:
            left_items.append(_without(item, node.get("items", {}), where, doomed, touched, held))
    return left_items
