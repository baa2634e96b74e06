"""Answers of originals are kept, bounded and checked."""

import numpy as np
import pytest

from trimtab.workloads.compress.baselines import KEEP, Baselines, baseline_key
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.machine import this_machine


@pytest.fixture
def kept(tmp_path):
    return Baselines((tmp_path / "baselines").as_uri(), "output")


def answers(value=1.0):
    return np.full((5, 3), value, np.float32)


def never():
    raise AssertionError("computed again")


def test_answers_are_computed_once(kept):
    """The second time they come from the store, bit by bit."""
    assert (kept.outputs("a", answers) == answers()).all()
    again = kept.outputs("a", never)
    assert again.dtype == np.float32
    assert (again == answers()).all()


def test_the_last_three_are_kept(kept, tmp_path):
    """The oldest goes, whatever its name."""
    for name in ("d", "c", "b", "a"):
        kept.outputs(name, answers)
    assert {path.name for path in (tmp_path / "baselines").iterdir()} == {"c", "b", "a"}
    assert KEEP == 3


def test_damaged_answers_are_computed_again(kept, tmp_path):
    """A flipped byte is noticed, and what is whole takes its place."""
    kept.outputs("a", answers)
    file = tmp_path / "baselines" / "a" / "outputs.npz"
    content = bytearray(file.read_bytes())
    content[-30] ^= 1
    file.write_bytes(content)
    assert (kept.outputs("a", lambda: answers(2.0)) == 2.0).all()
    assert (kept.outputs("a", never) == 2.0).all()


def test_a_store_that_fails_costs_no_run(tmp_path):
    """Answers come all the same: publishing the artifact will say what is wrong."""
    (tmp_path / "file").write_text("no folder")
    kept = Baselines((tmp_path / "file" / "baselines").as_uri(), "output")
    assert (kept.outputs("a", answers) == 1.0).all()


def test_the_key_follows_model_data_and_machine(tmp_path):
    """Each of them changes it; equal ones do not."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"one")
    x = np.zeros((4, 2), np.float32)

    def key(values=x, threads=1):
        return baseline_key(model, Samples({"x": values}, None), this_machine(threads))

    first = key()
    assert first == key()
    found = {first, key(x + 1), key(x.reshape(2, 4)), key(x.astype(np.float64)), key(threads=2)}
    model.write_bytes(b"two")
    found.add(key())
    assert len(found) == 6
