"""The agent's process: API server, HAProxy and the stats port put together, ended by SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path

import aiohttp
import structlog

from trimtab.api.names import MODEL_LABEL, REVISION_LABEL
from trimtab.effects.kinds import ENDPOINT_SLICES, MODELS
from trimtab.effects.kubernetes import Cluster, Object, mirror
from trimtab.workloads.gateway.agent import Agent, mirrored
from trimtab.workloads.gateway.concurrency import Concurrency
from trimtab.workloads.gateway.configuration import Listener
from trimtab.workloads.gateway.runtime import Proxy
from trimtab.workloads.gateway.server import stats_server

log = structlog.get_logger(__name__)

Mirror = dict[tuple[str, str], Object]


async def serve(directory: Path, listener: Listener, stats_port: int, kubeconfig: str | None) -> None:
    """Run the agent until SIGTERM or SIGINT; HAProxy goes on without it."""
    directory.mkdir(parents=True, exist_ok=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with await Cluster.connect(kubeconfig) as cluster:
        running = asyncio.create_task(run(cluster, directory, listener, stats_port))
        ending = asyncio.create_task(stopped.wait())
        await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in (running, ending):
            task.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        try:
            await running
        except asyncio.CancelledError:
            log.info("agent.stopped")


async def run(cluster: Cluster, directory: Path, listener: Listener, stats_port: int) -> None:
    """Watch the listener's namespace and drive the HAProxy that shares `directory`, for ever."""
    models: Mirror = {}
    slices: Mirror = {}
    with Proxy(directory) as proxy:
        async with aiohttp.ClientSession() as session:
            agent = Agent(proxy, listener, models, slices, partial(Concurrency, session))
            watched = partial(mirror, cluster, namespace=listener.namespace)
            watches = (
                partial(watched, MODELS, models, touched=lambda body: agent.wake(body["metadata"]["name"])),
                partial(
                    watched,
                    ENDPOINT_SLICES,
                    slices,
                    touched=lambda body: agent.wake(body["metadata"]["labels"].get(MODEL_LABEL)),
                    labels=REVISION_LABEL,
                ),
            )
            async with stats_server(agent, listener.host, stats_port):
                log.info("agent.started", namespace=listener.namespace, host=listener.host, port=listener.port)
                await mirrored(watches, agent)
