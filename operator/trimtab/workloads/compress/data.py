"""Which samples a run trains on, calibrates with and judges on: never the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

import numpy as np

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Guardrail, GuardrailMode, Metric
from trimtab.errors import Stalled
from trimtab.store import fetch_all, folder_digest, open_store
from trimtab.workloads.compress.datasets import TRAIN_SPLIT, Array, DataFile, Samples
from trimtab.workloads.compress.recipe import PlacedStep

GUARDRAIL_FIELD = "spec.guardrail.dataset.uri"
CALIBRATION_SAMPLES = 128
_MOST_CARVED = 4  # at most a quarter of the evaluation samples becomes calibration
_OF_CLASSES = {Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.F1, Metric.AUROC}


class Task(Enum):
    """What a model learns, told from the labels."""

    CLASSES = auto()
    """Integers: scores of classes."""
    NUMBERS = auto()
    """Floats: the numbers themselves."""
    OUTPUTS = auto()
    """No labels: what the original says, such as embeddings."""

    @classmethod
    def of(cls, labels: Array | None) -> Task:
        if labels is None:
            return cls.OUTPUTS
        return cls.CLASSES if np.issubdtype(labels.dtype, np.integer) else cls.NUMBERS


@dataclass(slots=True)
class Library:
    """Data sets by URI, each copied once; remembers their digests."""

    folder: Path
    digests: dict[str, str] = field(default_factory=dict)
    _files: dict[str, DataFile] = field(default_factory=dict)

    def open(self, uri: str, where: str) -> DataFile:
        """Return the data set at a URI; `where` is the field that names it.

        Raises:
            Stalled: DatasetNotFound, DatasetInvalid, AccessDenied. NotYet: StoreUnreachable.
        """
        if uri not in self._files:
            target = self.folder / str(len(self._files))
            target.mkdir(parents=True)
            found = fetch_all(open_store(uri, where, Reason.DATASET_NOT_FOUND), target)
            if len(found) != 1:
                raise Stalled(
                    Reason.DATASET_INVALID, f"{where}: {uri} is a folder of {len(found)} files; name the .npz itself"
                )
            self._files[uri] = DataFile(target / found[0].name, where, uri)
            self.digests[uri] = folder_digest(target)
        return self._files[uri]


@dataclass(frozen=True, slots=True)
class RunData:
    """The samples of a run."""

    evaluation: Samples
    training: dict[str, Samples]
    """By the field of the step that trains."""
    calibration: dict[str, Samples]
    """By the field of the step that quantizes, or looks which layers matter."""
    warnings: tuple[str, ...]
    guardrail: Guardrail
    """What was promised; steps may look at it, on their own samples."""

    def task(self, where: str) -> Task:
        """Return what a training step learns."""
        return Task.of(self.training[where].y)

    def require_labels_below(self, classes: int) -> None:
        """Check that every label is a class of the model.

        Raises:
            Stalled: DatasetInvalid, naming the field and the label.
        """
        for where, samples in {GUARDRAIL_FIELD: self.evaluation, **self.training}.items():
            if samples.y is None or Task.of(samples.y) is not Task.CLASSES:
                continue
            highest = int(samples.y.max())
            if highest >= classes:
                raise Stalled(
                    Reason.DATASET_INVALID,
                    f"{where}: the labels go up to {highest}, but the model tells {classes} classes "
                    f"(0 to {classes - 1}) apart; check that data and model belong together",
                )


def gather_data(guardrail: Guardrail, steps: tuple[PlacedStep, ...], library: Library) -> RunData:
    """Read every sample that a run needs.

    Raises:
        Stalled: A data set is missing or unusable; says which field names it and what to do.
        NotYet: StoreUnreachable.
    """
    judged = library.open(guardrail.dataset.uri, GUARDRAIL_FIELD)
    wanted = guardrail.metric.needs_labels and guardrail.mode is not GuardrailMode.DISABLED
    evaluation = judged.required(guardrail.dataset.split, labels=wanted)
    _require_labels_of(guardrail, evaluation)
    own_train = judged.samples(TRAIN_SPLIT, labels=wanted) if guardrail.dataset.split != TRAIN_SPLIT else None
    training, calibration, warnings = {}, {}, []
    for placed in (placed for placed in steps if placed.learns):
        samples = _training(placed, own_train, library, labels=wanted)
        _require_same_form(samples, evaluation, placed.field)
        training[placed.field] = samples
        warnings += _overlap(samples, evaluation, placed.field)
    for placed in steps:
        if placed.looks:
            calibration[placed.field], evaluation = _calibration(placed, own_train, evaluation, library)
    evaluation = _at_most(evaluation, guardrail.dataset.samples)
    return RunData(evaluation, training, calibration, tuple(dict.fromkeys(warnings)), guardrail)


def training_at_hand(guardrail: Guardrail, library: Library) -> int:
    """Return how many training samples come with the guardrail's data set.

    Raises:
        Stalled: The data set is missing or unusable. NotYet: StoreUnreachable.
    """
    if guardrail.dataset.split == TRAIN_SPLIT:
        return 0
    labels = guardrail.metric.needs_labels and guardrail.mode is not GuardrailMode.DISABLED
    found = library.open(guardrail.dataset.uri, GUARDRAIL_FIELD).samples(TRAIN_SPLIT, labels=labels)
    return len(found) if found is not None else 0


def _require_labels_of(guardrail: Guardrail, samples: Samples) -> None:
    """Check that the labels are of the kind that the metric needs."""
    if guardrail.mode is GuardrailMode.DISABLED or guardrail.metric not in _OF_CLASSES or samples.y is None:
        return
    where = f"{GUARDRAIL_FIELD}: {guardrail.dataset.uri}: y_{guardrail.dataset.split}"
    y = samples.y
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise Stalled(
            Reason.DATASET_INVALID,
            f"{where} is {y.dtype} {list(y.shape)}; it must hold one integer class per sample for metric "
            f"{guardrail.metric}: int64 [samples]",
        )
    if int(y.min()) < 0:
        raise Stalled(Reason.DATASET_INVALID, f"{where} holds {int(y.min())}; classes are counted from 0")


def _training(placed: PlacedStep, own_train: Samples | None, library: Library, *, labels: bool) -> Samples:
    training = placed.step.finetune or placed.step.distill
    uri = training.dataset if training else None
    if uri is not None:
        return library.open(uri, f"{placed.field}.dataset").required(TRAIN_SPLIT, labels=labels)
    if own_train is None:
        raise Stalled(
            Reason.DATASET_INVALID,
            f"{placed.field}: needs training data, but the data set of {GUARDRAIL_FIELD} has no arrays x_train and "
            f"y_train; add them{_instead(placed)}, or use preset Fast, which does not train",
        )
    return own_train


def _instead(placed: PlacedStep) -> str:
    """Return which field of the step names a data set, for those that have one."""
    own = placed.field.startswith("spec.compression.steps") and (placed.step.finetune or placed.step.distill)
    return f", set {placed.field}.dataset" if own else ""


def _calibration(
    placed: PlacedStep, own_train: Samples | None, evaluation: Samples, library: Library
) -> tuple[Samples, Samples]:
    """Return calibration samples and what is left to judge on."""
    wanted = placed.step.quantize.calibration if placed.step.quantize else None
    count = (wanted.samples if wanted else None) or CALIBRATION_SAMPLES
    draw = np.random.default_rng((wanted.seed if wanted else None) or 0)
    if wanted is not None and wanted.uri is not None:
        where = f"{placed.field}.calibration.uri"
        file = library.open(wanted.uri, where)
        samples = file.samples(TRAIN_SPLIT, labels=False) or file.required("calibration", labels=False)
        _require_same_form(samples, evaluation, where)
        return samples.take(draw.permutation(len(samples))[:count]), evaluation
    if own_train is not None:
        _require_same_form(own_train, evaluation, GUARDRAIL_FIELD)
        return own_train.take(draw.permutation(len(own_train))[:count]), evaluation
    count = min(count, len(evaluation) // _MOST_CARVED)
    if count == 0:
        raise Stalled(
            Reason.DATASET_INVALID,
            f"{placed.field}: {len(evaluation)} samples are too few to calibrate with some and judge on the others; "
            "add x_train and y_train, or set the step's calibration.uri",
        )
    order = draw.permutation(len(evaluation))
    return evaluation.take(np.sort(order[:count])), evaluation.take(np.sort(order[count:]))


def _require_same_form(samples: Samples, reference: Samples, where: str) -> None:
    if samples.form() != reference.form() or samples.inputs.keys() != reference.inputs.keys():
        raise Stalled(
            Reason.DATASET_INVALID,
            f"{where}: samples are {samples.form()}, but those of the guardrail are {reference.form()}; store both in "
            "the same form",
        )


def _overlap(training: Samples, evaluation: Samples, where: str) -> list[str]:
    """Warn of evaluation samples that training sees bit by bit: they flatter the candidate."""
    seen = set(training.rows())
    count = sum(row in seen for row in evaluation.rows())
    if count == 0:
        return []
    return [f"{where}: {count} of {len(evaluation)} evaluation samples are in the training data; remove them there"]


def _at_most(samples: Samples, count: int | None) -> Samples:
    if count is None or count >= len(samples):
        return samples
    return samples.take(np.sort(np.random.default_rng(0).permutation(len(samples))[:count]))
