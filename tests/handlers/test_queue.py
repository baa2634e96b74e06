"""The work queue: one look per key at a time, coalesced, with back-off."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from trimtab.handlers.queue import WorkQueue, backoff


@asynccontextmanager
async def working(queue: WorkQueue[str], reconcile: Callable[[str], Awaitable[float | None]]) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(reconcile, workers=4))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_burst_is_one_look_and_one_more() -> None:
    """Wakes during a look are answered by exactly one more."""
    looks: Counter[str] = Counter()
    inside = asyncio.Event()
    release = asyncio.Event()
    twice = asyncio.Event()

    async def reconcile(key: str) -> None:
        looks[key] += 1
        inside.set()
        if looks[key] == 2:
            twice.set()
        await release.wait()

    queue: WorkQueue[str] = WorkQueue()
    async with working(queue, reconcile):
        queue.add("a")
        await inside.wait()
        for _ in range(100):
            queue.add("a")
        release.set()
        await asyncio.wait_for(twice.wait(), 60)
        await asyncio.sleep(0)
    assert looks == {"a": 2}


async def test_never_two_looks_at_one_key() -> None:
    """Four workers, one key: never two at once; other keys are not held up."""
    busy: set[str] = set()
    done: Counter[str] = Counter()
    finished = asyncio.Event()

    async def reconcile(key: str) -> None:
        assert key not in busy
        busy.add(key)
        await asyncio.sleep(0)
        busy.discard(key)
        done[key] += 1
        if sum(done.values()) >= 20 and len(done) == 2:
            finished.set()
        if done[key] < 10:
            queue.add(key)

    queue: WorkQueue[str] = WorkQueue()
    async with working(queue, reconcile):
        queue.add("a")
        queue.add("b")
        await asyncio.wait_for(finished.wait(), 60)
    assert done == {"a": 10, "b": 10}


async def test_a_failure_is_tried_again() -> None:
    """An exception does not end the worker; the key comes back after its back-off."""
    tries = 0
    succeeded = asyncio.Event()

    async def reconcile(key: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("no")
        succeeded.set()

    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 0.0)
    async with working(queue, reconcile):
        queue.add("a")
        await asyncio.wait_for(succeeded.wait(), 60)
    assert tries == 2


async def test_the_earlier_wake_wins() -> None:
    """A later timer does not put off an earlier one."""
    woken = asyncio.Event()

    async def reconcile(key: str) -> None:
        woken.set()

    queue: WorkQueue[str] = WorkQueue()
    async with working(queue, reconcile):
        queue.add_after("a", 0.01)
        queue.add_after("a", 3600)
        await asyncio.wait_for(woken.wait(), 60)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1.0), (7, 30.0), (1000, 30.0)])
def test_backoff_doubles_to_a_ceiling(failures: int, seconds: float) -> None:
    """Without jitter: half of the doubled delay, at most half a minute."""
    assert backoff(failures, 0.0) == seconds
    assert backoff(failures, 0.999) < 2 * seconds


async def test_what_happened_goes_before_what_is_only_looked_at() -> None:
    """A change of one is acted on while thousands wait for a look after a restart; each gets one."""
    queue: WorkQueue[str] = WorkQueue()
    looks: Counter[str] = Counter()
    release, acted, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    listed = [f"listed-{number}" for number in range(20)]

    async def look(key: str) -> None:
        looks[key] += 1
        if key in ("listed-19", "new"):
            if looks.keys() >= {"listed-19", "new"}:
                acted.set()
        else:
            await release.wait()
        if looks.total() == 21:
            done.set()

    for name in listed:
        queue.add(name)
    queue.add("listed-19", urgent=True)
    queue.add("listed-19")
    queue.add("new", urgent=True)
    async with working(queue, look), asyncio.timeout(30):
        await acted.wait()
        assert looks.total() == 4, "two of those that wait are looked at, as they leave the loop to others"
        release.set()
        await done.wait()
    assert looks == Counter([*listed, "new"])
