"""The contract between operator and compression Job: what is asked, how far it is, what came out.

The operator passes a `RunSpec` as JSON in the environment variable `TRIMTAB_RUN`. The Job writes one JSON object
per line to standard output, each a `Progress`, and a `RunResult` as its termination message (at most 4,096 bytes).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trimtab.api.base import ApiModel
from trimtab.api.compression import Compression, Source
from trimtab.api.guardrail import Guardrail
from trimtab.api.serving import Engine
from trimtab.api.status import ArtifactStatus, GuardrailStatus

RUN_ENVIRONMENT = "TRIMTAB_RUN"
JOB_ENVIRONMENT = "TRIMTAB_JOB"  # UID of the Job, where several pods work on it
TERMINATION_MESSAGE_BYTES = 4096

# Exit codes tell the Job what to do with a failure (podFailurePolicy); the numbers are sysexits.h's.
EXIT_OK = 0  # a verdict was reached, whatever it is
EXIT_BUG = 1  # retried
EXIT_INPUT = 65  # EX_DATAERR: retrying cannot help, the Job fails at once
EXIT_RETRY = 75  # EX_TEMPFAIL: the world was not there, retried
EXIT_GROUP_ENDED = 76  # EX_PROTOCOL: another worker is gone or was told to stop; counts as no failure of this one
EXIT_INTERRUPTED = 143  # SIGTERM: the next pod starts again


class RunSpec(ApiModel):
    """What a compression Job is to do."""

    namespace: str
    """Of the model."""
    model: str
    """Name of the model."""
    key: str
    """The request's key: part of the Job's name."""
    salt: str = ""
    """rerun.reason; part of the artifact's key, so that a rerun makes a new artifact."""
    source: Source
    """The model to optimise."""
    compression: Compression
    """How; presets are resolved in the Job, which sees the source."""
    guardrail: Guardrail
    """What to prove."""
    engine: Engine = Engine.AUTO
    """What is to serve the result; a preset keeps to it."""
    output: str
    """URI of the folder that gets a folder per artifact."""
    allow_code: bool = False
    """Whether a source that runs code may be loaded."""


class Progress(ApiModel):
    """One line of the Job's log."""

    event: str = "progress"
    """Always progress; other lines are logs for people."""
    step: str
    """Title of the step."""
    index: Annotated[int, Field(ge=1)]
    """Which step, from 1."""
    steps: Annotated[int, Field(ge=1)]
    """How many."""
    percent: Annotated[int, Field(ge=0, le=100)]
    """Of the whole run."""
    remaining_seconds: Annotated[int, Field(ge=0)] | None = None
    """Time left, when it can be told."""
    detail: str = ""
    """For people: epoch 3 of 10, loss 0.12."""


class RunResult(ApiModel):
    """What came of a run. Either `artifact` is set, or `reason` says why not.

    A guardrail that fails is no failed run: the artifact and its verdict are both there, and the original beside them.
    """

    reason: str | None = None
    """A reason of conditions.Reason when the run failed."""
    message: str = ""
    """What failed: field, value, remedy."""
    artifact: ArtifactStatus | None = None
    """What was made."""
    guardrail: GuardrailStatus | None = None
    """What it proved; None when the guardrail is disabled."""
    original: ArtifactStatus | None = None
    """The source, exported unchanged; published where `artifact` may not serve."""
    latency_ms: str | None = None
    """Median time of one single-sample request in the serving engine, artifact."""
    source_latency_ms: str | None = None
    """The same for the original, interleaved in the same run."""
    reused: bool = False
    """Whether an equal run had already made the artifact."""
    recipe: Annotated[list[str], Field(max_length=32)] = Field(default_factory=list)
    """Titles of the steps that ran."""
