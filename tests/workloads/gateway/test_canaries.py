"""Canaries at the real HAProxy: exact shares, and figures of each revision that can be trusted."""

import asyncio
import time

import pytest

from trimtab.api.gateway import RevisionStats
from trimtab.planning.analysis import difference, quantile_ms

pytestmark = pytest.mark.integration


async def counted(world, revision):
    return (await world.stats("digits")).revisions.get(revision, RevisionStats())


async def canary(world, policy, *, weight=10, **options):
    """Return one replica of the candidate r2 beside three of r1, with `weight` percent of the traffic."""
    old, new = [await world.replica() for _ in range(3)], await world.replica(**options)
    world.model("digits", policy, shares={"r1": 100 - weight, "r2": weight})
    for replica in old:
        world.endpoint("digits", replica)
    world.endpoint("digits", new, "r2")
    await world.until_healthy("digits", *old, new)
    return old, new


@pytest.mark.parametrize(("policy", "weight", "total"), [("RoundRobin", 10, 10_000), ("LeastConnections", 33, 1_000)])
async def test_a_share_is_exact(world, policy, weight, total):
    """The candidate gets its share within a fifth of a percent, the others the rest in turn."""
    old, new = await canary(world, policy, weight=weight)

    async def client():
        for _ in range(total // 4):
            status, _ = await world.send("digits")
            assert status == 200

    await asyncio.gather(*(client() for _ in range(4)))
    assert abs(new.answered / total - weight / 100) < 0.002
    counts = [replica.answered for replica in old]
    assert max(counts) - min(counts) <= 4
    seen = await counted(world, "r2")
    assert (seen.requests, seen.errors, sum(seen.latencies.values())) == (new.answered, 0, new.answered)


async def test_figures_are_of_the_revision(world):
    """Errors and times are those of the revision that answered, not of the model."""
    _, new = await canary(world, "RoundRobin", weight=50, delay=0.05)
    took = {True: [], False: []}
    for _ in range(40):
        began = time.perf_counter()
        _, answer = await world.send("digits")
        took[answer["by"] == new.address].append(1000 * (time.perf_counter() - began))
    slow, fast = await counted(world, "r2"), await counted(world, "r1")
    assert (slow.requests, fast.requests) == (20, 20)
    # No answer takes the gateway longer than it took its client, and a bucket is a fifth wide.
    typical_ms, others_ms = (sorted(took[of_new])[9] for of_new in (True, False))
    assert 43 <= quantile_ms(slow.latencies, 0.5) <= 1.2 * typical_ms
    assert quantile_ms(fast.latencies, 0.5) <= min(1.2 * others_ms, quantile_ms(slow.latencies, 0.5))
    new.status = 500
    for _ in range(20):
        await world.send("digits")
    failed = difference(await counted(world, "r2"), slow)
    assert (failed.requests, failed.errors) == (10, 10)
    assert (await counted(world, "r1")).errors == 0
    assert 'trimtab_gateway_answer_seconds_count{model="digits",revision="r1"} 30' in await world.agent.metrics(0.0)


@pytest.mark.parametrize("failure", ["503", "refused"])
async def test_failures_that_nobody_saw_count(world, failure):
    """A request that was sent again elsewhere is answered, and still held against the candidate."""
    _, new = await canary(world, "RoundRobin", weight=50)
    before = await counted(world, "r2")
    if failure == "503":
        new.status = 503
    else:
        await new.stop()
    for _ in range(6):
        assert (await world.send("digits"))[0] == 200
    found = difference(await counted(world, "r2"), before)
    assert found.errors == found.requests >= 1
    await world.stop_agent()
    await world.start_agent()
    assert (await world.until(lambda: world.stats("digits"))).requests_total == 6
