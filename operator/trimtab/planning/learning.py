"""How many requests a second a replica answers: learnt from the times when all replicas were busy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trimtab.planning.loads import Load

# Of what is remembered: half a minute of a queue settles it, and a replica that changed is known soon.
_MEMORY_S = 30.0


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is known after a look; plain numbers, for JSON."""

    rate: float | None = None
    """Requests per second of one replica; None before all were seen to be busy."""
    at: float = 0.0
    """When the last look was, Unix seconds."""
    busy: int = 0
    """The replicas that were ready then, if requests waited for each of them; else 0."""


def learn(known: Learnt, load: Load | None, ready: int) -> Learnt:
    """Return what is known with one more look at the load of `ready` replicas.

    What they answer is what they can only while requests wait for all of them the whole time: at both ends of it, with
    as many replicas. A look without figures, or at replicas that hang, teaches nothing.
    """
    if load is None or load.queued is None:
        return known
    busy = ready if load.queued >= max(ready, 1) else 0
    rate, answers = known.rate, load.rate or 0.0
    if busy and busy == known.busy and 0 < answers < math.inf and load.at > known.at:
        seen = answers / busy
        newer = 1.0 - math.exp((known.at - load.at) / _MEMORY_S)
        rate = seen if rate is None else rate + newer * (seen - rate)
    return Learnt(rate, load.at, busy)
