"""Accelerators: who may use which pool, and what pods and Job get."""

from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.status import ArtifactStatus, RevisionStatus
from trimtab.errors import Stalled
from trimtab.planning import accelerators
from trimtab.planning.manifests.job import compression_job
from trimtab.planning.manifests.nodegroup import node_group
from trimtab.planning.manifests.serving import deployment, revision_hash
from trimtab.planning.runs import run_spec

ARTIFACT = ArtifactStatus(uri="file:///a", digest="sha256:0", bytes=1, source_bytes=1)
REVISION = RevisionStatus(name="digits-1", run_name="r", artifact=ARTIFACT, generation=1, since="now")
GPU = {"resource": "nvidia.com/gpu", "count": 2, "nodeSelector": {"gpu-family": "hopper"}}
TAINTED = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}


def pool(name: str, resource: str | None = None, per_node: int = 1, **more: Any) -> CapacityPool:
    devices = {"accelerator": {"resource": resource, "perNode": per_node}} if resource else {}
    spec = {"capacityType": "OnDemand", "provider": {"embedded": {}}, **devices, **more}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


POOLS = (
    pool("cpus"),
    pool("gpus", "nvidia.com/gpu", 4, **TAINTED),
    pool("single", "nvidia.com/gpu", 1),
    pool("npus", "npu.intel.com/accel", 1),
)


def on(make: Any, device: str, accelerator: Any = None, pools: Any = (), job: Any = None) -> Any:
    return make.spec(
        compression={
            "preset": "None",
            "target": {"device": device},
            "output": {"uri": "file:///artifacts"},
            **({"job": job} if job else {}),
        },
        serving={"image": "ours/serve:1", **({"accelerator": accelerator} if accelerator else {})},
        capacity={"pools": list(pools)},
    )


@pytest.mark.parametrize(
    ("device", "accelerator", "named", "found"),
    [
        pytest.param("CPU", None, (), ["cpus"], id="dear nodes are not for models that do not need them"),
        pytest.param("CPU", None, ("cpus", "single"), ["cpus", "single"], id="unless they are named"),
        pytest.param("GPU", GPU, (), ["gpus"], id="as many per node as one replica has"),
        pytest.param("GPU", {"resource": "nvidia.com/gpu"}, (), ["gpus", "single"], id="one by default"),
        pytest.param("NPU", None, ("cpus", "npus"), ["npus"], id="the pools say what the device is called"),
    ],
)
def test_pools_of_a_model(make, device, accelerator, named, found):
    """A replica goes where its accelerator is, and only there."""
    usable = accelerators.usable(on(make, device, accelerator, named), POOLS)
    assert [entry.name for entry in usable] == found


@pytest.mark.parametrize(
    ("spec", "pools", "reason", "said"),
    [
        (
            {"device": "GPU", "accelerator": {"resource": "nvidia.com/gpu", "count": 8}},
            POOLS,
            "NoPool",
            "no pool that this model may use has 8 nvidia.com/gpu per node; pools offer gpus: 4 nvidia.com/gpu, single",
        ),
        (
            {"device": "GPU", "accelerator": GPU, "pools": ("cpus",)},
            POOLS,
            "NoPool",
            "has 2 nvidia.com/gpu per node; pools offer none; lower the count, or create a CapacityPool with that",
        ),
        (
            {"device": "GPU"},
            POOLS,
            "InvalidSpec",
            "spec.serving.accelerator: not set, and spec.compression.target.device GPU needs one; pools offer gpus: 4",
        ),
        ({"device": "FPGA"}, (), "InvalidSpec", "FPGA needs one; pools offer none; set it to what nodes call"),
        (
            {"device": "GPU", "accelerator": GPU, "job": {"pool": "cpus"}},
            POOLS,
            "NoPool",
            "spec.compression.job.pool: cpus has no 2 nvidia.com/gpu per node, and the verdict is taken on the GPU",
        ),
    ],
)
def test_what_no_pool_has_is_told_before_the_run(make, spec, pools, reason, said):
    """Instead of pods that wait for ever: what was asked for, what there is, what to do."""
    with pytest.raises(Stalled) as stalled:
        accelerators.require_offered(on(make, **spec), pools)
    assert stalled.value.reason == reason
    assert said in stalled.value.message


@pytest.mark.parametrize(
    ("spec", "pools"),
    [
        ({"device": "CPU"}, ()),
        ({"device": "GPU", "accelerator": GPU}, ()),
        ({"device": "GPU", "accelerator": GPU}, POOLS),
        ({"device": "NPU", "pools": ("npus",)}, POOLS),
        ({"device": "GPU", "accelerator": GPU, "job": {"pool": "gpus"}}, POOLS),
        ({"device": "FPGA", "accelerator": {"resource": "nvidia.com/gpu"}, "job": {"pool": "cpus"}}, POOLS),
    ],
)
def test_what_there_is_is_taken(make, spec, pools):
    """A cluster without pools may have devices all the same; a Job that judges on a CPU needs none."""
    accelerators.require_offered(on(make, **spec), pools)


def test_a_replica_gets_its_devices(a_snapshot, make):
    """As request and limit, on the nodes that are chosen for it, past the taints that guard them."""
    spec = on(make, "GPU", GPU)
    usable = accelerators.usable(spec, POOLS)
    made = deployment(make.key, "uid", spec, REVISION, CapacityType.ON_DEMAND, 1, usable, a_snapshot().settings)
    pod = made["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    assert resources["limits"] == {"nvidia.com/gpu": "2"}
    assert resources["requests"] == {"cpu": "500m", "memory": "256Mi", "nvidia.com/gpu": "2"}
    assert pod["nodeSelector"] == {"trimtab.dev/capacity-type": "on-demand", "gpu-family": "hopper"}
    assert pod["tolerations"] == TAINTED["tolerations"]


def test_another_accelerator_is_another_revision(a_snapshot, make):
    """Its pods differ."""
    settings = a_snapshot().settings
    hashes = {
        revision_hash(ARTIFACT, on(make, "GPU", accelerator), settings)
        for accelerator in (None, GPU, {"resource": "nvidia.com/gpu"})
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(("device", "there"), [("GPU", True), ("FPGA", False), ("CPU", False)])
def test_the_job_judges_where_the_model_will_run(a_snapshot, make, device, there):
    """It gets the device where an engine of ours runs on it; elsewhere it would only hold it."""
    spec = on(make, device, None if device == "CPU" else GPU)
    snapshot = a_snapshot(spec=spec, pools=POOLS)
    given = accelerators.job_accelerator(spec, POOLS)
    job = compression_job(
        run_spec(snapshot, spec), "uid", snapshot.settings, given, accelerators.job_pools(spec, POOLS)
    )
    pod = job["spec"]["template"]["spec"]
    limits = pod["containers"][0]["resources"].get("limits")
    assert (limits == {"nvidia.com/gpu": "2"}) is there
    assert (pod.get("tolerations") == TAINTED["tolerations"]) is there
    assert (pod.get("nodeSelector") == {"gpu-family": "hopper"}) is there


def test_simulated_nodes_advertise_their_devices():
    """The embedded cluster's scheduler counts them as Kubernetes' does."""
    group = node_group(POOLS[1], POOLS[1].spec.provider.embedded, 1, (), ())
    assert group["spec"]["template"]["capacity"] == {"cpu": "4", "memory": "8Gi", "pods": "16", "nvidia.com/gpu": "4"}
