"""The samples that recipes are compared on: of the training split, never those that the guardrail judges on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Guardrail
from trimtab.errors import Stalled
from trimtab.workloads.compress.data import GUARDRAIL_FIELD, Library
from trimtab.workloads.compress.datasets import TRAIN_SPLIT, Array, DataFile, Samples

VALIDATION_SHARE = 0.25
"""Of the training split; without one, of the guardrail's split, which then judges on the rest."""
FEWEST = 20
_SEED = 0


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
    """Validation samples of each fold, and the data that a recipe may learn from there."""

    def __init__(self, guardrail: Guardrail, library: Library, folds: int | None) -> None:
        """Carve; without `folds`, one quarter is held out, else each of as many parts in turn.

        Raises:
            Stalled: DatasetInvalid, there are too few samples, or as `Library.open`.
        """
        file = library.open(guardrail.dataset.uri, GUARDRAIL_FIELD)
        needs = guardrail.metric.needs_labels
        split = guardrail.dataset.split
        train = file.samples(TRAIN_SPLIT, labels=needs) if split != TRAIN_SPLIT else None
        self.trainable = train is not None
        self.final = library
        """Where the final run's data comes from."""
        pool = train if train is not None else file.required(split, labels=needs)
        order = np.random.default_rng(_SEED).permutation(len(pool))
        held = max(int(len(pool) * VALIDATION_SHARE), 1)
        if train is None:
            self.final = CarvedLibrary(library, guardrail, None, pool.take(np.sort(order[held:])))
            pool, order = pool.take(np.sort(order[:held])), np.random.default_rng(_SEED).permutation(held)
        if len(pool) < FEWEST:
            raise Stalled(
                Reason.DATASET_INVALID,
                f"spec.compression.search: {len(pool)} samples are too few to compare recipes on (at least {FEWEST}); "
                f"add training samples x_{TRAIN_SPLIT}, or give a preset or steps",
            )
        self.folds = [
            CarvedLibrary(library, guardrail, _rest(pool, part) if self.trainable else None, pool.take(np.sort(part)))
            for part in self._parts(order, held, folds)
        ]

    def _parts(self, order: Array, held: int, folds: int | None) -> list[Array]:
        if folds is not None:
            return [np.asarray(part) for part in np.array_split(order, folds)]
        return [order[:held] if self.trainable else order]


def _rest(samples: Samples, part: Array) -> Samples:
    return samples.take(np.setdiff1d(np.arange(len(samples)), part))
