"""The cluster of the scale benchmark, a process of its own: the embedded API server, with nodes and Jobs played.

    python tests/bench/operator/host.py FOLDER [--namespaces 50] [--nodes 100]

Commands come as JSON lines on standard input, answers go as JSON lines to standard output. Requests are counted where
they arrive, by client, verb and resource.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
import uvloop
import yaml
from aiohttp import web
from played import Played, namespace_of

from trimtab.local.access.keys import Keys
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.registry import Registry
from trimtab.local.state import file as statefile
from trimtab.local.state.journal import Journal

CRDS = Path(__file__).parents[3] / "crds"
MODELS = "optimizedmodels.trimtab.dev"
_KOPFS_ANNOTATION = "kopf.zalando.org/last-handled-configuration"
_WRITES = {"POST", "PUT", "PATCH", "DELETE"}
_GROUP_DEPTH = {"api": 2, "apis": 3}


class Requests:
    """Counts requests of each client: by verb and resource, and writes by second."""

    def __init__(self) -> None:
        self.by_kind: Counter[str] = Counter()
        self.by_second: Counter[str] = Counter()

    def note(self, request: web.BaseRequest) -> None:
        client = request.headers.get("User-Agent", "").split("/")[0]
        verb, resource = _verb_and_resource(request)
        self.by_kind[f"{client} {verb} {resource}"] += 1
        self.by_second[f"{client} {int(time.time())}"] += 1


def _verb_and_resource(request: web.BaseRequest) -> tuple[str, str]:
    parts = request.path.strip("/").split("/")
    rest = parts[_GROUP_DEPTH.get(parts[0], len(parts)) :]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource = "/".join([rest[0], *rest[2:3]]) if rest else "discovery"
    if request.method != "GET":
        return request.method, resource
    if request.query.get("watch"):
        return "WATCH", resource
    return ("GET" if len(rest) > 1 else "LIST"), resource


class CountingServer(ApiServer):
    """The API server, with a look at each request before it is answered."""

    requests = Requests()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.note(request)
        return await super()._handle(request)


class Readiness:
    """Which models are Ready in their newest generation, and when that last changed."""

    def __init__(self, feed: Feed) -> None:
        self._ready: set[str] = set()
        self.at = 0.0
        feed.subscribe(MODELS, self._changed)

    @property
    def count(self) -> int:
        return len(self._ready)

    def _changed(self, change: Change) -> None:
        body = change.object
        status, uid = body.get("status") or {}, body["metadata"]["uid"]
        conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
        newest = status.get("observedGeneration") == body["metadata"]["generation"]
        if newest and conditions.get("Ready") == "True" and change.type != "DELETED":
            if uid not in self._ready:
                self._ready.add(uid)
                self.at = time.time()
        else:
            self._ready.discard(uid)


def model(number: int, namespaces: int) -> dict[str, Any]:
    """A model as the README's users write it."""
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": f"model-{number}", "namespace": namespace_of(number, namespaces)},
        "spec": {
            "source": {"uri": f"s3://models/digits/v{number}"},
            "compression": {"preset": "Balanced"},
            "guardrail": {"dataset": {"uri": "s3://data/digits/test.npz"}, "maxDrop": "1pp"},
            "serving": {"maxReplicas": 8, "batching": {"maxSize": 16, "maxWait": "20ms"}},
        },
    }


class Host:
    """Answers the commands."""

    def __init__(self, registry: Registry, feed: Feed, requests: Requests, played: Played, namespaces: int) -> None:
        self._registry = registry
        self._played = played
        self._requests = requests
        self._namespaces = namespaces
        self._readiness = Readiness(feed)
        self._runs: dict[str, float] = {}
        self._handled: set[str] = set()
        feed.subscribe("jobs.batch", self._job)
        feed.subscribe(MODELS, self._model)

    def _model(self, change: Change) -> None:
        meta = change.object["metadata"]
        if _KOPFS_ANNOTATION in (meta.get("annotations") or {}):
            self._handled.add(meta["uid"])

    def _job(self, change: Change) -> None:
        if change.type == "ADDED":
            self._runs[change.object["metadata"]["name"]] = time.time()

    async def create(self, first: int, last: int, rate: float) -> dict[str, Any]:
        """Create models `first` to `last` - 1, so many per second."""
        began = time.time()
        for place, number in enumerate(range(first, last)):
            made = model(number, self._namespaces)
            self._registry.create(MODELS, made, made["metadata"]["namespace"], manager="user")
            await asyncio.sleep(max(0.0, began + place / rate - time.time()))
        return {"began": began, "ended": time.time()}

    async def state(self) -> dict[str, Any]:
        return {"ready": self._readiness.count, "at": self._readiness.at, "objects": dict(self._registry.counts())}

    async def requests(self) -> dict[str, Any]:
        return {"by_kind": self._requests.by_kind, "by_second": self._requests.by_second}

    async def handled(self) -> dict[str, Any]:
        """Return how many models Kopf has handled, as it notes on them."""
        return {"models": len(self._handled)}

    async def busy(self, numbers: list[int]) -> dict[str, Any]:
        """Give each of these models a request a second, and no others."""
        self._played.busy((namespace_of(number, self._namespaces), f"model-{number}") for number in numbers)
        return {}

    async def rerun(self, number: int, reason: str) -> dict[str, Any]:
        """Ask for another run of a model; return the seconds until its Job is there."""
        namespace, name = namespace_of(number, self._namespaces), f"model-{number}"
        body = self._registry.get(MODELS, name, namespace)
        known = {run for run in self._runs if run.startswith(f"{name}-run-")}
        changed = {**body, "spec": {**body["spec"], "rerun": {"reason": reason}}}
        self._registry.update(MODELS, changed, manager="user")
        began = time.time()
        while not (fresh := {run for run in self._runs if run.startswith(f"{name}-run-")} - known):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return {"seconds": self._runs[fresh.pop()] - began}


async def serve(folder: Path, namespaces: int, nodes: int) -> None:
    """Run the cluster until standard input ends."""
    now = lambda: datetime.now(UTC)  # noqa: E731
    saved = statefile.read(folder / statefile.NAME)
    journal = Journal(folder / statefile.NAME, 0)
    registry = Registry(now, lambda: str(uuid.uuid4()), service_range="10.96.0.0/12", journal=journal, saved=saved)
    if saved is None:
        for path in sorted(CRDS.glob("trimtab.dev_*.yaml")):
            registry.create("customresourcedefinitions.apiextensions.k8s.io", yaml.safe_load(path.read_text()))
        for name in ("default", "kube-system", *(f"team-{number}" for number in range(namespaces))):
            meta = {"name": name}
            registry.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    server = CountingServer(registry, host="127.0.0.1", port=0, keys=Keys.kept(folder / "pki", now()))
    await server.start()
    (folder / "kubeconfig").write_text(server.kubeconfig())
    feed = Feed(registry)
    async with Played(registry, feed, now, nodes) as played:
        host = Host(registry, feed, server.requests, played, namespaces)
        print(json.dumps({"ready": True}), flush=True)
        commands: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "create": host.create,
            "state": host.state,
            "requests": host.requests,
            "rerun": host.rerun,
            "handled": host.handled,
            "busy": host.busy,
        }
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            command, arguments = json.loads(line)
            print(json.dumps(await commands[command](**arguments)), flush=True)
    await feed.stop()
    await server.stop()
    await registry.durable()
    registry.close()
    await journal.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--namespaces", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=100)
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(options.folder, options.namespaces, options.nodes))


if __name__ == "__main__":
    main()
