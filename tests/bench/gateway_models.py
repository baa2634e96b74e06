"""From EndpointSlice change to traffic change with many models on one gateway, and one model more under load.

    python tests/bench/gateway_models.py [models] [changes]

HAProxy and the agent are the real processes; the API server is the embedded one, in this process. A change adds or
removes one of a model's two replicas. It counts from the write to the API server's store, which tells the agent's
watch, until HAProxy's own list of servers, which is asked every half millisecond, says so. Then: what became of
requests that four clients with connections of their own sent while one model more was added, and while more were added
than HAProxy was prepared for, which reloads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
import yaml

from trimtab.effects.kinds import MODELS
from trimtab.effects.kubernetes import Cluster, Object
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.registry import Registry
from trimtab.workloads.gateway.proxy import haproxy_binary
from trimtab.workloads.gateway.runtime import Proxy, ProxyUnavailable

ROOT = Path(__file__).parents[2]

_SPEC = importlib.util.spec_from_file_location(
    "gateway_world", ROOT / "tests" / "workloads" / "gateway" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
worlds: Any = importlib.util.module_from_spec(_SPEC)
sys.modules["gateway_world"] = worlds
_SPEC.loader.exec_module(worlds)

NAMESPACE = "default"
SLICES = "endpointslices.discovery.k8s.io"
CLIENTS = 4
LOOK_S = 0.0005
PATIENCE_S = 120.0

# Replicas that cost next to nothing: a thousand models check theirs a thousand times a second.
STUB = """\
defaults
    mode http
    timeout client 60s
    timeout connect 1s
    timeout server 60s
frontend replica
    bind {one}:8080
    bind {two}:8080
    http-request return status 200 content-type application/json string '{{"parameters":{{"max_concurrency":4}}}}'
"""

SPEC = {
    "source": {"uri": "file:///models/digits"},
    "compression": {"preset": "None"},
    "guardrail": {"dataset": {"uri": "file:///data/test.npz"}, "maxDrop": "1pp"},
}


@dataclass(frozen=True)
class Gateway:
    """What one asks while it runs; `one` and `two` are the hosts of the replicas that all models share."""

    registry: Registry
    cluster: Cluster
    proxy: Proxy
    host: str
    one: str
    two: str

    async def add(self, name: str) -> None:
        """Say of a model that it serves, from the first replica."""
        await self.cluster.create(
            {
                "apiVersion": "trimtab.dev/v1alpha1",
                "kind": "OptimizedModel",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": SPEC,
            }
        )
        status = {"traffic": {"revisions": [{"revision": "r1", "weight": 100}], "avoidNodes": []}}
        await self.cluster.merge(MODELS, name, NAMESPACE, {"status": status}, "status")
        self.place(name, [self.one])

    def place(self, model: str, hosts: Sequence[str]) -> None:
        """Say where a model's replicas are, as the controller of EndpointSlices does."""
        wanted = endpoint_slice(model, hosts)
        known = self.registry.find(SLICES, NAMESPACE, wanted["metadata"]["name"])
        if known is None:
            self.registry.create(SLICES, wanted)
        else:
            self.registry.update(SLICES, {**wanted, "metadata": known["metadata"]})

    async def until_served(self, model: str) -> dict[str, str]:
        """Return route → slot as soon as a model's replica takes requests."""

        async def served() -> dict[str, str] | None:
            try:
                seen = await self.proxy.read()
            except ProxyUnavailable:
                return None
            slot = seen.slots.get(seen.routes.get(model, ""))
            up = slot is not None and any(s.up and s.checked for s in slot.servers.values())
            return dict(seen.routes) if up else None

        return await until(served)


def endpoint_slice(model: str, hosts: Sequence[str]) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{model}-r1",
            "namespace": NAMESPACE,
            "labels": {"trimtab.dev/model": model, "trimtab.dev/revision": "r1"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [host],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": host.replace(".", "-"), "namespace": NAMESPACE},
            }
            for host in hosts
        ],
    }


async def until(question: Callable[[], Awaitable[dict[str, str] | None]]) -> dict[str, str]:
    """Ask until there is an answer; each look is one at a real process."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if (answer := await question()) is not None:
                return answer
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def process(log_file: Path, *command: str, **environment: str) -> AsyncIterator[None]:
    with log_file.open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), **environment}, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        running.terminate()
        await running.wait()


@contextlib.asynccontextmanager
async def api(folder: Path) -> AsyncIterator[tuple[Registry, Cluster]]:
    """An API server with our kinds, its store and a client; its kubeconfig is in the folder."""
    registry = Registry(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
    server = ApiServer(registry, host=worlds.draw_host(), port=6443, token="secret")
    await server.start()
    try:
        (folder / "kubeconfig").write_text(server.kubeconfig())
        async with await Cluster.connect(str(folder / "kubeconfig")) as cluster:
            await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            await cluster.apply(yaml.safe_load((ROOT / "crds" / "trimtab.dev_optimizedmodels.yaml").read_text()))
            yield registry, cluster
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def gateway(folder: Path, models: int) -> AsyncIterator[Gateway]:
    """A gateway that serves so many models."""
    (folder / "gateway").mkdir()
    directory = f"--directory={folder / 'gateway'}"
    trimtab = (sys.executable, "-m", "trimtab", "gateway")
    host, one, two = (worlds.draw_host() for _ in range(3))
    (folder / "stub.cfg").write_text(STUB.format(one=one, two=two))
    async with contextlib.AsyncExitStack() as stack:
        registry, cluster = await stack.enter_async_context(api(folder))
        await stack.enter_async_context(
            process(folder / "stub.log", haproxy_binary(), "-db", "-f", str(folder / "stub.cfg"))
        )
        proxy = stack.enter_context(Proxy(folder / "gateway"))
        made = Gateway(registry, cluster, proxy, host, one, two)
        for number in range(models):
            await made.add(f"m{number}")
        settings = (f"--namespace={NAMESPACE}", f"--kubeconfig={folder / 'kubeconfig'}")
        agent = process(folder / "agent.log", *trimtab, "agent", directory, *settings, POD_IP=host)
        await stack.enter_async_context(agent)
        await stack.enter_async_context(process(folder / "proxy.log", *trimtab, "proxy", directory))
        yield made


async def changes(world: Gateway, count: int, models: int) -> list[float]:
    """Return how long each of `count` changes took, in seconds."""
    routes = await world.until_served(f"m{models - 1}")
    await asyncio.sleep(5)  # the first look at a replica's own limits
    both: set[str] = set()
    took = []
    for _ in range(count):
        model = f"m{random.randrange(models)}"
        there = model in both
        both ^= {model}
        began = time.perf_counter()
        world.place(model, [world.one] if there else [world.one, world.two])
        while True:
            servers = (await world.proxy.read_slots([routes[model]], {})).slots[routes[model]].servers
            server = servers.get(f"{world.two}:8080_r1")
            if (server is not None and server.weight > 0 and server.up) != there:
                break
            await asyncio.sleep(LOOK_S)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(random.uniform(0.03, 0.07))
    return took


def percentiles(took: Sequence[float]) -> str:
    ordered = sorted(took)
    at = {share: 1000 * ordered[min(len(took) - 1, int(share * len(took)))] for share in (0.5, 0.9, 0.99)}
    return ", ".join(f"p{100 * share:.0f} {value:.1f} ms" for share, value in at.items())


async def added(world: Gateway, numbers: range) -> dict[Any, int]:
    """Return what clients got while models were added, and how many connections they had to open anew."""
    got: dict[Any, int] = {"connections lost": -CLIENTS}
    ending = asyncio.Event()

    async def opened(*_: Any) -> None:
        got["connections lost"] += 1

    async def client() -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(opened)
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:
            while not ending.is_set():
                try:
                    async with session.post(f"http://{world.host}:8080/v2/models/m0/infer", data=b"{}") as response:
                        await response.read()
                        status: int | str = response.status
                except aiohttp.ClientError as error:
                    status = type(error).__name__
                got[status] = got.get(status, 0) + 1
                await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
        for number in numbers:
            await world.add(f"m{number}")
        await world.until_served(f"m{numbers[-1]}")
        await asyncio.sleep(8)
        ending.set()
    return got


async def main(models: int, count: int) -> None:
    gc.set_threshold(10_000, 5, 1_000)  # as `trimtab local up` has it
    with tempfile.TemporaryDirectory() as name:
        async with gateway(Path(name), models) as world:
            took = await changes(world, count, models)
            print(f"{models} models, {count} changes: {percentiles(took)}")
            print("one model more:", await added(world, range(models, models + 1)))
            print("a reload:", await added(world, range(models + 1, models + models // 8 + 20)))


if __name__ == "__main__":
    uvloop.run(main(*(int(text) for text in (sys.argv[1:] or ["1000", "400"]))))
