"""Replicas, agent and HAProxy come and go under load; every request is answered."""

import asyncio
import random
import sys

import aiohttp
import pytest

from trimtab.api.gateway import EndpointState
from trimtab.errors import NotYet
from trimtab.workloads.gateway import slots
from trimtab.workloads.gateway.stopping import stop_softly

pytestmark = pytest.mark.integration

VICTIM = """
import asyncio, sys
from aiohttp import web
async def ready(_): return web.Response()
async def metadata(_): return web.json_response({"parameters": {"max_concurrency": 4}})
async def infer(request):
    await request.read()
    await asyncio.sleep(0.02)
    return web.json_response({"by": "victim"})
app = web.Application(client_max_size=2**24)
app.router.add_get("/v2/health/ready", ready)
app.router.add_get("/v2/models/digits", metadata)
app.router.add_post("/v2/models/digits/infer", infer)
web.run_app(app, host=sys.argv[1], port=8080, print=None, access_log=None)
"""


async def two_replicas(world, **options):
    replicas = [await world.replica(delay=0.01, **options) for _ in range(2)]
    world.model("digits")
    for replica in replicas:
        world.endpoint("digits", replica)
    await world.until_healthy("digits", *replicas)
    return replicas


async def test_a_terminating_replica_is_drained_and_forgotten(world, load):
    """It gets nothing new at once, finishes what it has, and its server is gone soon after its endpoint."""
    leaver, stayer = await two_replicas(world)
    async with load("digits", clients=12) as seen:
        await asyncio.sleep(0.2)
        world.endpoint("digits", leaver, terminating=True)
        before = leaver.answered

        async def drained():
            now = await world.proxy.read()
            (server,) = [slot.servers[f"{leaver.address}_r1"] for slot in now.slots.values() if slot.servers]
            return server.weight == 0 and server.idle and leaver.working == 0

        await world.until(drained)
        assert leaver.answered - before <= 100  # about ten are on their way
        count = leaver.answered
        await asyncio.sleep(0.2)
        assert leaver.answered == count
        assert (await world.states("digits"))[leaver.address] is EndpointState.DRAINING
        await leaver.stop()
        world.forget_endpoint("digits", leaver)

        async def forgotten():
            now = await world.proxy.read()
            return {name for slot in now.slots.values() for name in slot.servers} == {f"{stayer.address}_r1"}

        await world.until(forgotten, "deletion of the server")
    assert len(seen.statuses) > 50
    assert not seen.failures


async def test_all_replicas_exchanged_one_by_one(world, load):
    """A rollout with surge 1 loses nothing, queue and all."""
    old = await two_replicas(world, max_concurrency=1)
    async with load("digits", clients=12) as seen:
        for leaver in old:
            fresh = await world.replica(delay=0.01, max_concurrency=1)
            world.endpoint("digits", fresh)

            async def admitted(fresh=fresh):
                return (await world.states("digits")).get(fresh.address) is EndpointState.HEALTHY

            await world.until(admitted)
            world.endpoint("digits", leaver, terminating=True)
            await asyncio.sleep(0.1)
            await leaver.stop()
            world.forget_endpoint("digits", leaver)
    assert len(seen.statuses) > 30
    assert not seen.failures


async def test_the_last_replica_is_used_until_it_goes(world):
    """Where nothing else is left, a terminating replica that still answers is better than an error."""
    replica = await world.replica()
    world.model("digits")
    world.endpoint("digits", replica)
    await world.until_healthy("digits", replica)
    world.endpoint("digits", replica, terminating=True)
    await asyncio.sleep(0.1)
    assert (await world.send("digits"))[0] == 200


async def test_queued_requests_survive_the_exchange_of_the_only_replica(world):
    """Requests that wait while the only replica leaves are answered by its successor."""
    old = await world.replica(max_concurrency=1, gate=asyncio.Event())
    world.model("digits")
    world.endpoint("digits", old)
    await world.until_healthy("digits", old)
    requests = [asyncio.create_task(world.send("digits")) for _ in range(4)]

    async def queued():
        return (await world.stats("digits")).queued == 3

    await world.until(queued)
    new = await world.replica()
    world.endpoint("digits", new, "r2")
    await world.until_healthy("digits", old, new)
    world.model("digits", shares={"r2": 100})
    world.endpoint("digits", old, terminating=True)

    async def taken():
        return new.answered == 3

    await world.until(taken, "the queue's hand-over")
    old.gate.set()
    assert [status for status, _ in await asyncio.gather(*requests)] == [200] * 4


@pytest.mark.parametrize("size", [2, 100_000], ids=["small body", "100 kB body"])
async def test_kill_9_loses_nothing(world, load, size):
    """A replica that is killed in the middle of requests: each is sent again to the other one."""
    survivor = await world.replica(delay=0.02, max_concurrency=8)
    victim = await world.replica()
    await victim.stop()  # only its address and its endpoint are used
    world.model("digits")
    world.endpoint("digits", survivor)
    world.endpoint("digits", victim)
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM, victim.host)
        try:
            await world.until_healthy("digits", survivor, victim)
            async with load("digits", clients=8, body=b"x" * size) as seen:

                async def known(seen=seen):
                    return seen.by.get("victim", 0) > 2

                await world.until(known, "the victim's answers")
                process.kill()
                await process.wait()
                await asyncio.sleep(0.6)
            assert not seen.failures
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_the_agent_restarts_under_load(world, load):
    """An agent that starts finds everything as it should be and changes nothing."""
    replicas = await two_replicas(world)
    config = (world.directory / "haproxy.cfg").read_text()
    async with load("digits") as seen:
        for _ in range(3):
            await world.stop_agent()
            await asyncio.sleep(0.1)
            await world.start_agent()
            await asyncio.sleep(0.2)
        await world.until_healthy("digits", *replicas)
    assert not seen.failures
    assert (await world.stats("digits")).requests_total == len(seen.statuses)
    assert (world.directory / "haproxy.cfg").read_text() == config


async def test_the_agent_catches_up_on_what_it_missed(world, load):
    """Replicas that came and went while no agent ran are in and out after its start."""
    leaver, stayer = await two_replicas(world)
    fresh = await world.replica()
    async with load("digits") as seen:
        await world.stop_agent()
        world.agent = None
        world.endpoint("digits", fresh)
        world.endpoint("digits", leaver, terminating=True)
        world.model("other")
        world.endpoint("other", stayer)
        await asyncio.sleep(0.1)
        await world.start_agent()
        await world.until_healthy("digits", stayer, fresh)
        await world.until_healthy("other", stayer)
    assert not seen.failures
    assert (await world.send("other"))[0] == 200


async def test_a_map_that_names_what_is_not_there(world):
    """A route to a backend that HAProxy does not have is put right."""
    replicas = await two_replicas(world)
    await world.stop_agent()
    await world.proxy_command("set map models.map digits roundrobin-r3-99")
    assert (await world.send("digits"))[0] == 503
    await world.start_agent()
    await world.until_healthy("digits", *replicas)
    assert (await world.send("digits"))[0] == 200


async def test_haproxy_comes_back_as_it_was(world):
    """Restarted while the agent is away, HAProxy serves the same models from its files."""
    replicas = await two_replicas(world)
    await world.stop_agent()
    await world.kill_proxy()
    await world.start_proxy()

    async def answered():
        try:
            return (await world.send("digits"))[0] == 200
        except aiohttp.ClientError:
            return False

    await world.until(answered)
    for _ in range(9):
        assert (await world.send("digits"))[0] == 200
    assert all(replica.answered >= 4 for replica in replicas)
    await world.start_agent()
    await world.until_healthy("digits", *replicas)


async def test_more_models_than_prepared(world, load):
    """The configuration grows by a reload, and no request is lost to it (but see `slots` on idle connections)."""
    first, _ = await two_replicas(world)
    worker = await world.proxy._worker()
    count = slots.SPARE + 3
    async with load("digits", keep_alive=False) as seen:
        await asyncio.sleep(0.2)
        for number in range(count):
            world.model(f"m{number}")
            world.endpoint(f"m{number}", first)
        for number in range(count):
            await world.until_healthy(f"m{number}", first)
        await asyncio.sleep(0.3)
    assert await world.proxy._worker() != worker
    assert not seen.failures
    for number in range(count):
        status, answer = await world.send(f"m{number}")
        assert (status, answer["model_name"]) == (200, f"m{number}")


async def test_the_gateway_finishes_before_it_ends(world):
    """`preStop` returns when the last request has its answer; HAProxy has ended by then."""
    replica = await world.replica(gate=asyncio.Event())
    world.model("digits")
    world.endpoint("digits", replica)
    await world.until_healthy("digits", replica)
    request = asyncio.create_task(world.send("digits"))

    async def working():
        return replica.working == 1

    await world.until(working)
    ending = asyncio.create_task(stop_softly(world.directory, 0.2, 10))

    async def closed():
        try:
            async with (
                aiohttp.ClientSession() as fresh,
                fresh.get(f"http://{world.listener.bind}/gateway/ready") as response,
            ):
                await response.read()
        except aiohttp.ClientConnectorError:
            return True

    await world.until(closed, "the end of listening")
    assert not request.done()
    replica.gate.set()
    assert (await request)[0] == 200
    waiting = asyncio.create_task(world.process.wait())  # reaps it, as a container runtime does
    await ending
    assert await waiting == 0


async def test_a_gateway_that_cannot_finish_says_so(world):
    """A request that takes too long is named as the reason."""
    replica = await world.replica(gate=asyncio.Event())
    world.model("digits")
    world.endpoint("digits", replica)
    await world.until_healthy("digits", replica)
    request = asyncio.create_task(world.send("digits"))

    async def working():
        return replica.working == 1

    await world.until(working)
    with pytest.raises(NotYet, match="HAProxy still had requests 0 s after its soft stop"):
        await stop_softly(world.directory, 0, 0.3)
    replica.gate.set()
    assert (await request)[0] == 200


async def test_a_change_while_the_agent_looks(world, load, monkeypatch):
    """A model whose replicas and then policy change during a look moves with its servers, not ahead of them."""
    replicas = await two_replicas(world)
    looking, looked = asyncio.Event(), asyncio.Event()
    read = world.proxy.read

    async def slowly():
        seen = await read()
        if not looking.is_set():
            looking.set()
            await looked.wait()
        return seen

    fresh = await world.replica()
    async with load("digits") as seen:
        monkeypatch.setattr(world.proxy, "read", slowly)
        world.model("digits")
        await looking.wait()
        world.endpoint("digits", fresh, wake="digits")

        async def added():
            (slot,) = (await world.proxy.read_slots(["roundrobin-r3-00"], {})).slots.values()
            return f"{fresh.address}_r1" in slot.servers

        await world.until(added)
        world.model("digits", "LeastConnections")
        looked.set()
        await world.until_healthy("digits", *replicas, fresh)

        async def moved():
            return (await read()).routes["digits"].startswith("leastconn")

        await world.until(moved)
        answered = len(seen.statuses)

        async def used():
            return len(seen.statuses) > answered + 50

        await world.until(used)
    assert not seen.failures


async def test_everything_at_once(world, load):
    """Six seconds and more of rollouts, drains, other policies, other shares and new agents, in a random order."""
    rng = random.Random(20)
    live = []

    async def add(revision):
        replica = await world.replica(delay=rng.choice([0.002, 0.01, 0.03]), max_concurrency=rng.choice([1, 2, 4]))
        world.endpoint("digits", replica, revision)
        live.append((replica, revision))

        async def healthy():
            return (await world.states("digits")).get(replica.address) is EndpointState.HEALTHY

        await world.until(healthy)

    async def remove():
        replica, revision = live.pop(rng.randrange(len(live)))
        if revision not in {other for _, other in live}:
            await add(revision)
        world.endpoint("digits", replica, revision, terminating=True)

        async def idle():
            return replica.working == 0

        await world.until(idle)
        await replica.stop()
        world.forget_endpoint("digits", replica, revision)

    async def change():
        share = rng.choice([0, 10, 50, 100])
        policy = rng.choice(["RoundRobin", "LeastConnections"])
        world.model("digits", policy, shares={"r1": share, "r2": 100 - share})
        await asyncio.sleep(rng.random() / 5)

    async def restart():
        await world.stop_agent()
        await world.start_agent()

    world.model("digits", shares={"r1": 50, "r2": 50})
    for revision in ("r1", "r2"):
        await add(revision)
    steps = 0
    async with load("digits", clients=16) as seen:
        ends = asyncio.get_running_loop().time() + 6
        while asyncio.get_running_loop().time() < ends or steps <= 10 or len(seen.statuses) <= 500:
            if len(live) < 5:
                await add(rng.choice(["r1", "r2"]))
            await rng.choice([remove, change, restart])()
            steps += 1
    assert not seen.failures
