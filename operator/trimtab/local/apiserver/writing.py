"""POST, PUT, PATCH and DELETE of objects and their subresources."""

from aiohttp import web

from trimtab.local import patching, statuses
from trimtab.local.apiserver.bodies import (
    decode_object,
    decode_options,
    decode_patch,
    decode_yaml,
    duplicate_fields,
    media_type,
)
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import json_response
from trimtab.local.apiserver.representation import form_of
from trimtab.local.deleting import DeleteOptions
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError

_PROPAGATION = ("Background", "Foreground", "Orphan")


async def _object(call: Call, kind: str | None = None) -> Object:
    body = await call.body()
    kind = kind or call.kind
    obj = decode_object(body, call.request.headers.get("Content-Type", ""), kind)
    if body[:1] == b"{" and call.field_validation != "Ignore" and (twice := duplicate_fields(body)):
        if call.field_validation == "Strict":
            raise statuses.bad_request(
                f'{kind} in version "{call.target.version}" cannot be handled as a {kind}: '
                f"strict decoding error: {', '.join(twice)}"
            )
        call.warnings.extend(twice)
    return obj if kind != call.kind else _core(call, obj)


def _core(call: Call, obj: Object) -> Object:
    found: Object = call.inbound(obj)
    return found


def _answer(call: Call, obj: Object, status: int = 200) -> web.Response:
    form = form_of(call.request.headers.get("Accept", ""), call.option("includeObject"))
    return json_response(call.shown(form, obj), status, call.warnings)


async def create(call: Call) -> web.Response:
    if call.served.resource.kind == "SelfSubjectAccessReview":
        return json_response({**await _object(call), "status": {"allowed": True}}, 201)
    obj = await _object(call)
    created = call.registry.create(
        call.resource,
        obj,
        call.namespace,
        manager=call.manager,
        dry_run=call.dry_run,
        field_validation=call.field_validation,
        version=call.target.version,
        warnings=call.warnings,
    )
    return _answer(call, created, 201)


async def replace(call: Call) -> web.Response:
    target = call.target
    obj = await _object(call, "Scale" if target.subresource == "scale" else None)
    metadata = obj.setdefault("metadata", {})
    if metadata.setdefault("name", target.name) != target.name:
        raise statuses.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
        )
    if metadata.get("namespace") not in (None, "", target.namespace):
        raise statuses.bad_request(
            f"the namespace of the object ({metadata['namespace']}) does not match "
            f"the namespace on the URL ({target.namespace})"
        )
    if target.namespace:
        metadata["namespace"] = target.namespace
    updated = call.registry.update(
        call.resource,
        obj,
        subresource=target.subresource or None,
        manager=call.manager,
        dry_run=call.dry_run,
        field_validation=call.field_validation,
        version=target.version,
        warnings=call.warnings,
    )
    if target.subresource == "scale":
        return json_response(call.registry.scale(call.resource, target.name, call.namespace, target.version))
    return _answer(call, updated)


async def patch(call: Call) -> web.Response:
    target = call.target
    content_type = media_type(call.request.headers.get("Content-Type", ""))
    if content_type not in patching.CONTENT_TYPES:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    body = await call.body()
    applies = content_type == patching.APPLY
    if applies and not call.option("fieldManager"):
        error = statuses.required("fieldManager", "is required for apply patch")
        raise statuses.invalid("meta.k8s.io", "PatchOptions", "", [error])
    known = call.registry.find(call.resource, target.namespace, target.name)
    changed = call.registry.patch(
        call.resource,
        target.name,
        call.namespace,
        call.inbound(decode_yaml(body) if applies else decode_patch(body)),
        content_type,
        subresource=target.subresource or None,
        manager=call.manager,
        force=call.flag("force"),
        dry_run=call.dry_run,
        field_validation=call.field_validation,
        version=target.version,
        warnings=call.warnings,
    )
    if target.subresource == "scale":
        return json_response(call.registry.scale(call.resource, target.name, call.namespace, target.version))
    return _answer(call, changed, 201 if known is None else 200)


async def _delete_options(call: Call) -> DeleteOptions:
    sent = decode_options(await call.body())
    propagation = sent.get("propagationPolicy") or call.option("propagationPolicy") or None
    orphans = sent.get("orphanDependents")
    if propagation is None and orphans is not None:
        propagation = "Orphan" if orphans else "Background"
    if propagation is not None and propagation not in _PROPAGATION:
        shown = [f'"{name}"' for name in _PROPAGATION]
        error = statuses.unsupported("propagationPolicy", f'"{propagation}"', shown)
        raise statuses.invalid("meta.k8s.io", "DeleteOptions", "", [error])
    grace = sent.get("gracePeriodSeconds")
    if grace is None:
        grace = call.number("gracePeriodSeconds")
    return DeleteOptions(propagation, grace, sent.get("preconditions"))


async def delete(call: Call) -> web.Response:
    options = await _delete_options(call)
    name = call.target.name
    last, gone = call.registry.remove(call.resource, name, call.namespace, options, dry_run=call.dry_run)
    if not gone or call.served.rules.returns_deleted:
        return _answer(call, last)
    details = statuses.details_of(call.served.resource, name)
    return json_response(statuses.success({**details, "uid": last["metadata"]["uid"]}))


async def delete_collection(call: Call) -> web.Response:
    options = await _delete_options(call)
    items, version = call.registry.list(
        call.resource,
        call.namespace,
        call.option("labelSelector"),
        call.option("fieldSelector"),
        version=call.target.version,
    )
    for obj in items:
        metadata = obj["metadata"]
        call.registry.remove(call.resource, metadata["name"], metadata.get("namespace"), options, dry_run=call.dry_run)
    resource = call.served.resource
    listed: Object = {"resourceVersion": version}
    if resource.custom:
        listed = {"continue": "", **listed}
    bare = [{k: v for k, v in o.items() if resource.custom or k not in ("kind", "apiVersion")} for o in items]
    return json_response(
        {"apiVersion": call.api_version, "items": bare, "kind": resource.list_name, "metadata": listed}
    )


async def bind(call: Call) -> web.Response:
    """POST pods/NAME/binding: assign a pod to a node."""
    binding = await _object(call, "Binding")
    node = (binding.get("target") or {}).get("name")
    if not node:
        error = statuses.required("target.name")
        raise statuses.invalid("", "Binding", call.target.name, [error])
    call.registry.bind(call.target.name, call.target.namespace, node)
    return json_response(statuses.success(code=201), 201)


async def evict(call: Call) -> web.Response:
    """POST pods/NAME/eviction: delete a pod, if its budgets allow it."""
    eviction = await _object(call, "Eviction")
    sent = eviction.get("deleteOptions") or {}
    options = DeleteOptions(sent.get("propagationPolicy"), sent.get("gracePeriodSeconds"), sent.get("preconditions"))
    call.registry.evict(call.target.name, call.target.namespace, options, dry_run=call.dry_run)
    return json_response(statuses.success(code=201), 201)
