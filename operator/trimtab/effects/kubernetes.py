"""The one module that talks to the API server: the official client's asyncio API, on plain dicts.

Its generated models are left aside: they are most of an operator's memory, and a manifest that was read and is
written again must not lose fields that the client does not know.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import structlog
from kubernetes.aio import client as _client
from kubernetes.aio import config as _config

from trimtab.api.names import FIELD_MANAGER
from trimtab.effects.kinds import PODS, Kind, kind_of
from trimtab.errors import NotYet

log = structlog.get_logger(__name__)

Object = dict[str, Any]
Objects = list[Object]
WatchType = Literal["ADDED", "MODIFIED", "DELETED", "SYNCED"]

_JSON = "application/json"
_METADATA_ONLY = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_REQUEST_SECONDS = 30.0
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=_REQUEST_SECONDS, sock_connect=10)
# The server ends a watch after this long. It sends a bookmark every minute: a connection that is silent for longer
# leads nowhere, as after a server that vanished without closing it.
_WATCH_SECONDS = 280
_SILENCE_SECONDS = 90
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE_SECONDS)
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class ApiError(NotYet):
    """The API server refused: `status` is HTTP's; `details` is the Status object where there is one."""

    def __init__(self, status: int, message: str, details: Object | None = None) -> None:
        super().__init__("ApiError", message)
        self.status = status
        self.details = details or {}


class ApiUnavailable(NotYet):
    """The API server did not answer."""


class Cluster:
    """A Kubernetes cluster. Every method may raise `ApiError` or `ApiUnavailable`."""

    def __init__(self, api: _client.ApiClient, fence: Callable[[], float] | None = None) -> None:
        """`fence` is asked before each change: for how many seconds it may be under way; it raises where for none."""
        self._api = api
        self._fence = fence

    def fenced(self, fence: Callable[[], float]) -> Self:
        """Return the same cluster, changed only where `fence` allows it; it is closed with this one."""
        return type(self)(self._api, fence)

    def may_change(self) -> bool:
        """Whether the fence allows a change now, also of what is not the cluster's own."""
        if self._fence is None:
            return True
        try:
            return self._fence() > 0
        except NotYet:
            return False

    @classmethod
    async def connect(cls, kubeconfig: str | None = None) -> Self:
        """Connect by the given kubeconfig, else the pod's service account, else KUBECONFIG or ~/.kube/config."""
        configuration = _client.Configuration()
        if kubeconfig is None:
            try:
                _config.load_incluster_config(client_configuration=configuration)
            except _config.ConfigException:
                await _config.load_kube_config(client_configuration=configuration)
        else:
            await _config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        # Else every request asks two threads for a proxy and a netrc.
        configuration.client_session_kwargs = {"trust_env": False}
        return cls(_client.ApiClient(configuration))

    async def close(self) -> None:
        await self._api.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Return the object, or None when there is none."""
        try:
            return await self._json("GET", kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: str | None = None, fields: str | None = None
    ) -> Objects:
        """Return the objects of a kind, in a namespace or in all; `labels` and `fields` are selectors."""
        items, _ = await self._list(kind, namespace, labels, fields)
        return items

    async def uids(self, kind: Kind) -> set[str]:
        """Return which objects of a kind there are, in all namespaces."""
        pages = self._pages(kind, None, None, accept=_METADATA_ONLY)
        return {item["metadata"]["uid"] async for items, _ in pages for item in items}

    async def apply(self, manifest: Object, *, manager: str = FIELD_MANAGER, subresource: str | None = None) -> Object:
        """Server-side apply; what we set is ours, whoever set it before."""
        meta = manifest["metadata"]
        path = kind_of(manifest).path(meta.get("namespace"), meta["name"], subresource)
        query = {"fieldManager": manager, "force": "true"}
        return await self._json("PATCH", path, manifest, "application/apply-patch+yaml", query)

    async def create(self, manifest: Object) -> Object:
        kind = kind_of(manifest)
        query = {"fieldManager": FIELD_MANAGER}
        return await self._json("POST", kind.path(manifest["metadata"].get("namespace")), manifest, query=query)

    async def merge(
        self,
        kind: Kind,
        name: str,
        namespace: str | None,
        patch: Object,
        subresource: str | None = None,
        *,
        manager: str = FIELD_MANAGER,
    ) -> Object:
        """Apply a JSON merge patch (RFC 7396)."""
        query = {"fieldManager": manager}
        path = kind.path(namespace, name, subresource)
        return await self._json("PATCH", path, patch, "application/merge-patch+json", query)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """Delete an object; one that is gone already is as good."""
        options: Object = {"propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._json("DELETE", kind.path(namespace, name), options)
        except ApiError as error:
            if error.status != 404:
                raise

    async def pod_log(self, namespace: str, pod: str, tail_lines: int) -> str:
        """Return the last lines of a pod's log; empty when it has none yet."""
        try:
            query = {"tailLines": str(tail_lines)}
            raw = await self._bytes("GET", PODS.path(namespace, pod, "log"), query=query, accept="*/*")
        except ApiError as error:
            if error.status in {400, 404}:  # 400: the container has not started
                return ""
            raise
        return raw.decode(errors="replace")

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        labels: str | None = None,
        *,
        remember: Callable[[Object], Object] = lambda item: item,
    ) -> AsyncIterator[tuple[WatchType, Object]]:
        """Yield every object, then `SYNCED`, then every change, for ever; reconnects and lists anew by itself.

        After a new listing, objects that went meanwhile come as DELETED with what `remember` made of their last known
        body: their metadata at least.
        """
        known: dict[tuple[str, str], Object] = {}
        failures = 0
        while True:
            try:
                seen: set[tuple[str, str]] = set()
                version = ""
                async for items, at in self._pages(kind, namespace, labels):
                    version = at
                    for item in items:
                        identity = _identity(item)
                        change: WatchType = "MODIFIED" if identity in known else "ADDED"
                        seen.add(identity)
                        known[identity] = remember(item)
                        yield change, item
                for identity in known.keys() - seen:
                    yield "DELETED", known.pop(identity)
                yield "SYNCED", {}
                failures = 0
                async for event_type, item in self._changes(kind, namespace, labels, version):
                    if event_type == "DELETED":
                        known.pop(_identity(item), None)
                    else:
                        known[_identity(item)] = remember(item)
                    yield event_type, item
            except NotYet as error:
                delay = _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
                failures += 1
                log.warning("watch.interrupted", kind=kind.kind, error=error.message, retry_seconds=delay)
                await asyncio.sleep(delay)

    async def _changes(
        self, kind: Kind, namespace: str | None, labels: str | None, version: str
    ) -> AsyncIterator[tuple[WatchType, Object]]:
        """Yield changes after `version` until the server says that it is too old (then the caller lists anew)."""
        vain = 0  # watches in a row that ended without a word
        while True:
            query = {
                "watch": "1",
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(_WATCH_SECONDS),
                **({"labelSelector": labels} if labels else {}),
            }
            response = await self._send("GET", kind.path(namespace), query=query, timeout=_WATCH_TIMEOUT)
            vain += 1
            try:
                async for event in _lines(response):
                    vain = 0
                    item = event["object"]
                    if event["type"] == "ERROR":
                        if item.get("code") == 410:
                            return
                        raise ApiError(int(item.get("code", 500)), str(item.get("message", "")), item)
                    version = item["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], item
            finally:
                response.close()
            if vain:
                await asyncio.sleep(_BACKOFF_SECONDS[min(vain, len(_BACKOFF_SECONDS)) - 1])

    async def _list(
        self, kind: Kind, namespace: str | None, labels: str | None, fields: str | None = None
    ) -> tuple[Objects, str]:
        found: Objects = []
        version = ""
        async for items, at in self._pages(kind, namespace, labels, fields):
            found += items
            version = at
        return found, version

    async def _pages(
        self, kind: Kind, namespace: str | None, labels: str | None, fields: str | None = None, accept: str = _JSON
    ) -> AsyncIterator[tuple[Objects, str]]:
        """Yield the objects of a kind, some hundred at a time, each time with the version that all are the state of."""
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query = {"limit": "500", **{name: text for name, text in selectors.items() if text}}
        while True:
            page = await self._json("GET", kind.path(namespace), query=query, accept=accept)
            items: Objects = page.get("items") or []
            for item in items:  # lists leave these out of their items
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
            following, version = page["metadata"].get("continue"), page["metadata"]["resourceVersion"]
            del page
            yield items, version
            if not following:
                return
            query["continue"] = following

    async def _json(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
        accept: str = _JSON,
    ) -> Object:
        parsed: Object = json.loads(await self._bytes(method, path, body, content_type, query, accept))
        return parsed

    async def _bytes(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
        accept: str = _JSON,
    ) -> bytes:
        response = await self._send(method, path, body, content_type, query, accept)
        try:
            return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable("ApiUnavailable", f"{method} {path}: {error or type(error).__name__}") from error

    async def _send(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
        accept: str = _JSON,
        timeout: aiohttp.ClientTimeout = _REQUEST_TIMEOUT,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            serialized = await self._api.param_serialize(
                method,
                path,
                query_params=[*(query or {}).items()],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            if self._fence is not None and method != "GET":
                timeout = aiohttp.ClientTimeout(total=min(_REQUEST_SECONDS, self._fence()), sock_connect=10)
            answer = await self._api.call_api(*serialized, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            if response.status >= 400:
                raise _refusal(method, path, response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable("ApiUnavailable", f"{method} {path}: {error or type(error).__name__}") from error
        return response


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[Object]:
    """Yield the JSON objects of a watch; an end, however it comes, is an ordinary end."""
    buffer = bytearray()
    with suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
        async for chunk in response.content.iter_any():
            buffer += chunk
            *whole, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in whole:
                if line.strip():
                    yield json.loads(line)
    try:  # the last line may lack its end
        last = json.loads(buffer)
    except ValueError:  # or be cut
        return
    yield last


def _refusal(method: str, path: str, status: int, raw: bytes) -> ApiError:
    try:
        details = json.loads(raw)
    except ValueError:
        details = {}
    said = details.get("message") if isinstance(details, dict) else None
    text = said or raw.decode(errors="replace")[:500] or "no message"
    return ApiError(status, f"{method} {path}: {status} {text}", details if isinstance(details, dict) else None)


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    return None if proxy is None or proxy_bypass(parts.netloc) else proxy


def _identity(item: Object) -> tuple[str, str]:
    meta = item["metadata"]
    return meta.get("namespace", ""), meta["name"]


async def mirror(
    cluster: Cluster,
    kind: Kind,
    into: dict[tuple[str, str], Object],
    changed: Callable[[], None],
    *,
    touched: Callable[[Object], None] | None = None,
    namespace: str | None = None,
    labels: str | None = None,
) -> None:
    """Keep `into` equal to the cluster's objects, by (namespace, name), for ever; `changed` is called at each change.

    `touched` is called before it, with the object as it is now, or as it was last.
    `changed` is first called when the mirror is complete, so that nobody decides on half of the world.
    """
    complete = False
    async for event_type, item in cluster.watch(kind, namespace, labels):
        if event_type == "SYNCED":
            complete = True
        elif event_type == "DELETED":
            into.pop(_identity(item), None)
        else:
            into[_identity(item)] = item
        if touched is not None and event_type != "SYNCED":
            touched(item)
        if complete:
            changed()
