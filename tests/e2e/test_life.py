"""A model's whole life, with the operator killed in every phase of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nodes", "this-machine"), pytest.mark.timeout(420)]


def ready(status: dict[str, Any]) -> bool:
    found = {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
    return found.get("Ready") == "True"


def stalled(status: dict[str, Any]) -> Any:
    return next((entry for entry in status.get("conditions") or () if entry["type"] == "Stalled"), None)


async def test_life_with_a_killed_operator(world: Any, operator: Any, customer: Path, loading: Any) -> None:
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

    async with loading(body["status"]["url"]) as load:
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
        # Rather the original than what is served: no new Job, and nobody takes it for a compressed model.
        guardrail = {**spec["guardrail"], "onFail": "ServeOriginal"}
        await world.cluster.apply(world.model(**{**spec, "compression": ruin, "guardrail": guardrail}))
        fallen = await world.until("the original", lambda s: s["observedGeneration"] == 3 and ready(s))
        assert fallen["status"]["summary"]["status"] == "ServingOriginal"
        assert fallen["status"]["activeRevision"]["artifact"]["bytes"] == artifact["sourceBytes"]
        assert fallen["status"]["guardrail"]["verdict"] == "Failed"
        assert fallen["status"]["lastRun"] == failed["status"]["lastRun"]
        # Back to the good recipe, with another batch size: a rollout of the artifact that is there, and no new Job.
        serving = {**spec["serving"], "batching": {"maxSize": 8}}
        await world.cluster.apply(world.model(**{**spec, "serving": serving}))
        rolled = await world.until("the new revision", lambda s: s["observedGeneration"] == 4 and ready(s))
        assert rolled["status"]["activeRevision"]["name"] != body["status"]["activeRevision"]["name"]
        assert rolled["status"]["activeRevision"]["artifact"] == artifact
        await asyncio.sleep(1)
    load.check()

    await world.cluster.delete(kinds.MODELS, "digits", world.namespace)
    for kind in (kinds.DEPLOYMENTS, kinds.JOBS, kinds.PODS, kinds.SERVICES):
        for _ in range(1200):
            left = await world.cluster.list(kind, world.namespace)
            if not left:
                break
            await asyncio.sleep(0.1)
        assert not left, [item["metadata"]["name"] for item in left]
