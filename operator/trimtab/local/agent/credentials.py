"""Tokens for pods, as the node agent asks for them."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.local.access.tokens import AUDIENCES, Bound, Find, TokenIssuer, lasting
from trimtab.local.agent.environment import ConfigError
from trimtab.local.objects import Object


def pod_token(tokens: TokenIssuer, find: Find, pod: Object, audiences: Sequence[str], seconds: int) -> str:
    """A token of the pod's service account that ends with the pod. Raises ConfigError where there is no account."""
    metadata, spec = pod["metadata"], pod["spec"]
    name = spec.get("serviceAccountName") or "default"
    account = find("serviceaccounts", metadata["namespace"], name)
    if account is None:
        msg = f'failed to fetch token: serviceaccounts "{name}" not found'
        raise ConfigError(msg)
    bound = Bound("Pod", metadata["name"], metadata["uid"], spec.get("nodeName", ""))
    chosen = tuple(audiences or AUDIENCES)
    return tokens.issue(account, lasting(seconds, chosen, bound), chosen, bound)
