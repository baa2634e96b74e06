"""The samples that recipes are compared on: never those that the guardrail judges on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Guardrail
from trimtab.errors import Stalled
from trimtab.workloads.compress.data import GUARDRAIL_FIELD, Library
from trimtab.workloads.compress.datasets import TRAIN_SPLIT, Array, DataFile, Samples

VALIDATION_SHARE = 0.25
"""Of the split that they are taken from."""
VALIDATION_SPLITS = ("validation", "valid", "val", "dev")
FEWEST = 20
_SEED = 0

Remembers = Callable[[Samples, Samples], bool]
"""Whether the source answers the first samples better than the second by so much that it must have seen them."""


class CarvedFile(DataFile):
    """A data set of which a search sees only some samples; its splits are in memory."""

    def __init__(self, where: str, uri: str, splits: dict[str, Samples]) -> None:
        self._where = f"{where}: {uri}"
        self._names = [f"{name}_{split}" for split, samples in splits.items() for name in samples.inputs]
        self._path = Path()
        self._splits = splits

    def samples(self, split: str, *, labels: bool = True) -> Samples | None:
        found = self._splits.get(split)
        return None if found is None or (labels and found.y is None) else found


class CarvedLibrary(Library):
    """A library whose guardrail data set is a carved one; others lose what the recipes are compared on."""

    def __init__(self, whole: Library, guardrail: Guardrail, train: Samples | None, judged: Samples) -> None:
        super().__init__(whole.folder)
        self._whole = whole
        self._uri = guardrail.dataset.uri
        self._judged = set(judged.rows())
        splits = {guardrail.dataset.split: judged} | ({TRAIN_SPLIT: train} if train is not None else {})
        self._carved = CarvedFile(GUARDRAIL_FIELD, self._uri, splits)

    def open(self, uri: str, where: str) -> DataFile:
        if uri == self._uri:
            return self._carved
        found = self._whole.open(uri, where)
        splits = {}
        for split in (TRAIN_SPLIT, "calibration"):
            samples = found.samples(split, labels=False)
            if samples is not None:
                unseen = np.array([row not in self._judged for row in samples.rows()])
                splits[split] = samples.take(np.flatnonzero(unseen))
        return CarvedFile(where, uri, splits)


class Holdout:
    """Validation samples of each fold, the data that a recipe may learn from there, and what is left to judge on.

    Recipes are compared on a split for that, named validation, valid, val or dev, where there is one. Else on parts of
    the training split; but where the source has seen that, it answers there better than it can, and every recipe would
    seem to lose more than it does: then, and without a training split, on a quarter of the guardrail's split, and the
    verdict is taken on the rest. No sample ever both compares recipes and judges.
    """

    def __init__(self, guardrail: Guardrail, library: Library, folds: int | None, remembers: Remembers) -> None:
        """Carve; with `folds`, each of as many parts in turn.

        Raises:
            Stalled: DatasetInvalid, there are too few samples, or as `Library.open`.
        """
        self._guardrail, self._library = guardrail, library
        file = library.open(guardrail.dataset.uri, GUARDRAIL_FIELD)
        needs = guardrail.metric.needs_labels
        split = guardrail.dataset.split
        train = file.samples(TRAIN_SPLIT, labels=needs) if split != TRAIN_SPLIT else None
        judged = file.required(split, labels=needs)
        given = [found for name in VALIDATION_SPLITS if name != split and (found := file.samples(name, labels=needs))]
        self.trainable = train is not None
        self.final = library
        """Where the final run's data comes from."""
        self.remade = True
        """Whether the chosen recipe has more to learn from than its trial had."""
        self.source = ""
        """Where the samples come from, for people."""
        if train is not None and folds is not None:
            self._of_training(train, np.array_split(_order(len(train)), folds))
        elif given:
            self._given(given[0], train)
        elif train is not None and (len(judged) * VALIDATION_SHARE < FEWEST or not remembers(train, judged)):
            self._of_training(train, [_order(len(train))[: max(int(len(train) * VALIDATION_SHARE), 1)]])
        else:
            self._of_judged(judged, train, folds)
        self.judges = len(self.final.open(guardrail.dataset.uri, GUARDRAIL_FIELD).required(split, labels=needs))
        """Samples that are left for the verdict."""
        if guardrail.dataset.samples is not None:
            self.judges = min(self.judges, guardrail.dataset.samples)

    def _given(self, validation: Samples, train: Samples | None) -> None:
        _require_enough(validation)
        self.folds = [CarvedLibrary(self._library, self._guardrail, train, validation)]
        self.remade = train is None
        self.source = f"{len(validation):,} samples of the validation split"

    def _of_training(self, train: Samples, parts: Sequence[Array]) -> None:
        _require_enough(train)
        self.folds = [
            CarvedLibrary(self._library, self._guardrail, _rest(train, part), train.take(np.sort(part)))
            for part in parts
        ]
        self.source = f"{sum(map(len, parts)):,} of {len(train):,} training samples"

    def _of_judged(self, judged: Samples, train: Samples | None, folds: int | None) -> None:
        order = _order(len(judged))
        held = max(int(len(judged) * VALIDATION_SHARE), 1)
        rest, pool = judged.take(np.sort(order[held:])), judged.take(np.sort(order[:held]))
        _require_enough(pool)
        self.final = CarvedLibrary(self._library, self._guardrail, train, rest)
        parts = np.array_split(_order(held), folds) if folds is not None else [np.arange(held)]
        self.folds = [CarvedLibrary(self._library, self._guardrail, train, pool.take(np.sort(part))) for part in parts]
        self.remade = train is None
        seen = "" if train is None else "; the source knows its training samples too well to compare recipes on them"
        self.source = f"{held:,} of the guardrail's {len(judged):,} samples, which do not judge{seen}"


def _order(count: int) -> Array:
    return np.random.default_rng(_SEED).permutation(count)


def _rest(samples: Samples, part: Array) -> Samples:
    return samples.take(np.setdiff1d(np.arange(len(samples)), part))


def _require_enough(samples: Samples) -> None:
    if len(samples) < FEWEST:
        raise Stalled(
            Reason.DATASET_INVALID,
            f"spec.compression.search: {len(samples)} samples are too few to compare recipes on (at least {FEWEST}); "
            f"add training samples x_{TRAIN_SPLIT}, or give a preset or steps",
        )
