"""POST serviceaccounts/NAME/token: a token for a service account."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from trimtab.local import statuses
from trimtab.local.access.tokens import AUDIENCES, Bound, lasting
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import json_response
from trimtab.local.apiserver.receiving import sent
from trimtab.local.kinds.served import BuiltIn
from trimtab.local.objects import Object, quote
from trimtab.local.resources import Resource, group_version
from trimtab.local.statuses import ApiError, FieldError
from trimtab.local.times import stamp

_REQUEST = BuiltIn(
    Resource("authentication.k8s.io", ("v1",), "tokenrequests", "TokenRequest", verbs=(), schema="TokenRequest")
)
_DEFAULT_S = 3600
_SHORTEST_S = 600
_LARGEST_S = 1 << 32
_BINDABLE = {("v1", "Pod"): "pods", ("v1", "Secret"): "secrets", ("v1", "Node"): "nodes"}


async def create(call: Call) -> web.Response:
    """Raises ApiError 404 without the account or what the token is to be bound to, and 422."""
    name, namespace = call.target.name, call.target.namespace
    request = await sent(call, _REQUEST)
    metadata, spec = request.get("metadata") or {}, request.get("spec") or {}
    for field, given, there in (
        ("name", metadata.get("name"), name),
        ("namespace", metadata.get("namespace"), namespace),
    ):
        if given and given != there:
            text = f"must match the service account {field} if specified"
            error = statuses.invalid_value(f"metadata.{field}", quote(given), text)
            raise statuses.invalid(_REQUEST.resource.group, "TokenRequest", name, [error])
    account = call.registry.get("serviceaccounts", name, namespace)
    audiences = list(spec.get("audiences") or AUDIENCES)
    seconds = spec.get("expirationSeconds")
    seconds = _DEFAULT_S if seconds is None else seconds
    if errors := _duration_errors(seconds):
        raise statuses.invalid(_REQUEST.resource.group, "TokenRequest", "", errors)
    bound = _bound(call, account, spec.get("boundObjectRef"))
    token = call.caller.gate.tokens.issue(account, lasting(seconds, audiences, bound), audiences, bound)
    now = call.registry.clock()
    answer: Object = {
        "kind": "TokenRequest",
        "apiVersion": group_version(_REQUEST.resource.group, "v1"),
        "metadata": {**metadata, "name": name, "namespace": namespace, "creationTimestamp": stamp(now)},
        "spec": {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": spec.get("boundObjectRef"),
        },
        "status": {"token": token, "expirationTimestamp": stamp(now + timedelta(seconds=seconds))},
    }
    return json_response(answer, 201, call.warnings)


def _duration_errors(seconds: int) -> list[FieldError]:
    field = "spec.expirationSeconds"
    if seconds < _SHORTEST_S:
        return [statuses.invalid_value(field, str(seconds), "may not specify a duration less than 10 minutes")]
    if seconds > _LARGEST_S:
        return [statuses.invalid_value(field, str(seconds), "may not specify a duration larger than 2^32 seconds")]
    return []


def _bound(call: Call, account: Object, reference: Object | None) -> Bound | None:
    if reference is None:
        return None
    version, kind = reference.get("apiVersion", ""), reference.get("kind", "")
    if (resource := _BINDABLE.get((version, kind))) is None:
        shown = version if "/" in version else f"/{version}"
        raise statuses.bad_request(f"cannot bind token to object of type {shown}, Kind={kind}")
    name, account_name = reference.get("name", ""), account["metadata"]["name"]
    found = call.registry.get(resource, name, account["metadata"]["namespace"])
    if kind == "Pod" and (own := found["spec"].get("serviceAccountName", "")) != account_name:
        text = f'cannot bind token for serviceaccount "{account_name}" to pod running with serviceaccount "{own}"'
        raise statuses.bad_request(text)
    uid, given = found["metadata"]["uid"], reference.get("uid")
    if given and given != uid:
        text = (
            f"the UID in the bound object reference ({given}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        message = f'Operation cannot be fulfilled on {kind} "{name}": {text}'
        raise ApiError(409, "Conflict", message, {"name": name, "kind": kind})
    return Bound(kind, name, uid, found["spec"].get("nodeName", "") if kind == "Pod" else "")
