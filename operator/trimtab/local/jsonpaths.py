"""JSONPath, as printer columns use it: fields, indices, slices, unions, wildcards, descent and filters."""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], list[Any]]

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_STEP = re.compile(
    rf"""(?P<deep>\.\.)(?P<found>\*|(?:[^.\[\]\\]|\\.)+)?
      | \.(?P<field>(?:[^.\[\]\\]|\\.)+)
      | \.?\[\?\((?P<filter>(?:{_QUOTED}|[^)"'])*)\)\]
      | \.?\[(?P<inside>(?:{_QUOTED}|[^\]"'])*)\]""",
    re.VERBOSE,
)
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?")
_COMPARISON = re.compile(rf"\s*(?P<left>{_QUOTED}|[^=!<>]+?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>.+?))?\s*")


class UnreadablePath(Exception):  # noqa: N818 - says what the path is
    """A path outside of that part, or one that does not fit the document."""


def values_at(document: Any, path: str) -> list[Any]:
    """Everything that a path finds; nothing where it leads nowhere.

    Raises:
        UnreadablePath: it is no such path, or asks for an element of what is no list.
    """
    found = [document]
    for step in steps_of(path):
        found = [inner for value in found for inner in step(value)]
    return found


@lru_cache(maxsize=1_024)
def steps_of(path: str) -> tuple[Step, ...]:
    """Read a path such as `.status.conditions[?(@.type=="Ready")].status`.

    Raises:
        UnreadablePath: it is no such path.
    """
    if not path.startswith((".", "[")):
        raise UnreadablePath(f"{path!r} does not start with a dot")
    found: list[Step] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or match.end() == at:
            if path == ".":
                break
            raise UnreadablePath(f"{path!r} cannot be read from character {at + 1} on")
        found.extend(_steps(match, path))
        at = match.end()
    return tuple(found)


def _steps(match: re.Match[str], path: str) -> Iterator[Step]:
    if match["deep"]:
        yield lambda value: list(_descend(value))
        if match["found"]:
            yield _named(match["found"])
    elif match["field"] is not None:
        yield _named(match["field"])
    elif match["filter"] is not None:
        yield _filtered(match["filter"], path)
    else:
        yield _inside(match["inside"], path)


def _named(name: str) -> Step:
    name = re.sub(r"\\(.)", r"\1", name)
    return _all if name == "*" else lambda value: _field(value, name)


def _all(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value[key] for key in sorted(value)]
    return list(value) if isinstance(value, list) else []


def _field(value: Any, name: str) -> list[Any]:
    return [value[name]] if isinstance(value, dict) and value.get(name) is not None else []


def _descend(value: Any) -> Iterator[Any]:
    yield value
    for inner in _all(value):
        yield from _descend(inner)


def _inside(text: str, path: str) -> Step:
    """What stands in brackets: *, an index, a slice, quoted names, or several of them."""
    parts = [part.strip() for part in re.findall(rf"(?:{_QUOTED}|[^,\"'])+", text)]
    steps = [_element(part, path) for part in parts]
    if not steps:
        raise UnreadablePath(f"{path!r} has brackets with nothing in them")
    return steps[0] if len(steps) == 1 else lambda value: [found for step in steps for found in step(value)]


def _element(text: str, path: str) -> Step:
    if text == "*":
        return _all
    if text[:1] in "'\"" and text:
        name = text[1:-1]
        return lambda value: _field(value, name)
    if re.fullmatch(r"-?\d+", text):
        index = int(text)
        return lambda value: _items(value, path)[index : index + 1 or None]
    if bounds := _SLICE.fullmatch(text):
        first, last, stride = (int(bound) if bound else None for bound in bounds.groups())
        return lambda value: _items(value, path)[first : last : stride or 1]
    raise UnreadablePath(f"{path!r} has {text!r} in brackets, which is no index, slice or quoted name")


def _items(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise UnreadablePath(f"{path!r} asks for an element of what is no list")
    return value


def _filtered(text: str, path: str) -> Step:
    """Elements for which a comparison holds, or that have what is named."""
    match = _COMPARISON.fullmatch(text)
    if match is None or not (match["left"].startswith("@") or match["operator"]):
        raise UnreadablePath(f"{path!r} has a filter that cannot be read: {text}")
    left = _operand(match["left"])
    if not match["operator"]:
        return lambda value: [item for item in _items(value, path) if left(item)]
    right, holds = _operand(match["right"]), _OPERATORS[match["operator"]]
    return lambda value: [item for item in _items(value, path) if _compare(left(item), right(item), holds)]


def _operand(text: str) -> Step:
    if text.startswith("@"):
        steps = steps_of(text[1:] or ".")
        return lambda item: _followed(item, steps)
    literal = _literal(text)
    return lambda _item: [literal]


def _followed(item: Any, steps: tuple[Step, ...]) -> list[Any]:
    found = [item]
    for step in steps:
        found = [inner for value in found for inner in step(value)]
    return found


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def _compare(left: list[Any], right: list[Any], holds: Callable[[Any, Any], bool]) -> bool:
    """Whether it holds between two values that are there and can be compared."""
    if len(left) != 1 or len(right) != 1:
        return False
    try:
        return holds(left[0], right[0])
    except TypeError:
        return False


def _literal(text: str) -> Any:
    if text[:1] in "\"'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
