"""Answers that go on: watches and container logs."""

import asyncio
import random
import weakref
from contextlib import suppress

from aiohttp import web

from trimtab.local import statuses
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import EventEncoder, json_response, to_json
from trimtab.local.apiserver.paging import unparsable_version
from trimtab.local.apiserver.representation import Form, form_of, one
from trimtab.local.objects import Event, Object
from trimtab.local.statuses import ApiError, bad_request
from trimtab.local.watching import Watch

_BOOKMARK_S = 60.0  # how often a quiet watch learns the newest version
_LONGEST_S = (1800, 3600)  # a watch without a time-out ends within that, as on a real server
_INITIAL_END = "k8s.io/initial-events-end"


async def watch(call: Call, encoder: EventEncoder, opened: weakref.WeakSet[Watch]) -> web.StreamResponse:
    """Stream events until the time-out, the client or the end of the kind; `opened` is told of the watch."""
    version = call.option("resourceVersion")
    if version and not version.isdigit():
        error = ApiError(500, "", unparsable_version(version))
        return json_response(error.to_status(), 500)
    initial = call.option("sendInitialEvents").lower()
    if initial == "true" and call.option("resourceVersionMatch") != "NotOlderThan":
        cause = statuses.forbidden_field(
            "resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        )
        raise statuses.invalid("meta.k8s.io", "ListOptions", "", [cause])
    if initial == "false" and not version:
        version = str(call.registry.version)
    form = form_of(call.request.headers.get("Accept", ""), call.option("includeObject"))
    try:
        events = call.registry.watch(
            call.resource,
            call.namespace,
            call.option("labelSelector"),
            call.option("fieldSelector"),
            "" if initial == "true" else version,
        )
    except ApiError as error:
        if error.status != 410:
            raise
        return await _expired(call, error)
    opened.add(events)
    timeout = call.number("timeoutSeconds") or random.randint(*_LONGEST_S)  # noqa: S311 - spreads reconnections
    response = await _opened(call)
    stream = _Stream(call, events, encoder, form, response)
    try:
        await stream.run(timeout, bookmarks=call.flag("allowWatchBookmarks"), mark_initial=initial == "true")
    except (ConnectionError, RuntimeError):
        pass  # the client went away
    finally:
        events.close()
    with suppress(ConnectionError, RuntimeError):
        await response.write_eof()
    return response


async def _opened(call: Call) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    return response


async def _expired(call: Call, error: ApiError) -> web.StreamResponse:
    """Too old a version: the error travels as the only event, as clients expect it."""
    response = await _opened(call)
    await response.write(to_json({"type": "ERROR", "object": error.to_status()}) + b"\n")
    await response.write_eof()
    return response


class _Stream:
    """Writes the events of one watch; what is ready is sent in one piece."""

    def __init__(
        self, call: Call, events: Watch, encoder: EventEncoder, form: Form, response: web.StreamResponse
    ) -> None:
        self._call = call
        self._events = events
        self._encoder = encoder
        self._form = form
        self._response = response
        self._headed = False

    async def run(self, timeout_s: float, *, bookmarks: bool, mark_initial: bool) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        await self._send(None)
        if mark_initial:
            await self._response.write(self._bookmark({_INITIAL_END: "true"}))
        while (left := end - loop.time()) > 0:
            pause = min(left, _BOOKMARK_S) if bookmarks else left
            try:
                async with asyncio.timeout(pause):
                    event = await anext(self._events)
            except TimeoutError:
                if bookmarks and end > loop.time():
                    await self._response.write(self._bookmark({}))
                continue
            except StopAsyncIteration:
                return
            await self._send(event)

    async def _send(self, event: Event | None) -> None:
        lines = []
        while event is not None or (event := self._events.ready()) is not None:
            lines.append(self._line(event))
            event = None
        if lines:
            await self._response.write(b"".join(lines))

    def _line(self, event: Event) -> bytes:
        call = self._call
        if not self._form.name:
            if (viewed := call.outbound(event.object)) is not event.object:
                event = Event(event.type, viewed)
            return self._encoder.encode(event, call.api_version)
        shown = call.shown(self._form, event.object)
        if self._form.name == "Table" and self._headed:
            shown = {**shown, "columnDefinitions": []}
        self._headed = True
        return to_json({"type": event.type, "object": shown}) + b"\n"

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        version = max(self._events.version, 1)
        metadata: Object = {"resourceVersion": str(version)}
        if annotations:
            metadata["annotations"] = annotations
        call = self._call
        obj = {"kind": call.kind, "apiVersion": call.api_version, "metadata": metadata}
        if self._form.name == "Table":
            obj = one(self._form, call.served, {**obj, "spec": {}}, call.target.version, call.registry.now())
            obj["rows"] = []
        return to_json({"type": "BOOKMARK", "object": obj}) + b"\n"


async def logs(call: Call) -> web.StreamResponse:
    """GET pods/NAME/log: what a container wrote, and, with follow, goes on writing."""
    if call.registry.pod_logs is None:
        raise ApiError(503, "ServiceUnavailable", "no node agent serves logs yet; try again in a moment", {})
    pod = call.registry.get("pods", call.target.name, call.namespace)
    container = _container(call, pod)
    lines = call.registry.pod_logs(
        call.target.namespace,
        call.target.name,
        container,
        follow=call.flag("follow"),
        tail_lines=call.number("tailLines"),
        previous=call.flag("previous"),
        timestamps=call.flag("timestamps"),
        since_seconds=call.number("sinceSeconds"),
        limit_bytes=call.number("limitBytes"),
    )
    iterator = aiter(lines)
    try:
        first = await anext(iterator, b"")
    except ApiError as error:
        return json_response(error.to_status(), error.status)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    try:
        await response.write(first)
        async for piece in iterator:
            await response.write(piece)
        await response.write_eof()
    except (ConnectionError, RuntimeError):
        pass  # the client went away
    finally:
        if (close := getattr(iterator, "aclose", None)) is not None:
            await close()
    return response


def _container(call: Call, pod: Object) -> str:
    """The container that is meant; a pod with several needs it said. Raises ApiError 400."""
    spec, name = pod["spec"], call.target.name
    names = [c["name"] for c in spec["containers"]]
    known = [*names, *(c["name"] for c in spec.get("initContainers") or [])]
    wanted = call.option("container")
    if wanted:
        if wanted not in known:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(names) > 1:
        listed = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    only: str = names[0]
    return only
