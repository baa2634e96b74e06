"""What users notice of what happens to a cluster: requests, failures and the slowest, event by event.

    python tests/bench/losing_nothing.py [requests per second] [seconds without the API server]

Runs the real operator, two gateways and two replicas on an embedded cluster, and sends requests at a constant rate,
through the model's Service, whatever becomes of them; times run from when each was due. Prints a table in Markdown.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "plugins"), str(TESTS.parent / "operator")]

from clusters.outages import ClusterWithOutages, cluster_with_outages  # noqa: E402
from steadyload import SteadyLoad, steady_load  # noqa: E402

from trimtab.api.crds import crds  # noqa: E402
from trimtab.effects import kinds  # noqa: E402
from trimtab.effects.kubernetes import Cluster  # noqa: E402


def loaded(name: str) -> Any:
    """Return a module of the end-to-end tests, whose parts this is made from."""
    spec = importlib.util.spec_from_file_location(f"e2e_{name}", TESTS / "e2e" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


e2e, outage_tests = loaded("conftest"), loaded("test_outages")
NAMESPACE = "models"


class Bench:
    """A served model, and what may happen to it."""

    def __init__(self, world: Any, operator: Any, cluster: ClusterWithOutages, spec: dict[str, Any]) -> None:
        self.world, self.operator, self.cluster = world, operator, cluster
        self._spec = spec
        self._generation = 0

    async def change(self) -> int:
        """Ask for another revision; return its generation."""
        self._generation += 1
        serving = {**self._spec["serving"], "batching": {"maxSize": 4 + self._generation}}
        await self.world.cluster.apply(self.world.model(**{**self._spec, "serving": serving}))
        return self._generation

    async def done(self, generation: int) -> dict[str, Any]:
        await self.world.until("the revision", outage_tests.rolled_out(generation), timeout=200)
        found: dict[str, Any] = await self.world.until("both replicas", lambda s: s["replicas"]["ready"] == 2)
        return found

    async def nothing(self) -> None:
        await asyncio.sleep(10)

    async def rollout(self) -> None:
        await self.done(await self.change())

    async def operator_killed(self) -> None:
        generation = await self.change()
        await self.world.until("the middle", outage_tests.moving(generation))
        self.operator.kill()
        await asyncio.sleep(2)
        self.operator.start()
        await self.done(generation)

    async def replica_killed(self) -> None:
        outage_tests.kill_replica(await self._ready_replica())
        await asyncio.sleep(3)
        await self.world.until("both replicas", lambda s: s["replicas"]["ready"] == 2)

    def api_server_away(self, seconds: float) -> Callable[[], Awaitable[None]]:
        async def happen() -> None:
            generation = await self.change()
            await self.world.until("the middle", outage_tests.moving(generation))
            address = await self._ready_replica()
            self.cluster.take_the_api_away()
            await asyncio.sleep(seconds / 2)
            outage_tests.kill_replica(address)
            await asyncio.sleep(seconds / 2)
            self.cluster.give_the_api_back()
            await self.done(generation)

        return happen

    async def gateway_leaves(self) -> None:
        pods = await self._pods("gateway")
        await self.world.cluster.delete(kinds.PODS, pods[0]["metadata"]["name"], NAMESPACE)
        await asyncio.sleep(10)

    async def _ready_replica(self) -> str:
        for pod in await self._pods("serve"):
            if outage_tests.condition(pod["status"], "Ready").get("status") == "True":
                return str(pod["status"]["podIP"])
        raise RuntimeError("no replica is ready")

    async def _pods(self, component: str) -> list[dict[str, Any]]:
        label = f"app.kubernetes.io/component={component}"
        found: list[dict[str, Any]] = await self.world.cluster.list(kinds.PODS, NAMESPACE, labels=label)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def line(event: str, load: SteadyLoad) -> str:
    ordered = sorted(load.seconds)
    p50, p99 = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    return f"| {event} | {load.sent} | {load.failed} | {p50:.0f} | {p99:.0f} | {1000 * ordered[-1]:.0f} |"


async def measure(folder: Path, cluster: ClusterWithOutages, customer: Path, rate: float, away: float) -> None:
    (folder / "operator").write_text(await e2e._operators_kubeconfig(cluster.kubeconfig))
    (folder / "artifacts").mkdir()
    operator = e2e.Operator(folder / "operator", folder / "artifacts", folder / "operator.log")
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(await Cluster.connect(str(cluster.kubeconfig)))
        for crd in crds().values():
            await client.apply(crd)
        await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        operator.start()
        stack.callback(operator.stop)
        spec = {
            "source": {"uri": (customer / "model").as_uri(), "entrypoint": "digits_model:build"},
            "compression": {"preset": "None"},
            "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "mode": "Report"},
            "serving": {"minReplicas": 2, "maxReplicas": 2, "resources": {"requests": {"cpu": "100m"}}},
        }
        bench = Bench(e2e.World(client, NAMESPACE, folder / "operator.log"), operator, cluster, spec)
        body = await bench.done(await bench.change())
        url = body["status"]["url"]
        asked = await e2e._question(url, customer)
        print(
            f"| {rate:.0f} requests/s | requests | failed | p50 ms | p99 ms | slowest ms |\n|---|---|---|---|---|---|"
        )
        for event, happen in {
            "nothing": bench.nothing,
            "rolling update": bench.rollout,
            "operator killed -9 in a rolling update": bench.operator_killed,
            "replica killed -9": bench.replica_killed,
            f"API server away for {away:.0f} s in a rolling update, replica killed -9": bench.api_server_away(away),
            "gateway pod deleted": bench.gateway_leaves,
        }.items():
            async with steady_load(f"{url}/v2/models/digits/infer", asked, rate) as load:
                await happen()
            print(line(event, load), flush=True)
            if load.failed:
                print(load.outcomes, file=sys.stderr)


def main(rate: float = 200.0, away: float = 60.0) -> None:
    with tempfile.TemporaryDirectory(prefix="tt") as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run([sys.executable, "-c", e2e.TRAIN, str(folder / "model"), str(folder / "digits.npz")], check=True)
        with cluster_with_outages(folder) as cluster:
            asyncio.run(measure(folder, cluster, folder, rate, away))


if __name__ == "__main__":
    main(*(float(text) for text in sys.argv[1:]))
