"""How requests are spread, measured at real replicas behind the real HAProxy."""

import asyncio
from collections import Counter

import pytest

pytestmark = pytest.mark.integration


async def test_round_robin_is_exact(world):
    """Counts of equal replicas differ by at most one, whatever the number of requests."""
    replicas = [await world.replica() for _ in range(3)]
    world.model("digits")
    for replica in replicas:
        world.endpoint("digits", replica)
    await world.until_healthy("digits", *replicas)
    by = Counter()
    for _ in range(100):
        status, answer = await world.send("digits")
        assert status == 200
        by[answer["by"]] += 1
    assert sorted(by.values()) == [33, 33, 34]


async def test_least_connections_prefers_the_idle_one(world):
    """While one replica is busy, the other gets everything."""
    busy, idle = await world.replica(gate=asyncio.Event()), await world.replica()
    world.model("digits", "LeastConnections")
    world.endpoint("digits", busy)
    await world.until_healthy("digits", busy)
    held = asyncio.create_task(world.send("digits"))

    async def working():
        return busy.working == 1

    await world.until(working)
    world.endpoint("digits", idle)
    await world.until_healthy("digits", busy, idle)
    for _ in range(10):
        assert (await world.send("digits"))[1]["by"] == idle.address
    busy.gate.set()
    assert (await held)[0] == 200


async def test_requests_wait_in_one_queue(world):
    """A replica never gets more at once than it says it takes; the rest waits, and the statistics say so."""
    replica = await world.replica(max_concurrency=2, gate=asyncio.Event())
    world.model("digits")
    world.endpoint("digits", replica)
    await world.until_healthy("digits", replica)
    requests = [asyncio.create_task(world.send("digits")) for _ in range(7)]

    async def settled():
        stats = await world.stats("digits")
        return (stats.in_flight, stats.queued) == (2, 5)

    await world.until(settled, "2 in flight and 5 queued")
    assert (await world.stats("digits")).endpoints[0].in_flight == 2
    replica.gate.set()
    assert [status for status, _ in await asyncio.gather(*requests)] == [200] * 7
    assert replica.most == 2
    stats = await world.stats("digits")
    assert (stats.in_flight, stats.queued, stats.requests_total, stats.errors_total) == (0, 0, 7, 0)
    assert stats.latency_ms_average > 0


async def test_shares_hold_whatever_the_replicas(world):
    """A revision with one replica gets its 25 % beside one with three."""
    old, new = [await world.replica() for _ in range(3)], await world.replica()
    world.model("digits", shares={"r1": 75, "r2": 25})
    for replica in old:
        world.endpoint("digits", replica)
    world.endpoint("digits", new, "r2")
    await world.until_healthy("digits", *old, new)
    for _ in range(40):
        await world.send("digits")
    assert new.answered == 10
    world.model("digits", shares={"r1": 50, "r2": 50})

    async def weighed():
        seen = await world.proxy.read()
        return {s.weight for slot in seen.slots.values() for s in slot.servers.values()} == {1, 3}

    await world.until(weighed)
    for _ in range(60):
        await world.send("digits")
    assert new.answered == 40


async def test_a_revision_without_a_share_is_checked_but_gets_nothing(world):
    """A rollout sees that new replicas are healthy before it sends anything to them."""
    old, new = await world.replica(), await world.replica()
    world.model("digits")
    world.endpoint("digits", old)
    world.endpoint("digits", new, "r2")
    await world.until_healthy("digits", old, new)
    for _ in range(10):
        await world.send("digits")
    assert (old.answered, new.answered) == (10, 0)


async def test_an_avoided_node_gets_no_new_request_unless_it_is_the_last(world):
    """Replicas on a node that goes away are drained; when all are there, they go on."""
    doomed, other = await world.replica(), await world.replica()
    world.model("digits")
    world.endpoint("digits", doomed, node="spot-1")
    world.endpoint("digits", other, node="spot-2")
    await world.until_healthy("digits", doomed, other)
    world.model("digits", avoid=["spot-1"])
    await world.until_healthy("digits", other)
    for _ in range(10):
        await world.send("digits")
    assert (doomed.answered, other.answered) == (0, 10)
    world.model("digits", avoid=["spot-1", "spot-2"])
    await world.until_healthy("digits", doomed, other)
    assert (await world.send("digits"))[0] == 200


async def test_the_policy_changes_while_requests_run(world, load):
    """Another policy is another prepared backend: nothing is lost and nothing is reloaded."""
    replicas = [await world.replica(delay=0.005) for _ in range(2)]
    world.model("digits")
    for replica in replicas:
        world.endpoint("digits", replica)
    await world.until_healthy("digits", *replicas)
    worker = await world.proxy._worker()
    async with load("digits") as seen:
        await asyncio.sleep(0.3)
        world.model("digits", "LeastConnections")

        async def moved():
            now = await world.proxy.read()
            used = [name for name, slot in now.slots.items() if slot.servers]
            return [name.split("-")[0] for name in used] == ["leastconn"]

        await world.until(moved, "the move to leastconn")
        await asyncio.sleep(0.2)
    assert seen.statuses
    assert not seen.failures
    assert await world.proxy._worker() == worker


async def test_requests_of_the_former_policy_still_count(world):
    """What runs when the policy changes stays in the statistics until it is answered."""
    replica = await world.replica(gate=asyncio.Event())
    world.model("digits")
    world.endpoint("digits", replica)
    await world.until_healthy("digits", replica)
    request = asyncio.create_task(world.send("digits"))

    async def working():
        return replica.working == 1

    await world.until(working)
    world.model("digits", "LeastConnections")

    async def moved():
        return (await world.proxy.read()).routes["digits"].startswith("leastconn")

    await world.until(moved)
    await world.until_healthy("digits", replica)
    stats = await world.stats("digits")
    assert (stats.in_flight, stats.endpoints[0].in_flight) == (1, 1)
    replica.gate.set()
    assert (await request)[0] == 200

    async def counted():
        return (await world.stats("digits")).in_flight == 0

    await world.until(counted)
