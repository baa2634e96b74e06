"""Answers as bytes; what several watchers are sent is serialised once."""

import json
from collections import OrderedDict
from typing import Any

from aiohttp import web

from trimtab.local.objects import Event, Object
from trimtab.local.statuses import ApiError

_REMEMBERED = 256  # watch events whose bytes are kept; a burst of writes reaches all watchers within that


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_response(value: Any, status: int = 200, warnings: list[str] | None = None) -> web.Response:
    response = web.Response(body=to_json(value), status=status, content_type="application/json")
    for text in warnings or []:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def error_response(error: ApiError) -> web.Response:
    response = json_response(error.to_status(), error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if retry := (error.details or {}).get("retryAfterSeconds"):
        response.headers["Retry-After"] = str(retry)
    return response


def not_found_page() -> web.Response:
    """What a path outside of the API gets."""
    return web.Response(text="404 page not found\n", status=404)


class EventEncoder:
    """Serialises watch events, each object once however many watch it."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, int], tuple[Object, bytes]] = OrderedDict()

    def encode(self, event: Event, api_version: str) -> bytes:
        """One line of a watch; `api_version` is the version that the watcher speaks."""
        key = (event.type, api_version, id(event.object))
        if (known := self._known.get(key)) is not None:
            return known[1]
        obj = event.object
        if obj.get("apiVersion") != api_version:
            obj = {**obj, "apiVersion": api_version}
        line = to_json({"type": event.type, "object": obj}) + b"\n"
        # The object is kept beside its bytes, as its id is the key.
        self._known[key] = (event.object, line)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return line
