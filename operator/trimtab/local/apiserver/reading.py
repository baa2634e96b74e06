"""GET: one object, a list, a scale."""

from aiohttp import web

from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import json_response
from trimtab.local.apiserver.paging import check_list_version, page_of
from trimtab.local.apiserver.representation import form_of, many
from trimtab.local.objects import Object


def _form(call: Call) -> tuple[str, str]:
    return call.request.headers.get("Accept", ""), call.option("includeObject")


def get(call: Call) -> web.Response:
    target = call.target
    form = form_of(*_form(call))
    if target.subresource == "scale":
        return json_response(call.registry.scale(call.resource, target.name, call.namespace, target.version))
    obj = call.registry.get(call.resource, target.name, call.namespace, version=target.version)
    return json_response(call.shown(form, obj))


def list_(call: Call) -> web.Response:
    check_list_version(call.option("resourceVersion"), call.option("resourceVersionMatch"), call.registry.version)
    form = form_of(*_form(call))
    items, version = call.registry.list(
        call.resource,
        call.namespace,
        call.option("labelSelector"),
        call.option("fieldSelector"),
        version=call.target.version,
    )
    page = page_of(items, call.number("limit"), call.option("continue"))
    metadata: Object = {"resourceVersion": version}
    if page.token:
        metadata["continue"] = page.token
        if not call.option("labelSelector") and not call.option("fieldSelector"):
            metadata["remainingItemCount"] = page.remaining
    items = page.items if form.name == "Table" else [call.outbound(obj) for obj in page.items]
    answer = many(form, call.served, items, metadata, call.target.version, call.registry.now())
    return json_response(answer)
