"""SkyServe's autoscaler, and SpotHedge: spot spread over zones, over-provisioned, with on-demand as its fallback.

Source: SkyPilot 0.14, sky/serve/{autoscalers,spot_placer,constants}.py: every 20 s, requests of the last 60 s; up
after 300 s and down after 1200 s of agreement without a break; spot target = replicas + 1 over-provisioned, on-demand
= min(replicas, target - ready spot); a zone that preempted or refused is left alone until all did, then all are tried.
(The source forgets them when one is left that did not: with two dead zones it then never orders more in the third,
which costs it up to a half more on some traces. It is given the better rule here.) Notices are not used.
"""

from __future__ import annotations

import math
from collections import deque

from trimtab.api.base import CapacityType
from trimtab.cli.simulate.policies.seen import Seen, Service, without_noticed
from trimtab.cli.simulate.world import Order
from trimtab.planning.zones import Loss, Shortage

DECISION_S = 20.0
WINDOW_S = 60.0
UP_DELAY_S, DOWN_DELAY_S = 300.0, 1200.0
OVERPROVISION = 1


class RequestRate:
    """SkyServe's request-rate autoscaler with hysteresis."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._answered: deque[tuple[float, int]] = deque()
        self._decided_at = -math.inf
        self._current: int | None = None
        self._ups = self._downs = 0

    def replicas(self, seen: Seen) -> int:
        """Return the replicas wanted, changed at decisions only."""
        if self._current is None:
            self._current = max(len(seen.replicas), self._service.min_replicas)
        self._answered.append((seen.now, seen.answered))
        while seen.now - self._answered[0][0] > WINDOW_S:
            self._answered.popleft()
        if seen.now - self._decided_at >= DECISION_S:
            self._decided_at = seen.now
            self._current = self._decided(self._current)
        return self._current

    def _decided(self, current: int) -> int:
        arrived = self._answered[-1][1] - self._answered[0][1]
        per_replica = self._service.planned / self._service.service_s
        wanted = math.ceil(arrived / WINDOW_S / per_replica)
        wanted = min(max(wanted, self._service.min_replicas), self._service.max_replicas)
        self._ups = self._ups + 1 if wanted > current else 0
        self._downs = self._downs + 1 if wanted < current else 0
        if self._ups * DECISION_S >= UP_DELAY_S or self._downs * DECISION_S >= DOWN_DELAY_S:
            self._ups = self._downs = 0
            return wanted
        return current


class SpotHedge:
    """SkyServe's placement."""

    def __init__(self, zones: tuple[str, ...], overprovision: int = OVERPROVISION) -> None:
        self._active = dict.fromkeys(zones, True)
        self._overprovision = overprovision

    def order(self, replicas: int, seen: Seen) -> Order:
        """Return the order for this many replicas."""
        spot = seen.of(CapacityType.SPOT)
        self._learn(seen)
        by_zone = {zone: sum(1 for one in spot if one.zone == zone) for zone in seen.zones}
        target = replicas + self._overprovision
        while sum(by_zone.values()) < target and (zone := self._next(by_zone)) is not None:
            by_zone[zone] += 1
        while sum(by_zone.values()) > target:
            fullest = max(by_zone, key=lambda zone: by_zone[zone])
            by_zone[fullest] -= 1
        ready = len(seen.ready(CapacityType.SPOT))
        on_demand = min(replicas, max(0, target - ready))
        return Order(on_demand, without_noticed(by_zone, seen), replicas)

    def _learn(self, seen: Seen) -> None:
        for event in seen.events:
            match event:
                case Loss(zone=zone):
                    self._active[zone] = False
                case Shortage(zones=zones):
                    for zone in zones:
                        self._active[zone] = False
        for one in seen.ready(CapacityType.SPOT):
            if seen.now - one.ready_at < DECISION_S:
                self._active[one.zone] = True
        if not any(self._active.values()):
            self._active = dict.fromkeys(self._active, True)

    def _next(self, by_zone: dict[str, int]) -> str | None:
        active = [zone for zone, is_active in self._active.items() if is_active]
        return min(active, key=lambda zone: by_zone[zone], default=None)
