"""Training in mixed precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trimtab.api.compression import Finetune, Precision, Step
from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.pipeline import Run
from trimtab.workloads.compress.recipe import PlacedStep, content_key
from trimtab.workloads.compress.report import read_report
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.compress.techniques.precision import is_mixed, macs_of

HINTS = [{"teacher": "0", "student": "0"}]


@pytest.fixture
def carried_out(request_for, tmp_path):
    """Carry out a recipe on a CPU with (or without) BF16: (result, facts of the last step)."""

    def run(name, *steps, bf16=True):
        (tmp_path / name).mkdir()
        spec = request_for(compression={"steps": list(steps)}, output=(tmp_path / name / "out").as_uri())
        machine = replace(this_machine(1), bf16=bf16)
        result = Run(spec, machine, tmp_path / name, lambda _line: None, Stop()).execute()
        report = read_report(Path(result.artifact.uri.removeprefix("file://")) / "report")
        return result, report["steps"][-1]["facts"]

    return run


@pytest.mark.integration
def test_finetuning_in_bf16_keeps_the_accuracy_and_equal_bytes(carried_out):
    """Said in the report, and the same weights each time."""
    step = {"finetune": {"epochs": 1, "precision": "BF16"}}
    (first, facts), (second, _) = carried_out("first", step), carried_out("second", step)
    assert facts["precision"] == "BF16"
    assert first.guardrail.verdict is Verdict.PASSED
    assert first.artifact.digest == second.artifact.digest


@pytest.mark.integration
def test_distilling_in_bf16_compares_hints_too(carried_out):
    """Inner layers in BF16 meet projections in FP32."""
    distill = {"epochs": 2, "student": {"width": "50%"}, "hints": HINTS, "precision": "BF16"}
    result, facts = carried_out("hints", {"distill": distill})
    assert facts["precision"] == "BF16"
    assert facts["hintDistance"] < 1
    assert result.guardrail.verdict is not None


def test_a_cpu_without_bf16_refuses_it_before_the_run(carried_out):
    """Emulated it would take many times longer; Auto would not ask for it."""
    with pytest.raises(Stalled) as caught:
        carried_out("refused", {"finetune": {"precision": "BF16"}}, bf16=False)
    assert caught.value.reason == Reason.NOT_SUPPORTED
    assert caught.value.message.startswith("spec.compression.steps[0].finetune.precision: BF16, but this CPU (")
    assert "use Auto" in caught.value.message


@pytest.mark.parametrize(
    ("wanted", "bf16", "width", "mixed"),
    [
        (None, True, 2048, False),
        (Precision.FP32, True, 2048, False),
        (Precision.AUTO, True, 2048, True),
        (Precision.AUTO, False, 2048, False),
        (Precision.AUTO, True, 64, False),
        (Precision.BF16, True, 64, True),
    ],
)
def test_auto_is_for_cpus_and_batches_that_gain(wanted, bf16, width, mixed):
    """Small batches take longer in BF16, and FP32 is what nobody is surprised by."""
    samples = Samples({"x": np.zeros((16, width), np.float32)})
    found = is_mixed(wanted, torch.nn.Linear(width, width), samples, 64, SimpleNamespace(bf16=bf16))
    assert found is mixed


def test_macs_are_those_of_the_batch():
    """One per weight and sample."""
    assert macs_of(torch.nn.Linear(8, 4), Samples({"x": np.zeros((3, 8), np.float32)})) == 3 * 8 * 4


def test_kinds_of_cpu_share_a_key_unless_precision_follows_them(request_for):
    """Auto gives other weights on a CPU with BF16: that is another artifact."""

    def key(precision, bf16):
        step = PlacedStep(Step(finetune=Finetune(precision=precision)), "f", 0)
        return content_key(request_for(), (step,), "s", {}, replace(this_machine(1), bf16=bf16))

    assert key(None, bf16=True) == key(None, bf16=False)
    assert key(Precision.AUTO, bf16=True) != key(Precision.AUTO, bf16=False)
