"""What users notice of what happens to a cluster: requests, failures and the slowest, case by case.

    python tests/bench/losing_nothing.py --rate 200 --seconds 60 --away 300 [--cases "nothing; rolling update"]

Runs the real operator, two gateways, and two replicas on an on-demand and a spot node, on an embedded cluster, and
sends requests at a constant rate through the model's Service, whatever becomes of them; times run from when each was
due. A request is asked again only where its connection broke, and that is counted. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "plugins"), str(TESTS.parent / "operator")]

from faults import victims  # noqa: E402
from faults.asking import Asked, asking  # noqa: E402
from faults.cluster import FaultyCluster, faulty_cluster  # noqa: E402
from faults.models import Wishes, pools  # noqa: E402
from faults.processes import processes, send  # noqa: E402
from faults.running import NOTICE  # noqa: E402
from faults.world import e2e, question  # noqa: E402
from statuses import condition  # noqa: E402

from trimtab.api.crds import crds  # noqa: E402
from trimtab.effects import kinds  # noqa: E402
from trimtab.effects.kubernetes import Cluster  # noqa: E402
from trimtab.workloads.gateway.configuration import CONFIG_FILE  # noqa: E402

NAMESPACE = "models"
PATIENCE_S = 200.0
CANARY = {"minSamples": 100, "steps": [{"weight": "20%", "hold": "8s"}, {"weight": "60%", "hold": "4s"}]}


class Bench:
    """A served model, and what may happen to it."""

    def __init__(self, cluster: FaultyCluster, client: Cluster, operator: Any, customer: Path, away: float) -> None:
        self.world = e2e().World(client, NAMESPACE, operator.log)
        self.cluster, self.client, self.operator, self.away = cluster, client, operator, away
        wishes = Wishes(customer, customer, None)
        wishes.begin()
        self._spec: dict[str, Any] = wishes.specs["digits"] or {}
        self._generation = 0

    async def change(self, **serving: Any) -> int:
        """Ask for something else, another revision by default; return its generation."""
        self._generation += 1
        wanted = serving or {"batching": {"maxSize": 4 + self._generation}}
        self._spec["serving"] = {**self._spec["serving"], **wanted}
        await self.client.apply(self.world.model(**self._spec))
        return self._generation

    async def done(self, generation: int, replicas: int = 2) -> dict[str, Any]:
        """Wait until a generation is rolled out, with so many replicas and no more."""

        def holds(status: dict[str, Any]) -> bool:
            good = all(condition(status, name).get("status") == "True" for name in ("RolledOut", "Ready"))
            return bool(status["observedGeneration"] == generation and good)

        await self.world.until("the revision", holds, timeout=PATIENCE_S)
        return await self.settled(replicas)

    async def settled(self, replicas: int = 2) -> dict[str, Any]:
        def holds(status: dict[str, Any]) -> bool:
            counts = status["replicas"]
            return bool((counts["desired"], counts["ready"]) == (replicas, replicas))

        found: dict[str, Any] = await self.world.until("the replicas", holds, timeout=PATIENCE_S)
        return found

    async def moving(self, generation: int) -> None:
        """Wait for the very middle of a rollout: both revisions have traffic."""

        def holds(status: dict[str, Any]) -> bool:
            shares = (status.get("traffic") or {}).get("revisions") or ()
            return bool(status["observedGeneration"] == generation and len(shares) == 2)

        await self.world.until("the middle", holds, timeout=PATIENCE_S)

    async def nothing(self) -> None:
        await asyncio.sleep(1)

    async def rolling_update(self) -> None:
        await self.done(await self.change())

    async def canary(self) -> None:
        await self.done(await self.change(rollout={"canary": CANARY}, batching={"maxSize": 3}))

    async def rolled_back(self) -> None:
        """A candidate that is far too slow: the canary fails, and the spec is put right."""
        before = self._spec["serving"]["batching"]
        await self.change(batching={"maxSize": 8, "maxWait": "400ms"})
        await self.world.until(
            "CanaryFailed", lambda s: condition(s, "Stalled").get("reason") == "CanaryFailed", timeout=PATIENCE_S
        )
        await self.done(await self.change(batching=before))
        await self.done(await self.change(rollout={}))

    async def scaled(self) -> None:
        """Two replicas more, and then two fewer."""
        await self.done(await self.change(minReplicas=4, maxReplicas=4), 4)
        await self.done(await self.change(minReplicas=2, maxReplicas=2), 2)

    async def operator_killed(self) -> None:
        generation = await self.change()
        await self.moving(generation)
        self.operator.kill()
        await asyncio.sleep(2)
        self.operator.start()
        await self.done(generation)

    async def replica_killed(self) -> None:
        pod = (await self._ready("serve"))[0]
        send(processes(pod["metadata"]["uid"], "serve")[:1], signal.SIGKILL)
        await asyncio.sleep(3)
        await self.settled()

    async def replica_hangs(self) -> None:
        pod = (await self._ready("serve"))[0]
        found = processes(pod["metadata"]["uid"], "serve")
        send(found, signal.SIGSTOP)
        await asyncio.sleep(10)
        send(found, signal.SIGCONT)

    async def node_lost(self) -> None:
        name = await self._spot_node()
        await self._tell("lose node", name)
        await asyncio.sleep(5)  # until somebody notices
        await self._tell("forget node", name)
        await asyncio.sleep(2)
        await self.settled()

    async def node_noticed(self) -> None:
        name = await self._spot_node()
        await self.client.merge(kinds.NODES, name, None, {"spec": {"taints": [NOTICE]}})
        while name in {node["metadata"]["name"] for node in await self._tell("list", "nodes")}:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        await self.settled()

    async def gateway_deleted(self) -> None:
        pod = (await self._ready("gateway"))[0]
        await self.client.delete(kinds.PODS, pod["metadata"]["name"], NAMESPACE)

    async def gateway_killed(self) -> None:
        pod = (await self._ready("gateway"))[0]
        send(processes(pod["metadata"]["uid"], "gateway", CONFIG_FILE), signal.SIGKILL)

    async def agents_killed(self) -> None:
        """All at once, and a rolling update right after."""
        pods = await self._ready("gateway")
        send(
            [number for pod in pods for number in processes(pod["metadata"]["uid"], "gateway", "agent")], signal.SIGKILL
        )
        await self.rolling_update()

    async def api_server_away(self) -> None:
        """From the middle of a rolling update on; meanwhile a replica dies."""
        generation = await self.change()
        await self.moving(generation)
        pod = (await self._ready("serve"))[0]
        await self._tell("away")
        await asyncio.sleep(self.away / 2)
        send(processes(pod["metadata"]["uid"], "serve")[:1], signal.SIGKILL)
        await asyncio.sleep(self.away / 2)
        await self._tell("back")
        await self.done(generation)

    async def _tell(self, *command: Any) -> Any:
        return await asyncio.to_thread(self.cluster.tell, *command)

    async def _ready(self, component: str) -> list[dict[str, Any]]:
        return [pod for pod in victims.of(await self._tell("list", "pods"), component) if victims.is_ready(pod)]

    async def _spot_node(self) -> str:
        nodes = {victims.node_of(pod) for pod in await self._ready("serve")}
        return next(name for name in sorted(nodes) if name.startswith("spot"))


CASES: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "nothing": Bench.nothing,
    "rolling update": Bench.rolling_update,
    "canary, promoted": Bench.canary,
    "canary, rolled back": Bench.rolled_back,
    "scaled from 2 to 4 and back": Bench.scaled,
    "replica killed -9": Bench.replica_killed,
    "replica hangs for 10 s": Bench.replica_hangs,
    "spot node lost without notice": Bench.node_lost,
    "spot node lost with a notice of 9 s": Bench.node_noticed,
    "gateway pod deleted": Bench.gateway_deleted,
    "gateway killed -9": Bench.gateway_killed,
    "both agents killed -9 at once, rolling update": Bench.agents_killed,
    "operator killed -9 in a rolling update": Bench.operator_killed,
    "API server away in a rolling update, replica killed -9": Bench.api_server_away,
}


def line(case: str, asked: Asked) -> str:
    ordered = sorted(asked.seconds)
    p50, p99 = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    counts = f"{asked.sent:,} | {len(asked.failures)} | {asked.again}"
    return f"| {case} | {counts} | {p50:.0f} | {p99:.0f} | {1000 * ordered[-1]:.0f} |"


async def measure(folder: Path, cluster: FaultyCluster, options: argparse.Namespace, cases: list[str]) -> None:
    (folder / "operator").write_text(await e2e()._operators_kubeconfig(cluster.kubeconfig))
    (folder / "artifacts").mkdir()
    operator = e2e().Operator(folder / "operator", folder / "artifacts", folder / "operator.log")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(await Cluster.connect(str(cluster.kubeconfig)))
        for crd in crds().values():
            await client.apply(crd)
        for body in ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *pools()):
            await client.apply(body)
        operator.start()
        stack.callback(operator.stop)
        bench = Bench(cluster, client, operator, folder / "customer", options.away)
        body = await bench.done(await bench.change())
        url = body["status"]["url"]
        asked = await question(url, "digits", folder / "customer")
        print(f"| {options.rate:.0f} requests/s | requests | failed | asked again | p50 ms | p99 ms | slowest ms |")
        print("|---|---|---|---|---|---|---|")
        for case in cases:
            async with asking(f"{url}/v2/models/digits/infer", asked, options.rate) as load:
                await asyncio.gather(CASES[case](bench), asyncio.sleep(options.seconds))
            print(line(case, load), flush=True)
            for failure in load.failures[:5]:
                print(failure, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each case, at least")
    parser.add_argument("--away", type=float, default=300.0, help="seconds without the API server")
    parser.add_argument("--cases", default="; ".join(CASES), help="which, with semicolons between them")
    options = parser.parse_args()
    cases = [case.strip() for case in options.cases.split(";")]
    if unknown := set(cases) - CASES.keys():
        parser.error(f"--cases: {sorted(unknown)} are none of {sorted(CASES)}")
    with tempfile.TemporaryDirectory(prefix="tt") as name:
        folder = Path(name)
        folder.chmod(0o755)
        customer = folder / "customer"
        training = [sys.executable, "-c", e2e().TRAIN, str(customer / "model"), str(customer / "digits.npz")]
        subprocess.run(training, check=True)
        with faulty_cluster(folder, 0) as cluster:
            asyncio.run(measure(folder, cluster, options, cases))


if __name__ == "__main__":
    main()
