"""Tokens of service accounts: signed claims that hold while what they are bound to exists."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from trimtab.local.access.rules import quoted
from trimtab.local.access.users import AUTHENTICATED, User, account_groups, account_name
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCES = (ISSUER,)
POD_SECONDS = 3607  # what node agents ask for; the odd number tells the tokens of pods from others
_LONGEST_S = 365 * 24 * 3600
ALGORITHM = "ES256"
_REMEMBERED = 1024  # tokens whose signature need not be checked again
_EXTRA = "authentication.kubernetes.io/"

Find = Callable[[str, str, str], Object | None]


class InvalidTokenError(Exception):
    """A token that does not hold; the text says why."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a token dies with, beside its service account: a Pod, a Secret or a Node."""

    kind: str
    name: str
    uid: str
    node: str = ""


def lasting(seconds: int, audiences: Sequence[str], bound: Bound | None) -> int:
    """How long a token really holds: a pod's longer than it was asked for, as many clients read it only once."""
    of_a_pod = bound is not None and bound.kind == "Pod"
    return _LONGEST_S if of_a_pod and seconds == POD_SECONDS and tuple(audiences) == AUDIENCES else seconds


class TokenIssuer:
    """Signs and checks tokens. `find` looks up an object by resource, namespace and name."""

    def __init__(self, key: bytes, find: Find, clock: Callable[[], datetime], ids: Callable[[], str]) -> None:
        self._key = ECKey.import_key(key)
        self._find = find
        self._clock = clock
        self._ids = ids
        self._verified: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def key_set(self) -> Object:
        """The public keys, as OpenID Connect publishes them."""
        public = self._key.as_dict(private=False, use="sig", alg=ALGORITHM, kid=self._key.thumbprint())
        return {"keys": [public]}

    def issue(
        self, account: Object, seconds: int | None, audiences: Sequence[str] = (), bound: Bound | None = None
    ) -> str:
        """A token of a service account; without `seconds` it never expires."""
        metadata = account["metadata"]
        now = int(self._clock().timestamp())
        about: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound is not None:
            about[bound.kind.lower()] = {"name": bound.name, "uid": bound.uid}
            if bound.node and (node := self._find("nodes", "", bound.node)) is not None:
                about["node"] = {"name": bound.node, "uid": node["metadata"]["uid"]}
        claims: Object = {
            "aud": list(audiences or AUDIENCES),
            "iat": now,
            "iss": ISSUER,
            "jti": self._ids(),
            "kubernetes.io": about,
            "nbf": now,
            "sub": account_name(metadata["namespace"], metadata["name"]),
        }
        if seconds is not None:
            claims["exp"] = now + seconds
        header = {"alg": ALGORITHM, "kid": self._key.thumbprint()}
        return jwt.encode(header, claims, self._key)

    def user(self, token: str, audiences: Sequence[str] = AUDIENCES) -> tuple[User, tuple[str, ...]]:
        """Who shows the token, and for which of the audiences it holds.

        Raises:
            InvalidTokenError: It is not ours, has expired, is for others, or what it is bound to is gone.
        """
        claims = self._claims(token)
        now = self._clock().timestamp()
        if claims.get("exp", now) < now:
            msg = "service account token has expired"
            raise InvalidTokenError(msg)
        if claims.get("nbf", now) > now:
            msg = "service account token is not valid yet"
            raise InvalidTokenError(msg)
        held = tuple(audience for audience in audiences if audience in claims.get("aud", ()))
        if not held:
            given = quoted(claims.get("aud", ()))
            msg = f"token audiences {given} is invalid for the target audiences {quoted(audiences)}"
            raise InvalidTokenError(msg)
        return self._user(claims, now), held

    def _claims(self, token: str) -> dict[str, Any]:
        if (known := self._verified.get(token)) is not None:
            return known
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError) as error:
            msg = "invalid bearer token"
            raise InvalidTokenError(msg) from error
        self._verified[token] = claims
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return claims

    def _user(self, claims: dict[str, Any], now: float) -> User:
        about = claims["kubernetes.io"]
        namespace, account = about["namespace"], about["serviceaccount"]
        found = self._find("serviceaccounts", namespace, account["name"])
        if found is None:
            msg = f'serviceaccounts "{account["name"]}" not found'
            raise InvalidTokenError(msg)
        if found["metadata"]["uid"] != account["uid"]:
            msg = f"service account UID ({found['metadata']['uid']}) does not match claim ({account['uid']})"
            raise InvalidTokenError(msg)
        extra: dict[str, tuple[str, ...]] = {f"{_EXTRA}credential-id": (f"JTI={claims['jti']}",)}
        for kind in ("pod", "secret", "node"):
            if (reference := about.get(kind)) is None:
                continue
            told = kind == "node" and "pod" in about  # where the pod runs is no condition
            if not told and not self._exists(kind, namespace, reference, now):
                msg = "service account token has been invalidated"
                raise InvalidTokenError(msg)
            if kind != "secret":
                extra[f"{_EXTRA}{kind}-name"] = (reference["name"],)
                extra[f"{_EXTRA}{kind}-uid"] = (reference["uid"],)
        groups = (*account_groups(namespace), AUTHENTICATED)
        return User(claims["sub"], groups, account["uid"], extra)

    def _exists(self, kind: str, namespace: str, reference: Object, now: float) -> bool:
        found = self._find(f"{kind}s", "" if kind == "node" else namespace, reference["name"])
        if found is None or found["metadata"]["uid"] != reference["uid"]:
            return False
        deleted = found["metadata"].get("deletionTimestamp")
        return deleted is None or parse_stamp(deleted).timestamp() > now
