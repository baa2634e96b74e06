"""Which zones a pool's spot nodes are to be in: evenly spread, away from zones that cool down."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.planning import zones
from trimtab.planning.zones import ZoneState


def placed(count: int, running: Mapping[str, int], known: ZoneState, now: float) -> dict[str, int]:
    """Return how many nodes each zone is to have.

    Args:
        count: Nodes in all.
        running: Nodes that each zone of the pool has or boots, those that are about to be lost not counted.
        known: What is known of the zones.
        now: The moment, in seconds.

    What is missing goes to the emptiest zone that does not cool down, of equals to the one with the fewest losses;
    while all cool down, nothing more is asked for. What is too much leaves the fullest zone. Nothing that runs is
    moved to another zone: a move costs a start and a drain, and spreads no better than the next loss will.
    """
    wanted = dict(running)
    open_zones = [name for name in wanted if not zones.is_cooling(known, name, now)]
    hazards = {name: zones.hazard(known, name, now) for name in wanted}
    while open_zones and sum(wanted.values()) < count:
        wanted[min(open_zones, key=lambda name: (wanted[name], hazards[name], name))] += 1
    while sum(wanted.values()) > count:
        wanted[max(wanted, key=lambda name: (wanted[name], hazards[name], name))] -= 1
    return wanted
