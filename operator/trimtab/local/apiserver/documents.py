"""What the server says about itself: version, health, discovery, OpenAPI."""

import hashlib
from typing import Any

from aiohttp import web

from trimtab.local import statuses
from trimtab.local.apiserver import discovery, metrics, openapi, openapiprotobuf
from trimtab.local.apiserver.encoding import json_response, not_found_page
from trimtab.local.encodings import to_json
from trimtab.local.registry import Registry
from trimtab.version import __version__

_HEALTH = ("/healthz", "/livez", "/readyz")
_MINOR = "36"
_CHECKS = ("ping", "etcd")  # of the real server's, those that mean something here
_V2_PROTOBUF = "openapi/v2#protobuf"


class Documents:
    """Answers the paths that are about kinds, not objects; big documents are kept until the kinds change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._cache: dict[str, tuple[bytes, str]] = {}
        self._generation = -1

    def find(self, request: web.BaseRequest, path: str) -> web.Response | None:
        """The document of a path, or None where the path is not about documents."""
        path = path.rstrip("/") or "/"
        if path in _HEALTH or path.startswith(tuple(f"{health}/" for health in _HEALTH)):
            return _health(path.strip("/"), verbose="verbose" in request.query)
        parts = path.strip("/").split("/")
        if parts[0] in ("api", "apis"):
            return self._discovery(request, parts)
        if request.method != "GET":
            return None
        match parts:
            case ["version"]:
                return json_response(_version())
            case [""]:
                return json_response({"paths": self._paths()})
            case ["metrics"]:
                return web.Response(text=metrics.exposition(self._registry), content_type="text/plain")
            case ["openapi", *rest]:
                return self._openapi(request, rest)
        return None

    def _discovery(self, request: web.BaseRequest, parts: list[str]) -> web.Response | None:
        """What is served below /api and /apis. Raises ApiError 404, 405."""
        if len(parts) > (2 if parts[0] == "api" else 3):
            return None
        if request.method != "GET":
            raise statuses.method_not_allowed()
        match parts:
            case [root] if _wants_aggregated(request):
                return self._kept(request, f"{root}#aggregated", lambda: self._aggregated(core=root == "api"))
            case ["api"]:
                return json_response(discovery.api_versions(request.host))
            case ["apis"]:
                return json_response(discovery.group_list(self._resources()))
            case ["api", version]:
                return self._found("", discovery.resource_list(self._resources(), "", version))
            case ["apis", group]:
                return self._found(group, discovery.group(self._resources(), group))
            case ["apis", group, version]:
                return self._found(group, discovery.resource_list(self._resources(), group, version))
        return None

    def _paths(self) -> list[str]:
        """Every path that is about more than one kind."""
        versions = [f"/{path}" for path in openapi.paths(self._registry.catalog)]
        groups = {path.rpartition("/")[0] for path in versions if path.startswith("/apis/")}
        health = [f"{path}/{check}" for path in _HEALTH for check in _CHECKS]
        fixed = ("/api", "/apis", *_HEALTH, *health, "/metrics", "/openapi/v2", "/openapi/v3", "/version")
        return sorted({*fixed, *versions, *groups})

    def _resources(self) -> Any:
        return self._registry.catalog.resources()

    def _aggregated(self, *, core: bool) -> Any:
        return discovery.aggregated(self._resources(), core=core)

    def _found(self, group: str, document: Any) -> web.Response:
        """A document; what is missing in a built-in group is refused with a Status. Raises ApiError 404."""
        if document is not None:
            return json_response(document)
        if any(r.group == group and not r.custom for r in self._resources()):
            raise statuses.no_such_resource()
        return not_found_page()

    def _openapi(self, request: web.BaseRequest, rest: list[str]) -> web.Response:
        catalog = self._registry.catalog
        match rest:
            case ["v2"]:
                if any(media in request.headers.get("Accept", "") for media in openapiprotobuf.ACCEPTED):
                    return self._kept(request, _V2_PROTOBUF, lambda: openapi.v2(catalog))
                return self._kept(request, "openapi/v2", lambda: openapi.v2(catalog))
            case ["v3"]:
                return self._kept(request, "openapi/v3", lambda: openapi.index(catalog, self._digest))
            case ["v3", *parts]:
                path = "/".join(parts)
                if not openapi.has_group(catalog, path):
                    return not_found_page()
                return self._addressed(request, path)
        return not_found_page()

    def _addressed(self, request: web.BaseRequest, path: str) -> web.Response:
        """A document by its digest may be kept for ever; by an old one it has moved."""
        name = f"openapi/v3/{path}"
        response = self._kept(request, name, lambda: openapi.v3(self._registry.catalog, path))
        if (asked := request.query.get("hash")) is None:
            return response
        if asked != (digest := self._digest(path)):
            return web.Response(status=301, headers={"Location": f"/{name}?hash={digest}"})
        response.headers["Cache-Control"] = "public, immutable"
        return response

    def _digest(self, path: str) -> str:
        """A document's digest; clients cache by it."""
        return self._document(f"openapi/v3/{path}", lambda: openapi.v3(self._registry.catalog, path))[1]

    def _document(self, name: str, build: Any) -> tuple[bytes, str]:
        generation = self._registry.catalog.generation
        if generation != self._generation:
            self._cache.clear()
            self._generation = generation
        if name not in self._cache:
            body = openapiprotobuf.encoded(build()) if name == _V2_PROTOBUF else to_json(build())
            self._cache[name] = (body, hashlib.sha256(body).hexdigest().upper())
        return self._cache[name]

    def _kept(self, request: web.BaseRequest, name: str, build: Any) -> web.Response:
        body, digest = self._document(name, build)
        tag = f'"{digest}"'
        headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "no-cache, private"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        content_type = openapiprotobuf.MEDIA_TYPE if name == _V2_PROTOBUF else "application/json"
        if "#aggregated" in name:
            content_type += ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return web.Response(body=body, headers={**headers, "Content-Type": content_type})


def _health(path: str, *, verbose: bool) -> web.Response:
    """What answers is well: one process is the whole server. A single check is asked for by its path."""
    check, _, single = path.partition("/")
    if single and single not in _CHECKS:
        return not_found_page()
    if not verbose:
        return web.Response(text="ok")
    lines = [f"[+]{name} ok" for name in ([single] if single else _CHECKS)]
    return web.Response(text="\n".join([*lines, f"{single or check} check passed", ""]))


def _wants_aggregated(request: web.BaseRequest) -> bool:
    """Whether the aggregated form comes before the plain one in what the client takes."""
    for choice in request.headers.get("Accept", "").split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        if {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= set(parameters):
            return True
        if media in ("application/json", "*/*") and not any(p.startswith("as=") for p in parameters):
            return False
    return False


def _version() -> dict[str, str]:
    return {
        "major": "1",
        "minor": _MINOR,
        "emulationMajor": "1",
        "emulationMinor": _MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": f"v1.{_MINOR}.0+trimtab-{__version__}",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "none",
        "platform": "linux/amd64",
    }
