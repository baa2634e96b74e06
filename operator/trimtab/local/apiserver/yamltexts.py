"""Reading YAML documents as JSON, with the complaints of the Go parser, and bounded whatever they refer to."""

import contextlib
import json
import math
from typing import Any

import yaml

from trimtab.local.apiserver.jsontexts import DEEPEST, Document, Unreadable, read_json

_SURELY_SHALLOW = 1_000  # brackets, or characters in a line: fewer cannot nest deep enough to do harm
_MOST_MERGED = 100_000  # entries that merge keys (`<<`) may bring into a document
_ALIASING = "yaml: document contains excessive aliasing"
# As go-yaml bounds it: from so many values on, this share of them may stand behind aliases.
_RATIO_FROM, _RATIO_TO = (400_000, 0.99), (4_000_000, 0.10)


def read_yaml(body: bytes) -> Document:
    """Raises Unreadable."""
    if body[:1] == b"{":  # JSON is YAML, and read much faster as what it is
        with contextlib.suppress(Unreadable):
            if not (found := read_json(body)).twice:
                return found
    try:
        _check_depth(body)
        loader = _Loader(body)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise Unreadable(f"yaml: {_go_place(error)}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unreadable(f"yaml: {str(error).splitlines()[0]}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"yaml: {error}") from None
    return Document(_Conversion(aliases=b"*" in body).of(value), loader.twice)


def _check_depth(body: bytes) -> None:
    """Refuse what nests too deep before it is put together: libyaml's recursion would end the process."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets <= _SURELY_SHALLOW and max(map(len, body.splitlines()), default=0) <= _SURELY_SHALLOW:
        return
    depth = 0
    for event in yaml.parse(body, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST + 1:
                raise Unreadable("exceeded max depth")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _go_place(error: yaml.MarkedYAMLError) -> str:
    for mark in (error.context_mark, error.problem_mark):
        if mark is not None and mark.line:
            return f"line {mark.line + isinstance(error, yaml.scanner.ScannerError)}: "
    return ""


class _Conversion:
    """Makes plain JSON of a document; what stands behind an alias is there once for each time it is named."""

    def __init__(self, *, aliases: bool) -> None:
        self._seen: dict[int, Any] | None = {} if aliases else None
        self._values = 0
        self._behind_aliases = 0

    def of(self, value: Any, depth: int = 0, *, aliased: bool = False) -> Any:
        """What YAML has and JSON has not, as the conversion writes it: keys are strings. Raises Unreadable."""
        if depth > DEEPEST:
            raise Unreadable("exceeded max depth")
        if self._seen is not None:
            aliased = self._count(value, aliased)
        if isinstance(value, dict):
            return {_key(name): self.of(inner, depth + 1, aliased=aliased) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.of(item, depth + 1, aliased=aliased) for item in value]
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, float) and not math.isfinite(value):
            raise Unreadable(f"json: unsupported value: {value}")
        return value

    def _count(self, value: Any, aliased: bool) -> bool:
        """Whether the value stands behind an alias: it does when it was met before."""
        seen = self._seen
        if seen is not None and isinstance(value, dict | list):
            aliased = aliased or id(value) in seen
            seen[id(value)] = value
        self._values += 1
        self._behind_aliases += aliased
        many = self._behind_aliases > 100 and self._values > 1_000
        if many and self._behind_aliases / self._values > _allowed_ratio(self._values):
            raise Unreadable(_ALIASING)
        return aliased


def _allowed_ratio(values: int) -> float:
    (low, most), (high, least) = _RATIO_FROM, _RATIO_TO
    share = min(1.0, max(0.0, (values - low) / (high - low)))
    return most - (most - least) * share


def _key(name: Any) -> str:
    if isinstance(name, bool):
        return "true" if name else "false"
    return str(name)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader, with keys that occur twice noted, and JSON's types.

    Timestamps and numbers in base 60 (`22:22`) stay text, as go-yaml has them.
    """

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.twice: list[str] = []
        self._merged = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and ":" in value:
            return "tag:yaml.org,2002:str"  # nothing else that we read has a colon
        return super().resolve(kind, value, implicit)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, value_node in node.value:
            key = getattr(key_node, "value", None)
            if isinstance(key, str):
                if key in seen:
                    line = value_node.start_mark.line + 1
                    self.twice.append(f"line {line}: key {json.dumps(key)} already set in map")
                seen.add(key)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: Any) -> None:
        """Bring in what merge keys refer to, unless each step multiplies what the one before brought."""
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = [value_node] if isinstance(value_node, yaml.MappingNode) else value_node.value
                for other in merged:
                    if isinstance(other, yaml.MappingNode):
                        self.flatten_mapping(other)
                        self._merged += len(other.value)
                        if self._merged > _MOST_MERGED:
                            raise Unreadable(_ALIASING)
        super().flatten_mapping(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
