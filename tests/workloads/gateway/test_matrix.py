"""Everything that may happen to a gateway's surroundings, under a constant load that does not wait for answers."""

import asyncio
import contextlib
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import pytest
from replicaprocess import ReplicaProcess

from trimtab.api.gateway import EndpointState
from trimtab.workloads.gateway.stopping import stop_softly

pytestmark = pytest.mark.integration

RATE = 200
REPLICA = """
import asyncio, sys
from aiohttp import web
async def ready(_): return web.Response()
async def metadata(_): return web.json_response({"parameters": {"max_concurrency": 16}})
async def infer(request):
    await request.read()
    await asyncio.sleep(0.02)
    return web.json_response({"by": sys.argv[1]})
app = web.Application()
app.router.add_get("/v2/health/ready", ready)
app.router.add_get("/v2/models/digits", metadata)
app.router.add_post("/v2/models/digits/infer", infer)
web.run_app(app, host=sys.argv[1], port=8080, print=None, access_log=None)
"""


@dataclass
class Traffic:
    """Requests at a constant rate, in turn retried by the gateway and marked not to be."""

    retried: Counter = field(default_factory=Counter)
    marked: Counter = field(default_factory=Counter)

    def check(self, most_marked=0):
        """Every request that may be retried was answered, and of the others at most some few were not."""
        assert set(self.retried) == {200}, self
        assert sum(count for status, count in self.marked.items() if status != 200) <= most_marked, self


@contextlib.asynccontextmanager
async def constant_load(world, rate=RATE):
    """Send `rate` requests per second whatever the answers, one in five of them marked not to be retried."""
    seen, ending, sent = Traffic(), asyncio.Event(), []
    connector = aiohttp.TCPConnector(limit=0)

    async def one(number, session):
        marked = number % 5 == 0
        try:
            status, _ = await world.send("digits", session=session, **({"Trimtab-Retry": "never"} if marked else {}))
        except aiohttp.ClientError as error:
            status = type(error).__name__
        (seen.marked if marked else seen.retried)[status] += 1

    async def drive(session):
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not ending.is_set():
            while len(sent) < rate * (loop.time() - began):
                sent.append(asyncio.create_task(one(len(sent), session)))
            await asyncio.sleep(0.005)

    async with aiohttp.ClientSession(connector=connector) as session:
        driving = asyncio.create_task(drive(session))
        try:
            yield seen
        finally:
            ending.set()
            await driving
            await asyncio.gather(*sent)


async def pod(world, revision="r1", *, node="n1"):
    """Start a replica and wait until the gateway has admitted it."""
    host = world.host()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", REPLICA, host)

    async def stop():
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    world.stack.push_async_callback(stop)
    made = ReplicaProcess(host, process)
    world.endpoint("digits", made, revision, node=node)

    async def admitted():
        return (await world.states("digits")).get(made.address) is EndpointState.HEALTHY

    await world.until(admitted)
    return made


async def remove(world, leaver, revision="r1"):
    """Take a replica away as a kubelet does: terminating, drained, stopped, gone."""
    world.endpoint("digits", leaver, revision, terminating=True)
    await asyncio.sleep(0.3)
    leaver.process.terminate()
    await leaver.process.wait()
    world.forget_endpoint("digits", leaver, revision)


async def kill(world, victim, revision="r1", *, seconds=1.0):
    """Kill -9; its endpoint stays listed for a while."""
    victim.process.kill()
    await victim.process.wait()
    await asyncio.sleep(seconds)
    world.forget_endpoint("digits", victim, revision)


async def test_what_operators_do(world):
    """Rolling update, canary, rollback, scale up and down, agent restart, a node with notice: nothing fails."""
    world.model("digits")
    old = [await pod(world) for _ in range(2)]
    async with constant_load(world) as seen:
        candidate = await pod(world, "r2")
        for share in (10, 50, 0):  # a canary, and its rollback
            world.model("digits", shares={"r1": 100 - share, "r2": share})
            await asyncio.sleep(0.5)
        await remove(world, candidate, "r2")
        world.model("digits", shares={"r1": 50, "r3": 50})
        new = []
        for leaver in old:
            new.append(await pod(world, "r3"))
            await remove(world, leaver)
        world.model("digits", shares={"r3": 100})
        new.append(await pod(world, "r3", node="n2"))
        await world.stop_agent()
        await asyncio.sleep(0.3)
        await world.start_agent()
        world.model("digits", shares={"r3": 100}, avoid=["n2"])  # notice of the node
        await remove(world, new[-1], "r3")
        await remove(world, new[0], "r3")
    seen.check()
    assert sum(seen.retried.values()) > 500


async def test_what_nobody_asked_for(world):
    """Kill -9, a node lost, a hang: only what was under way on a dead one and was not to be retried is lost."""
    world.model("digits")
    killed, hung, lost, _, _ = [await pod(world, node=node) for node in ("n1", "n1", "n2", "n3", "n3")]
    async with constant_load(world) as seen:
        await asyncio.sleep(0.5)
        await kill(world, killed)
        await kill(world, lost, seconds=2.0)
        hung.process.send_signal(signal.SIGSTOP)

        async def noticed():
            return (await world.states("digits"))[hung.address] is EndpointState.UNHEALTHY

        await world.until(noticed, "an end to the hang")
        await asyncio.sleep(0.5)
        hung.process.send_signal(signal.SIGCONT)
    # A replica takes 16 at once, and a fifth of them is marked; two of them died.
    seen.check(most_marked=2 * 16)


@pytest.mark.parametrize("end", ["asked", "killed"])
async def test_one_of_two_gateways_ends(world, end):
    """Clients of the other one notice nothing; its own try again there, with what it broke off when it was killed."""
    world.model("digits")
    await pod(world)
    async with world.second() as other:
        got, ending = Counter(), asyncio.Event()

        async def client(first, second):
            while not ending.is_set():
                for gateway in (first, second):
                    try:
                        async with aiohttp.ClientSession() as session:
                            status, _ = await gateway.send("digits", session=session)
                    except aiohttp.ClientError:
                        got["again"] += 1
                        continue
                    got[status] += 1
                    break
                else:
                    got["failed"] += 1
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(client(*((other, world) if number % 2 else (world, other))))
            await asyncio.sleep(0.5)
            if end == "killed":
                other.process.kill()
            else:
                ended = asyncio.create_task(other.process.wait())
                await stop_softly(other.directory, 0.2, 10)
                await ended
            await asyncio.sleep(1)
            ending.set()
    assert got.keys() <= {200, "again"}
    assert got[200] > 40
