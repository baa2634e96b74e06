import json
from dataclasses import replace

import pytest

from trimtab.api.conditions import Reason
from trimtab.api.runs import RunSpec
from trimtab.errors import Stalled
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.recipe import content_key, recipe


def spec(**compression):
    wanted = {
        "namespace": "default",
        "model": "digits",
        "key": "k",
        "source": {"uri": "file:///model"},
        "compression": compression,
        "guardrail": {"dataset": {"uri": "file:///digits.npz"}, "maxDrop": "2pp"},
        "output": "file:///out",
    }
    return RunSpec.model_validate_json(json.dumps(wanted))


@pytest.mark.parametrize(
    "compression",
    [
        {"preset": "None"},
        {"preset": "Fast"},
        {"steps": [{"prune": {"sparsity": "50%"}}, {"quantize": {"scheme": "INT8"}}]},
    ],
)
def test_workers_without_training_are_refused(compression):
    """Their pods would have nothing to do."""
    with pytest.raises(
        Stalled, match=r"spec\.compression\.workers: 4 workers share the training, but no step"
    ) as caught:
        recipe(spec(**compression, workers=4), source_is_graph=False)
    assert caught.value.reason == Reason.INVALID_SPEC


@pytest.mark.parametrize(
    "step",
    [
        {"finetune": {}},
        {"distill": {}},
        {"prune": {"sparsity": "50%", "schedule": "Gradual"}},
        {"quantize": {"scheme": "INT8", "method": "QuantizationAware"}},
    ],
)
def test_every_step_that_trains_is_shared(step):
    """All of them go through the same loop."""
    (placed,) = recipe(spec(steps=[step], workers=4), source_is_graph=False)
    assert placed.trains


def test_the_number_of_workers_is_part_of_the_key():
    """Another number makes other bits; the CPUs of one and of several may be the same."""

    def key(workers):
        wanted = spec(steps=[{"finetune": {}}], workers=workers)
        return content_key(wanted, recipe(wanted, source_is_graph=False), "sha256:a", {}, MACHINE)

    assert len({key(1), key(2), key(3)}) == 3


MACHINE = replace(this_machine(1), cpu="any")
