"""The way in: who sends a request, in whose name, and whether they may."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import unquote

from trimtab.local.access.attributes import Attributes, attributes_of
from trimtab.local.access.certificates import user_of
from trimtab.local.access.policy import Policy
from trimtab.local.access.tokens import AUDIENCES, InvalidTokenError, TokenIssuer
from trimtab.local.access.users import (
    ADMIN,
    ANONYMOUS,
    ANONYMOUS_NAME,
    AUTHENTICATED,
    UNAUTHENTICATED,
    User,
    account_groups,
    account_of,
)
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError, bad_request

_ALWAYS = frozenset(("/healthz", "/livez", "/readyz"))
_ENTERED = ("attach", "exec", "portforward")  # a WebSocket begins with GET, and is no mere reading
_EXTRA = "impersonate-extra-"
_IMPERSONATION = "authentication.k8s.io"


class Headers(Protocol):
    """Headers of a request, by names in any case."""

    def get(self, name: str, default: str, /) -> str: ...

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]: ...

    def __contains__(self, name: object, /) -> bool: ...

    def items(self) -> Iterable[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """The user behind a request, and the gate to ask for more."""

    user: User
    gate: Gate


class Gate:
    """Lets requests in. Raises ApiError 401 for credentials that do not hold, and 403 for what is not allowed.

    Attributes:
        policy: answers what users may do.
        tokens: signs and checks the tokens of service accounts.
    """

    def __init__(self, policy: Policy, tokens: TokenIssuer, admin_token: str) -> None:
        self.policy = policy
        self.tokens = tokens
        self._admin = f"Bearer {admin_token}".encode()

    def enter(self, method: str, path: str, query: Mapping[str, str], headers: Headers, peer: Any = None) -> User:
        """The user in whose name the request may go on; `peer` is the client's certificate as `ssl` has it."""
        user = self.authenticated(headers, peer)
        if "Impersonate-User" in headers or "Impersonate-Group" in headers or "Impersonate-Uid" in headers:
            user = self._impersonated(user, headers)
        if not user.may_everything and path not in _ALWAYS:
            asked = attributes_of(method, path, query)
            self.require(user, asked)
            if (asked.resource, asked.verb) == ("pods", "get") and asked.subresource in _ENTERED:
                self.require(user, replace(asked, verb="create"))
        return user

    def authenticated(self, headers: Headers, peer: Any) -> User:
        """Who shows a certificate or a token; nobody in particular without either. Raises ApiError 401."""
        shown = headers.get("Authorization", "")
        if shown and hmac.compare_digest(_bytes(shown), self._admin):
            return ADMIN
        if (known := user_of(peer)) is not None:
            return known
        scheme, _, rest = shown.strip().partition(" ")
        token = rest.partition(" ")[0]
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS
        try:
            return self.bearer(token)[0]
        except InvalidTokenError:
            raise ApiError(401, "Unauthorized", "Unauthorized") from None

    def bearer(self, token: str, audiences: Sequence[str] = AUDIENCES) -> tuple[User, Sequence[str]]:
        """Whose token it is, and for which of the audiences it holds. Raises InvalidTokenError."""
        if hmac.compare_digest(_bytes(f"Bearer {token}"), self._admin):
            return ADMIN, audiences
        return self.tokens.user(token, audiences)

    def require(self, user: User, wanted: Attributes) -> None:
        """Raises ApiError 403 unless the user may."""
        decision = self.policy.decide(user, wanted)
        if not decision.allowed:
            text = wanted.refusal(user)
            raise forbidden(wanted, f"{text}: {decision.reason}" if decision.reason else text)

    def _impersonated(self, user: User, headers: Headers) -> User:
        """The user that a request asks to be taken for."""
        name = headers.get("Impersonate-User", "")
        groups = tuple(headers.getall("Impersonate-Group", ()))
        uid = headers.get("Impersonate-Uid", "")
        extra: dict[str, tuple[str, ...]] = {}
        for key, value in headers.items():
            if key.lower().startswith(_EXTRA):
                field = unquote(key[len(_EXTRA) :].lower())
                extra[field] = (*extra.get(field, ()), value)
        if not name:
            # A real server calls this its own fault (500).
            raise bad_request("requested groups, a UID or extra fields without impersonating a user")
        account = account_of(name)
        if account is not None:
            self.require(user, _asked("serviceaccounts", account[1], namespace=account[0]))
        else:
            self.require(user, _asked("users", name))
        for group in groups:
            self.require(user, _asked("groups", group))
        for field, values in extra.items():
            for value in values:
                self.require(user, _asked("userextras", value, _IMPERSONATION, field))
        if uid:
            self.require(user, _asked("uids", uid, _IMPERSONATION))
        if account is not None and not groups:
            groups = account_groups(account[0])
        return User(name, _with_system_group(name, groups), uid, extra)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # headers may have bytes that are no text


def _asked(resource: str, name: str, group: str = "", subresource: str = "", *, namespace: str = "") -> Attributes:
    return Attributes("impersonate", "", group, "v1", resource, subresource, namespace, name)


def _with_system_group(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    return (*groups, UNAUTHENTICATED if name == ANONYMOUS_NAME else AUTHENTICATED)


def forbidden(wanted: Attributes, text: str) -> ApiError:
    """403 about a resource or a path."""
    if not wanted.resource:
        return ApiError(403, "Forbidden", f"forbidden: {text}", {})
    details: Object = {"name": wanted.name} if wanted.name else {}
    if wanted.group:
        details["group"] = wanted.group
    details["kind"] = wanted.resource
    key = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    named = f'{key} "{wanted.name}"' if wanted.name else key
    return ApiError(403, "Forbidden", f"{named} is forbidden: {text}", details)
