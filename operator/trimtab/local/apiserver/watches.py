"""Answers to watches: one event per line, until the time-out, the client, or the end of the kind."""

import asyncio
import random
import weakref
from contextlib import suppress

from aiohttp import web

from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import event_line
from trimtab.local.apiserver.listoptions import ListOptions, list_options, version_number
from trimtab.local.apiserver.negotiation import PROTOBUF, TABLE, negotiated_stream
from trimtab.local.apiserver.protobuf import encode_event
from trimtab.local.encodings import to_json
from trimtab.local.fieldselectors import named_in
from trimtab.local.kinds.blanks import blank_of
from trimtab.local.objects import Event, Object, version_of
from trimtab.local.statuses import ApiError, bad_request, too_large_version
from trimtab.local.watching import Watch

_BOOKMARK_S = 60.0  # how often a quiet watch learns the newest version
_BEFORE_END_S = 2.0  # how long before its time-out a watch learns it once more
_LONGEST_S = (1800, 3600)  # a watch without a time-out ends within that, as on a real server
_PIECE = 256 * 1024  # bytes that are sent at once, so that many events delay nobody else for long
_INITIAL_END = "k8s.io/initial-events-end"


async def watch(call: Call, opened: weakref.WeakSet[Watch]) -> web.StreamResponse:
    """Stream events; `opened` is told of the watch. Raises ApiError 400, 406, 422, 500, 504."""
    options = list_options(call.request.query, watch=True)
    fields = _of_one(call.target.name, call.selected_fields(options.fields))
    media = negotiated_stream(call.accept, custom=call.served.resource.custom)
    version = _start(options, call.registry.version)
    try:
        events = call.registry.watch(call.resource, call.namespace, options.labels, fields, str(version or ""))
    except ApiError as error:
        if error.status != 410:
            raise
        return await _expired(call, media, error)
    opened.add(events)
    timeout = options.timeout_s or random.randint(*_LONGEST_S)  # noqa: S311 - spreads reconnections
    response = await _opened(call, media)
    stream = _Stream(call, events, media, response)
    try:
        await stream.run(timeout, bookmarks=options.bookmarks, mark_initial=bool(options.initial and options.bookmarks))
    except (ConnectionError, RuntimeError, ApiError):
        pass  # the client went away, or what happened cannot be kept
    finally:
        events.close()
    with suppress(ConnectionError, RuntimeError):
        await response.write_eof()
    return response


def _of_one(name: str, fields: str) -> str:
    """The field selector of a watch whose path names one object. Raises ApiError 400."""
    if not name:
        return fields
    if fields and named_in(fields) != name:
        raise bad_request("fieldSelector metadata.name doesn't match requested name")
    return fields or f"metadata.name={name}"


def _start(options: ListOptions, current: int) -> int:
    """The version to watch from; 0 to begin with what is there. Raises ApiError 500, 504."""
    version = version_number(options.version, fault=500)
    if options.initial:
        if version > current:
            raise too_large_version(version, current)
        return 0
    if options.initial is False and not version:
        return current
    return version


async def _opened(call: Call, media: str) -> web.StreamResponse:
    kind = f"{media};stream=watch" if media == PROTOBUF else media
    response = web.StreamResponse(headers={"Content-Type": kind, "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    return response


async def _expired(call: Call, media: str, error: ApiError) -> web.StreamResponse:
    """Too old a version: the error travels as the only event, as clients expect it."""
    response = await _opened(call, media)
    await response.write(_framed(media, "ERROR", error.to_status()))
    await response.write_eof()
    return response


def _next_mark(left: float) -> float:
    """Seconds until the next bookmark: one comes regularly, and one shortly before the time-out."""
    early = left - _BEFORE_END_S
    return early if 0 < early < _BOOKMARK_S else _BOOKMARK_S


def _framed(media: str, kind: str, obj: Object) -> bytes:
    """An event as it is sent: a line of JSON, or a frame of protobuf."""
    if media == PROTOBUF:
        return encode_event(kind, obj)
    return to_json({"type": kind, "object": obj}) + b"\n"


class _Stream:
    """Writes the events of one watch; what is ready is sent in one piece."""

    def __init__(self, call: Call, events: Watch, media: str, response: web.StreamResponse) -> None:
        self._call = call
        self._events = events
        self._form = call.form.name
        self._media = media
        self._response = response
        self._headed = False

    async def run(self, timeout_s: float, *, bookmarks: bool, mark_initial: bool) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        await self._send(None)
        if mark_initial:
            await self._mark({_INITIAL_END: "true"})
        while (left := end - loop.time()) > 0:
            pause = min(left, _next_mark(left)) if bookmarks else left
            try:
                async with asyncio.timeout(pause):
                    event = await anext(self._events)
            except TimeoutError:
                if bookmarks and end > loop.time():
                    await self._mark({})
                continue
            except StopAsyncIteration:
                return
            await self._send(event)

    async def _send(self, event: Event | None) -> None:
        lines: list[bytes] = []
        newest = size = 0
        while event is not None or (event := self._events.ready()) is not None:
            lines.append(self._line(event))
            newest = max(newest, version_of(event.object))
            size += len(lines[-1])
            event = None
            if size > _PIECE:
                await self._write(b"".join(lines), newest)
                lines, size = [], 0
        if lines:
            await self._write(b"".join(lines), newest)

    async def _write(self, data: bytes, version: int) -> None:
        await self._call.registry.durable(version)
        await self._response.write(data)

    def _line(self, event: Event) -> bytes:
        call = self._call
        if not self._form and self._media != PROTOBUF:
            if (viewed := call.outbound(event.object)) is not event.object:
                event = Event(event.type, viewed)
            return event_line(event, call.api_version, call.registry.encodings)
        shown = call.shown(event.object)
        if not self._form and shown.get("apiVersion") != call.api_version:
            shown = {**shown, "apiVersion": call.api_version}
        return _framed(self._media, event.type, self._headless(shown))

    def _headless(self, shown: Object) -> Object:
        """A table after the first one leaves out the columns."""
        if self._form == TABLE and self._headed:
            shown = {**shown, "columnDefinitions": None}
        self._headed = True
        return shown

    async def _mark(self, annotations: dict[str, str]) -> None:
        # Everything up to the newest version has been sent, whether it concerned this watch or not.
        current = self._call.registry.version
        version = max(self._events.version, current)
        await self._write(self._bookmark(version, annotations), current)

    def _bookmark(self, version: int, annotations: dict[str, str]) -> bytes:
        metadata: Object = {"resourceVersion": str(version)}
        if annotations:
            metadata["annotations"] = annotations
        call = self._call
        obj: Object = {"kind": call.kind, "apiVersion": call.api_version, "metadata": metadata}
        shown = call.shown(obj | blank_of(call.resource))
        return _framed(self._media, "BOOKMARK", self._headless(shown))
