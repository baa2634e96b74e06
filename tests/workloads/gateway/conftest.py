"""A gateway to test with: the real HAProxy and the real agent, between real HTTP replicas on loopback."""

import asyncio
import contextlib
import os
import random
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from trimtab.api.gateway import EndpointState
from trimtab.workloads.gateway.agent import Agent
from trimtab.workloads.gateway.concurrency import Concurrency
from trimtab.workloads.gateway.configuration import Listener
from trimtab.workloads.gateway.runtime import Proxy

TRIMTAB = [sys.executable, "-m", "trimtab"]
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": os.environ["PATH"]}
PATIENCE_SECONDS = 60


def draw_host():
    """Return an address of loopback's 16 million that nobody else uses, most probably."""
    return f"127.{random.randint(32, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"


@dataclass(eq=False)
class Replica:
    """A small runtime: answers after `delay` seconds, and counts."""

    host: str
    max_concurrency: int | None = 4
    delay: float = 0.0
    status: int = 200
    answered: int = 0
    clients: list[str] = field(default_factory=list)
    working: int = 0
    most: int = 0
    gate: asyncio.Event | None = None
    healthy: bool = True
    runner: web.AppRunner | None = None

    @property
    def address(self):
        return f"{self.host}:8080"

    @property
    def pod(self):
        return "pod-" + self.host.replace(".", "-")

    async def start(self):
        app = web.Application(client_max_size=2**24)
        app.router.add_get("/v2/health/ready", self._ready)
        app.router.add_get("/v2/models/{model}", self._metadata)
        app.router.add_post("/v2/models/{model}/infer", self._infer)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.host, 8080).start()

    async def stop(self):
        if self.runner:
            await self.runner.cleanup()
            self.runner = None

    async def _ready(self, _):
        return web.Response(status=200 if self.healthy else 503)

    async def _metadata(self, request):
        parameters = {} if self.max_concurrency is None else {"max_concurrency": self.max_concurrency}
        return web.json_response({"name": request.match_info["model"], "parameters": parameters})

    async def _infer(self, request):
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            body = await request.read()
            if self.gate:
                await self.gate.wait()
            await asyncio.sleep(self.delay)
            self.answered += 1
            self.clients.append(", ".join(request.headers.getall("X-Forwarded-For", ())))
            answer = {"model_name": request.match_info["model"], "by": self.address, "bytes": len(body)}
            return web.json_response(answer if self.status < 400 else {"error": "no"}, status=self.status)
        finally:
            self.working -= 1


@dataclass
class World:
    """HAProxy, agent and what they are told."""

    directory: Path
    listener: Listener
    session: aiohttp.ClientSession
    stack: contextlib.AsyncExitStack
    models: dict = field(default_factory=dict)
    slices: dict = field(default_factory=dict)
    placed: dict = field(default_factory=dict)
    ports: dict = field(default_factory=lambda: {"http": 8080})
    process: asyncio.subprocess.Process | None = None
    agent: Agent | None = None
    task: asyncio.Task | None = None
    proxy: Proxy | None = None
    until_seconds: float = PATIENCE_SECONDS

    # what the cluster says

    def model(self, name, policy="RoundRobin", *, retries=None, shares=None, avoid=(), affinity=None, sleeps=False):
        balancing = {"policy": policy} | ({} if retries is None else {"retries": retries})
        balancing |= {} if affinity is None else {"sessionAffinity": {"header": affinity}}
        shares = {"r1": 100} if shares is None else shares
        self.models["default", name] = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "serving": {"loadBalancing": balancing}
                | ({"minReplicas": 0, "scaling": {"idleAfter": "1m"}} if sleeps else {})
            },
            "status": {
                "traffic": {
                    "revisions": [{"revision": revision, "weight": weight} for revision, weight in shares.items()],
                    "avoidNodes": list(avoid),
                }
            },
        }
        self.wake()

    def forget_model(self, name):
        del self.models["default", name]
        self.wake()

    def endpoint(self, model, replica, revision="r1", *, ready=True, terminating=False, node="n1", wake=None):
        """Say how an endpoint is; a terminating one is serving and not ready, as Kubernetes has it."""
        self.placed.setdefault((model, revision), {})[replica.address] = {
            "addresses": [replica.host],
            "conditions": {
                "ready": ready and not terminating,
                "serving": ready or terminating,
                "terminating": terminating,
            },
            "nodeName": node,
            "targetRef": {"kind": "Pod", "name": replica.pod},
        }
        self._slice(model, revision, wake)

    def forget_endpoint(self, model, replica, revision="r1", *, wake=None):
        del self.placed[model, revision][replica.address]
        self._slice(model, revision, wake)

    def _slice(self, model, revision, wake):
        self.slices["default", f"{model}-{revision}"] = {
            "metadata": {
                "name": f"{model}-{revision}",
                "labels": {"trimtab.dev/model": model, "trimtab.dev/revision": revision},
            },
            "addressType": "IPv4",
            "ports": [{"name": name, "port": port} for name, port in self.ports.items()],
            "endpoints": list(self.placed[model, revision].values()),
        }
        self.wake(wake)

    def wake(self, model=None):
        if self.agent:
            self.agent.wake(model)

    # processes

    def host(self):
        """Return an address that nobody else uses."""
        return draw_host()

    async def replica(self, **options):
        replica = Replica(draw_host(), **options)
        await replica.start()
        self.stack.push_async_callback(replica.stop)
        return replica

    async def start_proxy(self):
        log = (self.directory / "haproxy.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *TRIMTAB, "gateway", "proxy", f"--directory={self.directory}", env=ENVIRONMENT, stdout=log, stderr=log
        )
        log.close()

    async def kill_proxy(self):
        if self.process and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()

    async def start_agent(self):
        self.proxy = Proxy(self.directory)
        self.agent = Agent(self.proxy, self.listener, self.models, self.slices, partial(Concurrency, self.session))
        self.task = asyncio.create_task(self.agent.run())

    async def stop_agent(self):
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.proxy.close()
            self.task = None

    async def proxy_command(self, command):
        with Proxy(self.directory) as proxy:
            assert await proxy.change([command])

    @contextlib.asynccontextmanager
    async def second(self):
        """Open another pod of the gateway, which is told the same."""
        directory = self.directory.parent / "second"
        directory.mkdir()
        listener = Listener(draw_host(), 8080, "default")
        other = World(directory, listener, self.session, self.stack, self.models, self.slices, self.placed)
        try:
            await other.start_proxy()
            await other.start_agent()
            (model,) = (name for _, name in self.models)

            async def healthy():
                return EndpointState.HEALTHY in (await other.states(model)).values()

            await other.until(healthy)
            yield other
        finally:
            await other.stop_agent()
            await other.kill_proxy()

    # what one sees

    async def stats(self, model):
        return (await self.agent.stats(time.time())).models.get(model)

    async def states(self, model):
        stats = await self.stats(model)
        return {endpoint.address: endpoint.state for endpoint in stats.endpoints} if stats else {}

    async def until(self, question, what="it"):
        """Ask until the answer is true; each look is a real observation of a real process."""
        deadline = time.monotonic() + self.until_seconds
        while True:
            if self.task and self.task.done():
                self.task.result()
            if answer := await question():
                return answer
            assert time.monotonic() < deadline, f"{what} did not happen; {(self.directory / 'haproxy.log').read_text()}"
            await asyncio.sleep(0.02)

    async def until_healthy(self, model, *replicas):
        """Wait until exactly these replicas are Healthy and their own limits are known."""

        async def healthy():
            stats = await self.stats(model)
            if not stats:
                return False
            good = {e.address for e in stats.endpoints if e.state is EndpointState.HEALTHY}
            known = all(e.max_concurrency for e in stats.endpoints if e.state is EndpointState.HEALTHY)
            return known and good == {replica.address for replica in replicas}

        await self.until(healthy, f"{model} healthy on {[replica.address for replica in replicas]}")

    async def send(self, model, *, path=None, host=None, body=b"{}", session=None, keep_alive=True, **headers):
        """Send one request; return status and the JSON answer."""
        url = f"http://{self.listener.bind}{path or f'/v2/models/{model}/infer'}"
        headers |= ({"Host": host} if host else {}) | ({} if keep_alive else {"Connection": "close"})
        async with (session or self.session).post(url, data=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)


@dataclass
class Load:
    """Requests sent in the background, and what became of them."""

    statuses: list = field(default_factory=list)
    by: dict = field(default_factory=dict)
    tasks: list = field(default_factory=list)

    @property
    def failures(self):
        return [status for status in self.statuses if status != 200]


@pytest.fixture
def load(world):
    """Return a context manager that keeps `clients` busy until it ends."""

    @contextlib.asynccontextmanager
    async def run(model, clients=8, body=b"{}", keep_alive=True):
        seen = Load()
        ending = asyncio.Event()

        async def client():
            while not ending.is_set():
                try:
                    status, answer = await world.send(model, body=body, keep_alive=keep_alive)
                except aiohttp.ClientError as error:
                    status, answer = type(error).__name__, {}
                seen.statuses.append(status)
                by = answer.get("by")
                seen.by[by] = seen.by.get(by, 0) + 1

        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
            try:
                yield seen
            finally:
                ending.set()

    return run


@pytest.fixture
async def quiet_world(tmp_path):
    """Return a world in which nothing runs yet."""
    # A path longer than a socket's may be: the embedded cluster keeps its volumes in deep folders.
    directory = tmp_path / ("volume-" + "x" * 90) / "gateway"
    directory.mkdir(parents=True)
    async with contextlib.AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        world = World(directory, Listener(draw_host(), 8080, "default"), session, stack)
        stack.push_async_callback(world.kill_proxy)
        stack.push_async_callback(world.stop_agent)
        yield world


@pytest.fixture
async def world(quiet_world):
    """Return a world with a gateway that runs and knows no model."""
    await quiet_world.start_proxy()
    await quiet_world.start_agent()

    async def up():
        return (await quiet_world.agent.stats(0.0)).proxy_up

    await quiet_world.until(up, "HAProxy's start")
    return quiet_world
