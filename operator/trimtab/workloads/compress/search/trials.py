"""What a trial is and what it found, as plain JSON, so that another pod reads it back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from trimtab.api.compression import Step


class Outcome(StrEnum):
    """How a trial ended."""

    MEASURED = "Measured"
    """On every validation sample."""
    HOPELESS = "Hopeless"
    """Ended on the first fifth of the samples: even the friendly end of the drop's interval was beyond the limit."""
    FAILED = "Failed"
    """A step could not be done on this model, or not in this memory."""
    CUT_OFF = "CutOff"
    """Stopped in the middle: the search's time was up."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe to try."""

    steps: tuple[Step, ...]
    epochs: float = 1.0
    """Share of the epochs of the option that training steps have left: short trainings come first."""

    @property
    def title(self) -> str:
        return recipe_title([step.wire() for step in self.steps])

    @property
    def key(self) -> str:
        """Return what tells one recipe from another."""
        return json.dumps([step.wire() for step in self.steps], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Trial:
    """A proposal and what was measured of it. Every number is None where the trial did not get so far."""

    key: str
    recipe: list[dict[str, Any]]
    epochs: float
    outcome: Outcome
    seconds: float
    """What it took."""
    message: str = ""
    drop: float | None = None
    """On validation samples, in the guardrail's unit."""
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None
    """The drop that is allowed."""
    samples: int = 0
    bytes: int | None = None
    ratio: float | None = None
    """Median latency in that of candidate 0, measured in turns with it."""
    ratio_low: float | None = None
    """Lower end of the ratio's 95 % interval."""
    ratio_high: float | None = None
    """Upper end of it."""
    latency_ms: float | None = None
    """Of one request of the objective's batch."""

    @property
    def excess(self) -> float:
        """Return how far the drop is beyond the limit: at most 0 holds it, infinite where nothing was measured."""
        return float("inf") if self.drop is None or self.limit is None else self.drop - self.limit

    def margin(self, samples: int, widened: float = 1.0) -> float:
        """Return by how much the upper end of the drop's interval is expected to be below the limit on other samples.

        The interval shrinks with the root of their number; `widened` is by how much a stricter confidence widens it.
        Candidate 0 loses nothing on any.
        """
        if not self.recipe:
            return float("inf")
        if self.drop is None or self.upper is None:
            return -self.excess
        return -self.excess - (self.upper - self.drop) * widened * math.sqrt(self.samples / max(samples, 1))

    def wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Trial:
        return cls(**{**document, "outcome": Outcome(document["outcome"])})

    @property
    def title(self) -> str:
        return recipe_title(self.recipe)


def recipe_title(steps: list[dict[str, Any]]) -> str:
    """Return a recipe for people: `prune 50%, distill 6 epochs, quantize INT8`."""
    return ", ".join(_title(step) for step in steps) or "export only"


def _title(step: dict[str, Any]) -> str:
    name, parameters = next((name, value) for name, value in step.items() if name != "name")
    told = [parameters[key] for key in ("sparsity", "scheme", "clusters", "engine", "method") if key in parameters]
    student = parameters.get("student", {})
    told += [f"{key} {student[key]}" for key in ("width", "depth") if key in student]
    told += [f"{parameters['epochs']} epochs"] if "epochs" in parameters else []
    return " ".join([step.get("name") or name, *map(str, told)])
