"""The two policies, request by request, over replicas of different speed."""

import asyncio
import random

import pytest

pytestmark = pytest.mark.integration

SPEEDS = [0.005, 0.02, 0.08]
ENOUGH = 100


class Turnstile:
    """Lets one waiting request through at a time."""

    def __init__(self):
        self._places = asyncio.Semaphore(0)

    async def wait(self):
        await self._places.acquire()

    def let_one_go(self):
        self._places.release()


async def selections(world):
    """Return how often HAProxy has sent a request to each server, by its own count."""
    head, *rows = (await world.proxy._ask("admin.sock", "show stat")).lstrip("# ").splitlines()
    columns = head.split(",")
    rows = (dict(zip(columns, row.split(","), strict=False)) for row in rows if "_r" in row)
    return {row["svname"]: int(row["lbtot"]) for row in rows if row["svname"] != "BACKEND"}


def by_revision(counts):
    """Return the counts of each revision's servers."""
    return [[count for name, count in counts.items() if name.endswith(revision)] for revision in ("_r1", "_r2")]


@pytest.mark.parametrize("shares", [{"r1": 100}, {"r1": 75, "r2": 25}], ids=["one revision", "two revisions"])
async def test_turns_are_exact_at_every_moment(world, load, shares):
    """Under load, however slow some are, a revision's replicas have been given the same number, or one more."""
    replicas = []
    world.model("digits", shares=shares)
    for revision in shares:
        for delay in SPEEDS:
            replica = await world.replica(delay=delay, max_concurrency=ENOUGH)
            world.endpoint("digits", replica, revision)
            replicas.append(replica)
    await world.until_healthy("digits", *replicas)
    looks = 0
    async with load("digits", clients=12) as seen:
        while len(seen.statuses) < 600 or looks <= 10:
            for counts in by_revision(await selections(world)):
                assert not counts or max(counts) - min(counts) <= 1, counts
            looks += 1
            await asyncio.sleep(0.02)
    assert not seen.failures
    for revision in shares:
        answered = [
            replica.answered for replica in replicas if replica.address in world.placed.get(("digits", revision), {})
        ]
        assert max(answered) - min(answered) <= 1, answered
    assert sum(replica.answered for replica in replicas) == len(seen.statuses)


async def test_nobody_gets_a_request_while_another_has_fewer(world):
    """Requests come and end in a random order, more often at some replicas; each goes where the fewest are."""
    rng = random.Random(7)
    replicas = [await world.replica(gate=Turnstile(), max_concurrency=ENOUGH) for _ in SPEEDS]
    often = dict(zip(replicas, (1 / speed for speed in SPEEDS), strict=True))
    world.model("digits", "LeastConnections")
    for replica in replicas:
        world.endpoint("digits", replica)
    await world.until_healthy("digits", *replicas)
    requests = set()

    async def settled():
        """HAProxy and the replicas agree on who works on how many."""
        endpoints = (await world.stats("digits")).endpoints
        return {e.address: e.in_flight for e in endpoints} == {r.address: r.working for r in replicas} and sum(
            r.working for r in replicas
        ) == len(requests)

    for _ in range(60):
        busy = [replica for replica in replicas if replica.working]
        if busy and rng.random() < 0.4:
            (replica,) = rng.choices(busy, [often[replica] for replica in busy])
            replica.gate.let_one_go()
            done, requests = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result()[0] for task in done] == [200]
        else:
            before = {replica: replica.working for replica in replicas}
            requests.add(asyncio.create_task(world.send("digits")))
            await world.until(settled)
            (chosen,) = (replica for replica in replicas if replica.working > before[replica])
            assert before[chosen] == min(before.values()), before
        await world.until(settled)
    assert len({replica.answered for replica in replicas}) > 1
    for replica in replicas:
        for _ in range(replica.working):
            replica.gate.let_one_go()
    assert [status for status, _ in await asyncio.gather(*requests)] == [200] * len(requests)
