"""An embedded cluster in which everything between its API server and the API's clients can go wrong.

    python -m faults.cluster FOLDER

Takes one JSON list a line on its standard input, [command, argument ...], and answers each with a line of JSON. All
clients but the administrator of FOLDER/kubeconfig go through the wire that fails; FOLDER/changes.jsonl has every change
of every object that matters, from where it was made, whatever the clients are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from aiohttp import web
from clusters.ownprocess import own_process
from faults.wire import FaultyWire

from trimtab.cli import logs
from trimtab.cli.images import local_images
from trimtab.local.apiserver.encoding import error_response
from trimtab.local.cluster import ClusterConfig, EmbeddedCluster
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.statuses import ApiError

RECORDED = (
    "optimizedmodels.trimtab.dev",
    "jobs.batch",
    "deployments.apps",
    "pods",
    "services",
    "serviceaccounts",
)
_REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError"}
_EXPIRED = ApiError(410, "Expired", "too old resource version, as a test will have it")
_STARTS_WITHIN_S = 60.0


class FaultyCluster:
    """The running cluster, as seen from the process that started it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.changes = folder / "changes.jsonl"
        self.url = ""
        """Where clients go through the wire that fails."""
        self._process = process
        self._log = folder / "cluster.log"
        self._lock = threading.Lock()

    def tell(self, *command: Any) -> Any:
        """Have a command done; return its answer."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
            return self.heard()

    def heard(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._log.read_text()[-4000:]
        return json.loads(line)


@contextlib.contextmanager
def faulty_cluster(folder: Path, seed: int) -> Iterator[FaultyCluster]:
    """Run one in a process of its own; `seed` draws which answers fail."""
    arguments = ["-m", "faults.cluster", str(folder), str(seed)]
    with own_process(arguments, folder / "cluster.log", _STARTS_WITHIN_S) as process:
        cluster = FaultyCluster(process, folder)
        cluster.url = cluster.heard()
        yield cluster


class _Faults:
    """What the cluster does to its clients, by command."""

    def __init__(self, cluster: EmbeddedCluster, wire: FaultyWire, source: str, rng: random.Random) -> None:
        self._cluster, self._wire, self._source, self._rng = cluster, wire, source, rng
        self._answer = cluster.api._answer
        self._status, self._share, self._lost, self._forgotten = 0, 0.0, 0.0, 0
        self._feed = Feed(cluster.registry)
        cluster.api._answer = self._faulty  # type: ignore[method-assign]

    async def obey(self, command: str, *given: Any) -> Any:
        match command, given:
            case "record", (path,):
                self._record(Path(path))
            case "list", (resource,):
                return self._cluster.registry.list(resource)[0]
            case "identity", ():
                return self._cluster.identity
            case "away", ():
                await self._cluster.api.stop()
                self._wire.cut()
            case "back", ():
                await self._cluster.api.start()
                self._cluster.api.url = self.url
            case "forget history", ():
                self._forgotten = int(self._cluster.registry.list("namespaces")[1])
            case "cut", ():
                self._wire.cut()
            case "half-close", ():
                self._wire.half_close()
            case "silence", ():
                self._wire.silence()
            case "slow", (seconds,):
                self._wire.slow_s = float(seconds)
            case "refuse", (status, share):
                self._status, self._share = int(status), float(share)
            case "lose answers", (share,):
                self._lost = float(share)
            case "lose node", (name,):
                self._cluster.agent.kill_node(name)
            case "forget node", (name,):
                with contextlib.suppress(ApiError):
                    self._cluster.registry.delete("nodes", name)
            case _:
                raise ValueError(command)
        return "done"

    async def start(self) -> None:
        """From here on clients are led through the wire."""
        port = await self._wire.start()
        api = urlsplit(self._cluster.url)
        self.url = f"{api.scheme}://{api.hostname}:{port}"
        self._cluster.api.url = self.url

    async def stop(self) -> None:
        await self._feed.stop()
        await self._wire.stop()

    async def _faulty(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.remote != self._source:
            return await self._answer(request)
        if self._share and self._rng.random() < self._share and (error := self._refusal(request)):
            return error_response(error)
        if request.query.get("watch") and int(request.query.get("resourceVersion") or 0) < self._forgotten:
            line = json.dumps({"type": "ERROR", "object": _EXPIRED.to_status()})
            return web.Response(text=f"{line}\n", content_type="application/json")
        response = await self._answer(request)
        if self._lost and self._rng.random() < self._lost and not response.prepared and request.transport is not None:
            request.transport.abort()  # it was done, and nobody hears of it
        return response

    def _record(self, path: Path) -> None:
        file = path.open("w", buffering=1)  # as long as the process
        for resource in RECORDED:
            self._feed.subscribe(resource, lambda change: _record(file, change))

    def _refusal(self, request: web.BaseRequest) -> ApiError | None:
        """An error that a real server may give to such a request."""
        if self._status == 409 and request.method == "GET":
            return None
        details = {"retryAfterSeconds": 1} if self._status == 429 else None
        return ApiError(self._status, _REASONS[self._status], "made up by a test", details)


def _record(file: TextIO, change: Change) -> None:
    body = change.object
    kept = {
        "kind": body["kind"],
        "metadata": {name: value for name, value in body["metadata"].items() if name != "managedFields"},
        **({"status": body.get("status") or {}} if body["kind"] in {"OptimizedModel", "Job", "Pod"} else {}),
    }
    file.write(json.dumps([change.type, kept, time.monotonic()]) + "\n")


async def _run(folder: Path, seed: str) -> None:
    logs.configure()  # to standard error
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    config = ClusterConfig(folder / "data", local_images(), kubeconfig=folder / "kubeconfig")
    async with EmbeddedCluster(config) as cluster:
        api = urlsplit(cluster.url)
        assert api.hostname is not None
        assert api.port is not None
        source = f"{api.hostname.rpartition('.')[0]}.2"  # nothing else of the cluster is there
        faults = _Faults(cluster, FaultyWire(api.hostname, api.port, source), source, random.Random(seed))
        await faults.start()
        try:
            _say(faults.url)
            await _obey(faults, commands, ended)
        finally:
            await faults.stop()


async def _obey(faults: _Faults, commands: asyncio.StreamReader, ended: asyncio.Event) -> None:
    ending = asyncio.create_task(ended.wait())
    while True:
        reading = asyncio.create_task(commands.readline())
        await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
        if ending.done() or not reading.result():
            reading.cancel()
            ending.cancel()
            return
        _say(await faults.obey(*json.loads(reading.result())))


def _say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), sys.argv[2]))
