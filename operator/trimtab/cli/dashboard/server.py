"""The page over HTTP: files, models as JSON, changes as server-sent events. Reads only, knows no secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from aiohttp import web

from trimtab.cli.dashboard.board import Board
from trimtab.errors import TrimtabError

HEARTBEAT_S = 15.0
MAX_PAGES = 100
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/chart.js": ("chart.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
# Nothing from elsewhere, nothing inline, no frame around it: a model's name or message is text and stays text.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# A report is a page of its own that brings its styles and pictures along, and no script may run in it.
_REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"

Report = Callable[[str, str], Awaitable[str]]
"""From a model's namespace and name to its report as HTML; raises TrimtabError."""


def application(
    board: Board, hosts: frozenset[str], report: Report, heartbeat_s: float = HEARTBEAT_S
) -> web.Application:
    """Return the site.

    Requests that name another host than `hosts` are refused: a page from elsewhere, under a name that was made to point
    here, could read this one otherwise (DNS rebinding).
    """
    handlers = _Handlers(board, report, heartbeat_s)
    site = web.Application(middlewares=[_guard(hosts)])
    for path in _FILES:
        site.router.add_get(path, handlers.file)
    site.router.add_get("/api/models", handlers.models)
    site.router.add_get("/api/changes", handlers.changes)
    site.router.add_get("/reports/{namespace}/{name}", handlers.report)
    site.router.add_get("/healthz", handlers.healthy)
    site.on_shutdown.append(handlers.end)
    return site


def _guard(hosts: frozenset[str]) -> Any:
    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        name = request.host.rsplit(":", 1)[0].strip("[]")
        if name not in hosts and request.path != "/healthz":
            raise web.HTTPForbidden(text=f"this page is not served as {name!r}; name it with --host-name\n")
        response = await handler(request)
        if not response.prepared:
            for header, value in _HEADERS.items():
                response.headers.setdefault(header, value)
        return response

    return guard


class _Handlers:
    def __init__(self, board: Board, report: Report, heartbeat_s: float) -> None:
        self._board = board
        self._report = report
        self._heartbeat_s = heartbeat_s
        self._streams: set[asyncio.Task[Any]] = set()
        folder = resources.files("trimtab.cli.dashboard") / "page"
        self._files = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    async def file(self, request: web.Request) -> web.Response:
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response(self._board.all())

    async def healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def report(self, request: web.Request) -> web.Response:
        try:
            page = await self._report(request.match_info["namespace"], request.match_info["name"])
        except TrimtabError as error:
            raise web.HTTPNotFound(text=f"{error.message}\n") from None
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY})

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """Stream models as `model` events and names of deleted ones as `gone`, all of them first."""
        if self._board.listeners >= MAX_PAGES:
            raise web.HTTPServiceUnavailable(text=f"{MAX_PAGES} pages are open already; close one\n")
        response = web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler runs in a task
        self._streams.add(task)
        try:
            await response.prepare(request)
            with self._board.listening() as listener:
                async for keys in listener.changes(self._heartbeat_s):
                    await response.write(b"".join(map(self._event, keys)) or b": still here\n\n")
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._streams.discard(task)
        return response

    def _event(self, key: str) -> bytes:
        shown = self._board.shown(key)
        if shown is None:
            return f"event: gone\ndata: {json.dumps(key)}\n\n".encode()
        return f"event: model\ndata: {json.dumps(shown)}\n\n".encode()

    async def end(self, _: web.Application) -> None:
        """Streams never end by themselves; without this, a shutdown would wait for every open page."""
        for task in self._streams:
            task.cancel()
