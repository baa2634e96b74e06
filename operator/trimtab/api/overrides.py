"""What a person decides about a rollout beside the spec: annotations on the model.

Nothing of ours writes them but the command line, with the rights of who calls it. They say which revision they speak
of, so that one that is forgotten there speaks of the past and does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.api.names import GROUP

PROMOTE = f"{GROUP}/promote"
ROLLBACK = f"{GROUP}/rollback"
ROLLBACK_TO = f"{GROUP}/rollback-to"
ROLLBACK_REASON = f"{GROUP}/rollback-reason"
_REASON_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the annotations of one model ask for."""

    promote: str | None = None
    """The revision whose remaining canary steps are to be skipped."""
    generation: int | None = None
    """The generation that `promote` is meant for; any unless told: `digits-1a2b3c4d@7`."""
    rollback: str | None = None
    """The revision that is not to serve."""
    rollback_to: str | None = None
    """The revision that serves instead; the one before unless told."""
    why: str = ""
    """Why not, in the words of who decided it."""

    @classmethod
    def read(cls, annotations: Mapping[str, str] | None) -> Overrides:
        """Return what a model's annotations ask for; what cannot be read stays a name that no revision has."""
        told = annotations or {}
        promote, mark, generation = told.get(PROMOTE, "").partition("@")
        numbered = generation.isascii() and generation.isdigit()
        return cls(
            promote=(promote if numbered or not mark else told[PROMOTE]) or None,
            generation=int(generation) if numbered else None,
            rollback=told.get(ROLLBACK) or None,
            rollback_to=told.get(ROLLBACK_TO) or None,
            why=" ".join(told.get(ROLLBACK_REASON, "").split())[:_REASON_CHARACTERS],
        )
