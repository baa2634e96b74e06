"""Knative's pod autoscaler on concurrency.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler.go and pkg/autoscaler/config/config.go: stable window 60 s,
panic window a tenth of it, panic when the short window asks for twice what is ready, in panic never down; at most
1000 times up and half down per decision. It decides every 2 s; here, at every tick.
"""

from __future__ import annotations

import math
from collections import deque

from trimtab.cli.simulate.policies.seen import Seen, Service

STABLE_S, PANIC_S = 60.0, 6.0
PANIC_THRESHOLD = 2.0
MAX_UP, MAX_DOWN = 1000.0, 2.0


class Kpa:
    """One autoscaler."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loads: deque[tuple[float, int]] = deque()
        self._panicked_at: float | None = None
        self._most_in_panic = 0

    def replicas(self, seen: Seen) -> int:
        """Return the replicas wanted now."""
        self._loads.append((seen.now, seen.load))
        while seen.now - self._loads[0][0] >= STABLE_S:
            self._loads.popleft()
        ready = max(1, sum(1 for one in seen.replicas if one.ready_at <= seen.now))
        stable = self._bounded(self._mean(STABLE_S, seen.now), ready)
        burst = self._bounded(self._mean(PANIC_S, seen.now), ready)
        if burst / ready >= PANIC_THRESHOLD:
            self._panicked_at = seen.now
        elif self._panicked_at is not None and seen.now - self._panicked_at >= STABLE_S:
            self._panicked_at, self._most_in_panic = None, 0
        if self._panicked_at is not None:
            self._most_in_panic = max(self._most_in_panic, burst, stable, ready)
            stable = self._most_in_panic
        return min(max(stable, self._service.min_replicas), self._service.max_replicas)

    def _mean(self, window_s: float, now: float) -> float:
        loads = [load for at, load in self._loads if now - at < window_s]
        return sum(loads) / len(loads)

    def _bounded(self, mean: float, ready: int) -> int:
        wanted = math.ceil(mean / self._service.planned)
        return min(max(wanted, math.floor(ready / MAX_DOWN)), math.ceil(ready * MAX_UP))
