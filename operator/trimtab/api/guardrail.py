"""What a compressed model must prove before it serves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from trimtab.api.base import ApiModel, Uri
from trimtab.api.quantities import Drop, Duration, Percent


class GuardrailMode(StrEnum):
    """Enforce keeps a failing model away from traffic, Report only says so, Disabled does not look."""

    ENFORCE = "Enforce"
    REPORT = "Report"
    DISABLED = "Disabled"


class Metric(StrEnum):
    """How a model is scored; higher is better after normalising."""

    ACCURACY = "Accuracy"
    F1 = "F1"
    MEAN_ABSOLUTE_ERROR = "MeanAbsoluteError"
    MEAN_SQUARED_ERROR = "MeanSquaredError"
    COSINE_SIMILARITY = "CosineSimilarity"


class Verdict(StrEnum):
    """What the paired test says about the drop."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


class OnFail(StrEnum):
    """What serves when the guardrail fails."""

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

    mode: GuardrailMode = GuardrailMode.ENFORCE
    """What a miss means."""
    dataset: Dataset
    """What to judge on."""
    metric: Metric = Metric.ACCURACY
    """How to score."""
    max_drop: Drop = "1pp"
    """How far the score may fall: 1pp is a percentage point, 1% is relative to the original's score."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """Fewer samples are Inconclusive whatever they say."""
    confidence: Percent = "95%"
    """Of the two-sided interval of the drop."""
    max_latency: Duration | None = None
    """Median time of one request in the serving engine at most."""
    on_fail: OnFail = OnFail.KEEP_PREVIOUS
    """What serves when the guardrail fails."""
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    """Whether too few samples wait for a person or count as a failure."""
