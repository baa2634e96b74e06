"""The HorizontalPodAutoscaler, autoscaling/v2, on a concurrency metric of type AverageValue.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/{replica_calculator,horizontal}.go and the defaults of
pkg/apis/autoscaling/v2: every 15 s, tolerance 0.1, up at most the larger of 4 pods and 100 % per 15 s, down at most
100 % per 15 s, stabilised over 300 s downwards and not upwards.
"""

from __future__ import annotations

import math
from collections import deque

from trimtab.cli.simulate.policies.seen import Seen, Service

SYNC_S = 15.0
TOLERANCE = 0.1
DOWN_WINDOW_S = 300.0
UP_PODS, UP_SHARE = 4, 1.0


class Hpa:
    """One autoscaler; the metric is the mean since the last sync."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._current: int | None = None
        self._synced_at = -math.inf
        self._loads: list[int] = []
        self._recommended: deque[tuple[float, int]] = deque()

    def replicas(self, seen: Seen) -> int:
        """Return the replicas wanted, changed at syncs only."""
        self._loads.append(seen.load)
        if self._current is None:
            self._current = max(len(seen.replicas), self._service.min_replicas)
        if seen.now - self._synced_at >= SYNC_S:
            self._current = self._synced(sum(self._loads) / len(self._loads), self._current, seen.now)
            self._synced_at = seen.now
            self._loads.clear()
        return self._current

    def _synced(self, total: float, current: int, now: float) -> int:
        target = self._service.planned
        wanted = math.ceil(total / target)
        if current and abs(1 - total / (target * current)) <= TOLERANCE:
            wanted = current
        wanted = min(max(wanted, self._service.min_replicas), self._service.max_replicas)
        self._recommended.append((now, wanted))
        while now - self._recommended[0][0] > DOWN_WINDOW_S:
            self._recommended.popleft()
        if wanted > current:
            return min(wanted, max(current + UP_PODS, math.ceil(current * (1 + UP_SHARE))))
        return min(current, max(wanted for _, wanted in self._recommended))
