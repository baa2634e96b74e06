"""From method and path to the verb that answers."""

import weakref
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from trimtab.local import statuses
from trimtab.local.access.gate import Caller
from trimtab.local.apiserver import reading, reviews, streams, tokenrequests, watches, writing
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.connecting.commands import command
from trimtab.local.apiserver.connecting.portforward import port_forward
from trimtab.local.apiserver.connecting.proxying import proxied
from trimtab.local.apiserver.encoding import not_found_page
from trimtab.local.apiserver.listoptions import check_timeout
from trimtab.local.apiserver.targets import Target, target_of
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError
from trimtab.local.watching import Watch

_NO_WAY_IN = {
    "ephemeralcontainers": "debug the process here, or kubectl exec into a container",
    "resize": "replace the pod",
}


# Subresources that are no view of their object.
_HANDLERS: Mapping[str, Callable[[Call], Awaitable[web.StreamResponse]]] = {
    "attach": command,
    "binding": writing.bind,
    "eviction": writing.evict,
    "exec": command,
    "log": streams.logs,
    "portforward": port_forward,
    "token": tokenrequests.create,
}


class Routes:
    """Answers requests for resources."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._open: weakref.WeakSet[Watch] = weakref.WeakSet()

    async def answer(self, request: web.BaseRequest, path: str, caller: Caller) -> web.StreamResponse:
        """Raises ApiError for everything that is refused."""
        target = target_of(path)
        if target is None:
            return not_found_page()
        served = self._registry.catalog.find(target.group, target.version, target.plural)
        if served is None:
            return self._unknown(target)
        if (target.rest and target.subresource != "proxy") or not self._scoped(target, served.resource.namespaced):
            return self._unknown(target)
        call = Call(request, self._registry, served, target, caller, served.deprecations(target.version))
        if target.watch:
            return await self._watch(call)
        if not call.watches:
            check_timeout(call.option("timeout"))
        if target.subresource:
            return await self._subresource(call)
        return await (self._one(call) if target.name else self._collection(call))

    def close(self) -> None:
        """End every watch that a client has open."""
        for watch in list(self._open):
            watch.close()

    def _unknown(self, target: Target) -> web.StreamResponse:
        """Built-in groups answer with a Status, everything else as if there were no such path."""
        groups = {r.group for r in self._registry.catalog.resources() if not r.custom}
        if target.group in groups:
            raise statuses.no_such_resource()
        return not_found_page()

    def _across_namespaces(self, call: Call) -> web.StreamResponse:
        """What is written belongs into a namespace."""
        if not call.served.resource.custom:
            raise statuses.method_not_allowed()
        return not_found_page()

    def _scoped(self, target: Target, namespaced: bool) -> bool:
        """Whether the path names a namespace where, and only where, the kind has one."""
        return bool(target.namespace) == namespaced or (namespaced and not target.name)

    def _allow(self, call: Call, verb: str) -> None:
        if verb not in call.served.resource.verbs:
            raise statuses.method_not_allowed()
        call.check_form()

    async def _watch(self, call: Call) -> web.StreamResponse:
        if call.method != "GET" or call.target.subresource:
            raise statuses.method_not_allowed()
        self._allow(call, "watch")
        return await watches.watch(call, self._open)

    async def _collection(self, call: Call) -> web.StreamResponse:
        if call.served.resource.namespaced and not call.namespace and call.method != "GET":
            return self._across_namespaces(call)
        match call.method:
            case "GET" if call.watches:
                return await self._watch(call)
            case "GET":
                self._allow(call, "list")
                return reading.list_(call)
            case "POST":
                self._allow(call, "create")
                return await reviews.HANDLERS.get(call.resource, writing.create)(call)
            case "DELETE":
                self._allow(call, "deletecollection")
                return await writing.delete_collection(call)
        raise statuses.method_not_allowed()

    async def _one(self, call: Call) -> web.StreamResponse:
        match call.method:
            case "GET":
                self._allow(call, "get")
                return reading.get(call)
            case "PUT":
                self._allow(call, "update")
                return await writing.replace(call)
            case "PATCH":
                self._allow(call, "patch")
                return await writing.patch(call)
            case "DELETE":
                self._allow(call, "delete")
                return await writing.delete(call)
        raise statuses.method_not_allowed()

    async def _subresource(self, call: Call) -> web.StreamResponse:
        subresource = call.served.resource.subresource(call.target.subresource, call.target.version)
        if subresource is None or (call.target.rest and subresource.name != "proxy"):
            raise _not_served(call)
        if subresource.name == "proxy":
            return await proxied(call)
        verb = {"GET": "get", "PUT": "update", "PATCH": "patch", "POST": "create"}.get(call.method, "")
        if verb not in subresource.verbs:
            raise _unsupported(call, verb)
        if (handler := _HANDLERS.get(subresource.name)) is not None:
            return await handler(call)
        call.check_form()
        if verb == "get":
            return reading.get(call)
        if verb == "update":
            return await writing.replace(call)
        return await writing.patch(call)


def _not_served(call: Call) -> ApiError:
    """What asks for a way into a pod is told why there is none."""
    name = call.target.subresource
    if call.resource == "pods" and name in _NO_WAY_IN:
        why = "containers are processes of this machine"
        text = f"pods/{name} is not served by the embedded cluster: {why}; {_NO_WAY_IN[name]}"
        return ApiError(405, "MethodNotAllowed", text, {})
    if call.served.resource.custom:
        return statuses.not_found(call.served.resource, call.target.name)
    return statuses.no_such_resource()


def _unsupported(call: Call, verb: str) -> ApiError:
    """Custom kinds name the verb, built-in ones do not."""
    resource = call.served.resource
    if not resource.custom:
        return statuses.method_not_allowed()
    text = f'{verb or call.method.lower()} is not supported on resources of kind "{resource.key}"'
    return ApiError(405, "MethodNotAllowed", text, {"group": resource.group, "kind": resource.plural})
