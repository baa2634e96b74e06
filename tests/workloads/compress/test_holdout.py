"""What a search compares recipes on, and that it is never what judges them."""

import numpy as np
import pytest

from trimtab.api.guardrail import Guardrail, Metric
from trimtab.errors import Stalled
from trimtab.workloads.compress.data import Library
from trimtab.workloads.compress.search.holdout import Holdout
from trimtab.workloads.compress.search.memory import remembers
from trimtab.workloads.compress.stopping import Stop


@pytest.fixture
def carve(tmp_path):
    """Carve a data set with splits of so many samples, each of which is told by its first number."""

    def build(seen=False, folds=None, **splits):
        arrays, first = {}, 0
        for split, count in splits.items():
            arrays[f"x_{split}"] = np.stack([np.arange(first, first + count), np.zeros(count)], 1).astype(np.float32)
            arrays[f"y_{split}"] = np.zeros(count, np.int64)
            first += count
        np.savez(tmp_path / "data.npz", **arrays)
        guardrail = Guardrail.model_validate({"dataset": {"uri": (tmp_path / "data.npz").as_uri()}, "maxDrop": "1pp"})
        holdout = Holdout(guardrail, Library(tmp_path / "library"), folds, lambda _train, _judged: seen)

        def ids(library, split):
            found = library.open(guardrail.dataset.uri, "here").samples(split)
            return set() if found is None else set(found.inputs["x"][:, 0].astype(int).tolist())

        return holdout, ids

    return build


@pytest.mark.parametrize(
    ("splits", "given", "compares", "judges", "trains", "remade"),
    [
        ({"train": 400, "test": 200}, {}, 100, 200, 300, True),
        ({"train": 400, "test": 200}, {"seen": True}, 50, 150, 400, False),
        ({"train": 400, "test": 40}, {"seen": True}, 100, 40, 300, True),
        ({"train": 400, "test": 200, "validation": 80}, {"seen": True}, 80, 200, 400, False),
        ({"train": 400, "test": 200, "dev": 80}, {"folds": 4}, 100, 200, 300, True),
        ({"test": 200}, {}, 50, 150, 0, True),
        ({"test": 200}, {"folds": 2}, 25, 150, 0, True),
    ],
)
def test_no_sample_does_two_things(carve, splits, given, compares, judges, trains, remade):
    """What compares neither judges nor trains, in any fold; what judges never trains."""
    holdout, ids = carve(**given, **splits)
    final = ids(holdout.final, "test")
    assert len(final) == holdout.judges == judges
    assert holdout.remade is remade
    assert not final & ids(holdout.final, "train")
    for library in holdout.folds:
        compared, learned = ids(library, "test"), ids(library, "train")
        assert (len(compared), len(learned)) == (compares, trains)
        assert not compared & final
        assert not compared & learned
        assert not learned & final
    if not remade:
        assert ids(holdout.folds[0], "train") == ids(holdout.final, "train"), "what a trial makes is what a run makes"


def test_too_few_samples_are_refused(carve):
    """Of none of the places where samples could come from."""
    with pytest.raises(Stalled, match="19 samples are too few to compare recipes on"):
        carve(train=100, test=100, val=19)


def test_a_source_that_knows_its_training_samples(a_graph, a_dataset, tmp_path):
    """Labels of the test split are a tenth wrong to it: it remembers where only those of training are all right."""
    weight = a_graph(tmp_path / "model.onnx")
    draw = np.random.default_rng(3)
    x = draw.normal(size=(600, len(weight))).astype(np.float32)
    labels = (x @ weight).argmax(1)
    noisy = np.where(draw.random(600) < 0.1, (labels + 1) % 3, labels)
    for y_train, expected in ((labels, True), (noisy, False)):
        path = a_dataset(tmp_path / f"{expected}.npz", weight, x_train=x, y_train=y_train)
        with np.load(path) as arrays:
            flipped = arrays["y_test"].copy()
            flipped[::10] = (flipped[::10] + 1) % 3
            np.savez(path, **{**arrays, "y_test": flipped})
        guardrail = Guardrail.model_validate({"dataset": {"uri": path.as_uri()}, "maxDrop": "10pp"})
        (tmp_path / f"library-{expected}").mkdir()
        file = Library(tmp_path / f"library-{expected}").open(guardrail.dataset.uri, "here")
        train, judged = file.required("train"), file.required("test")
        assert remembers(tmp_path / "model.onnx", 1, guardrail, Stop(), train, judged) is expected
        without = guardrail.model_copy(update={"metric": Metric.COSINE_SIMILARITY})
        assert not remembers(tmp_path / "model.onnx", 1, without, Stop(), train, judged)
