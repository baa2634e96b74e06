"""Two processes train as one."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.integration
TRAIN = Path(__file__).with_name("train_in_part.py")
KINDS = ("plain", "normalised", "dropping")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What two workers left: weights by network and attempt, and those of one worker."""
    folder = tmp_path_factory.mktemp("shared")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    net = f"127.{random.randrange(20, 250)}.{random.randrange(1, 250)}"
    processes = [
        subprocess.Popen([sys.executable, TRAIN, str(index), "2", f"{net}.{index + 1}", folder], env=environment)
        for index in range(2)
    ]
    try:
        assert [process.wait(240) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return folder


def furthest(one, other):
    return max(float((one[name] - value).abs().max()) for name, value in other.items())


@pytest.mark.parametrize("kind", KINDS)
def test_all_workers_end_with_the_same_weights(shared, kind):
    """Bit by bit, whatever they began with, and the reported loss too."""
    first, second = (load_file(shared / f"worker-{index}" / f"{kind}-first") for index in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_a_repetition_makes_the_same_weights(shared, kind):
    """Bit by bit: random numbers follow from the place in the training, sums from the order of the workers."""
    first, again = (load_file(shared / "worker-0" / f"{kind}-{attempt}") for attempt in ("first", "again"))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_two_workers_make_what_one_makes(shared):
    """Without normalisation and random numbers nothing but rounding differs, although parts differ in size."""
    together, alone = (load_file(shared / "worker-0" / f"plain-{attempt}") for attempt in ("first", "alone"))
    assert furthest(together, alone) < 1e-5


def test_normalisation_differs_a_little(shared):
    """Each worker normalises with its part of a batch; what is kept is the mean of what they saw."""
    together, alone = (load_file(shared / "worker-0" / f"normalised-{attempt}") for attempt in ("first", "alone"))
    assert 0 < furthest(together, alone) < 0.1
    assert torch.allclose(together["1.running_mean"], alone["1.running_mean"], atol=0.02)
    assert torch.allclose(together["1.running_var"], alone["1.running_var"], rtol=0.1)
    assert together["1.num_batches_tracked"] == alone["1.num_batches_tracked"] == 9


@pytest.mark.parametrize("kind", KINDS)
def test_constants_stay(shared, kind):
    """What no sample changes is the same to the last bit, however the batch was shared."""
    assert torch.equal(load_file(shared / "worker-0" / f"{kind}-first")["constant"], torch.tensor([0.1, 1 / 3]))


def test_workers_without_samples_are_refused(shared):
    """A part of one sample cannot be normalised."""
    assert (shared / "worker-0" / "refusal").read_text() == (
        "InvalidSpec: spec.compression.steps[0].finetune: batches of 3 samples are too small for "
        "spec.compression.workers: 2, each of which takes at least 2; use fewer workers, or a larger batchSize"
    )
