"""Which zones a pool's nodes are to be in: evenly spread, away from zones that cool down."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heapreplace

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
    missing = count - sum(wanted.values())
    if missing == 0:
        return wanted
    hazards = {name: zones.hazard(known, name, now) for name in wanted}
    emptiest: list[tuple[int, float, str]] = []
    if missing > 0:
        emptiest = [(wanted[name], hazards[name], name) for name in wanted if not zones.is_cooling(known, name, now)]
        heapify(emptiest)
    for _ in range(missing if emptiest else 0):
        there, hazard, name = emptiest[0]
        heapreplace(emptiest, (there + 1, hazard, name))
        wanted[name] = there + 1
    for _ in range(-missing):
        wanted[max(wanted, key=lambda name: (wanted[name], hazards[name], name))] -= 1
    return wanted


def growing(running: Mapping[str, int], targets: Mapping[str, int], known: ZoneState, now: float) -> tuple[str, ...]:
    """Return the zones that are to get nodes, in the order in which equally full ones do; all open ones if none is.

    A provider that fills the emptiest zone of these first, of equals the first named, ends where `placed` says.
    """
    open_zones = [name for name in running if not zones.is_cooling(known, name, now)] or list(running)
    more = [name for name in open_zones if targets.get(name, 0) > running[name]] or open_zones
    return tuple(sorted(more, key=lambda name: (zones.hazard(known, name, now), name)))


def leaving(
    count: int, empty: Mapping[str, str], running: Mapping[str, int], known: ZoneState, now: float
) -> tuple[str, ...]:
    """Return which of the empty nodes (name to zone) go, if `count` do: one after the other from the fullest zone."""
    left, there, gone = dict(empty), dict(running), []
    for _ in range(min(count, len(left))):
        fullest = max(
            sorted(left),
            key=lambda name: (there.get(left[name], 0), zones.hazard(known, left[name], now), left[name]),
        )
        zone = left.pop(fullest)
        there[zone] = there.get(zone, 0) - 1
        gone.append(fullest)
    return tuple(sorted(gone))
