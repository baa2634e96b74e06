"""Recipes for devices other than CPUs: what is taken, and what is refused before a run."""

from typing import Any

import pytest
from pydantic import ValidationError

from trimtab.api.base import CapacityType
from trimtab.api.status import ArtifactStatus, RevisionStatus
from trimtab.errors import Stalled
from trimtab.planning.manifests.job import compression_job
from trimtab.planning.manifests.serving import deployment, revision_hash
from trimtab.planning.runs import run_key, run_spec
from trimtab.planning.support import refusals
from trimtab.planning.target import target

INT8 = {"quantize": {"scheme": "INT8"}}
FP16 = {"quantize": {"scheme": "FP16"}}
OPENVINO = {"compile": {"engine": "OpenVino"}}
DATA = {"uri": "file:///data/digits.npz"}
REPORT = {"dataset": DATA, "mode": "Report"}
ARTIFACT = ArtifactStatus(uri="file:///a", digest="sha256:0", bytes=1, source_bytes=1)
REVISION = RevisionStatus(name="digits-1", run_name="r", artifact=ARTIFACT, generation=1, since="now")


def on(make: Any, device: str, *steps: Any, guardrail: Any = None, serving: Any = None, **compression: Any) -> Any:
    recipe = {"steps": list(steps)} if steps else compression or {"preset": "None"}
    return make.spec(
        compression={"target": {"device": device}, "output": {"uri": "file:///artifacts"}, **recipe},
        guardrail=guardrail or {"dataset": DATA},
        serving=serving or {"accelerator": {"resource": "example.com/device"}},
    )


@pytest.mark.parametrize(
    ("device", "steps", "guardrail"),
    [
        ("GPU", (), None),
        ("GPU", (FP16,), None),
        ("NPU", (INT8, OPENVINO), None),
        ("NPU", (OPENVINO,), None),
        ("FPGA", (INT8,), REPORT),
        ("FPGA", (INT8,), {"dataset": DATA, "mode": "Disabled"}),
        ("TPU", (), REPORT),
        ("TPU", ({"prune": {"method": "Structured", "sparsity": "50%"}},), REPORT),
    ],
)
def test_recipes_that_a_device_takes(make, device, steps, guardrail):
    """The form that its runtime takes, judged where it can be."""
    assert refusals(on(make, device, *steps, guardrail=guardrail)) == []


@pytest.mark.parametrize(
    ("device", "asked", "said"),
    [
        ("GPU", {"preset": "Fast"}, "spec.compression.preset: Fast for GPU"),
        ("NPU", {"search": {"objective": "Size"}}, "spec.compression.search: a search for NPU"),
        ("GPU", {"steps": [INT8]}, "spec.compression.steps[0].quantize.scheme: INT8 for GPU"),
        ("GPU", {"steps": [FP16, OPENVINO]}, "spec.compression.steps[1].compile.engine: OpenVino for GPU"),
        ("NPU", {"preset": "None"}, "spec.compression.target.device: NPU without OpenVino"),
        ("NPU", {"steps": [OPENVINO, {"quantize": {"scheme": "BF16"}}]}, "spec.compression.steps[1].quantize.scheme"),
        ("FPGA", {"steps": [FP16], "guardrail": REPORT}, "spec.compression.target.device: FPGA without INT8"),
        ("FPGA", {"steps": [INT8, OPENVINO], "guardrail": REPORT}, "spec.compression.steps[1].compile.engine"),
        ("FPGA", {"steps": [INT8]}, "spec.guardrail.mode: Enforce for FPGA"),
        (
            "FPGA",
            {"steps": [INT8], "guardrail": {**REPORT, "maxLatency": "5ms"}},
            "spec.guardrail.maxLatency: 5ms for FPGA",
        ),
        ("TPU", {"preset": "None"}, "spec.guardrail.mode: Enforce for TPU"),
        ("TPU", {"steps": [INT8], "guardrail": REPORT}, "spec.compression.steps[0].quantize: for TPU"),
        ("TPU", {"steps": [OPENVINO], "guardrail": REPORT}, "spec.compression.steps[0].compile.engine: OpenVino for"),
        ("FPGA", {"steps": [INT8], "guardrail": {**REPORT, "onFail": "ServeOriginal"}}, "spec.guardrail.onFail"),
        ("NPU", {"steps": [OPENVINO], "guardrail": {"dataset": DATA, "onFail": "ServeOriginal"}}, "spec.guardrail."),
    ],
)
def test_what_a_device_does_not_take_is_refused(make, device, asked, said):
    """Field, value and remedy, before any training."""
    given = dict(asked)
    steps, guardrail = given.pop("steps", ()), given.pop("guardrail", None)
    (found,) = refusals(on(make, device, *steps, guardrail=guardrail, **given))
    assert str(found).startswith(said)
    assert "; " in str(found)


def test_an_accelerator_that_nothing_uses_is_refused(make):
    """Devices are dear."""
    with pytest.raises(ValidationError, match="on CPU nothing uses it; set compression"):
        on(make, "CPU")


def test_what_no_image_of_ours_runs_needs_an_image(a_snapshot, make):
    """Told with the field, instead of a pod that cannot load its model."""
    found = target(a_snapshot(spec=on(make, "FPGA", INT8, guardrail=REPORT)))
    assert isinstance(found.problem, Stalled)
    assert found.problem.message.startswith("spec.serving.image: not set, and no image of ours runs on a device of")
    serving = {"accelerator": {"resource": "amd.com/fpga"}, "image": "ours/vitis:1"}
    taken = target(a_snapshot(spec=on(make, "FPGA", INT8, guardrail=REPORT, serving=serving)))
    assert not isinstance(taken.problem, Stalled)


def test_the_device_reaches_pod_and_job(a_snapshot, make):
    """As an argument of one, in the request of the other; a model for another device is another revision."""
    spec, plain = on(make, "GPU"), make.spec(compression={"preset": "None", "output": {"uri": "file:///artifacts"}})
    settings = a_snapshot().settings
    made = deployment(make.key, "uid", spec, REVISION, CapacityType.ON_DEMAND, 1, (), settings)
    assert "--device=GPU" in made["spec"]["template"]["spec"]["containers"][0]["args"]
    assert run_spec(a_snapshot(spec=spec), spec).compression.target.device == "GPU"
    assert revision_hash(ARTIFACT, spec, settings) != revision_hash(ARTIFACT, plain, settings)


def test_another_image_is_another_run(a_snapshot, make):
    """A run that failed for what its image lacks is tried again in one that has it."""
    plain, own = (on(make, "GPU", preset="None", job=job) for job in ({}, {"image": "ours/compress-gpu:1"}))
    snapshot = a_snapshot()
    containers = [
        compression_job(run_spec(snapshot, spec), "uid", snapshot.settings)["spec"]["template"]["spec"]["containers"]
        for spec in (plain, own)
    ]
    assert [container["image"] for (container,) in containers] == ["trimtab/compress:1", "ours/compress-gpu:1"]
    assert run_key(plain, "file:///artifacts") != run_key(own, "file:///artifacts")
