"""The HTTP server of the API on one loopback address."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
import yaml
from aiohttp import web

from trimtab.local.access import bootstrap
from trimtab.local.access.gate import Caller, Gate
from trimtab.local.access.keys import Keys
from trimtab.local.access.policy import Policy
from trimtab.local.access.tokens import TokenIssuer
from trimtab.local.access.users import ADMIN_NAME
from trimtab.local.apiserver import issuer
from trimtab.local.apiserver.documents import Documents
from trimtab.local.apiserver.encoding import error_response
from trimtab.local.apiserver.rewriting import rewritten
from trimtab.local.apiserver.routes import Routes
from trimtab.local.kinds.priorities import RESOURCE as PRIORITIES
from trimtab.local.kinds.priorities import SYSTEM_CLASSES, system_class
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError

log = structlog.get_logger()

_SERVICE = "kubernetes.default.svc.cluster.local"
_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", _SERVICE)
_LARGEST_BODY = 3 * 1024 * 1024  # bytes, as on a real server


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY)


class ApiServer:
    """Serves a registry: over TLS with the certificates of its keys, or in the clear, for tests, without any.

    Attributes:
        url: where it listens, once started; with port 0 the kernel chooses.
        gate: lets requests in; it knows the users and what they may do.
        trust: PEM of the authority that clients are to trust; empty without TLS.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        host: str,
        port: int,
        token: str = "",
        keys: Keys | None = None,
        addresses: Sequence[str] = (),
    ) -> None:
        """`token` is the administrator's where there are no keys; the certificate also holds for `addresses`."""
        self._host = host
        self._port = port
        self._registry = registry
        self._secure = keys is not None
        self._keys = keys or Keys.new(registry.clock(), token)
        self._addresses = (host, *addresses)
        self.trust = self._keys.authority.certificate if self._secure else b""
        tokens = TokenIssuer(self._keys.account_key, registry.find, registry.clock, registry.ids)
        self.gate = Gate(Policy(registry), tokens, self._keys.admin_token)
        self._documents = Documents(registry)
        self._routes = Routes(registry)
        self._runner: web.ServerRunner | None = None
        self.url = f"{self._scheme}://{host}:{port}"

    @property
    def _scheme(self) -> str:
        return "https" if self._secure else "http"

    async def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        bootstrap.seed(self._registry)
        for name in SYSTEM_CLASSES:
            if self._registry.find(PRIORITIES, "", name) is None:
                self._registry.create(PRIORITIES, system_class(name), manager="kube-apiserver")
        server = web.Server(
            self._handle,
            request_factory=_request,
            handler_cancellation=True,  # a watch ends with its client
            access_log=None,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        listening = socket.create_server((self._host, self._port), backlog=1024)
        await web.SockSite(self._runner, listening, ssl_context=self._tls()).start()
        self._port = listening.getsockname()[1]
        self.url = f"{self._scheme}://{self._host}:{self._port}"
        log.info("apiserver.started", url=self.url)

    async def stop(self) -> None:
        """End the watches of clients and stop listening."""
        self._routes.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _tls(self) -> ssl.SSLContext | None:
        if not self._secure:
            return None
        # Clients check the certificate by the machine's clock, whatever the cluster's says.
        return self._keys.authority.server_context(_SERVER_NAMES, self._addresses, datetime.now(UTC))

    def kubeconfig(self, token: str | None = None, *, user: str = ADMIN_NAME, namespace: str = "default") -> str:
        """A kubeconfig (YAML) for whoever the token stands for; for the administrator without one."""
        name = "trimtab-local"
        cluster = {"server": self.url}
        if self.trust:
            cluster["certificate-authority-data"] = base64.b64encode(self.trust).decode()
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token or self._keys.admin_token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user, "namespace": namespace}}],
            "current-context": name,
        }
        return yaml.safe_dump(config, sort_keys=False)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        response = rewritten(request, await self._answer(request))
        try:
            await self._registry.durable()  # what an answer tells must not be forgotten in a crash
        except ApiError as error:
            return response if response.prepared else error_response(error)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            path = request.path
            transport = request.transport
            peer = transport.get_extra_info("peercert") if self._secure and transport is not None else None
            user = self.gate.enter(request.method, path, request.query, request.headers, peer)
            if (document := issuer.document(self.gate.tokens, path, self.url)) is not None:
                return document
            if (document := self._documents.find(request, path)) is not None:
                return document
            return await self._routes.answer(request, path, Caller(user, self.gate))
        except ApiError as error:
            return error_response(error)
        except web.HTTPRequestEntityTooLarge:
            text = f"Request entity too large: limit is {_LARGEST_BODY}"
            return error_response(ApiError(413, "RequestEntityTooLarge", text))
        except Exception as error:
            log.exception("request.failed", method=request.method, path=request.path)
            text = f"Internal error occurred: {error}"
            return error_response(ApiError(500, "InternalError", text, {"causes": [{"message": str(error)}]}))
