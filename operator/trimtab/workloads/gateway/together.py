"""A gateway's container: HAProxy, and beside it the agent, which may end as often as it likes.

They share a container because a pod is out of service while any of its containers is down, whatever its probes say:
HAProxy serves on with what it was last told, and an agent that dies must not take that from the users.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

import structlog

from trimtab.workloads.gateway.proxy import await_configuration, command, haproxy_binary

log = structlog.get_logger(__name__)

# Between an agent's end and the next one: at once the first time, seldom if none of them lasts.
_AGAIN_SECONDS = (0.1, 1.0, 2.0, 5.0, 10.0)
_LASTED_SECONDS = 60.0
# One that does not end by then hangs, and must not keep the container from starting anew.
_END_SECONDS = 5.0


async def run_together(directory: Path, agent: Sequence[str], patience_seconds: float) -> int:
    """Run HAProxy and the `agent`, a command line, until SIGTERM or until HAProxy ends; return the exit code.

    Raises:
        Stalled: There is no HAProxy.
        NotYet: There was no configuration for it within `patience_seconds`.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    directory.mkdir(parents=True, exist_ok=True)
    serving = asyncio.create_task(_serve(directory, patience_seconds))
    keeping = asyncio.create_task(_keep(agent))
    ending = asyncio.create_task(stopped.wait())
    tasks = (serving, keeping, ending)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if keeping in done:
        keeping.result()
    return serving.result() if serving in done else 0


async def _serve(directory: Path, patience_seconds: float) -> int:
    """Run HAProxy; return its exit code when it has ended, 128 + n for signal n."""
    binary = haproxy_binary()
    await await_configuration(directory, patience_seconds)
    log.info("haproxy.starting", binary=binary, directory=str(directory))
    async with _child(command(binary), directory) as process:
        code = await process.wait()
    log.info("haproxy.ended", code=code)
    return 128 - code if code < 0 else code


async def _keep(agent: Sequence[str]) -> NoReturn:
    """Run the agent, and another one whenever it ends."""
    loop = asyncio.get_running_loop()
    vain = 0
    while True:
        began = loop.time()
        async with _child(agent) as process:
            code = await process.wait()
        vain = 1 if loop.time() - began > _LASTED_SECONDS else vain + 1
        seconds = _AGAIN_SECONDS[min(vain, len(_AGAIN_SECONDS)) - 1]
        log.warning("agent.ended", code=code, again_in_seconds=seconds)
        await asyncio.sleep(seconds)


@asynccontextmanager
async def _child(command: Sequence[str], directory: Path | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command that ends with the block at the latest."""
    process = await asyncio.create_subprocess_exec(*command, cwd=directory)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
