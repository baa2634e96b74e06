"""Questions about access: reviews of users, tokens and rights. They are answered, never stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from trimtab.local import statuses
from trimtab.local.access.attributes import Attributes
from trimtab.local.access.policy import joined
from trimtab.local.access.rules import Rule
from trimtab.local.access.tokens import AUDIENCES, InvalidTokenError
from trimtab.local.access.users import User
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import json_response
from trimtab.local.apiserver.receiving import sent
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError

_COMBINED = "cannot be specified in combination with resourceAttributes"
_NEITHER = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


def _answer(call: Call, review: Object, status: Object) -> web.Response:
    answer = {
        "kind": call.kind,
        "apiVersion": call.api_version,
        "metadata": review.get("metadata") or {},
        "spec": review.get("spec") or {},
        "status": status,
    }
    return json_response(answer, 201, call.warnings)


async def self_access(call: Call) -> web.Response:
    """SelfSubjectAccessReview: whether the caller may."""
    review = await sent(call)
    spec = review.get("spec") or {}
    if errors := _attribute_errors(spec):
        raise _invalid(call, errors)
    return _answer(call, review, _decided(call, call.caller.user, spec))


async def access(call: Call) -> web.Response:
    """SubjectAccessReview: whether a user may."""
    review = await sent(call)
    spec = review.get("spec") or {}
    if errors := [*_attribute_errors(spec), *_subject_errors(spec)]:
        raise _invalid(call, errors)
    return _answer(call, review, _decided(call, _subject(spec), spec))


async def local_access(call: Call) -> web.Response:
    """LocalSubjectAccessReview: whether a user may, in one namespace."""
    review = await sent(call)
    spec, where = review.get("spec") or {}, call.target.namespace
    if not where:
        raise statuses.method_not_allowed()
    asked = (spec.get("resourceAttributes") or {}).get("namespace", "")
    errors = [*_attribute_errors(spec), *_subject_errors(spec)]
    if spec.get("resourceAttributes") is not None and asked != where:
        field = "spec.resourceAttributes.namespace"
        errors.append(statuses.invalid_value(field, quote(asked), "must match metadata.namespace"))
    if spec.get("nonResourceAttributes") is not None:
        shown = _shown_path(spec["nonResourceAttributes"])
        errors.append(statuses.invalid_value("spec.nonResourceAttributes", shown, "disallowed on this kind of request"))
    if errors:
        raise _invalid(call, errors)
    review["metadata"] = {**(review.get("metadata") or {}), "namespace": where}
    return _answer(call, review, _decided(call, _subject(spec), spec))


async def self_rules(call: Call) -> web.Response:
    """SelfSubjectRulesReview: everything that the caller may in a namespace."""
    review = await sent(call)
    namespace = (review.get("spec") or {}).get("namespace")
    if not namespace:
        raise statuses.bad_request("no namespace on request")
    rules, dangling = call.caller.gate.policy.rules_for(call.caller.user, namespace)
    status: Object = {
        "resourceRules": [_resource_rule(rule) for rule in rules if rule.resources],
        "nonResourceRules": [
            {"verbs": list(rule.verbs), "nonResourceURLs": list(rule.urls)} for rule in rules if rule.urls
        ],
        "incomplete": False,
    }
    if dangling:
        status["evaluationError"] = joined([grant.no_role() for grant in dangling])
    return _answer(call, review, status)


async def self_user(call: Call) -> web.Response:
    """SelfSubjectReview: who the caller is."""
    await sent(call)
    answer = {
        "kind": call.kind,
        "apiVersion": call.api_version,
        "metadata": {"creationTimestamp": call.registry.now()},
        "status": {"userInfo": _shown_user(call.caller.user)},
    }
    return json_response(answer, 201, call.warnings)


async def token(call: Call) -> web.Response:
    """TokenReview: whose token it is."""
    review = await sent(call)
    spec = review.get("spec") or {}
    if not spec.get("token"):
        raise statuses.bad_request("token is required for TokenReview in authentication")
    audiences = tuple(spec.get("audiences") or AUDIENCES)
    try:
        user, held = call.caller.gate.bearer(spec["token"], audiences)
    except InvalidTokenError as error:
        text = str(error)
        shown = text if text == "invalid bearer token" else f"[invalid bearer token, {text}]"
        return _answer(call, review, {"user": {}, "error": shown})
    return _answer(call, review, {"authenticated": True, "user": _shown_user(user), "audiences": list(held)})


HANDLERS: dict[str, Callable[[Call], Awaitable[web.Response]]] = {
    "selfsubjectreviews.authentication.k8s.io": self_user,
    "tokenreviews.authentication.k8s.io": token,
    "localsubjectaccessreviews.authorization.k8s.io": local_access,
    "selfsubjectaccessreviews.authorization.k8s.io": self_access,
    "selfsubjectrulesreviews.authorization.k8s.io": self_rules,
    "subjectaccessreviews.authorization.k8s.io": access,
}


def _decided(call: Call, user: User, spec: Object) -> Object:
    decision = call.caller.gate.policy.decide(user, _attributes(spec))
    return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}


def _attributes(spec: Object) -> Attributes:
    if (found := spec.get("resourceAttributes")) is None:
        found = spec["nonResourceAttributes"]
        return Attributes(found.get("verb", ""), found.get("path", ""))
    fields = ("group", "version", "resource", "subresource", "namespace", "name")
    return Attributes(found.get("verb", ""), "", *(found.get(field, "") for field in fields))


def _subject(spec: Object) -> User:
    extra = {key: tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


def _attribute_errors(spec: Object) -> list[FieldError]:
    of_resource, of_path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if of_resource is not None and of_path is not None:
        return [statuses.invalid_value("spec.nonResourceAttributes", _shown_path(of_path), _COMBINED)]
    if of_resource is None and of_path is None:
        return [statuses.invalid_value("spec.resourceAttributes", "null", _NEITHER)]
    return []


def _subject_errors(spec: Object) -> list[FieldError]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [statuses.invalid_value("spec.user", '""', "at least one of user or group must be specified")]


def _shown_path(attributes: Object) -> str:
    return quote({"Path": attributes.get("path", ""), "Verb": attributes.get("verb", "")})


def _invalid(call: Call, errors: list[FieldError]) -> statuses.ApiError:
    return statuses.invalid(call.served.resource.group, call.kind, "", errors)


def _resource_rule(rule: Rule) -> Object:
    shown: Object = {
        "verbs": list(rule.verbs),
        "apiGroups": list(rule.groups),
        "resources": list(rule.resources),
    }
    return {**shown, "resourceNames": list(rule.names)} if rule.names else shown


def _shown_user(user: User) -> Object:
    shown: dict[str, Any] = {"username": user.name}
    if user.uid:
        shown["uid"] = user.uid
    shown["groups"] = list(user.groups)
    if user.extra:
        shown["extra"] = {key: list(values) for key, values in user.extra.items()}
    return shown
