"""Processes on the event loop: nothing waits for ever, and nothing is left open."""

import asyncio
import os
from pathlib import Path

import pytest

from trimtab.local.agent.descriptors import Inlet, Outlet
from trimtab.local.agent.processes import Process

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("ticks", range(4))
async def test_a_cancellation_is_not_forgotten(ticks):
    """Who waits for a process can be cancelled at any moment, also at the one when the wait is over."""
    process = Process(["true"], os.environ, Path("/"), lambda data: None, whole_container=False)
    await process.ended()
    await process.wait()
    process._drained = asyncio.Event()
    waiting = asyncio.create_task(process.wait())
    await asyncio.sleep(0.05)
    process._drained.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    was_over = waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=30)
    assert waiting.cancelled() or was_over


async def test_a_write_waits_for_its_reader():
    """More than a pipe holds arrives whole, and its end is the reader's end."""
    reading, writing = os.pipe()
    inlet, outlet = Inlet(writing), Outlet(reading)
    data = bytes(range(256)) * 4_000

    async def feed():
        await inlet.write(data)
        inlet.close()

    feeding = asyncio.create_task(feed())
    seen = b"".join([piece async for piece in outlet.pieces(asyncio.Event(), 1.0)])
    await feeding
    outlet.close()
    assert seen == data


async def test_reading_ends_soon_after_its_process():
    """What was left behind may hold the other end open for ever."""
    reading, writing = os.pipe()
    outlet, ended = Outlet(reading), asyncio.Event()
    os.write(writing, b"last words")
    ended.set()
    async with asyncio.timeout(30):
        assert b"".join([piece async for piece in outlet.pieces(ended, 0.05)]) == b"last words"
    outlet.close()
    os.close(writing)


async def test_a_write_to_nobody_is_over():
    """The reader has gone; the writer goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    inlet = Inlet(writing)
    await asyncio.wait_for(inlet.write(b"x" * 1_000_000), 30)
    inlet.close()
