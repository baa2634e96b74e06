"""Splits that do not react: on demand alone, and an Auto Scaling group's fixed percentage.

Source of the latter: the InstancesDistribution of a mixed-instances policy; an Auto Scaling group spreads over zones,
asks again for what it did not get, and never falls back from spot to on-demand.
"""

from __future__ import annotations

import math

from trimtab.api.base import CapacityType
from trimtab.cli.simulate.policies.seen import Seen, without_noticed
from trimtab.cli.simulate.world import Order


class OnDemandOnly:
    """No spot."""

    def order(self, replicas: int, seen: Seen) -> Order:  # noqa: ARG002 - a split
        """Return the order for this many replicas."""
        return Order(on_demand=replicas, spot={}, replicas=replicas)


class FixedShare:
    """A base on demand, and of the rest a fixed share."""

    def __init__(self, base: int, on_demand_percent: int) -> None:
        self._base, self._percent = base, on_demand_percent

    def order(self, replicas: int, seen: Seen) -> Order:
        """Return the order for this many replicas."""
        base = min(self._base, replicas)
        on_demand = base + math.ceil((replicas - base) * self._percent / 100)
        return Order(on_demand=on_demand, spot=spread(replicas - on_demand, seen), replicas=replicas)


def spread(count: int, seen: Seen) -> dict[str, int]:
    """Return the nodes of each zone: those there are, and what is missing in the emptiest."""
    running = seen.of(CapacityType.SPOT)
    by_zone = {zone: sum(1 for one in running if one.zone == zone) for zone in seen.zones}
    short = {zone for event in seen.events for zone in getattr(event, "zones", ())}
    while by_zone and sum(by_zone.values()) < count:
        # What a zone refused a moment ago is asked of another one.
        by_zone[min(by_zone, key=lambda zone: (zone in short, by_zone[zone]))] += 1
    while sum(by_zone.values()) > count:
        by_zone[max(by_zone, key=lambda zone: by_zone[zone])] -= 1
    return without_noticed(by_zone, seen)
