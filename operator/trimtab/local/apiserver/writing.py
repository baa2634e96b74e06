"""POST, PUT, PATCH and DELETE of objects and their subresources."""

from aiohttp import web

from trimtab.local import patching, statuses
from trimtab.local.apiserver.bodies import decode_object, decode_patch, decode_yaml, media_type
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import json_response
from trimtab.local.apiserver.jsontexts import Document
from trimtab.local.apiserver.listoptions import list_options
from trimtab.local.apiserver.options import delete_options, write_options
from trimtab.local.deleting import DeleteOptions
from trimtab.local.incoming import check_name
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError


async def _object(call: Call, kind: str | None = None) -> Document:
    found = decode_object(await call.body(), call.request.headers.get("Content-Type", ""), kind or call.kind)
    if kind is not None and kind != call.kind:
        return found
    return Document(call.inbound(found.value), found.twice)


def _answer(call: Call, obj: Object, status: int = 200) -> web.Response:
    return json_response(call.registry.encodings.known(call.shown(obj)), status, call.warnings)


async def create(call: Call) -> web.Response:
    if call.served.resource.namespaced and not call.target.namespace:
        raise statuses.method_not_allowed()
    options = write_options(call, "CreateOptions")
    document = await _object(call)
    created = call.registry.create(
        call.resource,
        document.value,
        call.namespace,
        manager=options.manager,
        dry_run=options.dry_run,
        field_validation=options.validation,
        version=call.target.version,
        warnings=call.warnings,
        complaints=document.twice,
        check=call.check,
    )
    return _answer(call, created, 201)


async def replace(call: Call) -> web.Response:
    target = call.target
    options = write_options(call, "UpdateOptions")
    document = await _object(call, "Scale" if target.subresource == "scale" else None)
    obj = _addressed(call, document.value)
    known = call.registry.find(call.resource, target.namespace, target.name)
    updated = call.registry.update(
        call.resource,
        obj,
        subresource=target.subresource or None,
        manager=options.manager,
        dry_run=options.dry_run,
        field_validation=options.validation,
        version=target.version,
        warnings=call.warnings,
        complaints=document.twice,
        check=call.check,
    )
    if target.subresource == "scale":
        return json_response(updated, 200, call.warnings)
    return _answer(call, updated, 201 if known is None else 200)


def _addressed(call: Call, obj: Object) -> Object:
    """What a PUT sends, under the name and in the namespace of its path. Raises ApiError 400."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict | None):
        return obj
    metadata = dict(metadata or {})
    if call.served.resource.namespaced:
        if metadata.get("namespace") not in (None, "", call.target.namespace):
            raise statuses.other_namespace()
        metadata["namespace"] = call.target.namespace
    check_name({"metadata": metadata}, call.target.name)
    return {**obj, "metadata": metadata}


async def patch(call: Call) -> web.Response:
    target = call.target
    content_type = media_type(call.request.headers.get("Content-Type", ""))
    if content_type not in patching.CONTENT_TYPES:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    body = await call.body()
    options = write_options(call, "PatchOptions", content_type)
    document = decode_yaml(body) if content_type == patching.APPLY else decode_patch(body, content_type)
    known = call.registry.find(call.resource, target.namespace, target.name)
    changed = call.registry.patch(
        call.resource,
        target.name,
        call.namespace,
        call.inbound(document.value),
        content_type,
        subresource=target.subresource or None,
        manager=options.manager,
        force=options.force,
        dry_run=options.dry_run,
        field_validation=options.validation,
        version=target.version,
        warnings=call.warnings,
        complaints=document.twice,
        check=call.check,
    )
    if target.subresource == "scale":
        return json_response(changed, 200, call.warnings)
    return _answer(call, changed, 201 if known is None else 200)


async def delete(call: Call) -> web.Response:
    options, dry_run = await delete_options(call)
    name = call.target.name
    last, gone = call.registry.remove(
        call.resource, name, call.namespace, options, dry_run=dry_run, warnings=call.warnings
    )
    if not gone or call.served.rules.returns_deleted:
        return _answer(call, last)
    details = statuses.details_of(call.served.resource, name)
    return json_response(statuses.success({**details, "uid": last["metadata"]["uid"]}), 200, call.warnings)


async def delete_collection(call: Call) -> web.Response:
    if call.served.resource.namespaced and not call.target.namespace:
        raise statuses.method_not_allowed()
    options, dry_run = await delete_options(call)
    chosen = list_options(call.request.query)
    fields = call.selected_fields(chosen.fields)
    items, version = call.registry.list(
        call.resource, call.namespace, chosen.labels, fields, version=call.target.version
    )
    for obj in items:
        metadata = obj["metadata"]
        call.registry.remove(call.resource, metadata["name"], metadata.get("namespace"), options, dry_run=dry_run)
    resource = call.served.resource
    listed: Object = {"resourceVersion": version}
    if resource.custom:
        listed = {"continue": "", **listed}
    shown = [call.outbound(o) for o in items]
    bare = [{k: v for k, v in o.items() if resource.custom or k not in ("kind", "apiVersion")} for o in shown]
    return json_response(
        {"apiVersion": call.api_version, "items": bare, "kind": resource.list_name, "metadata": listed}
    )


async def bind(call: Call) -> web.Response:
    """POST pods/NAME/binding: assign a pod to a node."""
    options = write_options(call, "CreateOptions")
    binding = (await _object(call, "Binding")).value
    if (binding.get("metadata") or {}).get("name") != call.target.name:
        raise statuses.bad_request("name in URL does not match name in Binding object")
    node = (binding.get("target") or {}).get("name")
    if not node:
        error = statuses.required("target.name")
        raise statuses.invalid("", "Binding", call.target.name, [error])
    call.registry.bind(call.target.name, call.target.namespace, node, dry_run=options.dry_run)
    return json_response(statuses.success(code=201), 201)


async def evict(call: Call) -> web.Response:
    """POST pods/NAME/eviction: delete a pod, if its budgets allow it."""
    options = write_options(call, "CreateOptions")
    eviction = (await _object(call, "Eviction")).value
    if (eviction.get("metadata") or {}).get("name") != call.target.name:
        raise statuses.bad_request("name in URL does not match name in Eviction object")
    sent = eviction.get("deleteOptions") or {}
    dry_run = options.dry_run or bool(sent.get("dryRun"))
    deletion = DeleteOptions(sent.get("propagationPolicy"), sent.get("gracePeriodSeconds"), sent.get("preconditions"))
    call.registry.evict(call.target.name, call.target.namespace, deletion, dry_run=dry_run)
    return json_response(statuses.success(code=201), 201)
