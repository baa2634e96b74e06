"""A model's whole life, with the operator killed in every phase of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]


@dataclass
class Load:
    """Clients that call a model one request after the other."""

    url: str
    body: dict[str, Any]
    answers: Counter[str] = field(default_factory=Counter)

    async def client(self, session: aiohttp.ClientSession) -> None:
        while True:
            try:
                async with session.post(self.url, json=self.body) as response:
                    answer = await response.json()
                    good = response.status == 200 and answer["outputs"][0]["shape"] == [1, 10]
                    self.answers["ok" if good else f"{response.status} {answer}"] += 1
            except (aiohttp.ClientError, OSError) as error:
                self.answers[repr(error)] += 1
            await asyncio.sleep(0.01)

    def check(self) -> None:
        assert self.answers["ok"] > 50, self.answers
        assert set(self.answers) == {"ok"}, self.answers


@asynccontextmanager
async def loading(url: str, customer: Path, clients: int = 4) -> AsyncIterator[Load]:
    with np.load(customer / "digits.npz") as data:
        image = data["x_test"][0]
    name = await input_name(url)
    tensor = {"name": name, "shape": [1, *image.shape], "datatype": "FP32", "data": image.ravel().tolist()}
    load = Load(f"{url}/v2/models/digits/infer", {"inputs": [tensor]})
    async with aiohttp.ClientSession() as session:
        tasks = [asyncio.create_task(load.client(session)) for _ in range(clients)]
        try:
            yield load
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def input_name(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v2/models/digits") as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["inputs"][0]["name"])


def ready(status: dict[str, Any]) -> bool:
    found = {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
    return found.get("Ready") == "True"


def stalled(status: dict[str, Any]) -> Any:
    return next((entry for entry in status.get("conditions") or () if entry["type"] == "Stalled"), None)


async def test_life_with_a_killed_operator(world: Any, operator: Any, customer: Path) -> None:
    """However often the operator dies: one Job, a served model, no request lost, and nothing left in the end."""
    spec: dict[str, Any] = {
        "source": {"uri": (customer / "model").as_uri(), "entrypoint": "digits_model:build"},
        "compression": {"preset": "Fast"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "maxDrop": "2pp"},
        "serving": {"minReplicas": 2, "maxReplicas": 2, "resources": {"requests": {"cpu": "100m"}}},
    }
    await world.cluster.apply(world.model(**spec))
    await world.until("a run", lambda s: s.get("lastRun"))
    operator.kill()
    operator.start()
    await world.until("progress", lambda s: s["lastRun"]["phase"] == "Running" or s.get("candidateRevision"))
    operator.kill()
    operator.start()
    await world.until("a candidate", lambda s: s.get("candidateRevision") or s.get("activeRevision"))
    operator.kill()
    operator.start()
    body = await world.until("Ready", ready)
    assert len(await world.cluster.list(kinds.JOBS, world.namespace)) == 1
    artifact = body["status"]["activeRevision"]["artifact"]
    assert artifact["bytes"] < artifact["sourceBytes"]
    await world.until("both replicas", lambda s: s["replicas"]["ready"] == 2)

    async with loading(body["status"]["url"], customer) as load:
        await asyncio.sleep(1)
        operator.kill()
        await asyncio.sleep(1)
        operator.start()
        # A recipe that ruins the model: it must not serve, and what serves must go on.
        ruin = {"steps": [{"prune": {"sparsity": "90%"}}, {"quantize": {"scheme": "INT8"}}]}
        await world.cluster.apply(world.model(**{**spec, "compression": ruin}))
        failed = await world.until("GuardrailFailed", lambda s: s["observedGeneration"] == 2 and stalled(s))
        assert stalled(failed["status"])["reason"] == "GuardrailFailed", stalled(failed["status"])
        assert failed["status"]["activeRevision"]["name"] == body["status"]["activeRevision"]["name"]
        assert "keeps serving" in stalled(failed["status"])["message"]
        # Back to the good recipe, with another batch size: a rollout of the artifact that is there, and no new Job.
        serving = {**spec["serving"], "batching": {"maxSize": 8}}
        await world.cluster.apply(world.model(**{**spec, "serving": serving}))
        rolled = await world.until("the new revision", lambda s: s["observedGeneration"] == 3 and ready(s))
        assert rolled["status"]["activeRevision"]["name"] != body["status"]["activeRevision"]["name"]
        assert rolled["status"]["activeRevision"]["artifact"] == artifact
        await asyncio.sleep(1)
    load.check()

    await world.cluster.delete(kinds.MODELS, "digits", world.namespace)
    for kind in (kinds.DEPLOYMENTS, kinds.JOBS, kinds.PODS, kinds.SERVICES):
        for _ in range(300):
            left = await world.cluster.list(kind, world.namespace)
            if not left:
                break
            await asyncio.sleep(0.1)
        assert not left, [item["metadata"]["name"] for item in left]
