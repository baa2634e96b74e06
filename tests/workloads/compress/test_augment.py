"""Training images are changed at random, and the same way again."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stops import StopAt

from trimtab.api.compression import Augment
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.stopping import Interrupted
from trimtab.workloads.compress.techniques.augment import augmentation, changed
from trimtab.workloads.compress.techniques.registry import Context


@pytest.fixture
def bar():
    """64 pictures [1, 16, 32] of one vertical bar in the left half."""
    images = torch.zeros(64, 1, 16, 32)
    images[:, :, 2:14, 6:9] = 1
    return images


def test_flipping_mirrors_some(bar):
    """Each picture is as it was or its mirror image, both occur."""
    torch.manual_seed(0)
    made = changed(bar, [Augment.FLIP])
    same = [torch.allclose(one, bar[0], atol=1e-5) for one in made]
    mirrored = [torch.allclose(one, bar[0].flip(-1), atol=1e-5) for one in made]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 10 < sum(same) < 54


def test_rotating_turns_by_at_most_15_degrees(bar):
    """The bar's mass stays, also in a picture that is no square, and its slant is bounded."""
    torch.manual_seed(0)
    made = changed(bar, [Augment.ROTATE])
    assert torch.allclose(made.sum((1, 2, 3)), bar.sum((1, 2, 3)), rtol=0.1)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(32.0), indexing="ij")

    def slant(one):
        mean_x, mean_y = (one * x).sum() / one.sum(), (one * y).sum() / one.sum()
        spread = (one * (y - mean_y) ** 2).sum()
        return float(torch.atan((one * (x - mean_x) * (y - mean_y)).sum() / spread).rad2deg())

    slants = [slant(one[0]) for one in made]
    assert max(slants) > 8
    assert min(slants) < -8
    assert max(abs(degrees) for degrees in slants) < 16


def test_cropping_enlarges(bar):
    """A crop shows a part of the picture in the whole place: nothing becomes smaller."""
    torch.manual_seed(0)
    made = changed(bar, [Augment.CROP]).sum((1, 2, 3)) / bar.sum((1, 2, 3))
    assert made.min() > 0.95
    assert 1.15 < made.mean() < 1.6


@pytest.mark.parametrize("kinds", [[Augment.ROTATE], [Augment.CROP], list(Augment)])
def test_changes_follow_the_generator(bar, kinds):
    """The same state makes the same pictures; the next ones differ."""
    torch.manual_seed(3)
    first, second = changed(bar, kinds), changed(bar, kinds)
    torch.manual_seed(3)
    assert torch.equal(changed(bar, kinds), first)
    assert not torch.equal(first, second)


def test_augmented_training_resumes_to_the_same_artifact(execute, request_for, tmp_path):
    """Stopped in the middle of an augmented epoch, a run ends with the bytes of an undisturbed one."""

    def spec(name, **finetune):
        steps = [{"finetune": {"epochs": 1, **finetune}}]
        return request_for(compression={"steps": steps}, output=(tmp_path / name).as_uri())

    everything = {"augment": ["Rotate", "Crop", "Flip"]}
    whole = execute(spec("whole", **everything))
    with pytest.raises(Interrupted):
        execute(spec("broken", **everything), stop=StopAt(20))
    assert execute(spec("broken", **everything)).artifact.digest == whole.artifact.digest
    assert execute(spec("plain")).artifact.digest != whole.artifact.digest


@pytest.mark.parametrize(
    ("shape", "dtype", "form"),
    [
        ((64,), np.float32, "float32 [64]"),
        ((8, 8, 1), np.float32, "float32 [8, 8, 1]"),
        ((1, 8, 8), int, "int64 [1, 8, 8]"),
    ],
)
def test_only_images_are_augmented(shape, dtype, form):
    """Tables, channels at the end, and integers are refused, with what they are."""
    samples = Samples({"x": np.zeros((4, *shape), dtype)})
    context = SimpleNamespace(field="steps[0]")
    context.failed = lambda *said: Context.failed(context, *said)
    with pytest.raises(Stalled) as caught:
        augmentation([Augment.FLIP], samples, context)
    assert caught.value.reason == Reason.DATASET_INVALID
    assert f"steps[0]: augment: Flip changes images, float32 [channels, height, width], but samples are {form}" in str(
        caught.value.message
    )
