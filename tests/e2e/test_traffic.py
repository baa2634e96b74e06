"""A served model's traffic: canaries that are promoted and rolled back, and gateways that die."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nodes", "this-machine"), pytest.mark.timeout(420)]

CANARY = {"minSamples": 40, "steps": [{"weight": "20%", "hold": "4s"}, {"weight": "60%", "hold": "2s"}]}


def condition(status: dict[str, Any], kind: str) -> Any:
    return next((entry for entry in status.get("conditions") or () if entry["type"] == kind), {})


def rolled_out(generation: int) -> Any:
    return lambda s: s["observedGeneration"] == generation and condition(s, "RolledOut").get("status") == "True"


async def test_canaries_under_load(world: Any, operator: Any, customer: Path, loading: Any) -> None:
    """A good candidate is promoted step by step, a slow one is rolled back with its figures; no request is lost."""
    serving: dict[str, Any] = {
        "minReplicas": 2,
        "maxReplicas": 2,
        "resources": {"requests": {"cpu": "100m"}},
        "rollout": {"canary": CANARY},
    }
    spec: dict[str, Any] = {
        "source": {"uri": (customer / "model").as_uri(), "entrypoint": "digits_model:build"},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "mode": "Report"},
        "serving": serving,
    }
    await world.cluster.apply(world.model(**spec))
    body = await world.until("the first revision", rolled_out(1))
    first = body["status"]["activeRevision"]["name"]
    await world.until("both replicas", lambda s: s["replicas"]["ready"] == 2)
    async with loading(body["status"]["url"], clients=8) as load:
        slow = {**serving, "batching": {"maxSize": 8, "maxWait": "400ms"}}
        await world.cluster.apply(world.model(**{**spec, "serving": slow}))
        failed = await world.until("CanaryFailed", lambda s: condition(s, "Stalled").get("reason") == "CanaryFailed")
        assert failed["status"]["activeRevision"]["name"] == first
        assert "its p95 is above 1.5 times the active revision's" in condition(failed["status"], "Stalled")["message"]
        assert any("was rolled back" in entry["message"] for entry in failed["status"]["decisions"])
        good = {**serving, "batching": {"maxSize": 8}}
        await world.cluster.apply(world.model(**{**spec, "serving": good}))
        done = await world.until("the promotion", rolled_out(3))
        assert done["status"]["activeRevision"]["name"] != first
        messages = " ".join(entry["message"] for entry in done["status"]["decisions"])
        assert "canary step 1 of 2 (20%) passed" in messages
        assert "canary step 2 of 2 (60%) passed" in messages
        # A gateway that leaves finishes what it has, and the Service leads to the other one meanwhile.
        pods = await world.cluster.list(kinds.PODS, world.namespace, labels="app.kubernetes.io/component=gateway")
        assert len(pods) == 2
        await world.cluster.delete(kinds.PODS, pods[0]["metadata"]["name"], world.namespace)
        await asyncio.sleep(3)
    load.check()
