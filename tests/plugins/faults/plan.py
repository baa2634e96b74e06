"""What goes wrong and when: a pure function of a seed, so that a run can be had again."""

from __future__ import annotations

import random
from dataclasses import dataclass

# What happens, and for how many seconds at least and at most (0: it is over at once).
FAULTS: dict[str, tuple[float, float]] = {
    "operator killed": (0.5, 4),
    "operator paused": (2, 14),
    "operator's clock jumps": (0, 0),
    "gateway killed": (0, 0),
    "gateway paused": (0.5, 4),
    "gateway deleted": (0, 0),
    "agent killed": (0, 0),
    "agent paused": (2, 15),
    "replica killed": (0, 0),
    "replica paused": (1, 8),
    "replica deleted": (0, 0),
    "run killed": (0, 0),
    "run's pod deleted": (0, 0),
    "node lost": (1, 8),
    "node noticed": (0, 0),
    "API server away": (2, 15),
    "history forgotten": (2, 12),
    "connections cut": (0, 0),
    "connections half-closed": (0, 0),
    "connections silent": (0, 0),
    "answers slow": (3, 12),
    "answers lost": (3, 10),
    "answers 409": (3, 12),
    "answers 429": (3, 12),
    "answers 500": (3, 12),
    "disk full": (3, 12),
    "S3 errors": (3, 15),
    "S3 truncates": (3, 15),
}
# What users do meanwhile.
DEEDS = (
    "rolls out",
    "ruins",
    "reruns",
    "reruns in S3",
    "adds a guest",
    "adds a guest",
    "changes a guest",
    "replaces a guest",
    "deletes a guest",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens.

    Attributes:
        at: seconds after the start.
        what: a key of FAULTS, or one of DEEDS.
        seconds: how long it lasts; 0 is over at once.
        draw: in [0, 1): chooses the victim, and how hard it is hit.
    """

    at: float
    what: str
    seconds: float = 0.0
    draw: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:6.1f} s  {self.what}{lasting} ({self.draw:.3f})"


def plan(seed: int, seconds: float, every: float = 5.0, without: frozenset[str] = frozenset()) -> tuple[Event, ...]:
    """What happens in so many seconds: a fault and, less often, a deed about `every` seconds.

    All kinds come once in some order before any comes again. `without` leaves kinds out of what is drawn.
    """
    faults = [what for what in FAULTS if what not in without]
    deeds = [what for what in DEEDS if what not in without]
    events = [*_drawn(random.Random(f"{seed} faults"), faults, seconds, every)]
    events += _drawn(random.Random(f"{seed} deeds"), deeds, seconds, 2.5 * every)
    return tuple(sorted(events, key=lambda event: event.at))


def _drawn(rng: random.Random, kinds: list[str], seconds: float, every: float) -> list[Event]:
    drawn: list[Event] = []
    at, deck = 0.0, list[str]()
    while (at := at + every * rng.uniform(0.3, 1.7)) < seconds:
        deck = deck or rng.sample(kinds, len(kinds))
        what = deck.pop()
        shortest, longest = FAULTS.get(what, (0, 0))
        drawn.append(Event(round(at, 1), what, round(rng.uniform(shortest, longest), 1), round(rng.random(), 3)))
    return drawn
