"""Answers as bytes."""

from typing import Any

from aiohttp import web

from trimtab.local.encodings import Encodings, to_json
from trimtab.local.objects import Event
from trimtab.local.statuses import ApiError


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


def event_line(event: Event, api_version: str, encodings: Encodings) -> bytes:
    """One line of a watch; `api_version` is the version that the watcher speaks."""
    obj = event.object
    same = obj.get("apiVersion") == api_version
    encoded = encodings.bytes_of(obj) if same else to_json({**obj, "apiVersion": api_version})
    return b'{"type":"%b","object":%b}\n' % (event.type.encode(), encoded)
