"""The operator where no node runs pods: the test is the kubelet, and the Job controller where there is none."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from clusters.undertest import ClusterUnderTest

from trimtab.api.names import RUN_LABEL
from trimtab.api.runs import EXIT_INPUT
from trimtab.effects import kinds

pytestmark = pytest.mark.e2e

SPEC = {
    "source": {"uri": "s3://models/digits/v3"},
    "compression": {"preset": "Balanced", "job": {"resources": {"requests": {"cpu": "1000"}}}},  # nowhere to be had
    "guardrail": {"dataset": {"uri": "s3://data/digits/test.npz"}},
}
SAID = {"reason": "SourceNotFound", "message": "spec.source.uri: s3://models/digits/v3 is not there"}


@pytest.fixture
def operator(modules_operator: Any) -> Any:
    return modules_operator


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def the_only(world: Any, kind: kinds.Kind) -> dict[str, Any]:
    """The object of a kind in the test's namespace, once there is one."""
    async with asyncio.timeout(30):
        while not (found := await world.cluster.list(kind, world.namespace)):  # noqa: ASYNC110 - made by others
            await asyncio.sleep(0.1)
    (one,) = found
    return one


async def make_pod(world: Any, job: dict[str, Any]) -> None:
    """What the Job controller would do."""
    template = job["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    metadata = {
        "name": f"{job['metadata']['name']}-x",
        "namespace": world.namespace,
        "labels": template["metadata"]["labels"],
        "ownerReferences": [{**owner, "controller": True}],
    }
    await world.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})


def failed(job: dict[str, Any]) -> dict[str, Any]:
    """The status that the Job controller would give a Job whose pod ended so."""
    about = {"status": "True", "reason": "PodFailurePolicy", "message": "the pod failed", "lastTransitionTime": now()}
    conditions = [{"type": kind, "lastProbeTime": now(), **about} for kind in ("FailureTarget", "Failed")]
    return {"startTime": job["metadata"]["creationTimestamp"], "failed": 1, "conditions": conditions}


async def test_a_run_that_fails_is_told_in_its_own_words(world: Any, cluster_under_test: ClusterUnderTest) -> None:
    """One Job, owned by its model; what its pod says at the end becomes the model's condition."""
    model = await world.cluster.apply(world.model(**SPEC))
    job = await the_only(world, kinds.JOBS)
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("OptimizedModel", model["metadata"]["uid"])
    await world.until("a run", lambda s: s.get("lastRun") and s["observedGeneration"] == 1)
    played = "controllers" not in cluster_under_test.offers
    if played:
        await make_pod(world, job)
    pod = await the_only(world, kinds.PODS)
    assert pod["metadata"]["labels"][RUN_LABEL] == job["metadata"]["labels"][RUN_LABEL]
    ended = {
        "exitCode": EXIT_INPUT,
        "reason": "Error",
        "message": json.dumps(SAID),
        "startedAt": now(),
        "finishedAt": now(),
    }
    container = pod["spec"]["containers"][0]
    state = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Failed", "containerStatuses": [{**state, "state": {"terminated": ended}}]}
    await world.cluster.merge(kinds.PODS, pod["metadata"]["name"], world.namespace, {"status": status}, "status")
    if played:
        name = job["metadata"]["name"]
        await world.cluster.merge(kinds.JOBS, name, world.namespace, {"status": failed(job)}, "status")
    body = await world.until("Stalled", lambda s: any(c["type"] == "Stalled" for c in s.get("conditions") or ()))
    stalled = next(c for c in body["status"]["conditions"] if c["type"] == "Stalled")
    assert stalled["reason"] == SAID["reason"]
    assert SAID["message"] in stalled["message"]
    assert len(await world.cluster.list(kinds.JOBS, world.namespace)) == 1
    if played:
        await world.cluster.delete(kinds.PODS, pod["metadata"]["name"], world.namespace, grace_seconds=0)


async def test_a_suspended_model_starts_nothing(world: Any) -> None:
    """Until somebody resumes it."""
    await world.cluster.apply(world.model(suspend=True, **SPEC))
    await world.until("a look", lambda s: s["observedGeneration"] == 1)
    assert await world.cluster.list(kinds.JOBS, world.namespace) == []
    await world.cluster.apply(world.model(suspend=False, **SPEC))
    await the_only(world, kinds.JOBS)
