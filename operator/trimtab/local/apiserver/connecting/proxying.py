"""pods/NAME/proxy and services/NAME/proxy: HTTP requests that the API server passes on."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from trimtab.local import pods
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.connecting.targets import port_number
from trimtab.local.controllers.endpoints import SERVICE_NAME
from trimtab.local.objects import Object
from trimtab.local.proxy.services import ready_endpoints
from trimtab.local.statuses import ApiError, bad_request

_PROXY = re.compile(r"/(?:pods|services)/[^/]+/proxy(?=/|$)")
# Between two neighbours only, and what tells the API server who asks.
_NOT_PASSED_ON = frozenset(
    {
        "authorization",
        "connection",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CHUNK = 65_536


async def proxied(call: Call) -> web.StreamResponse:
    """Pass the request on, and the answer back, as they come.

    Raises:
        ApiError: 503 where nothing answers, 400 where the name makes no sense.
    """
    request = call.request
    if request.headers.get("Upgrade"):
        raise bad_request("the embedded cluster's proxy passes no upgrades on; use kubectl port-forward")
    scheme, host, port = _location(call)
    prefix, path = _split(request.rel_url.raw_path)
    if not path and request.method in ("GET", "HEAD"):
        query = f"?{request.query_string}" if request.query_string else ""
        return web.Response(status=301, headers={"Location": f"{prefix}/{query}"})
    target = URL(f"{scheme}://{host}:{port}{path or '/'}", encoded=True).with_query(request.query)
    session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10))
    async with session:
        try:
            async with session.request(
                request.method,
                target,
                headers=_kept(request.headers),
                data=request.content if request.can_read_body else None,
                allow_redirects=False,
                ssl=False,
            ) as answer:
                return await _passed_back(call, answer, f"{host}:{port}", prefix)
        except (aiohttp.ClientError, ValueError, OSError) as error:
            why = f"dial tcp {host}:{port}: connect: connection refused" if _refused(error) else str(error)
            text = f"error trying to reach service: {why}"
            raise ApiError(503, "ServiceUnavailable", text) from error


def _refused(error: BaseException) -> bool:
    inner = getattr(error, "os_error", error)
    return isinstance(inner, ConnectionRefusedError)


def _split(path: str) -> tuple[str, str]:
    """What names the proxy, and what is asked of the server behind it."""
    found = _PROXY.search(path)
    return (path[: found.end()], path[found.end() :]) if found else (path, "")


def _kept(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in _NOT_PASSED_ON)


async def _passed_back(call: Call, answer: aiohttp.ClientResponse, host: str, prefix: str) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_kept(answer.headers))
    if location := answer.headers.get("Location"):
        parts = urlsplit(location)
        if parts.netloc in ("", host) and parts.path.startswith("/"):
            response.headers["Location"] = prefix + parts._replace(scheme="", netloc="").geturl()
    await response.prepare(call.request)
    with contextlib.suppress(ConnectionError, RuntimeError):  # the client went away
        try:
            async for piece in answer.content.iter_chunked(_CHUNK):
                await response.write(piece)
            await response.write_eof()
        except aiohttp.ClientError:
            if call.request.transport is not None:
                call.request.transport.abort()  # what was cut short must not look complete
    return response


def _location(call: Call) -> tuple[str, str, int]:
    """Scheme, address and port of what the path names as [SCHEME:]NAME[:PORT]. Raises ApiError."""
    kind = call.served.resource.plural
    scheme, name, port = split_name(call.target.name)
    if scheme not in ("http", "https") or not name:
        raise bad_request(f'invalid {kind.removesuffix("s")} request "{call.target.name}"')
    found = call.registry.get(kind, name, call.namespace)
    if kind == "pods":
        return scheme, *_pod_location(found, port)
    return scheme, *_service_location(call, found, name, port)


def split_name(text: str) -> tuple[str, str, str]:
    """Scheme, name and port; a port alone leaves the scheme at http."""
    parts = text.split(":")
    if len(parts) == 1:
        return "http", text, ""
    if len(parts) == 2:
        return "http", parts[0], parts[1]
    return (parts[0] or "http", parts[1], parts[2]) if len(parts) == 3 else ("", "", "")


def _pod_location(pod: Object, port: str) -> tuple[str, int]:
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise bad_request("address not allowed")
    if not port:
        ports = [int(p["containerPort"]) for c in pods.containers(pod) for p in c.get("ports") or ()]
        return str(address), ports[0] if ports else 80
    if (number := port_number(port)) is None:
        raise bad_request(f'invalid pod request "{pod["metadata"]["name"]}:{port}"')
    return str(address), number


def _service_location(call: Call, service: Object, name: str, port: str) -> tuple[str, int]:
    if (number := port_number(port)) is not None:
        named = [p.get("name") or "" for p in service["spec"].get("ports") or () if p["port"] == number]
        if not named:
            raise ApiError(503, "ServiceUnavailable", f'no service port {port} found for service "{name}"')
        port = named[0]
    slices, _ = call.registry.list(
        "endpointslices.discovery.k8s.io", call.namespace, label_selector=f"{SERVICE_NAME}={name}"
    )
    endpoints = ready_endpoints(slices, port)
    if not endpoints:
        shown = name if not any(s.get("endpoints") for s in slices) else call.target.name
        raise ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{shown}"')
    return random.choice(endpoints)  # noqa: S311 - spreads requests, guards nothing
