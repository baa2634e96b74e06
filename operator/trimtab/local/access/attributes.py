"""What a request asks for, as authorization sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.local.access.users import User

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_BY_NAME = re.compile(r"(?:^|,)\s*metadata\.name==?([^=,!]+)(?:,|$)")


@dataclass(frozen=True, slots=True)
class Attributes:
    """A verb on a resource, or on a path that is none (`path` is set, everything about resources is empty)."""

    verb: str
    path: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def combined(self) -> str:
        """The resource as rules name it: with its subresource behind a slash."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def refusal(self, user: User) -> str:
        """That the user may not, in Kubernetes' words."""
        if not self.resource:
            return f'User "{user.name}" cannot {self.verb} path "{self.path}"'
        what = f'User "{user.name}" cannot {self.verb} resource "{self.combined}" in API group "{self.group}"'
        return f'{what} in the namespace "{self.namespace}"' if self.namespace else f"{what} at the cluster scope"


def attributes_of(method: str, path: str, query: Mapping[str, str]) -> Attributes:
    """Read a request by its method and path alone, whether such a resource is served or not."""
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["api", version, first, *rest]:
            group = ""
        case ["apis", group, version, first, *rest]:
            pass
        case _:
            return Attributes(method.lower(), path)
    watches = first == "watch" and bool(rest)
    if watches:
        first, *rest = rest
    namespace = ""
    found = [first, *rest]
    if first == "namespaces" and rest:
        namespace = rest[0]
        if len(rest) > 1 and rest[1] not in ("status", "finalize"):
            found = rest[1:]
    resource, name, subresource, *_ = [*found, "", ""]
    verb = _VERBS.get(method, "")
    if watches:
        verb = "watch"
    elif not name:
        verb, name = _of_many(verb, query)
    return Attributes(verb, "", group, version, resource, subresource, namespace, name)


def _of_many(verb: str, query: Mapping[str, str]) -> tuple[str, str]:
    """The verb for a collection; a selector for one name counts as asking for that object."""
    if verb == "get":
        selected = _BY_NAME.search(query.get("fieldSelector", ""))
        watching = "watch" in query and query["watch"].lower() not in ("0", "false")
        return "watch" if watching else "list", selected.group(1).strip() if selected else ""
    return "deletecollection" if verb == "delete" else verb, ""
