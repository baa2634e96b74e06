"""The live run: an embedded cluster, the operator, real pods, real requests, and nodes that are taken away."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from live_inputs import INTERRUPTION_TAINT, SETTLE_S, Inputs, model, pools
from live_recording import Point, Recording

from trimtab.api.conditions import moment
from trimtab.api.names import CAPACITY_TYPE_LABEL, MODEL_LABEL
from trimtab.cli.demo import assets
from trimtab.cli.demo.load import Load, input_tensor, questions
from trimtab.cli.demo.processes import EmbeddedCluster, embedded_cluster, train_customer_model
from trimtab.cli.demo.stage import install, operator_is_ready
from trimtab.cli.demo.world import World, ready
from trimtab.effects.kinds import NODE_GROUPS, NODES
from trimtab.effects.kubernetes import Cluster, mirror

_PATIENCE_S = 180.0


async def run(inputs: Inputs, seed: int, log: Callable[[str], None]) -> Recording:
    """Replay on a cluster of its own; nothing is left running."""
    folder = Path(tempfile.mkdtemp(prefix="trimtab-live-"))
    try:
        await train_customer_model(folder / "model", folder / "data" / "digits.npz", seed, folder)
        log("the model is trained")
        async with embedded_cluster(folder, keep=False, start_s=60) as embedded:
            return await _on_cluster(embedded, folder, inputs, seed, log)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _on_cluster(
    embedded: EmbeddedCluster, folder: Path, inputs: Inputs, seed: int, log: Callable[[str], None]
) -> Recording:
    async with await Cluster.connect(str(embedded.kubeconfig)) as cluster, asyncio.TaskGroup() as tasks:
        world, groups = World(), dict[tuple[str, str], Any]()
        background = [tasks.create_task(embedded.failed())]
        try:
            await install(cluster, folder, pools())
            background += world.watch(cluster, tasks)
            background.append(tasks.create_task(mirror(cluster, NODE_GROUPS, groups, lambda: None)))
            await world.until("the operator", lambda: operator_is_ready(world), _PATIENCE_S)
            await cluster.apply(model(folder, inputs))
            await world.until("condition Ready", lambda: world.is_true("Ready"), _PATIENCE_S)
            log("the model serves")
            url = str(world.status["url"])
            asked = questions(folder / "data" / "digits.npz", await input_tensor(url, assets.MODEL))
            rng = Random(seed)
            load = Load(
                f"{url}/v2/models/{assets.MODEL}/infer",
                asked,
                inputs.demand().rate(0),
                time.monotonic,
                gap=rng.expovariate,
            )
            return await _Replay(cluster, world, groups, load, inputs, log).run()
        finally:
            for task in background:
                task.cancel()


class _Replay:
    """Moves the load, takes nodes away, and writes down what there is."""

    def __init__(
        self,
        cluster: Cluster,
        world: World,
        groups: dict[tuple[str, str], Any],
        load: Load,
        inputs: Inputs,
        log: Callable[[str], None],
    ) -> None:
        self._cluster, self._world, self._groups = cluster, world, groups
        self._load, self._inputs, self._log = load, inputs, log
        self._recording = Recording()
        self._interrupted: set[str] = set()
        self._ordered: dict[str, float] = {}
        self._startups: dict[str, float] = {}

    async def run(self) -> Recording:
        sending = asyncio.create_task(self._load.run())
        try:
            await asyncio.sleep(SETTLE_S)
            await self._replay()
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
        found, said = self._recording, self._load.result()
        found.sent, found.failed, found.failures = said.sent, said.failed, said.failures
        found.p50_ms, found.p95_ms, found.mean_s = said.p50_ms, said.p95_ms, self._load.mean_ms() / 1000
        found.startup_s = sum(self._startups.values()) / max(1, len(self._startups))
        found.spent = float(self._world.status.get("cost", {}).get("spent", 0))
        return found

    async def _replay(self) -> None:
        demand, due = self._inputs.demand(), self._inputs.notices()
        began = time.monotonic()
        for second in range(int(self._inputs.length_s)):
            await asyncio.sleep(max(0.0, began + second - time.monotonic()))
            at = time.monotonic() - began
            self._load.rate = max(0.1, demand.rate(min(at, demand.length_s - 1e-3)))
            if due and at >= due[0] and await self._interrupt():
                self._recording.notices.append(at)
                due.pop(0)
            self._look(at)
            if second % 15 == 0:
                self._log(
                    f"{at:5.0f} s: {self._recording.points[-1]}, {self._load.sent} sent, {self._load.failed} failed"
                )

    async def _interrupt(self) -> bool:
        """Take the spot node away that has been in service for longest; return whether there is one."""
        in_service = {pod["spec"].get("nodeName") for pod in self._replicas() if ready(pod)}
        found = [
            machine
            for machine in self._machines("spot")
            if machine["name"] in in_service and machine["name"] not in self._interrupted
        ]
        if not found:
            return False
        name = min(found, key=lambda machine: (machine["createdAt"], machine["zone"]))["name"]
        node = self._world.node(name)
        if node is None:
            return False
        taints = [*node["spec"].get("taints", []), {"key": INTERRUPTION_TAINT, "effect": "NoSchedule"}]
        self._interrupted.add(name)
        await self._cluster.merge(NODES, name, None, {"spec": {"taints": taints}})
        return True

    def _machines(self, pool: str) -> list[dict[str, Any]]:
        group = self._groups.get(("", pool), {})
        found: list[dict[str, Any]] = group.get("status", {}).get("nodes", [])
        return found

    def _replicas(self) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self._world.pods
            if pod["metadata"].get("labels", {}).get(MODEL_LABEL) and CAPACITY_TYPE_LABEL in pod["metadata"]["labels"]
        ]

    def _look(self, at: float) -> None:
        staying = [
            pod for pod in self._replicas() if ready(pod) and pod["spec"].get("nodeName") not in self._interrupted
        ]
        on_demand, spot = self._machines("on-demand"), self._machines("spot")
        self._recording.points.append(Point(at, len(staying), len(on_demand), len(spot)))
        for machine in (*on_demand, *spot):
            if machine["phase"] == "Booting":
                self._ordered.setdefault(machine["name"], at)
        for pod in staying:
            name = pod["spec"]["nodeName"]
            if name in self._ordered and name not in self._startups:
                created = moment(pod["metadata"]["creationTimestamp"])
                machine = next((m for m in (*on_demand, *spot) if m["name"] == name), None)
                # A replica that found an empty node did not wait for one.
                if machine is not None and created <= moment(machine["readyAt"]):
                    self._startups[name] = at - self._ordered[name]
