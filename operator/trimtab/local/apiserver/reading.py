"""GET: one object, a list, a scale."""

from aiohttp import web

from trimtab.local import statuses
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import json_response
from trimtab.local.apiserver.listoptions import list_options, version_number
from trimtab.local.apiserver.paging import start_of, token_of
from trimtab.local.apiserver.representation import is_transformed, many
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError


def get(call: Call) -> web.Response:
    """Answer with one object. Raises ApiError 404, and 500 or 504 for a version that is none or not there yet."""
    target = call.target
    if target.subresource == "scale":
        scale = call.registry.scale(call.resource, target.name, call.namespace, target.version)
        return json_response(call.shown(scale), 200, call.warnings)
    wanted = version_number(call.option("resourceVersion"))
    if wanted > call.registry.version:
        raise statuses.too_large_version(wanted, call.registry.version)
    obj = call.registry.get(call.resource, target.name, call.namespace, version=target.version)
    return json_response(call.registry.encodings.known(call.shown(obj)), 200, call.warnings)


def list_(call: Call) -> web.Response:
    """Answer with a list or a piece of it. Raises ApiError 400, 406, 410, 422, 504."""
    options = list_options(call.request.query)
    fields = call.selected_fields(options.fields)
    start = start_of(options, call.registry.version)
    try:
        piece, version = call.registry.page(
            call.resource,
            call.namespace,
            options.labels,
            fields,
            version=call.target.version,
            at=start.at,
            limit=start.limit,
            start=start.key,
        )
    except ApiError as error:
        if error.status == 410 and options.token:
            raise statuses.list_expired(token_of(start.key, None)) from None
        raise
    metadata: Object = {"resourceVersion": version}
    if piece.next_key:
        metadata["continue"] = token_of(piece.next_key, int(version))
        if not options.selects:
            metadata["remainingItemCount"] = piece.left
    form = call.form
    items = piece.items if form.name == "Table" else [call.outbound(obj) for obj in piece.items]
    include = call.option("includeObject")
    answer = many(form, call.served, items, metadata, call.target.version, call.registry.now(), include)
    if call.served.resource.custom and not is_transformed(form):
        answer["items"] = [call.registry.encodings.known(obj) for obj in items]
    return json_response(answer, 200, call.warnings)
