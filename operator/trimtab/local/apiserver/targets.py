"""What a path asks for: group, version, namespace, resource, name, subresource."""

from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Target:
    """A path below /api/V or /apis/G/V; what it does not name is empty."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()


def target_of(path: str) -> Target | None:
    """Read a path; None where it names no resource."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    match parts:
        case ["api", version, *rest] if rest:
            group = ""
        case ["apis", group, version, *rest] if rest:
            pass
        case _:
            return None
    # "watch" as a prefix is the old way of asking for what ?watch=true does; nobody sends it any more.
    if rest[0] == "namespaces" and len(rest) > 2 and not (rest[2] in ("status", "finalize") and len(rest) == 3):
        return _below(group, version, rest[1], rest[2:])
    return _below(group, version, "", rest)


def _below(group: str, version: str, namespace: str, parts: list[str]) -> Target:
    plural, name, subresource, *rest = [*parts, "", "", ""]
    return Target(group, version, plural, namespace, name, subresource, tuple(part for part in rest if part))
