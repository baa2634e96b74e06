"""Without the operator, without the API server: users notice nothing, and afterwards all is as it should be."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from clusters.outages import ClusterWithOutages, cluster_with_outages
from statuses import both_serve, condition, rolled_out
from steadyload import steady_load

from trimtab.api.names import SERVE_GRPC_PORT
from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

RATE = 120.0


@pytest.fixture(scope="module")
def outages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterWithOutages]:
    """A cluster of our own: the others' goes on."""
    with cluster_with_outages(tmp_path_factory.mktemp("c")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kubeconfig(outages: ClusterWithOutages) -> Path:
    return outages.kubeconfig


def moving(generation: int) -> Callable[[dict[str, Any]], bool]:
    """Both revisions have traffic: in the very middle of a rollout."""
    return lambda s: s["observedGeneration"] == generation and len((s.get("traffic") or {}).get("revisions") or ()) == 2


def kill_replica(address: str) -> None:
    """Kill -9 the runtime that listens on a pod's address."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it ended meanwhile
                continue
            if b"serve" in words and f"--host={address}".encode() in words:
                os.kill(int(entry.name), signal.SIGKILL)
                return
    pytest.fail(f"nothing serves on {address}")


@asynccontextmanager
async def calling(host: str, asked: dict[str, Any]) -> AsyncIterator[Counter[str]]:
    """Call over gRPC again and again inside the block, with a client that nobody here wrote."""
    seen, ending = Counter[str](), asyncio.Event()
    (tensor,) = asked["inputs"]
    given = triton.InferInput(tensor["name"], tensor["shape"], "FP32")
    given.set_data_from_numpy(np.asarray(tensor["data"], np.float32).reshape(tensor["shape"]))

    async def call() -> None:
        # Its name is what users dial; this cluster has no DNS.
        options = [("grpc.default_authority", "digits"), ("grpc.enable_retries", 0)]
        async with triton.InferenceServerClient(f"{host}:{SERVE_GRPC_PORT}", channel_args=options) as client:
            while not ending.is_set():
                try:
                    answer = await client.infer("digits", [given])
                    seen["ok" if answer.get_response().outputs[0].shape == [1, 10] else "wrong"] += 1
                except triton.InferenceServerException as error:
                    seen[str(error)] += 1
                await asyncio.sleep(0.05)

    task = asyncio.create_task(call())
    try:
        yield seen
    finally:
        ending.set()
        await task


async def test_nobody_notices(
    world: Any, operator: Any, customer: Path, exported: str, outages: ClusterWithOutages, question: Any
) -> None:
    """The operator is killed in a rollout, the API server goes in the next one, and with it away a replica dies."""
    spec: dict[str, Any] = {
        "source": {"uri": exported},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "mode": "Report"},
        "serving": {"minReplicas": 2, "maxReplicas": 2, "grpc": True, "resources": {"requests": {"cpu": "100m"}}},
    }

    async def change(size: int) -> None:
        serving = {**spec["serving"], "batching": {"maxSize": size}}
        await world.cluster.apply(world.model(**{**spec, "serving": serving}))

    await world.cluster.apply(world.model(**spec))
    await world.until("the first revision", rolled_out(1))
    body = await world.until("both replicas behind a gateway", both_serve)
    url = body["status"]["url"]
    asked = await question(url)
    host = url.removeprefix("http://").partition(":")[0]
    async with steady_load(f"{url}/v2/models/digits/infer", asked, RATE) as load, calling(host, asked) as calls:
        await change(8)
        await world.until("the middle of a rollout", moving(2))
        operator.kill()
        await asyncio.sleep(1)
        operator.start()
        await world.until("the second revision", rolled_out(2))

        await change(4)
        await world.until("the middle of the next", moving(3))
        pods = await world.cluster.list(kinds.PODS, world.namespace, labels="app.kubernetes.io/component=serve")
        serving = next(
            pod["status"]["podIP"]
            for pod in pods
            if condition(pod["status"], "Ready").get("status") == "True" and "deletionTimestamp" not in pod["metadata"]
        )
        outages.take_the_api_away()
        await asyncio.sleep(1)
        kill_replica(serving)
        await asyncio.sleep(3)
        outages.give_the_api_back()
        done = await world.until("the third revision", rolled_out(3))
        await world.until("both replicas", lambda s: s["replicas"]["ready"] == 2)
    load.check(at_least=int(5 * RATE))
    assert set(calls) == {"ok"}, calls
    assert not condition(done["status"], "Stalled")
