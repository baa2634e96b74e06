"""Session affinity at the real HAProxy: a header's value has its replica, whoever comes and goes."""

import asyncio

import pytest

from trimtab.api.gateway import EndpointState

pytestmark = pytest.mark.integration

HEADER = "X-Session-Id"


async def replicas_with_affinity(world, count, policy="RoundRobin", **options):
    replicas = [await world.replica(**options) for _ in range(count)]
    world.model("digits", policy, affinity=HEADER)
    for replica in replicas:
        world.endpoint("digits", replica)
    await world.until_healthy("digits", *replicas)
    await routed(world)
    return replicas


async def routed(world):
    """Wait until sessions have their own route: the first header of its name needs a reload."""

    async def there():
        return f"digits@{HEADER.lower()}" in (await world.proxy.read()).routes

    await world.until(there, "a route for sessions")


async def places(world, sessions=60):
    """Return the replica of each session."""
    found = {}
    for number in range(sessions):
        status, answer = await world.send("digits", **{HEADER: f"user-{number}"})
        assert status == 200
        found[number] = answer["by"]
    return found


async def test_a_session_has_its_replica(world):
    """Always the same one; sessions are spread over all, and requests without the header take turns."""
    replicas = await replicas_with_affinity(world, 3)
    first = await places(world)
    assert await places(world) == first
    counts = [list(first.values()).count(replica.address) for replica in replicas]
    assert min(counts) >= 8
    before = [replica.answered for replica in replicas]
    for _ in range(30):
        await world.send("digits")
    assert [replica.answered - count for replica, count in zip(replicas, before, strict=True)] == [10, 10, 10]
    assert (await world.stats("digits")).requests_total == 150


async def test_a_lost_replica_moves_its_own_sessions_alone(world):
    """Killed without notice: its sessions move, the others stay; back again, so are they."""
    lost, *others = await replicas_with_affinity(world, 3)
    before = await places(world)
    await lost.stop()
    during = await places(world)
    assert all(during[number] == place for number, place in before.items() if place != lost.address)
    assert lost.address not in during.values()
    await lost.start()
    await world.until_healthy("digits", lost, *others)

    async def home():  # the two routes look at a replica's health on their own
        return await places(world) == before

    await world.until(home, "the sessions' way back")


async def test_sessions_survive_drains_and_restarts(world):
    """A draining replica's sessions move at once; a new HAProxy has every session where it was."""
    leaver, *others = await replicas_with_affinity(world, 3)
    before = await places(world)
    await world.stop_agent()
    await world.kill_proxy()
    await world.start_proxy()
    await world.start_agent()
    await world.until_healthy("digits", leaver, *others)
    assert await places(world) == before
    world.endpoint("digits", leaver, terminating=True)

    async def draining():
        return (await world.states("digits"))[leaver.address] is EndpointState.DRAINING

    await world.until(draining)
    after = await places(world)
    assert leaver.address not in after.values()
    assert all(after[number] == place for number, place in before.items() if place != leaver.address)


async def test_without_the_header_the_policy_holds(world):
    """LeastConnections avoids the busy replica."""
    busy, idle = await replicas_with_affinity(world, 2, "LeastConnections")
    busy.gate = asyncio.Event()
    held = asyncio.create_task(world.send("digits"))

    async def working():
        return busy.working == 1 or held.done()

    await world.until(working)
    if held.done():  # the idle one was first in turn
        held = asyncio.create_task(world.send("digits"))
        await world.until(working)
    for _ in range(5):
        assert (await world.send("digits"))[1]["by"] == idle.address
    busy.gate.set()
    assert (await held)[0] == 200
