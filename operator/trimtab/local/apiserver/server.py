"""The HTTP server of the API on one loopback address."""

import asyncio
import hmac
import socket
from typing import Any

import structlog
import yaml
from aiohttp import web

from trimtab.local.apiserver.documents import Documents
from trimtab.local.apiserver.encoding import EventEncoder, error_response
from trimtab.local.apiserver.routes import Routes
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError

log = structlog.get_logger()

_OPEN = ("/healthz", "/livez", "/readyz", "/version")
_SHOWN_IN_PATH = "/token/"  # kubectl sends no credentials over plain HTTP; the address carries them instead
_LARGEST_BODY = 3 * 1024 * 1024  # bytes, as on a real server


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY)


class ApiServer:
    """Serves a registry over HTTP to whoever shows the token.

    Attributes:
        url: where it listens, once started; with port 0 the kernel chooses.
    """

    def __init__(self, registry: Registry, *, host: str, port: int, token: str) -> None:
        self._host = host
        self._port = port
        self._token = token
        self._documents = Documents(registry)
        self._routes = Routes(registry, EventEncoder())
        self._runner: web.ServerRunner | None = None
        self.url = f"http://{host}:{port}"

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        server = web.Server(
            self._handle,
            request_factory=_request,
            handler_cancellation=True,  # a watch ends with its client
            access_log=None,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        listening = socket.create_server((self._host, self._port), backlog=1024)
        await web.SockSite(self._runner, listening).start()
        self._port = listening.getsockname()[1]
        self.url = f"http://{self._host}:{self._port}"
        log.info("apiserver.started", url=self.url)

    async def stop(self) -> None:
        """End the watches of clients and stop listening."""
        self._routes.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def kubeconfig(self) -> str:
        """A kubeconfig (YAML) for this server, with its token: in the address for kubectl, and as a bearer token."""
        name = "trimtab-local"
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": self.url + _SHOWN_IN_PATH + self._token}}],
            "users": [{"name": name, "user": {"token": self._token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
            "current-context": name,
        }
        return yaml.safe_dump(config, sort_keys=False)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            path = self._authenticated(request)
            if (document := self._documents.find(request, path)) is not None:
                return document
            return await self._routes.answer(request, path)
        except ApiError as error:
            return error_response(error)
        except web.HTTPRequestEntityTooLarge:
            text = f"the body of a request may have {_LARGEST_BODY} bytes at most"
            return error_response(ApiError(413, "RequestEntityTooLarge", text, {}))
        except Exception as error:
            log.exception("request.failed", method=request.method, path=request.path)
            text = f"Internal error occurred: {error}"
            return error_response(ApiError(500, "InternalError", text, {"causes": [{"message": str(error)}]}))

    def _authenticated(self, request: web.BaseRequest) -> str:
        """The path that is asked for, without the token in it. Raises ApiError 401."""
        path = request.path
        if path.startswith(_SHOWN_IN_PATH):
            token, slash, rest = path.removeprefix(_SHOWN_IN_PATH).partition("/")
            return self._checked(token, slash + rest)
        if path.startswith(_OPEN):
            return path
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self._checked(token.strip() if scheme.lower() == "bearer" else "", path)

    def _checked(self, token: str, path: str) -> str:
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return path
