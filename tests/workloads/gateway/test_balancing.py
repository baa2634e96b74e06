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
