"""How the operator's loop ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from trimtab.handlers.operator import run_loop


@contextlib.asynccontextmanager
async def pause() -> AsyncIterator[None]:
    """Hold a task that ends with the block, as each of Kopf's watches does."""
    waiter = asyncio.create_task(asyncio.Event().wait())
    try:
        yield
    finally:
        waiter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiter


async def events() -> AsyncIterator[int]:
    async with pause():
        while True:
            yield 1


async def watch(seen: asyncio.Event) -> None:
    stream = events()  # a name, as in Kopf: what it names outlives the loop over it
    async for _ in stream:
        seen.set()
        await asyncio.Event().wait()


async def stop_between_events() -> None:
    """End while watches have handed out an event and still hold their streams.

    Many, as the order in which a loop closes generators is that of their addresses.
    """
    seen = [asyncio.Event() for _ in range(50)]
    LEFT.extend(asyncio.create_task(watch(event)) for event in seen)
    for event in seen:
        await event.wait()


LEFT: list[asyncio.Task[None]] = []  # tasks keep their frames, and these the stream, until the loop closes


@pytest.fixture(autouse=True)
def _forget() -> None:
    LEFT.clear()


def test_a_watch_that_is_cut_off_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """What a bare loop reports as an error when it closes is not reported by the operator's."""
    asyncio.run(stop_between_events())
    assert "closing of asynchronous generator" in caplog.text
    caplog.clear()
    run_loop(stop_between_events())
    assert not caplog.records


def test_what_fails_in_the_background_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Everything else that a loop reports still reaches the log."""

    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    run_loop(main())
    assert "ZeroDivisionError" in caplog.text
