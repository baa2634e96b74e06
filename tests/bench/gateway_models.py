"""From EndpointSlice change to traffic change with many models on one gateway, and one model more under load.

    python tests/bench/gateway_models.py [models] [changes]

Runs the real HAProxy and agent on loopback. A change adds or removes one of a model's two replicas; it is through when
HAProxy's own list of servers says so. Prints percentiles in milliseconds, then what became of requests that four
clients with connections of their own sent while one model more was added, and while more were added than HAProxy was
prepared for, which reloads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from trimtab.workloads.gateway.configuration import Listener
from trimtab.workloads.gateway.proxy import haproxy_binary

_SPEC = importlib.util.spec_from_file_location(
    "gateway_world", Path(__file__).parents[1] / "workloads" / "gateway" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
worlds: Any = importlib.util.module_from_spec(_SPEC)
sys.modules["gateway_world"] = worlds
_SPEC.loader.exec_module(worlds)


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

CLIENTS = 4


@dataclass
class Stub:
    """A replica that costs next to nothing: a thousand models check theirs a thousand times a second."""

    host: str

    @property
    def address(self) -> str:
        return f"{self.host}:8080"

    @property
    def pod(self) -> str:
        return self.host


@contextlib.asynccontextmanager
async def stubs(folder: Path) -> AsyncIterator[tuple[Stub, Stub]]:
    one, two = Stub(worlds.draw_host()), Stub(worlds.draw_host())
    (folder / "stub.cfg").write_text(STUB.format(one=one.host, two=two.host))
    process = await asyncio.create_subprocess_exec(haproxy_binary(), "-db", "-f", str(folder / "stub.cfg"))
    try:
        yield one, two
    finally:
        process.terminate()
        await process.wait()


async def changes(world: Any, replica: Any, count: int, models: int) -> list[float]:
    """Return how long each of `count` changes took, in seconds."""
    took = []
    for _ in range(count):
        model = f"m{random.randrange(models)}"
        slot = (await world.proxy.read()).routes[model]
        there = replica.address in world.placed[model, "r1"]
        began = time.perf_counter()
        (world.forget_endpoint if there else world.endpoint)(model, replica, wake=model)
        while True:
            seen = await world.proxy.read_slots([slot], {})
            server = seen.slots[slot].servers.get(f"{replica.address}_r1")
            taken = server is not None and server.weight > 0 and server.up
            if taken != there:
                break
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.05)
    return took


async def main(models: int, count: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
            world = worlds.World(Path(folder), Listener(worlds.draw_host(), 8080, "default"), session, stack)
            stack.push_async_callback(world.kill_proxy)
            stack.push_async_callback(world.stop_agent)
            one, two = await stack.enter_async_context(stubs(Path(folder)))
            for number in range(models):
                world.model(f"m{number}")
                world.endpoint(f"m{number}", one)
            await world.start_agent()
            await world.start_proxy()
            world.until_seconds = 120
            await world.until_healthy(f"m{models - 1}", one)
            await asyncio.sleep(5)
            took = sorted(await changes(world, two, count, models))
            at = {share: 1000 * took[min(count - 1, int(share * count))] for share in (0.5, 0.9, 0.99)}
            print(
                f"{models} models, {count} changes: " + ", ".join(f"p{100 * k:.0f} {v:.1f} ms" for k, v in at.items())
            )
            print("one model more:", await added(world, one, range(models, models + 1)))
            print("a reload:", await added(world, one, range(models + 1, models + models // 8 + 20)))


async def added(world: Any, replica: Any, numbers: range) -> dict[Any, int]:
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
                    status, _ = await world.send("m0", session=session)
                except aiohttp.ClientError as error:
                    status = type(error).__name__
                got[status] = got.get(status, 0) + 1
                await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
        for number in numbers:
            world.model(f"m{number}")
            world.endpoint(f"m{number}", replica)
        await world.until_healthy(f"m{numbers[-1]}", replica)
        await asyncio.sleep(8)
        ending.set()
    return got


if __name__ == "__main__":
    asyncio.run(main(*(int(text) for text in (sys.argv[1:] or ["1000", "200"]))))
