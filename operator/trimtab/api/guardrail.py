"""What a compressed model must prove before it serves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from trimtab.api.base import ApiModel, Uri, rules
from trimtab.api.quantities import Drop, Duration, Percent

LIMIT_RULE = "!(self.metric in ['MeanAbsoluteError', 'RootMeanSquaredError']) || self.maxDrop.endsWith('%')"
LIMIT_MESSAGE = (
    "an error is in the unit of the labels, so maxDrop cannot be in percentage points: write 5% to let the original's "
    "error grow by a twentieth"
)


class GuardrailMode(StrEnum):
    """Enforce keeps a failing model away from traffic, Report only says so, Disabled does not look."""

    ENFORCE = "Enforce"
    REPORT = "Report"
    DISABLED = "Disabled"


class Metric(StrEnum):
    """How a model is scored. All but CosineSimilarity, which compares with the original's outputs, need labels."""

    ACCURACY = "Accuracy"
    TOP_K_ACCURACY = "TopKAccuracy"
    F1 = "F1"
    AUROC = "AUROC"
    EXACT_MATCH = "ExactMatch"
    MEAN_ABSOLUTE_ERROR = "MeanAbsoluteError"
    ROOT_MEAN_SQUARED_ERROR = "RootMeanSquaredError"
    COSINE_SIMILARITY = "CosineSimilarity"

    @property
    def is_error(self) -> bool:
        """Whether lower is better, in a unit of its own: limits are relative then."""
        return self in {Metric.MEAN_ABSOLUTE_ERROR, Metric.ROOT_MEAN_SQUARED_ERROR}

    @property
    def needs_labels(self) -> bool:
        return self is not Metric.COSINE_SIMILARITY

    @property
    def noun(self) -> str:
        """Return the metric as a sentence calls it."""
        return _NOUNS[self]


_NOUNS = {
    Metric.ACCURACY: "accuracy",
    Metric.TOP_K_ACCURACY: "top-k accuracy",
    Metric.F1: "macro F1",
    Metric.AUROC: "AUROC",
    Metric.EXACT_MATCH: "share of exact matches",
    Metric.MEAN_ABSOLUTE_ERROR: "mean absolute error",
    Metric.ROOT_MEAN_SQUARED_ERROR: "root mean squared error",
    Metric.COSINE_SIMILARITY: "cosine similarity to the original",
}


class Verdict(StrEnum):
    """What the paired test says about the drop."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


class OnFail(StrEnum):
    """What serves when the guardrail fails: what served before, or the original of this generation, uncompressed."""

    KEEP_PREVIOUS = "KeepPrevious"
    SERVE_ORIGINAL = "ServeOriginal"


class OnInconclusive(StrEnum):
    """Whether too few samples wait for a person or count as a failure."""

    HOLD = "Hold"
    FAIL = "Fail"


class Dataset(ApiModel):
    """Labelled samples that training never sees."""

    uri: Uri
    """An .npz with arrays x_<split> and y_<split> (or x and y alone): s3://data/digits.npz."""
    split: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)] = "test"
    """Which split to judge on."""
    samples: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """How many samples at most; all unless set."""


class Guardrail(ApiModel):
    """The promise: how much the score may fall, and how sure we must be."""

    model_config = ConfigDict(json_schema_extra=rules((LIMIT_RULE, LIMIT_MESSAGE)))

    mode: GuardrailMode = GuardrailMode.ENFORCE
    """What a miss means."""
    dataset: Dataset
    """What to judge on."""
    metric: Metric = Metric.ACCURACY
    """How to score."""
    top_k: Annotated[int, Field(ge=1, le=1000)] = 5
    """For TopKAccuracy: among how many of the highest scores the label has to be."""
    max_drop: Drop = "1pp"
    """How far the score may fall: 1pp is a percentage point, 1% is relative to the original's score or error."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """Fewer samples are Inconclusive whatever they say."""
    confidence: Percent = "95%"
    """Of the two-sided interval of the drop."""
    max_latency: Duration | None = None
    """Median time of one request in the serving engine at most."""
    on_fail: OnFail = OnFail.KEEP_PREVIOUS
    """What serves when the guardrail fails: KeepPrevious, what served before; ServeOriginal, the model uncompressed."""
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    """Whether too few samples wait for a person or count as a failure."""

    @model_validator(mode="after")
    def _fitting_limit(self) -> Self:
        if self.metric.is_error and self.max_drop.endswith("pp"):
            raise ValueError(f"maxDrop: {self.max_drop}: {LIMIT_MESSAGE}")
        return self
