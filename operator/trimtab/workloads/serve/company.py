"""Whether an engine that is free waits for the clients that it has just answered.

Clients that ask again as soon as they are answered come in two groups: one runs while the other waits, and neither ever
meets the other in a batch. A moment of patience after a run makes them one group, and saves what a run costs whatever
its rows. Where clients do not come back, which is seen at once, nobody waits for them.
"""

from __future__ import annotations

_GAP_S = 0.001  # as finely as the loop's timers tick
_LEAST_SAVED_S = 2 * _GAP_S
_LIKELY = 0.5  # share of the answered that came back
_SMOOTHING = 0.3
_TRY_AGAIN = 32  # runs, after which clients may have become others


class Returning:
    """Clients on their way back; seconds of the caller's clock."""

    def __init__(self) -> None:
        self.expected = 0
        """How many were answered and are waited for; 0 where nobody is."""
        self._came = 0
        self._ends = 0.0
        self._last = 0.0
        self._share = 1.0
        self._unwatched = 0

    def answered(self, requests: int, saved_s: float, now: float) -> bool:
        """Learn that so many were answered; return whether to wait for them, as it would save so much."""
        self._judge()
        self._unwatched += 1
        if saved_s < _LEAST_SAVED_S or (self._share < _LIKELY and self._unwatched < _TRY_AGAIN):
            return False
        self._unwatched = 0
        self.expected, self._came = requests, 0
        self._ends, self._last = now + saved_s, now
        return True

    def arrived(self, now: float) -> None:
        """Learn that a request came while some are expected."""
        self._came += 1
        self._last = now

    def wait_s(self, now: float) -> float:
        """Return how much longer to wait; until all are there, or nobody comes any more, or it no longer pays."""
        if not self.expected:
            return 0.0
        left_s = min(self._ends, self._last + _GAP_S) - now
        if self._came < self.expected and left_s > 0:
            return left_s
        self._judge()
        return 0.0

    def _judge(self) -> None:
        if self.expected:
            share = min(1.0, self._came / self.expected)
            self._share += (share - self._share) * _SMOOTHING
            self.expected = 0
