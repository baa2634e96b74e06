"""A model without replicas: its requests wait, bounded in number and time, for the first one."""

import asyncio

import pytest

from trimtab.workloads.gateway import agent as agents
from trimtab.workloads.gateway.holding import Holder

pytestmark = pytest.mark.integration


async def asleep(world, **options):
    world.model("digits", sleeps=True, **options)

    async def held():
        if not (await world.agent.stats(0.0)).proxy_up:
            return False
        seen = await world.proxy.read()
        return any("hold_" in slot.servers for slot in seen.slots.values())

    await world.until(held, "a server that holds")


async def waiting(world, count):
    async def demand():
        stats = await world.stats("digits")
        return stats.in_flight + stats.queued == count

    await world.until(demand, f"{count} requests that wait")


@pytest.mark.parametrize("size", [2, 1_000_000], ids=["small body", "1 MB body"])
async def test_requests_wait_for_the_first_replica(world, size):
    """All are answered as soon as it is there, whatever their size and retries; the wait is reported."""
    await asleep(world, retries=0)
    requests = [asyncio.create_task(world.send("digits", body=b"x" * size)) for _ in range(5)]
    await waiting(world, 5)
    assert (await world.stats("digits")).endpoints == []
    replica = await world.replica()
    world.endpoint("digits", replica)
    answers = await asyncio.gather(*requests)
    assert [(status, answer["bytes"]) for status, answer in answers] == [(200, size)] * 5
    assert (await world.stats("digits")).wake_seconds > 0
    assert "trimtab_gateway_wake_seconds" in await world.agent.metrics(0.0)
    await world.until_healthy("digits", replica)
    assert (await world.send("digits"))[1]["by"] == replica.address

    async def alone():
        seen = await world.proxy.read()
        return [set(slot.servers) for slot in seen.slots.values() if slot.servers] == [{f"{replica.address}_r1"}]

    await world.until(alone, "the end of holding")


async def test_to_sleep_and_up_again_under_load(world, load):
    """Replicas come and go, with none in between: nobody notices but by the clock."""
    await asleep(world, affinity="X-Session")
    async with load("digits", clients=6) as seen:
        for _ in range(3):
            replica = await world.replica(delay=0.01)
            world.endpoint("digits", replica)
            count = replica.answered

            async def answers(replica=replica, count=count):
                return replica.answered > count + 20

            await world.until(answers)
            world.endpoint("digits", replica, terminating=True)
            world.forget_endpoint("digits", replica)

            async def idle(replica=replica):
                return replica.working == 0

            await world.until(idle)
            await asyncio.sleep(0.1)
            await replica.stop()
        replica = await world.replica()
        world.endpoint("digits", replica)
    assert not seen.failures
    assert len(seen.statuses) > 60


async def test_a_wait_in_vain_ends(quiet_world, monkeypatch):
    """After the time limit the answer says why, and when to try again."""
    monkeypatch.setattr(agents, "Holder", lambda path: Holder(path, patience_seconds=0.3))
    world = quiet_world
    await world.start_proxy()
    await world.start_agent()
    await asleep(world)
    url = f"http://{world.listener.bind}/v2/models/digits/infer"
    async with world.session.post(url, data=b"{}") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"
        assert "no replica was ready within" in (await response.json())["error"]


async def test_a_queue_has_an_end(world):
    """More than 1,000 requests that wait for one model are too many; the answer comes at once."""
    await asleep(world)
    requests = [asyncio.create_task(world.send("digits")) for _ in range(1_001)]
    await waiting(world, 1_001)
    status, answer = await world.send("digits")
    assert (status, answer) == (503, {"error": "1000 requests wait for a replica already"})
    replica = await world.replica(max_concurrency=64)
    world.endpoint("digits", replica)
    assert {status for status, _ in await asyncio.gather(*requests)} == {200}


async def test_haproxy_starts_while_the_model_sleeps(world):
    """Its configuration names the agent's socket: a new HAProxy holds requests too."""
    await asleep(world)
    await world.until(lambda: asyncio.sleep(0, "server hold_ unix@" in (world.directory / "haproxy.cfg").read_text()))
    await world.kill_proxy()
    await world.start_proxy()

    async def up():
        return (await world.agent.stats(0.0)).proxy_up

    await world.until(up)
    request = asyncio.create_task(world.send("digits"))
    await waiting(world, 1)
    world.endpoint("digits", await world.replica())
    assert (await request)[0] == 200


async def test_one_that_may_not_sleep_answers_at_once(world):
    """Where nobody asked for it, no replica is an error and not a wait."""
    world.model("digits")

    async def known():
        return (await world.send("digits"))[0] == 503

    await world.until(known)
