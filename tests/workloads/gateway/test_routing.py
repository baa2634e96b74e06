"""Which request goes to which model, and what a client is told when none can take it."""

import asyncio

import aiohttp
import pytest

pytestmark = pytest.mark.integration


async def until_status(world, model, status):
    async def answered():
        return (await world.send(model))[0] == status

    await world.until(answered, f"{status} for {model}")


async def test_path_first_then_host(world):
    """The path names the model; where it does not, the host does, with or without the namespace."""
    one, two = await world.replica(), await world.replica()
    for name, replica in (("one", one), ("two", two)):
        world.model(name)
        world.endpoint(name, replica)
        await world.until_healthy(name, replica)
    assert (await world.send("one", host="two"))[1]["by"] == one.address
    base = f"http://{world.listener.bind}"
    for host, status in {
        "two": 200,
        "two:8080": 200,
        "TWO.default": 200,
        "two.default.svc.cluster.local:80": 200,
        "two.elsewhere": 404,
        "three": 404,
    }.items():
        async with world.session.get(f"{base}/v2/health/ready", headers={"Host": host}) as response:
            assert response.status == status, host


async def test_a_replica_is_told_the_client(world):
    """Last of X-Forwarded-For, whatever the client claims: replicas share themselves out by it."""
    replica = await world.replica()
    world.model("digits")
    world.endpoint("digits", replica)
    await world.until_healthy("digits", replica)
    await world.send("digits", **{"X-Forwarded-For": "10.9.9.9"})
    claimed, _, seen = replica.clients[-1].rpartition(", ")
    assert claimed == "10.9.9.9"
    assert seen.startswith("127.")


async def test_a_model_comes_and_goes(world):
    """Unknown is 404, known without a replica 503 with Retry-After, and 404 again when it was deleted."""
    replica = await world.replica()
    world.model("other")
    await until_status(world, "digits", 404)
    status, answer = await world.send("digits")
    assert (status, answer) == (404, {"error": "no model digits here"})
    world.model("digits")
    await until_status(world, "digits", 503)
    async with world.session.post(f"http://{world.listener.bind}/v2/models/digits/infer", data=b"{}") as response:
        assert response.headers["Retry-After"] == "1"
        assert response.content_type == "application/json"
        assert (await response.json())["error"].startswith("no replica can take the request now")
    world.endpoint("digits", replica)
    await until_status(world, "digits", 200)
    world.forget_model("digits")
    await until_status(world, "digits", 404)


async def test_without_models_and_without_a_name(world):
    """No model at all is 503; a path and a host that name none is 404, with the remedy."""
    status, answer = await world.send("digits")
    assert (status, answer) == (503, {"error": "no models here yet"})
    world.model("digits")
    await until_status(world, "other", 404)
    status, answer = await world.send("", path="/predict")
    assert (status, answer) == (404, {"error": "no model named; use /v2/models/<model>/infer"})
    status, answer = await world.send("", path='/v2/models/"a\\b/infer')
    assert status == 404


async def test_the_gateway_says_when_it_is_ready(world):
    """Its own readiness needs no model."""
    async with world.session.get(f"http://{world.listener.bind}/gateway/ready") as response:
        assert (response.status, await response.text()) == (200, "ready")


async def test_503_is_tried_elsewhere_500_is_not(world):
    """An overloaded or draining replica is passed over; an answer of the model is the client's."""
    bad, good = await world.replica(status=503), await world.replica()
    world.model("digits")
    for replica in (bad, good):
        world.endpoint("digits", replica)
    await world.until_healthy("digits", bad, good)
    assert [(await world.send("digits"))[0] for _ in range(10)] == [200] * 10
    assert bad.answered > 0
    bad.status = 500
    assert sorted({(await world.send("digits"))[0] for _ in range(10)}) == [200, 500]
    assert (await world.stats("digits")).errors_total == 5


async def test_no_retries_when_the_model_wants_none(world):
    """`retries: 0` is a backend of its own kind; a failure reaches the client."""
    bad = await world.replica(status=503)
    world.model("digits", retries=0)
    world.endpoint("digits", bad)
    await world.until_healthy("digits", bad)
    assert (await world.send("digits"))[0] == 503
    assert bad.answered == 1


async def test_failing_health_takes_a_replica_out_and_in(world):
    """Two failed checks are the end, one that passes the return."""
    sick, well = await world.replica(), await world.replica()
    world.model("digits")
    for replica in (sick, well):
        world.endpoint("digits", replica)
    await world.until_healthy("digits", sick, well)
    sick.healthy = False
    await world.until_healthy("digits", well)
    before = sick.answered
    for _ in range(5):
        await world.send("digits")
    assert sick.answered == before
    sick.healthy = True
    await world.until_healthy("digits", sick, well)


async def test_a_client_that_leaves_the_queue_is_no_error(world):
    """A request that its client gave up while it waited never reaches a replica, and counts as no failure."""
    replica = await world.replica(max_concurrency=1, gate=asyncio.Event())
    world.model("digits")
    world.endpoint("digits", replica)
    await world.until_healthy("digits", replica)
    first = asyncio.create_task(world.send("digits"))

    async def working():
        return replica.working == 1

    await world.until(working)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as impatient:
        with pytest.raises(TimeoutError):
            await world.send("digits", session=impatient)

    async def left():
        return (await world.stats("digits")).queued == 0

    await world.until(left)
    replica.gate.set()
    assert (await first)[0] == 200
    stats = await world.stats("digits")
    assert (replica.answered, stats.errors_total) == (1, 0)
