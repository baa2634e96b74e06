"""The acts once the model serves: load rises, a spot node is taken away, load falls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from trimtab.cli.demo.live import View
from trimtab.cli.demo.load import Load, Question
from trimtab.cli.demo.recorder import Recorder
from trimtab.cli.demo.timeline import Mark, Requests, Sample
from trimtab.cli.demo.world import World
from trimtab.effects.kinds import NODES
from trimtab.effects.kubernetes import Cluster
from trimtab.errors import TrimtabError

INTERRUPTION_TAINT = "local.trimtab.dev/interruption"
# With a batch window of 20 ms the peak keeps about ten requests in flight: enough for eight replicas with target 2,
# at a cost in CPU that two cores bear beside the cluster.
_CALM_PER_S = 40.0
_PEAK_PER_S = 450.0
_RAMP_S = 12.0
_STEP_S = 0.25
_SPREAD_SPOT = 3  # ready spot replicas before a node is taken: some must remain


@dataclass(frozen=True, slots=True)
class Play:
    """What the acts left behind."""

    requests: Requests
    samples: tuple[Sample, ...]
    marks: tuple[Mark, ...]


async def play(
    cluster: Cluster, world: World, view: View, url: str, asked: list[Question], clock: Callable[[], float]
) -> Play:
    """Send load, interrupt a spot node under it, and wait for the scale-down; every request has ended afterwards."""
    load = Load(url, asked, _CALM_PER_S, clock)
    recorder = Recorder(world, load, view, clock)
    sending, recording = asyncio.create_task(load.run()), asyncio.create_task(recorder.run())
    try:
        await _rise(world, view, load, recorder)
        await _interrupt(cluster, world, view, recorder)
        await _fall(world, view, load, recorder)
    finally:
        for task in (sending, recording):
            task.cancel()
        for task in (sending, recording):
            with suppress(asyncio.CancelledError):
                await task
    recorder.look()
    return Play(load.result(), tuple(recorder.samples), tuple(recorder.marks))


async def _rise(world: World, view: View, load: Load, recorder: Recorder) -> None:
    view.phase("Load rises: replicas follow, onto spot nodes above one on demand")
    recorder.mark(f"load rises to {_PEAK_PER_S:.0f} requests/s", "load")
    await _ramp(load, _PEAK_PER_S)
    await world.until(
        f"{_SPREAD_SPOT} ready replicas on spot nodes under load",
        lambda: _replicas(world, "spot") >= _SPREAD_SPOT and len(world.spot_nodes_with_replicas()) > 1,
        60,
    )


async def _interrupt(cluster: Cluster, world: World, view: View, recorder: Recorder) -> None:
    """Take the fullest spot node away and wait until it is gone and as many replicas serve as before."""
    view.phase("A spot node is taken away under load")
    before = _replicas(world, "ready")
    name, replicas = world.spot_nodes_with_replicas()[0]
    node = world.node(name)
    if node is None:
        raise TrimtabError("NodeGone", f"spot node {name} went before it could be interrupted")
    taint = {"key": INTERRUPTION_TAINT, "effect": "NoSchedule"}
    await cluster.merge(NODES, name, None, {"spec": {"taints": [*node["spec"].get("taints", []), taint]}})
    recorder.mark(f"interruption notice for spot node {name} with {replicas} replica(s)", "interruption")
    await world.until(f"spot node {name} to go", lambda: world.node(name) is None, 45)
    await world.until(f"{before} ready replicas again", lambda: _replicas(world, "ready") >= before, 45)
    recorder.mark(f"node {name} is gone and {_replicas(world, 'ready')} replicas serve", "replaced")


async def _fall(world: World, view: View, load: Load, recorder: Recorder) -> None:
    view.phase("Load falls: replicas go, drained first")
    recorder.mark(f"load falls to {_CALM_PER_S:.0f} requests/s", "load")
    wanted, ready = _replicas(world, "desired"), _replicas(world, "ready")
    load.rate = _CALM_PER_S
    await world.until("fewer replicas wanted", lambda: _replicas(world, "desired") < wanted, 90)
    await world.until("fewer replicas", lambda: _replicas(world, "ready") < ready, 60)


async def _ramp(load: Load, to: float) -> None:
    """Move the rate in even steps."""
    steps = int(_RAMP_S / _STEP_S)
    rise = (to - load.rate) / steps
    for _ in range(steps):
        load.rate += rise
        await asyncio.sleep(_STEP_S)


def _replicas(world: World, which: str) -> int:
    return int(world.status.get("replicas", {}).get(which, 0))
