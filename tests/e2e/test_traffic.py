"""A served model's traffic: canaries that are promoted and rolled back, also by people, and gateways that die."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from statuses import both_serve, condition, rolled_out

from trimtab.api.names import Key
from trimtab.cli.promote import promoted
from trimtab.cli.rollback import turned
from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nodes", "this-machine"), pytest.mark.timeout(420)]

CANARY = {"minSamples": 40, "steps": [{"weight": "20%", "hold": "4s"}, {"weight": "60%", "hold": "2s"}]}


async def test_canaries_under_load(world: Any, operator: Any, customer: Path, exported: str, loading: Any) -> None:
    """A good candidate is promoted step by step, a slow one is rolled back with its figures; no request is lost."""
    serving: dict[str, Any] = {
        "minReplicas": 2,
        "maxReplicas": 2,
        "resources": {"requests": {"cpu": "100m"}},
        "rollout": {"canary": CANARY},
    }
    spec: dict[str, Any] = {
        "source": {"uri": exported},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "mode": "Report"},
        "serving": serving,
    }
    await world.cluster.apply(world.model(**spec))
    body = await world.until("the first revision", rolled_out(1))
    first = body["status"]["activeRevision"]["name"]
    await world.until("both replicas behind a gateway", both_serve)
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


async def test_people_decide_under_load(
    world: Any, operator: Any, customer: Path, exported: str, loading: Any, kubeconfig: Path
) -> None:
    """A canary that would last an hour is ended, promoted, and what came of it rolled back; no request is lost."""
    hours = {"minSamples": 40, "steps": [{"weight": "20%", "hold": "1h"}, {"weight": "60%", "hold": "1h"}]}
    serving: dict[str, Any] = {
        "minReplicas": 2,
        "maxReplicas": 2,
        "resources": {"requests": {"cpu": "100m"}},
        "rollout": {"canary": hours},
    }
    spec: dict[str, Any] = {
        "source": {"uri": exported},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "mode": "Report"},
    }

    def batches(size: int) -> dict[str, Any]:
        return {**spec, "serving": {**serving, "batching": {"maxSize": size}}}

    key, patience = Key(world.namespace, "digits"), 120.0
    await world.cluster.apply(world.model(**batches(16)))
    body = await world.until("the first revision", rolled_out(1))
    first = body["status"]["activeRevision"]["name"]
    await world.until("both replicas behind a gateway", both_serve)
    async with loading(body["status"]["url"], clients=4) as load:
        await world.cluster.apply(world.model(**batches(8)))
        body = await world.until("the canary", lambda s: s.get("rollout", {}).get("weight") == 20)
        second = body["status"]["candidateRevision"]["name"]
        ended = await turned(key, str(kubeconfig), reason="wrong digits", timeout=patience)
        assert (ended["revision"], ended["to"]) == (second, first)
        status = (await world.get())["status"]
        assert condition(status, "Stalled")["reason"] == "RolledBack"
        assert "(trimtab.dev/rollback: wrong digits)" in condition(status, "Ready")["message"]

        await turned(key, str(kubeconfig), undo=True)
        await world.until("the canary again", lambda s: s.get("rollout", {}).get("weight") == 20)
        taken = await promoted(key, str(kubeconfig), patience)
        assert taken["revision"] == second
        done = await world.until("the promotion", rolled_out(2))
        assert done["status"]["activeRevision"]["name"] == second
        assert "canary steps 1 to 2 of 2 skipped" in " ".join(d["message"] for d in done["status"]["decisions"])

        back = await turned(key, str(kubeconfig), timeout=patience)
        assert (back["revision"], back["to"]) == (second, first)
        held = await world.until("the way back", lambda s: condition(s, "Stalled").get("reason") == "RolledBack")
        assert held["status"]["traffic"]["revisions"] == [{"revision": first, "weight": 100}]
        assert held["spec"] == done["spec"], "the spec is the user's"
        made = await world.cluster.list(kinds.DEPLOYMENTS, world.namespace, f"trimtab.dev/revision={first}")
        (container,) = made[0]["spec"]["template"]["spec"]["containers"]
        assert "--max-batch=16" in container["args"], "as it was, not as today's spec has it"
    load.check()
