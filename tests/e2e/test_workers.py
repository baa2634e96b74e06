"""A model trained by two pods, one of which is lost on the way."""

from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client, config

from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nodes", "this-machine"), pytest.mark.timeout(300)]
INDEX = "batch.kubernetes.io/job-completion-index"


async def running(world: Any) -> dict[str, str]:
    """Return the running pods of the run by their index."""
    pods = await world.cluster.list(kinds.PODS, world.namespace)
    return {
        body["metadata"]["labels"][INDEX]: body["metadata"]["name"]
        for body in pods
        if INDEX in body["metadata"]["labels"] and body["status"]["phase"] == "Running"
    }


async def evict(kubeconfig: Path, namespace: str, pod: str) -> None:
    """Take a pod away as a drained node does."""
    async with await config.new_client_from_config(str(kubeconfig)) as api:
        body = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod, namespace=namespace))
        await client.CoreV1Api(api).create_namespaced_pod_eviction(pod, namespace, body)


async def test_two_workers_train_a_model(world: Any, customer: Path, kubeconfig: Path) -> None:
    """Two pods train it; when one is taken away, both start again, and the Job spends no retry on it."""
    spec: dict[str, Any] = {
        "source": {"uri": (customer / "model").as_uri(), "entrypoint": "digits_model:build"},
        "compression": {
            "workers": 2,
            "steps": [{"prune": {"sparsity": "50%"}}, {"finetune": {"epochs": 25}}],
            "target": {"threads": 1},
            "job": {"retries": 0, "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
        },
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "maxDrop": "3pp"},
        "serving": {"minReplicas": 1, "maxReplicas": 1, "resources": {"requests": {"cpu": "100m"}}},
    }
    await world.cluster.apply(world.model(**spec))
    await world.until("training", lambda s: "finetune" in str((s.get("lastRun") or {}).get("step")))
    before = await running(world)
    assert set(before) == {"0", "1"}
    await evict(kubeconfig, world.namespace, before["1"])
    body = await world.until("a verdict", lambda s: (s.get("guardrail") or {}).get("verdict"), timeout=180)
    status = body["status"]
    assert status["guardrail"]["verdict"] == "Passed", status["guardrail"]
    assert status["lastRun"]["phase"] == "Succeeded"

    (job,) = await world.cluster.list(kinds.JOBS, world.namespace)
    assert job["spec"]["completionMode"] == "Indexed"
    assert not job["status"].get("failed"), job["status"]
    pods = await world.cluster.list(kinds.PODS, world.namespace)
    again = {body["metadata"]["name"] for body in pods if body["metadata"]["labels"].get(INDEX) == "0"}
    assert len(again) == 2, "worker 0 started again with the other"
