"""What a model team wants: one object, from source to served model."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from trimtab.api.base import ApiModel, rules
from trimtab.api.capacity import Capacity
from trimtab.api.compression import Compression, Device, Source
from trimtab.api.guardrail import Guardrail, Metric
from trimtab.api.names import MODEL_NAME_MAX, Key
from trimtab.api.quantities import DecimalString
from trimtab.api.serving import Serving


class Drift(ApiModel):
    """When the served model got worse."""

    metric: Metric
    """What to watch."""
    threshold: DecimalString
    """How much worse."""


class Reoptimize(ApiModel):
    """Compress again, by the clock or on drift."""

    schedule: Annotated[str, Field(min_length=9, max_length=100)] | None = None
    """Cron expression."""
    on_drift: Drift | None = None
    """When the served model got worse."""


class Rerun(ApiModel):
    """Repeat a run whose inputs did not change."""

    reason: Annotated[str, Field(min_length=1, max_length=256)]
    """Any new text asks for a new run; it is kept in the report."""


_UNUSED = "serving.accelerator needs compression.target.device: on CPU nothing uses it"


class OptimizedModelSpec(ApiModel):
    """What is wanted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.serving) || !has(self.serving.accelerator) || (has(self.compression.target)"
                    " && has(self.compression.target.device) && self.compression.target.device != 'CPU')"
                ),
                _UNUSED,
            )
        )
    )
    suspend: bool = False
    """No new runs or rollouts; serving goes on."""
    source: Source
    """The model to optimise."""
    compression: Compression
    """How it is made smaller."""
    guardrail: Guardrail
    """What it must prove before it serves."""
    serving: Serving = Serving()
    """How it is served."""
    capacity: Capacity = Capacity()
    """Where its replicas run."""
    reoptimize: Reoptimize | None = None
    """Compress again, by the clock or on drift."""
    rerun: Rerun | None = None
    """Repeat a run whose inputs did not change."""
    revision_history_limit: Annotated[int, Field(ge=0, le=100)] = 5
    """Old artifacts' revisions kept in status."""

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.serving.accelerator is not None and self.compression.target.device is Device.CPU:
            raise ValueError(f"{_UNUSED}; set compression.target.device, or leave the accelerator out")
        return self


class OptimizedModel(ApiModel):
    """One object in, a served model out: smaller, still accurate, balanced, on nodes as cheap as the promise allows."""

    model_config = ConfigDict(extra="ignore")
    api_version: str
    kind: str
    metadata: dict[str, Any]
    spec: OptimizedModelSpec
    """What is wanted."""

    @model_validator(mode="after")
    def _name(self) -> Self:
        name = str(self.metadata.get("name", ""))
        if len(name) > MODEL_NAME_MAX:
            raise ValueError(
                f"metadata.name {name!r} has {len(name)} characters; use at most {MODEL_NAME_MAX}, "
                "so that the names of its pods fit"
            )
        return self

    @property
    def key(self) -> Key:
        return Key.of({"metadata": self.metadata})

    @property
    def generation(self) -> int:
        return int(self.metadata.get("generation", 0))
