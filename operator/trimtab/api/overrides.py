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
_ALL = (PROMOTE, ROLLBACK, ROLLBACK_TO, ROLLBACK_REASON)
# Names are shorter; what is said with them ends up in events and on terminals.
_CHARACTERS = 256


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
        if not annotations:  # as nearly always
            return cls()
        told = {name: _text(annotations.get(name, "")) for name in _ALL}
        promote, mark, generation = told[PROMOTE].partition("@")
        numbered = generation.isascii() and generation.isdigit()
        return cls(
            promote=(promote if numbered or not mark else told[PROMOTE]) or None,
            generation=int(generation) if numbered else None,
            rollback=told[ROLLBACK] or None,
            rollback_to=told[ROLLBACK_TO] or None,
            why=told[ROLLBACK_REASON],
        )


def _text(value: str) -> str:
    """Return what a terminal may show of a value: one line, no control characters, not too much of it."""
    line = " ".join(value[: 4 * _CHARACTERS].split())
    return "".join(character for character in line if character.isprintable())[:_CHARACTERS]
