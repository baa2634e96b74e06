"""How many spot replicas to keep beyond the needed ones, against the loss of whole zones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trimtab.api.capacity import SpotMode

_GUARDED, _BALANCED = SpotMode.GUARDED, SpotMode.BALANCED  # looking a member up takes longer than comparing it
ACCEPTED_RISK = 1e-3  # of having too few good replicas in the time that a notice does not cover


def spread(replicas: int, zones: int) -> list[int]:
    """Return the replicas of each zone when they are spread evenly, the fullest first."""
    return [replicas // zones + (index < replicas % zones) for index in range(zones)]


def risk(replicas: int, needed: int, loss: Sequence[float]) -> float:
    """Return the probability that fewer than `needed` of the replicas outlast independent losses of zones.

    `loss` is the probability of each zone to be lost; the replicas are spread evenly over them, the odd ones in the
    safest. Exact: the distribution of the losses over all 2^zones cases, gathered by the number of replicas lost.
    """
    lost = [1.0] + [0.0] * replicas
    for count, probability in zip(spread(replicas, len(loss)), sorted(loss), strict=True):
        lost = [
            chance * (1 - probability) + (lost[number - count] * probability if number >= count else 0.0)
            for number, chance in enumerate(lost)
        ]
    return math.fsum(lost[max(0, replicas - needed + 1) :]) if needed > 0 else 0.0


def largest_zone_spares(needed: int, zones: int) -> int:
    """Return the fewest spares with which the loss of the fullest zone leaves `needed` replicas; 0 with one zone."""
    if zones < 2 or needed <= 0:
        return 0
    return math.ceil(needed / (zones - 1))  # e >= ceil((needed + e) / zones), solved for e


def are_kept(mode: SpotMode, startup_s: float, notice_s: float) -> bool:
    """Whether a mode keeps any: Cost never, Balanced only where a replacement is not ready within the notice."""
    return mode is _GUARDED or (mode is _BALANCED and startup_s > notice_s)


def spare_replicas(needed: int, mode: SpotMode, hazards: Sequence[float], startup_s: float, notice_s: float) -> int:
    """Return how many spot replicas to keep beyond `needed`.

    Cost keeps none. Guarded keeps enough to lose the fullest zone. Balanced keeps none where a replacement is ready
    within the notice, else the fewest that leave an accepted risk during the rest of the start-up, and never more
    than Guarded. `hazards` are the losses per hour of each zone; with a single zone spares share its fate.
    """
    if not are_kept(mode, startup_s, notice_s) or len(hazards) < 2 or needed <= 0:
        return 0
    most = largest_zone_spares(needed, len(hazards))
    if mode is _GUARDED:
        return most
    uncovered_h = (startup_s - notice_s) / 3600
    loss = [1 - math.exp(-hazard * uncovered_h) for hazard in hazards]
    return next((e for e in range(most) if risk(needed + e, needed, loss) <= ACCEPTED_RISK), most)
