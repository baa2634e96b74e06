"""What a path asks for: group, version, namespace, resource, name, subresource."""

from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Target:
    """A path below /api/V or /apis/G/V; what it does not name is empty.

    `watch` is set by the prefix that old clients ask for a watch with: /api/V/watch/...
    """

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()
    watch: bool = False


def target_of(path: str) -> Target | None:
    """Read a path; None where it names no resource."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if "" in parts:
        return None
    match parts:
        case ["api", version, *rest] if rest:
            group = ""
        case ["apis", group, version, *rest] if rest:
            pass
        case _:
            return None
    if watch := rest[0] == "watch" and len(rest) > 1:
        rest = rest[1:]
    if rest[0] == "namespaces" and len(rest) > 2 and not (rest[2] in ("status", "finalize") and len(rest) == 3):
        return _below(group, version, rest[1], rest[2:], watch=watch)
    return _below(group, version, "", rest, watch=watch)


def _below(group: str, version: str, namespace: str, parts: list[str], *, watch: bool) -> Target:
    plural, name, subresource, *rest = [*parts, "", "", ""]
    return Target(group, version, plural, namespace, name, subresource, tuple(part for part in rest if part), watch)
