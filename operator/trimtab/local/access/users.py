"""Who a request is from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
ACCOUNT_PREFIX = "system:serviceaccount:"
ADMIN_NAME = "kubernetes-admin"
ANONYMOUS_NAME = "system:anonymous"


@dataclass(frozen=True, slots=True)
class User:
    """A name and groups; `uid` and `extra` where whoever vouches for the user knows more."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def may_everything(self) -> bool:
        return MASTERS in self.groups


ADMIN = User(ADMIN_NAME, (MASTERS, AUTHENTICATED))
ANONYMOUS = User(ANONYMOUS_NAME, (UNAUTHENTICATED,))


def account_name(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{ACCOUNT_PREFIX}{namespace}:{name}"


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups that every service account of a namespace is in."""
    return (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")


def account_of(user_name: str) -> tuple[str, str] | None:
    """Namespace and name of the service account behind a user name, if it is one's."""
    if not user_name.startswith(ACCOUNT_PREFIX):
        return None
    namespace, _, name = user_name.removeprefix(ACCOUNT_PREFIX).partition(":")
    return (namespace, name) if namespace and name and ":" not in name else None
